"""`configure()`: OpenTelemetry's providers, processors and our exporters, put together.

    from otel_pg_exporter import configure

    telemetry = configure()              # the environment, else the embedded PostgreSQL
    ...
    telemetry.force_flush()
    telemetry.query.trace(trace_id)

A program that has set a TracerProvider or a LoggerProvider keeps it: our processor is added to it. One that
it sets later takes the place of ours, and our processor joins that.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from math import inf
from time import monotonic
from typing import Any

from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from ..config import Settings, in_force, sdk_is_disabled
from ..database import Database
from ..encoding.scrubbing import Redact
from ..encoding.treatment import Treatment, switch_or_callback
from ..exporter import PostgresLogRecordExporter, PostgresSpanExporter
from ..host import errands, exits, forks, sigterm
from ..host.diagnostics import say
from ..id_generator import id_generator
from ..processors.by_durability import log_processor, span_processor
from ..processors.inheritance import InheritanceProcessor
from ..processors.open_spans import OpenSpanProcessor
from ..processors.queues import NoQueue, StandingQueue, exporters_of, processors_of
from ..query import EventQuery
from ..writing.delivery import Delivery
from .agreement import hear, tell_of_changes
from .own_resource import own_resource
from .succession import yield_to_later

__all__ = ["Telemetry", "apart", "configure", "configured"]

_EXIT_MILLIS = 4_500
_CLOSE_SECONDS = 0.2  # of these, for each of the steps after the last record
_FIRST_SHARE = 0.6

_lock = forks.Guard()
_current: Telemetry | None = None


def configure(
    settings: Settings | None = None,
    *,
    tracer_provider: Any = None,
    logger_provider: Any = None,
    resource: Resource | None = None,
    redact: Redact | bool | None = None,
    **overrides: Any,
) -> Telemetry:
    """Store what this program emits from now on. Returns at once: nothing is connected yet.

    A second call for the same tables gives what the first one set up, also where that was done from outside by
    `otel-pg run` or OpenTelemetry's `postgres` exporter: nothing is stored twice. A second call for other tables
    has the program stored in both, and says so in the log. With `OTEL_SDK_DISABLED=true` nothing is set up.

    Args:
        settings: all settings; default the environment.
        tracer_provider: use this one instead of the global one.
        logger_provider: the same for log records.
        resource: describes this program, if no provider is there yet; default `Resource.create()`.
        redact: has the last word about each text that is to be stored: it is given the key (an attribute's, else
            name, status_message, body or event_name) and the text, and returns the text as it may be stored. If
            it raises, the text is taken out. That of a second call is asked, if the first had none.
        overrides: fields of `Settings`, instead of settings.

    Raises:
        ConfigurationError: a setting is wrong, or settings and fields of them are given.
    """
    global _current
    is_on, callback = switch_or_callback(redact)
    settings = Settings.given(settings, redact=is_on, **overrides)
    asked = settings, tracer_provider, logger_provider, callback
    with _lock:
        if _current is not None and _current.serves(*asked):
            return _current
    if resource is None and not sdk_is_disabled():
        resource = own_resource()  # not in the lock: detectors are the program's, in threads of their own
    with _lock:
        if _current is None or not _current.serves(*asked):
            earlier, _current = _current, Telemetry(settings, tracer_provider, logger_provider, resource, callback)
            if earlier is not None:
                _current.tell_of_both(earlier)
                earlier.give_way_to(_current)
            if settings.flush_on_sigterm:
                sigterm.install()
        return _current


def configured() -> Telemetry | None:
    """What `configure` has set up; None if it was not called, or was shut down."""
    with _lock:
        return None if _current is None or _current.is_shut_down else _current


def _settings() -> Settings | None:
    standing = configured()
    return standing.settings if standing is not None else None


in_force.told_by(_settings)


def apart(settings: Settings) -> Telemetry:
    """Telemetry with providers of its own: the program's, and what goes through them, are left alone."""
    resource = own_resource()
    tracing = TracerProvider(resource=resource, id_generator=id_generator(), shutdown_on_exit=False)
    logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
    return Telemetry(settings, tracing, logs, resource)


class Telemetry:
    """What `configure` has set up."""

    def __init__(
        self,
        settings: Settings,
        tracer_provider: Any,
        logger_provider: Any,
        resource: Resource | None,
        redact: Redact | None = None,
    ) -> None:
        self.settings = settings
        """The settings in force."""
        self.database = Database(settings)
        """Shared by the exporters and `query`."""
        self.delivery = Delivery(self.database)
        """Brings batches into the tables, or onto disk; shared by both signals."""
        self.treatment = Treatment.of(settings, redact)
        """How records become rows: routing, prices, and what is taken out."""
        self.is_shut_down = False
        self._prepare()
        forks.in_child(self._prepare)
        self._query: EventQuery | None = None
        self._standing: list[Any] = []
        self._beside: list[StandingQueue] = []
        """Of providers that have taken the place of ours, and bring an exporter for the same tables."""
        self._span_processor: Any = NoQueue()
        self._log_processor: Any = NoQueue()
        self._open_spans: OpenSpanProcessor | None = None
        if sdk_is_disabled():
            self.tracer_provider = tracer_provider or trace.get_tracer_provider()
            """The provider that creates spans: yours if there was one."""
            self.logger_provider = logger_provider or _logs.get_logger_provider()
            """The provider that takes log records: yours if there was one."""
            return
        resource = resource or own_resource()
        is_first = isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        self.tracer_provider = tracer_provider or _tracing(resource)
        self._span_processor = self._join(self.tracer_provider, span_processor, PostgresSpanExporter)
        _let_inherit(self.tracer_provider)
        if settings.runs:
            self._open_spans = OpenSpanProcessor(self.database, self.treatment)
            _add(self.tracer_provider, self._open_spans)
        self.logger_provider = logger_provider or _logging(resource)
        self._log_processor = self._join(self.logger_provider, log_processor, PostgresLogRecordExporter)
        if is_first and tracer_provider is None:
            self.yield_to_later()
        hear(redact, [exporter.treatment for exporter in self._standing])
        exits.register(self._end, self._settle)

    def _prepare(self) -> None:
        self._ending = threading.Lock()

    def yield_to_later(self) -> None:
        """Let providers that the program sets from now on take the place of the global ones, and join them."""
        yield_to_later((self.tracer_provider, self.logger_provider), self._follow)

    def serves(
        self, settings: Settings, tracer_provider: Any, logger_provider: Any, redact: Redact | None = None
    ) -> bool:
        """Whether it stores what another `configure` is asked to store; then it goes by that one's `redact`, too."""
        if self.is_shut_down or self.database.place != Database(settings).place:
            return False
        if tracer_provider not in (None, self.tracer_provider) or logger_provider not in (None, self.logger_provider):
            return False
        tell_of_changes(self.settings, settings)
        hear(redact, [self.treatment, *(exporter.treatment for exporter in self._standing)])
        return True

    def tell_of_both(self, earlier: Telemetry) -> None:
        """Say that what an earlier `configure` has set up goes on beside this, if it does."""
        shared = self.tracer_provider is earlier.tracer_provider or self.logger_provider is earlier.logger_provider
        if sdk_is_disabled() or earlier.is_shut_down or not shared or self.database.place == earlier.database.place:
            return
        first, second = (_tables(one.settings) for one in (earlier, self))
        say(
            logging.WARNING,
            f"configure() was called before for other tables: this program is stored in {first} and in {second}."
            " If one of them is meant, shut down what the other call gave",
        )

    def give_way_to(self, later: Telemetry) -> None:
        """After the shutdown: what a later `configure` stores in the same tables is not for the next process too."""
        if not self.is_shut_down or self.database.place != later.database.place:
            return
        if self.tracer_provider is later.tracer_provider:
            self._span_processor.give_way()
        if self.logger_provider is later.logger_provider:
            self._log_processor.give_way()
        if self.delivery.spool is not None:
            self.delivery.spool.close()  # what came since the shutdown is for the later one

    @property
    def query(self) -> EventQuery:
        """Reads back what is stored."""
        if self._query is None:
            self._query = EventQuery(database=self.database)
        return self._query

    @property
    def progress(self) -> dict[str, Any]:
        """What became of this program's records, as `Health` names it."""
        queues = (self._span_processor, self._log_processor, *self._beside)
        counts = self._counts
        failed = Counter(self.delivery.failures)
        failed["queue_full"] += sum(queue.untold for queue in queues)
        failed["shut_down"] += sum(queue.late for queue in queues)
        if (spool := self.delivery.spool) is not None:
            failed["damaged"] = spool.counts["damaged"]
        return {
            "queue_depth": sum(queue.depth for queue in queues),
            "spool_depth": spool.rows_waiting if spool else 0,
            "exported": counts["stored"] + counts["replayed"],
            "failed": {cause: count for cause, count in failed.items() if count},
            "last_success_at": self.delivery.last_success_at,
        }

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Store everything that has ended by now; False if some of it was lost or the time ran out.

        What PostgreSQL cannot take meanwhile is safe in the spool, but is not stored yet: that is False too.
        """
        lost, deadline = self._lost, monotonic() + timeout_millis / 1000
        is_exported = self._settle(timeout_millis / 1000)
        is_empty = self.delivery.wait_until_empty(max(0.0, deadline - monotonic()))
        return is_exported and is_empty and self._lost <= lost

    def shutdown(self, timeout_millis: int = _EXIT_MILLIS) -> None:
        """Store or spool what is left, as far as the time allows, and close. Runs by itself when the program ends."""
        forks.notice()
        seconds = timeout_millis / 1000
        ends_at = monotonic() + seconds
        self.delivery.end_within(seconds)
        errands.run(lambda: self._shut_down_once(ends_at), inf, "otel-pg-end")

    @property
    def counts(self) -> dict[str, int]:
        """Records by fate: stored, duplicate (stored before), spooled, replayed, rejected, dropped, dead."""
        return dict(self._counts)

    @property
    def last_error(self) -> str | None:
        """Why the last attempt to store a batch failed; None if it did not."""
        return self.delivery.last_error

    @property
    def _lost(self) -> int:
        counts = self._counts
        return counts["dropped"] + counts["dead"]

    @property
    def _counts(self) -> Counter[str]:
        counts = Counter(self.delivery.counts)
        for exporter in self._standing:
            counts.update(exporter.counts)
        return counts

    def _follow(self, provider: Any) -> None:
        if hasattr(provider, "add_log_record_processor"):
            self.logger_provider = provider
            self._follow_with(self._log_processor, provider, PostgresLogRecordExporter)
        else:
            self.tracer_provider = provider
            self._follow_with(self._span_processor, provider, PostgresSpanExporter)
            _let_inherit(provider)
            if self._open_spans is not None:
                _add(provider, self._open_spans)

    def _follow_with(self, processor: Any, provider: Any, kind: Any) -> None:
        if (standing := self._standing_at(provider, kind)) is not None:
            self._beside.append(standing)
        else:
            _add(provider, getattr(processor, "processor", processor))

    def _join(self, provider: Any, make: Any, kind: Any) -> Any:
        """Add our processor to a provider, unless an exporter of ours for the same tables is there."""
        if (standing := self._standing_at(provider, kind)) is not None:
            return standing
        processor = make(self.settings, self.delivery, self.treatment)
        _add(provider, processor)
        return processor

    def _standing_at(self, provider: Any, kind: Any) -> StandingQueue | None:
        """What a provider has already before an exporter of ours for the same tables."""
        for processor, exporter in exporters_of(provider):
            is_ours = isinstance(exporter, kind) and not exporter.is_shut_down
            if is_ours and exporter.database.place == self.database.place:
                self._standing.append(exporter)
                tell_of_changes(exporter.database.settings, self.settings)
                return StandingQueue(processor)
        return None

    def _end(self, seconds: float) -> None:
        self.shutdown(int(seconds * 1000))

    def _settle(self, seconds: float) -> bool:
        """Export what has ended by now; False if the time ran out."""
        return errands.run(lambda: self._flush(seconds), seconds, "otel-pg-flush") is True

    def _flush(self, seconds: float) -> bool:
        ends_at = monotonic() + seconds
        queues = (self._log_processor, self._span_processor, *self._beside)
        flushed = [queue.force_flush(_millis_until(ends_at)) for queue in queues]
        return all(flushed)

    def _shut_down_once(self, ends_at: float) -> None:
        # another thread may be at it: who comes second waits for it, for the process may be about to end
        if not self._ending.acquire(timeout=max(0.0, ends_at - monotonic())):
            return
        try:
            if not self.is_shut_down:
                self.is_shut_down = True
                self._shut_down(ends_at)
                exits.unregister(self._end)  # not before: who waited for this may have been interrupted
        finally:
            self._ending.release()

    def _shut_down(self, ends_at: float) -> None:
        if self._open_spans is not None:
            self._open_spans.shutdown()
        begun, spans_end_at = monotonic(), ends_at - _CLOSE_SECONDS
        # the second needs time to spool what it has, even if the first hangs
        share = _FIRST_SHARE if self._span_processor.depth else 1.0
        self._log_processor.shutdown(_millis_until(begun + (spans_end_at - begun) * share))
        self._span_processor.shutdown(_millis_until(spans_end_at))
        if self._query is not None:
            self._query.close()
        self.delivery.close(max(_CLOSE_SECONDS, ends_at - _CLOSE_SECONDS - monotonic()))
        self.database.close(max(_CLOSE_SECONDS, ends_at - monotonic()))


def _tables(settings: Settings) -> str:
    return f"{settings.schema}.{settings.table_prefix}* of {settings.target}"


def _millis_until(moment: float) -> int:
    return max(0, int((moment - monotonic()) * 1000))


def _add(provider: Any, processor: Any) -> None:
    add = getattr(provider, "add_span_processor", None) or getattr(provider, "add_log_record_processor", None)
    if add is None:
        say(
            logging.ERROR,
            f"nothing will be stored of what goes through {type(provider).__module__}.{type(provider).__name__}:"
            " it takes no processors. Call configure() before it is set",
        )
    else:
        add(processor)


def _let_inherit(provider: Any) -> None:
    if not any(isinstance(one, InheritanceProcessor) for one in processors_of(provider)):
        _add(provider, InheritanceProcessor())


def _tracing(resource: Resource) -> Any:
    """The global tracer provider; one is made if there is none."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        # its own exit handler would wait for 30 s; Telemetry.shutdown is ours
        trace.set_tracer_provider(
            TracerProvider(resource=resource, id_generator=id_generator(), shutdown_on_exit=False)
        )
    return trace.get_tracer_provider()


def _logging(resource: Resource) -> Any:
    """The global logger provider; one is made if there is none."""
    if not hasattr(_logs.get_logger_provider(), "add_log_record_processor"):
        _logs.set_logger_provider(LoggerProvider(resource=resource, shutdown_on_exit=False))
    return _logs.get_logger_provider()
