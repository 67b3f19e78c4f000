"""Finds sql/, in a wheel and in a checkout, and fills in the names of schema and tables.

A file in sql/queries holds named queries, each `-- name: NAME`, a line `-- DESCRIPTION`, then SQL.
In every file `{events}` stands for the table, view, type or function with its schema and prefix, `{schema}` for the
schema, `{channel}` for the channel of notifications, `{index:NAME}` for the name of an index, all quoted;
`{query:NAME}` for the text of another query;
`%(name)s` are parameters that the server gets apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import EventStoreError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = [
    "CONTRACT_VIEWS", "EVENT_TABLES", "FUNCTIONS", "PARTITIONED", "READING", "TABLES", "TYPES", "VIEWS", "WHOLE",
    "WORDS", "WRITTEN", "Migration", "Names", "bind", "migrations", "query",
]  # fmt: skip

# found here, for it imports modules: in a thread, at a fork, that would leave their locks held in the child
_PACKAGED: Traversable = files("otel_pg_exporter") / "sql"

EVENT_TABLES = ("events", "task_events", "agent_events", "deployment_events")
"""The tables that hold events, in the order in which a batch writes them."""

PARTITIONED = (
    *EVENT_TABLES, "event_batches", "event_summaries", "contents", "resource_days", "open_spans", "heartbeats",
)  # fmt: skip
"""The tables that are partitioned by time."""

WRITTEN = (*PARTITIONED, "resources", "scopes", "processes")
"""The tables that programs write into."""

TABLES = (*WRITTEN, "pruned", "schema_migrations", "tenancy", "tenant_readers")
"""Every table of a schema."""

CONTRACT_VIEWS = (
    "spans", "traces", "runs", "tasks", "agent_actions", "llm_usage", "deployments", "errors", "all_events",
)  # fmt: skip
"""The views that the contract promises."""

VIEWS = (*CONTRACT_VIEWS, "event_rows", "tenant_ids", "tenant_resources", "tenant_scope")
"""Every view of a schema."""

TYPES = ("trace_node", "subtree_total", "deployment_before_rise")
"""The types of what the contract's functions give."""

FUNCTIONS = (
    "contract_version", "trace_tree", "span_ancestors", "span_descendants", "subtree_totals", "deployments_before_rise",
)  # fmt: skip
"""The functions that the contract promises."""

WHOLE = ("joined_contents", "whole_attributes")
"""Functions with which the views put together what consists of contents."""

WORDS = ("words_of_event", "words_of_text")
"""Functions that give what a search for text looks at, and its index keeps."""

READING = (*(f"{table}_of_trace" for table in EVENT_TABLES), "contents_say", *WHOLE, *WORDS)
"""Functions of our own, with which the tables are read."""

_NAMED_BY_SCHEMA = frozenset((*TABLES, *VIEWS, *TYPES, *FUNCTIONS, *READING))

_INCLUDED = re.compile(r"\{query:(\w+)\}")
_PLACEHOLDER = re.compile(r"\{(index:)?(\w+)\}")
_MIGRATION = re.compile(r"(\d{4})_(\w+)\.up\.sql")
_PARAMETER = re.compile(r"%\((\w+)\)s")
_NAMED = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@dataclass(frozen=True)
class Names:
    """The quoted names of one set of tables: a schema and a prefix."""

    schema: str
    prefix: str = ""

    @property
    def lock_key(self) -> str:
        """What the advisory lock of these tables is called."""
        return f"otel-pg {self.schema}.{self.prefix}"

    @property
    def channel(self) -> str:
        """The quoted name under which it is told that a batch was stored; at most the 63 bytes of an identifier."""
        return quote(f"{self.schema}.{self.prefix}")

    def table(self, name: str) -> str:
        """`events` → `"otel"."events"`."""
        return f"{quote(self.schema)}.{quote(self.prefix + name)}"

    def fill(self, sql: str) -> str:
        """Replace the placeholders of a file of sql/."""

        def replace(match: re.Match[str]) -> str:
            is_index, name = match.groups()
            if is_index:
                return quote(self.prefix + name)
            if name == "schema":
                return quote(self.schema)
            if name == "channel":
                return self.channel
            if name in _NAMED_BY_SCHEMA:
                return self.table(name)
            return match.group()

        return _PLACEHOLDER.sub(replace, sql)


@dataclass(frozen=True)
class Migration:
    """One step of the schema: files NNNN_name.up.sql and NNNN_name.down.sql."""

    version: int
    name: str
    up: str
    down: str


def quote(identifier: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def bind(sql: str, parameters: Mapping[str, Any]) -> str:
    """Put parameters into a query as literals, for statements that go out several at once.

    Raises:
        TypeError: a parameter is neither None, a bool, an int nor a str without NUL.
    """
    return _PARAMETER.sub(lambda match: _literal(parameters[match[1]]), sql)


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    if isinstance(value, str) and "\0" not in value:
        # E'' reads backslashes the same way whatever standard_conforming_strings is
        return " E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    raise TypeError(f"cannot write {value!r:.80} as an SQL literal")


@lru_cache(maxsize=1)
def migrations() -> tuple[Migration, ...]:
    """Every step, oldest first."""
    folder = _root() / "migrations"
    names = sorted(entry.name for entry in folder.iterdir())
    steps = [match for match in map(_MIGRATION.fullmatch, names) if match]
    return tuple(
        Migration(
            version=int(step[1]),
            name=step[2],
            up=(folder / step[0]).read_text("utf-8"),
            down=(folder / step[0].replace(".up.", ".down.")).read_text("utf-8"),
        )
        for step in steps
    )


@lru_cache(maxsize=256)
def query(name: str, names: Names) -> str:
    """The named query with the names of the tables filled in.

    Raises:
        EventStoreError: no query has that name.
    """
    try:
        return names.fill(_INCLUDED.sub(lambda match: _queries()[match[1]], _queries()[name]))
    except KeyError as error:
        known = ", ".join(_queries())
        raise EventStoreError(f"sql/queries has no query named {error.args[0]!r}; it has {known}") from None


@lru_cache(maxsize=1)
def _queries() -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in sorted((_root() / "queries").iterdir(), key=lambda e: e.name):
        for name, sql in _split(entry.read_text("utf-8")):
            if name in found:
                raise EventStoreError(f"sql/queries/{entry.name}: a second query is named {name!r}")
            found[name] = sql
    return found


def _split(text: str) -> Iterator[tuple[str, str]]:
    pieces = _NAMED.split(text)[1:]
    for name, body in zip(pieces[::2], pieces[1::2], strict=True):
        lines = [line for line in body.splitlines() if not line.startswith("--")]
        yield name, "\n".join(lines).strip()


def _root() -> Traversable:
    if _PACKAGED.is_dir():
        return _PACKAGED
    checkout = Path(__file__).parents[1]
    # another project's site-packages/sql is not ours: ours stands beside our pyproject.toml
    if (checkout / "pyproject.toml").is_file() and (checkout / "sql").is_dir():
        return checkout / "sql"
    raise EventStoreError(f"the folder sql/ is neither in the package {_PACKAGED} nor in the checkout {checkout}")
