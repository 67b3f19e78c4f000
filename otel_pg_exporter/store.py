"""The event store: log events of four kinds, and ask for them again.

    from otel_pg_exporter import EventStore

    with EventStore() as store:
        store.log_task_event(event_name="invoice sent", task_id="42", duration_seconds=0.8)
        store.log_system_event(event_name="login", event_type="user_action", user_id="ada", wait=True)
        print(store.query_system_events(user_id="ada")[0])

An event is an OpenTelemetry log record in the current trace. It goes through a LoggerProvider and its queue,
as `configure()` makes them; with `wait=True` it is committed when the call returns, and with `connection=`
it belongs to a transaction of the caller's. These two go past the provider, to the same tables.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from importlib.metadata import version
from time import monotonic, time_ns
from types import TracebackType
from typing import Any, TypeGuard

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import get_current
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from .config import Settings, in_force
from .errors import ClosedError, InvalidEventError, QueryError, shown
from .events.monitor import Monitor
from .events.shapes import SHAPES, AgentEvent, DeploymentEvent, EventShape, SystemEvent, TaskEvent
from .health import Health
from .host import exits, forks
from .host.interruptions import undisturbed
from .processors.inheritance import handed_down
from .providers import Telemetry, apart, configured
from .query import EventQuery
from .reading.events import EventPage
from .reading.statistics import Statistics
from .schema import migrate
from .writing.direct import Direct

__all__ = ["CLOSE_MILLIS", "EventStore", "check_alone", "log_record", "query_options"]

_PACKAGE = "otel-pg-exporter"
SCOPE = "otel_pg_exporter.store"
EVENT_ID = "otel_pg.event.id"
_DAY = timedelta(days=1)
_SHAPES = tuple(SHAPES.values())
CLOSE_MILLIS = 5_000
_SHARE_OF_MONITOR = 0.2  # of that, for a look that is under way
_NAMES = {
    "event_name": "name", "user_id": "user", "session_id": "session", "trace_id": "trace", "start_date": "start",
    "end_date": "end", "service_name": "service", "agent_name": "agent", "task_name": "task", "tool_name": "tool",
    "commit_sha": "commit",
}  # fmt: skip


class EventStore:
    """Logs, queries, counts, and says how it is.

    Its first use starts the threads that store events and look at its health; logging itself never needs the
    database. If `configure()` was called with the same settings, events go through its providers; else
    through providers of the store's own, and the program's are left alone.

    Args:
        settings: all settings; default what `configure()` was called with, else the environment.
        overrides: fields of `Settings`.

    Raises:
        ConfigurationError: both were given, or a setting has a value that is not allowed.
        ClosedError: from any method but `get_health_status`, after `close()`.
    """

    def __init__(self, settings: Settings | None = None, **overrides: Any) -> None:
        self.settings = in_force.given(settings, **overrides)
        """The settings in force."""
        self._is_closed = False
        self._begin_anew()
        forks.in_child(self._begin_anew)

    def _begin_anew(self) -> None:
        """In a forked child: the monitor's thread, and a lock that another thread held, stayed behind."""
        self._lock = threading.RLock()
        self._open: _Open | None = None

    def __enter__(self) -> EventStore:
        self._opened()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def initialize(self) -> None:
        """Connect, and create the tables unless `auto_migrate` is off. What is logged without it does so later.

        Raises:
            DatabaseError: the database cannot be used; the message says why. The next call tries again.
            EmbeddedServerError: the embedded server cannot be started.
        """
        migrate.ensure(self._opened().telemetry.database)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Store everything that is queued now; False if some of it was lost or the time ran out."""
        return self._opened().telemetry.force_flush(timeout_millis)

    def close(self, timeout_millis: int = CLOSE_MILLIS) -> None:
        """Store or spool what is queued, as far as the time allows, and give back connections and threads."""
        with undisturbed(self._lock):
            self._is_closed = True
            opened, self._open = self._open, None
        if opened is not None:
            opened.close(timeout_millis)

    def log(self, event: EventShape, /, *, connection: Any = None, wait: bool = False) -> str:
        """Log a `SystemEvent`, `TaskEvent`, `AgentEvent` or `DeploymentEvent`; as `log_system_event`."""
        event_id, record = log_record(event)
        if connection is not None:
            check_alone(wait)
            self._opened().direct.store_in(connection, record)
        elif wait:
            self._opened().direct.store(record)
        else:
            self._opened().logger.emit(record)
        return event_id

    def log_system_event(
        self, event: SystemEvent | None = None, /, *, connection: Any = None, wait: bool = False, **fields: Any
    ) -> str:
        """Log what a user did, an operation, a configuration change or an error.

        Args:
            event: the event; or leave it out, and give its fields as keywords.
            connection: a psycopg.Connection: the event is committed, or rolled back, with what else is in its
                transaction. In autocommit mode, outside of a transaction, it is committed at once.
            wait: return after the commit.
            fields: those of `SystemEvent`.

        Returns:
            The event's id, for `query_system_events(event_id=…)`.

        Raises:
            InvalidEventError: a field is unknown or has a value that is not allowed.
            DatabaseError: with `connection` or `wait`: it could not be stored. Else the event is queued, and waits
                in the spool while the database is away.
        """
        return self.log(SystemEvent.of(event, fields), connection=connection, wait=wait)

    def log_task_event(
        self, event: TaskEvent | None = None, /, *, connection: Any = None, wait: bool = False, **fields: Any
    ) -> str:
        """Log something in the life of a task; as `log_system_event`."""
        return self.log(TaskEvent.of(event, fields), connection=connection, wait=wait)

    def log_agent_event(
        self, event: AgentEvent | None = None, /, *, connection: Any = None, wait: bool = False, **fields: Any
    ) -> str:
        """Log something that an agent did; as `log_system_event`."""
        return self.log(AgentEvent.of(event, fields), connection=connection, wait=wait)

    def log_deployment_event(
        self, event: DeploymentEvent | None = None, /, *, connection: Any = None, wait: bool = False, **fields: Any
    ) -> str:
        """Log something in a deployment; as `log_system_event`."""
        return self.log(DeploymentEvent.of(event, fields), connection=connection, wait=wait)

    def query_system_events(self, **options: Any) -> EventPage:
        """A page of events, newest first; also of spans that are system events.

        Args:
            options: those of `EventQuery.events`, under the names of the fields that were logged: event_type,
                event_name, event_id, status, user_id, session_id, agent_id, task_id, target, data (a mapping that
                the event's data contains), start_date and end_date (an aware datetime, end excluded; or a date,
                UTC, end included), order_by, order_direction, limit, offset and cursor.

        Raises:
            QueryError: an option is unknown or has a value that is not allowed.
        """
        return self._query.system_events(**query_options(options))

    def query_events(self, category: str | None = None, **options: Any) -> EventPage:
        """As `query_system_events`, of a category by its name, or of all."""
        return self._query.events(category, **query_options(options))

    def query_task_events(self, **options: Any) -> EventPage:
        """As `query_system_events`, without target; also task_name and queue."""
        return self._query.task_events(**query_options(options))

    def query_agent_events(self, **options: Any) -> EventPage:
        """As `query_system_events`, without target; also agent_name, action, tool_name, model and provider."""
        return self._query.agent_events(**query_options(options))

    def query_deployment_events(self, **options: Any) -> EventPage:
        """As `query_system_events`, without target; also environment, branch, commit_sha, pull_request, deployment_id,
        pipeline, pipeline_run_id, build_result, test_result and result.
        """
        return self._query.deployment_events(**query_options(options))

    def get_event_statistics(
        self, category: str | None = None, *, bucket: timedelta = _DAY, exact: bool = False, **filters: Any
    ) -> Statistics:
        """Counts, durations and percentiles of what the filters of the queries select, at one moment.

        Args:
            category: system, task, agent or deployment; all if left out.
            bucket: length of the stretches in `over_time`, at least a second; a day, UTC.
            exact: read every event, so that percentiles are exact too; else they may be off by 2 %
                (`Statistics.percentile_error`).
            filters: as for `query_system_events`, without order, limit, offset and cursor.
        """
        return self._query.statistics(category, bucket=bucket, exact=exact, **query_options(filters))

    def get_health_status(self) -> Health:
        """How things are now, asked of the database. Raises nothing, and makes no tables."""
        with undisturbed(self._lock):
            opened, is_closed = self._open, self._is_closed
        if is_closed:
            error = "the event store is closed"
            return Health(is_healthy=False, target=self.settings.target, schema=self.settings.schema, error=error)
        if opened is not None:
            return opened.health()
        with EventQuery(self.settings) as query:
            return query.health()

    @property
    def is_open(self) -> bool:
        """True from the first use until `close()`."""
        return self._open is not None

    @property
    def last_health(self) -> Health | None:
        """What the monitor found when it last looked; None before that, or without `health_monitoring`."""
        opened = self._open
        return opened.monitor.last if opened is not None and opened.monitor is not None else None

    @property
    def direct(self) -> Direct:
        """The way past the queue, for `AsyncEventStore`."""
        return self._opened().direct

    @property
    def _query(self) -> EventQuery:
        return self._opened().telemetry.query

    def _opened(self) -> _Open:
        with undisturbed(self._lock):
            if self._is_closed:
                raise ClosedError("the event store is closed: make another")
            if self._open is None:
                return self._begun()
            if self._open.telemetry.is_shut_down:
                raise ClosedError(
                    "the telemetry of configure() was shut down, and the event store with it: make another"
                )
            return self._open

    def _begun(self) -> _Open:
        opened, standing = _Open(self.settings), self._open
        if standing is not None:  # who interrupted this thread meanwhile has logged with another
            opened.close(0)
        self._open = standing or opened
        return self._open


class _Open:
    """What a store holds from its first use until it is closed. Making it connects to nothing."""

    def __init__(self, settings: Settings) -> None:
        standing = configured()
        self._is_owned = standing is None or standing.settings != settings
        self.telemetry = apart(settings) if standing is None or self._is_owned else standing
        self.telemetry.delivery.replay_now(0)  # what an earlier process left in the spool waits for nobody's event
        provider = self.telemetry.logger_provider
        self.logger = provider.get_logger(SCOPE, version(_PACKAGE))
        self.direct = direct(self.telemetry)
        self.monitor = Monitor(self.health, settings.health_interval_seconds) if settings.health_monitoring else None
        if self.monitor is not None:
            exits.register(self.monitor.leave, _nothing)  # before the telemetry ends, and perhaps the server
            self.monitor.start()

    def health(self) -> Health:
        found = replace(self.telemetry.query.health(), **self.telemetry.progress)
        if found.is_healthy and found.spool_depth and self.telemetry.last_error:
            return replace(found, is_healthy=False, error=self.telemetry.last_error)
        return found

    def close(self, timeout_millis: int) -> None:
        ends_at = monotonic() + timeout_millis / 1000
        if self.monitor is not None:
            exits.unregister(self.monitor.leave)
            self.monitor.stop(_SHARE_OF_MONITOR * timeout_millis / 1000)
        self.direct.close()
        left_millis = max(0, int((ends_at - monotonic()) * 1000))
        if self._is_owned:
            self.telemetry.shutdown(left_millis)
        else:
            self.telemetry.force_flush(left_millis)


def _nothing(seconds: float) -> None:
    """A monitor has nothing to store."""


def log_record(event: EventShape) -> tuple[str, LogRecord]:
    """An id for an event, and the event as a log record in the current trace.

    Raises:
        InvalidEventError: it is none.
    """
    if not isinstance(event, _SHAPES):
        names = ", ".join(shape.__name__ for shape in _SHAPES)
        raise InvalidEventError(f"event={shown(event)} is not allowed; allowed is one of {names}")
    event_id = str(uuid.uuid4())
    now, context = time_ns(), get_current()
    is_error = event.status == "error"
    record = LogRecord(
        timestamp=now if event.start_unix_nano is None else event.start_unix_nano,
        observed_timestamp=now,
        context=context,
        severity_number=SeverityNumber.ERROR if is_error else SeverityNumber.INFO,
        severity_text="ERROR" if is_error else "INFO",
        body=event.data,
        attributes={**event.attributes(), **handed_down(context), EVENT_ID: event_id},
        event_name=event.event_name,
    )
    return event_id, record


def direct(telemetry: Telemetry) -> Direct:
    """The way past the queue of a telemetry; its records say the same of where they come from."""
    resource = getattr(telemetry.logger_provider, "resource", None) or Resource.create()
    scope = InstrumentationScope(SCOPE, version(_PACKAGE))
    return Direct(telemetry.database, resource, scope, telemetry.treatment, telemetry.delivery.look_after_tables)


def check_alone(wait: bool) -> None:
    """Refuse `wait` beside a connection."""
    if wait:
        raise InvalidEventError("wait=True is not allowed with a connection: the event is stored when that commits")


def query_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options under the names that events are logged by, as `EventQuery` names them."""
    found: dict[str, Any] = {}
    given: dict[str, str] = {}
    for name, value in options.items():
        known = _NAMES.get(name, name)
        if (other := given.setdefault(known, name)) != name:
            raise QueryError(f"{other} and {name} say the same; allowed is one of them")
        found[known] = _bound(name, value) if name in {"start_date", "end_date"} else value
    first, last = (options.get(name) for name in ("start_date", "end_date"))
    if _is_day(first) and _is_day(last) and first > last:  # the end of the last is no earlier than the first begins
        raise QueryError(f"start_date={first} is after end_date={last}; allowed is one before it, or the same")
    return found


def _is_day(value: Any) -> TypeGuard[date]:
    return isinstance(value, date) and not isinstance(value, datetime)


def _bound(name: str, value: Any) -> Any:
    if _is_day(value):
        begin = datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
        if name != "end_date":
            return begin
        return begin + _DAY if value < date.max else datetime.max.replace(tzinfo=timezone.utc)
    if value is not None and (not isinstance(value, datetime) or value.utcoffset() is None):
        allowed = "a date, or a datetime with a time zone"
        raise QueryError(f"{name}={shown(value)} is not allowed; allowed is {allowed}")
    return value
