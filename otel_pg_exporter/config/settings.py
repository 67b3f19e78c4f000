"""Settings: where the database is and how events are written to it.

One frozen object. Each field names its environment variable, its path in `create_event_config`, its
default and its unit; a keyword argument wins over the environment:

    Settings.from_env(dsn="postgresql://localhost/app", schema="telemetry")

Where the database is, first match wins: the `dsn` argument, the `host` … `ssl_root_cert` arguments,
`OTEL_EXPORTER_POSTGRES_DSN`, `POSTGRES_HOST/PORT/DATABASE/USER/PASSWORD/SSL_MODE/SSL_ROOT_CERT`, libpq's own
`PG*` variables, and with none of them the embedded server.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from ..errors import ConfigurationError
from . import misspelt, parsing

__all__ = ["Settings", "hide_password", "parse", "sdk_is_disabled"]

_PG_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE", "PGPORT", "PGUSER")
_WHERE = ("host", "port", "database", "user")
_LOCATION = (*_WHERE, "password", "ssl_mode", "ssl_root_cert")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# however it is spelt: libpq says which name it does not know, and the rest is shown
_SECRET_NAME = r"(?i)(\b(?:\w*(?:pas+w|pas+p|psw|pwd|secret|token)\w*|pass)"
_SECRET_KEYWORDS = re.compile(
    _SECRET_NAME + r"\s*=\s*)('(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.)*(?:\s+(?!\w+\s*=)\S+)*)", re.DOTALL
)
_SECRET_PARAMETERS = re.compile(_SECRET_NAME + r"=)([^&]*)")
_IS_KEYWORDS = re.compile(r"\s*\w+\s*=").match


def _option(env: str, path: str, parse: parsing.Parser, default: Any, *, unit: str = "", secret: bool = False) -> Any:
    about = {"env": env, "path": path, "parse": parse, "unit": unit, "secret": secret}
    return field(default=default, metadata=about, repr=not secret)


@dataclass(frozen=True, repr=False)
class Settings:
    """Everything that can be configured. `Settings.from_env()` reads the environment, `Settings()` does not.

    Raises:
        ConfigurationError: a field has a value that is not allowed.
    """

    dsn: str | None = _option("OTEL_EXPORTER_POSTGRES_DSN", "database.dsn", parsing.conninfo, None)
    """libpq connection string or URI; wins over `POSTGRES_*`."""
    host: str | None = _option("POSTGRES_HOST", "database.host", str, None)
    """Server name, address or socket folder."""
    port: int | None = _option("POSTGRES_PORT", "database.port", parsing.integer(1, 65535), None)
    """TCP port; libpq's default is 5432."""
    database: str | None = _option("POSTGRES_DATABASE", "database.name", str, None)
    """Database name."""
    user: str | None = _option("POSTGRES_USER", "database.user", str, None)
    """Role that connects."""
    password: str | None = _option("POSTGRES_PASSWORD", "database.password", str, None, secret=True)
    """Password of that role; never shown."""
    ssl_mode: str | None = _option("POSTGRES_SSL_MODE", "database.ssl_mode", parsing.one_of(*_SSL_MODES), None)
    """libpq's sslmode: disable, allow, prefer, require, verify-ca or verify-full."""
    ssl_root_cert: str | None = _option("POSTGRES_SSL_ROOT_CERT", "database.ssl_root_cert", str, None)
    """libpq's sslrootcert: file with the CA that signs the server's certificate, or `system`."""
    schema: str = _option("EVENT_SCHEMA", "database.schema", parsing.schema, "otel")
    """Schema of the tables; created on first use."""
    table_prefix: str = _option("EVENT_TABLE_PREFIX", "database.table_prefix", parsing.prefix, "")
    """Put before each table's name."""
    auto_migrate: bool = _option("EVENT_AUTO_MIGRATE", "database.auto_migrate", parsing.boolean, True)
    """Create or upgrade the tables on first use."""
    batch_size: int | None = _option(
        "EVENT_BATCH_SIZE", "batch.size", parsing.integer(1, 100_000), None, unit="records"
    )
    """Records per export; default `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`, else 2048."""
    batch_timeout_millis: int | None = _option(
        "EVENT_BATCH_TIMEOUT", "batch.timeout_millis", parsing.integer(1, 3_600_000), None, unit="ms"
    )
    """Longest wait before a part-filled batch is exported, ms; default `OTEL_BSP_SCHEDULE_DELAY`, else 200."""
    queue_size: int | None = _option(
        "EVENT_QUEUE_SIZE", "batch.queue_size", parsing.integer(1, 10_000_000), None, unit="records"
    )
    """Records held in memory while Postgres is busy; default `OTEL_BSP_MAX_QUEUE_SIZE`, else 65536."""
    queue_max_bytes: int = _option(
        "EVENT_QUEUE_MAX_BYTES", "batch.queue_max_bytes", parsing.integer(1 << 20, 1 << 40), 256 << 20, unit="bytes"
    )
    """Memory that waiting spans, and again log records, may hold, about, bytes; beyond it the oldest go."""
    export_timeout_millis: int = _option(
        "EVENT_EXPORT_TIMEOUT", "batch.export_timeout_millis", parsing.integer(100, 25_000), 10_000, unit="ms"
    )
    """Longest time that one export may take with all its retries, ms."""
    notify: bool = _option("EVENT_NOTIFY", "batch.notify", parsing.boolean, False)
    """Say so by NOTIFY when a batch was stored, for tails that listen; at most 20 times a second and exporter."""
    connect_timeout_seconds: int = _option(
        "EVENT_CONNECT_TIMEOUT", "database.connect_timeout_seconds", parsing.integer(2, 60), 5, unit="s"
    )
    """Longest wait for one connection, s (libpq counts in whole seconds, at least 2)."""
    pool_min_size: int = _option("EVENT_POOL_MIN", "pool.min_size", parsing.integer(0, 50), 0, unit="connections")
    """Connections that queries keep open."""
    pool_max_size: int = _option("EVENT_POOL_MAX", "pool.max_size", parsing.integer(2, 50), 4, unit="connections")
    """Connections that queries may open at once."""
    durability: str = _option(
        "EVENT_DURABILITY", "spool.durability", parsing.one_of("memory", "process", "power"), "memory"
    )
    """What survives the death of the program: memory (what is stored or spooled), process (all that ended
    survives kill -9), power (also a power cut)."""
    spool_dir: str | None = _option("EVENT_SPOOL_DIR", "spool.dir", parsing.folder, None)
    """Folder for batches that PostgreSQL could not take; default the platform's folder for a user's state."""
    spool_max_bytes: int = _option(
        "EVENT_SPOOL_MAX_BYTES", "spool.max_bytes", parsing.integer(0, 1 << 50), 1 << 30, unit="bytes"
    )
    """Most that the spool may hold, bytes; 0 switches it off."""
    spool_policy: str = _option(
        "EVENT_SPOOL_POLICY", "spool.policy", parsing.one_of("drop-oldest", "drop-newest"), "drop-oldest"
    )
    """What is given up when the spool is full."""
    flush_on_sigterm: bool = _option("EVENT_FLUSH_ON_SIGTERM", "spool.flush_on_sigterm", parsing.boolean, False)
    """SIGTERM kills a program only after what has ended is stored or spooled; for `configure()` in the main thread."""
    runs: bool = _option("EVENT_RUNS", "runs.enabled", parsing.boolean, True)
    """Spans that are open for longer than a second are seen while they run, and as lost when their process died."""
    heartbeat_seconds: int = _option(
        "EVENT_HEARTBEAT", "runs.heartbeat_seconds", parsing.integer(1, 3600), 10, unit="s"
    )
    """Time from one sign of life of a process with runs to the next, s; without three of them its runs are lost."""
    retention_days: int = _option("EVENT_RETENTION_DAYS", "retention.days", parsing.integer(0, 36_500), 0, unit="days")
    """So long is kept what is stored, days; 0 for ever."""
    retention_task_days: int | None = _option(
        "EVENT_RETENTION_TASK_DAYS", "retention.task_days", parsing.integer(0, 36_500), None, unit="days"
    )
    """The same of task events alone; default `EVENT_RETENTION_DAYS`."""
    retention_agent_days: int | None = _option(
        "EVENT_RETENTION_AGENT_DAYS", "retention.agent_days", parsing.integer(0, 36_500), None, unit="days"
    )
    """The same of agent events alone."""
    retention_deployment_days: int | None = _option(
        "EVENT_RETENTION_DEPLOYMENT_DAYS", "retention.deployment_days", parsing.integer(0, 36_500), None, unit="days"
    )
    """The same of deployment events alone."""
    retention_system_days: int | None = _option(
        "EVENT_RETENTION_SYSTEM_DAYS", "retention.system_days", parsing.integer(0, 36_500), None, unit="days"
    )
    """The same of system events alone."""
    retention_automatic: bool = _option("EVENT_RETENTION_AUTOMATIC", "retention.automatic", parsing.boolean, True)
    """Programs that store drop by themselves what is over these limits; without it `otel-pg partitions prune` does."""
    retention_interval_seconds: int = _option(
        "EVENT_RETENTION_INTERVAL", "retention.interval_seconds", parsing.integer(1, 86_400), 300, unit="s"
    )
    """Time from one look of a program at what is over these limits to the next, s."""
    max_bytes: int = _option("EVENT_MAX_BYTES", "retention.max_bytes", parsing.integer(0, 1 << 50), 0, unit="bytes")
    """Most that the tables may take in the database with their indexes, bytes; 0 for no limit."""
    max_bytes_policy: str = _option(
        "EVENT_MAX_BYTES_POLICY", "retention.max_bytes_policy", parsing.one_of("drop-oldest", "refuse"), "drop-oldest"
    )
    """What is given up at that limit: the oldest days, or new rows, which wait in the spool."""
    health_monitoring: bool = _option("EVENT_HEALTH_MONITORING", "health.monitoring", parsing.boolean, True)
    """An event store looks at its database again and again, in a thread of its own."""
    health_interval_seconds: int = _option(
        "EVENT_HEALTH_INTERVAL", "health.interval_seconds", parsing.integer(1, 86_400), 30, unit="s"
    )
    """Time from one such look to the next, s; while the database is away it looks more often."""
    integration_enabled: bool = _option("EVENT_INTEGRATION_ENABLED", "integration.enabled", parsing.boolean, True)
    """An event integration begins enabled; `set_enabled` changes it."""
    auto_capture_tasks: bool = _option("EVENT_AUTO_CAPTURE_TASKS", "auto_capture.tasks", parsing.boolean, True)
    """An event integration stores task events; handlers hear them anyway."""
    auto_capture_agents: bool = _option("EVENT_AUTO_CAPTURE_AGENTS", "auto_capture.agents", parsing.boolean, True)
    """An event integration stores agent events; handlers hear them anyway."""
    auto_capture_deployments: bool = _option(
        "EVENT_AUTO_CAPTURE_DEPLOYMENTS", "auto_capture.deployments", parsing.boolean, True
    )
    """An event integration stores deployment events; handlers hear them anyway."""
    routing_file: str | None = _option("EVENT_ROUTING_FILE", "routing.file", str, None)
    """A TOML or JSON file with rules and columns that come before the built-in ones."""
    prices_file: str | None = _option("EVENT_PRICES_FILE", "prices.file", str, None)
    """A JSON file with prices of models that come before the built-in ones."""
    redact: bool = _option("EVENT_REDACT", "redaction.enabled", parsing.boolean, True)
    """Take secrets out before anything is stored."""
    redact_keys: tuple[str, ...] = _option("EVENT_REDACT_KEYS", "redaction.keys", parsing.names, ())
    """Names of secrets beside the built-in ones."""
    redact_patterns: tuple[str, ...] = _option("EVENT_REDACT_PATTERNS", "redaction.patterns", parsing.regexes, ())
    """Regular expressions for secrets beside the built-in ones."""
    store_content: bool = _option("EVENT_STORE_CONTENT", "redaction.store_content", parsing.boolean, True)
    """Store inputs, outputs, messages, prompts and bodies; false leaves them out."""
    shared_text_length: int = _option(
        "EVENT_SHARED_TEXT_LENGTH", "storage.shared_text_length", parsing.integer(0, 1 << 30), 2048, unit="characters"
    )
    """Inputs, outputs and attributes of so many characters or more are stored once a day, in parts, however often they
    are sent; 0 stores each in its row."""
    cache_url: str | None = _option("EVENT_CACHE_URL", "cache.url", parsing.redis_url, None)
    """Redis that keeps answers of queries for a while; none without it."""
    cache_ttl_seconds: int = _option("EVENT_CACHE_TTL", "cache.ttl_seconds", parsing.integer(1, 3600), 30, unit="s")
    """Longest time that a kept answer may differ from the one that the tables would give, s."""
    data_dir: str | None = _option("EVENT_DATA_DIR", "database.data_dir", parsing.folder, None)
    """Folder of the embedded server; default the platform's user data folder."""

    def __post_init__(self) -> None:
        for option in fields(self):
            if (value := getattr(self, option.name)) != option.default:
                object.__setattr__(self, option.name, parse(option, option.name, value))
        if self.pool_min_size > self.pool_max_size:
            raise ConfigurationError(
                f"EVENT_POOL_MIN={self.pool_min_size} is larger than EVENT_POOL_MAX={self.pool_max_size}"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Read the environment; keyword arguments that are not None win over it.

        Raises:
            ConfigurationError: an unknown keyword, or a value that is not allowed. The message names
                the variable, the value (unless secret) and what is allowed.
        """
        environ = os.environ if environ is None else environ
        known = {f.name: f for f in fields(cls)}
        if unknown := sorted(set(overrides) - set(known)):
            raise ConfigurationError(f"unknown setting {unknown[0]!r}; {_meant(unknown[0], [*known])}")
        misspelt.tell(environ, [option.metadata["env"] for option in known.values()])
        given = {name: value for name, value in overrides.items() if value is not None}
        dsn = known["dsn"].metadata["env"]
        if (parts := [name for name in _LOCATION if given.get(name)]) and ("dsn" in given or environ.get(dsn)):
            if not any(name in _WHERE for name in parts):
                by = "dsn=" if "dsn" in given else dsn
                raise ConfigurationError(f"{parts[0]}= is given, and {by} says where the database is: say both there")
            environ = {**environ, dsn: ""}  # arguments say where: the environment's must not win over them
        values = {}
        for name, option in known.items():
            env = option.metadata["env"]
            raw, source = (given[name], name) if name in given else (environ.get(env, ""), env)
            if name in given or raw != "":
                values[name] = parse(option, source, raw)
        return cls(**{k: v for k, v in values.items() if v != "" or k == "table_prefix"})

    @classmethod
    def given(cls, settings: Settings | None, **overrides: Any) -> Settings:
        """What a call was given: settings, or fields of them; with neither, what the environment says.

        Raises:
            ConfigurationError: it was given both, or a connection string as settings; or as `from_env`.
        """
        if settings is None:
            return cls.from_env(**overrides)
        if not isinstance(settings, cls):
            value = repr(hide_password(settings)) if isinstance(settings, str) else f"<{type(settings).__name__}>"
            raise ConfigurationError(
                f"settings={value} is not allowed; allowed are Settings, or by name dsn='postgresql://…'"
            )
        if fields_given := [name for name, value in overrides.items() if value is not None]:
            raise ConfigurationError(f"settings and {fields_given[0]}= are given; allowed is one of them")
        return settings

    @property
    def is_embedded(self) -> bool:
        """True when nothing says where a server is, so that the embedded one is used."""
        return self.conninfo is None

    @property
    def conninfo(self) -> str | None:
        """Connection string for libpq; None for the embedded server. Holds the password."""
        if self.dsn:
            return self.dsn
        parts = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
            "sslmode": self.ssl_mode,
            "sslrootcert": self.ssl_root_cert,
        }
        given = {key: str(value) for key, value in parts.items() if value is not None}
        says_where = any(key in given for key in ("host", "port", "dbname", "user"))
        if says_where or any(os.environ.get(name) for name in _PG_VARIABLES):
            # what is not given here, libpq itself reads from PGHOST, PGUSER, PGPASSWORD ...
            return " ".join(f"{key}={_quote(value)}" for key, value in given.items())
        return None

    @property
    def target(self) -> str:
        """Where the database is, without secrets: for messages."""
        if self.conninfo is None:
            return "the embedded PostgreSQL"
        return hide_password(self.conninfo) or "the server named by PGHOST, PGDATABASE and PGUSER"

    def differences(self, other: Settings) -> list[str]:
        """Fields that are not the same, beside those that say where the database is; without secrets."""
        options = [option for option in fields(self) if option.name not in ("dsn", *_LOCATION)]
        return [other._shown(one) for one in options if getattr(self, one.name) != getattr(other, one.name)]

    def __repr__(self) -> str:
        return f"Settings({', '.join(map(self._shown, fields(self)))})"

    def _shown(self, option: Field[Any]) -> str:
        """A field and its value, without secrets."""
        value = getattr(self, option.name)
        if value is not None and option.metadata["secret"]:
            value = "***"
        elif option.name in {"dsn", "cache_url"} and value:
            value = hide_password(value)
        return f"{option.name}={value!r}"


def sdk_is_disabled(environ: Mapping[str, str] | None = None) -> bool:
    """Whether `OTEL_SDK_DISABLED` is true: then nothing is set up. As in the SDK, no other word is."""
    return (os.environ if environ is None else environ).get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def parse(option: Field[Any], source: str, raw: Any) -> Any:
    """The value of a field of `Settings` that `source` (a variable, a keyword, a path) gives as `raw`.

    Raises:
        ConfigurationError: it is not allowed.
    """
    if isinstance(option.default, tuple) and not isinstance(raw, str):
        raw = _together(source, raw)
    elif option.metadata["parse"] in (str, parsing.folder) and not isinstance(raw, str | int | os.PathLike):
        # what str() makes of it is not meant: of a secret of pydantic's it is a row of stars
        raise ConfigurationError(f"{source}=<{type(raw).__name__}> is not allowed; allowed is a text")
    text = str(raw).lower() if isinstance(raw, bool) else str(raw)
    try:
        return option.metadata["parse"](text)
    except ValueError as error:
        shown = "***" if option.metadata["secret"] else repr(hide_password(text))
        raise ConfigurationError(f"{source}={shown} is not allowed; allowed is {error}") from None


def _together(source: str, raw: Any) -> str:
    """Several texts as one. What str() makes of others is not meant: a pattern like that would let secrets pass."""
    texts = raw if isinstance(raw, Collection) else [raw]
    for wrong in (text for text in texts if not isinstance(text, str)):
        allowed = "a text, or a list of texts"
        raise ConfigurationError(f"{source}=<{type(wrong).__name__}> is not allowed; allowed is {allowed}")
    return "\n".join(texts)


def _meant(name: str, known: Sequence[str]) -> str:
    """What somebody may have meant by a setting that there is not, who is not one for reading all names."""
    if name == "service_name":
        return "the service is named by OpenTelemetry's OTEL_SERVICE_NAME, or by resource="
    meant = get_close_matches(name, known, n=1, cutoff=0.75)
    return f"did you mean {meant[0]!r}?" if meant else f"known are: {', '.join(known)}"


def _quote(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def hide_password(conninfo: str) -> str:
    """Replace every password in a libpq URI or keyword string by ***."""
    if _IS_KEYWORDS(conninfo):
        return _SECRET_KEYWORDS.sub(r"\1***", conninfo)
    head, at, tail = conninfo.rpartition("@")
    if at and ":" in (user := head.partition("//")[2] or head):
        head = head[: len(head) - len(user)] + user.partition(":")[0] + ":***"
    return _SECRET_PARAMETERS.sub(r"\1***", head + at + tail)
