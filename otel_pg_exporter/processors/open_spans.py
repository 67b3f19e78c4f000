"""Makes spans visible while they are open, and their process known to be alive.

A start costs one entry in a dictionary. A thread looks at what is open once a second: what is there at two looks
in a row has been open for a second, whatever the clocks say, and is written, once; then one small row for each
heartbeat, however many spans are open. All this is about now: while PostgreSQL is away nothing is kept for
later, and the next heartbeat tells what is open then.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import partial
from math import inf
from time import monotonic
from typing import Any
from weakref import ref

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context, attach, set_value
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from ..database import Database
from ..encoding.open_rows import open_row, service_name
from ..encoding.treatment import Treatment
from ..errors import DataRefused, EventStoreError
from ..host import forks
from ..host.diagnostics import warn
from ..host.signal_handlers import is_interruption
from ..writing.lease import Beat, Lease

__all__ = ["OpenSpanProcessor"]

_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0
_JOIN_SECONDS = 0.2

_Key = tuple[int, int]
"""Trace id and span id."""


class OpenSpanProcessor(SpanProcessor):
    """Knows which spans are open in this process; a forked child begins anew.

    Args:
        database: where they are told of.
        treatment: how they become rows; default what the database's settings say.
    """

    def __init__(self, database: Database, treatment: Treatment | None = None) -> None:
        self._database = database
        self._treatment = treatment or Treatment.of(database.settings)
        self._interval = database.settings.heartbeat_seconds
        self._start_anew()
        forks.in_child(self._start_anew)

    def _start_anew(self) -> None:
        self._open: dict[_Key, ref[Span]] = {}
        self._forget = self._open.pop
        self._lease = Lease(self._database)
        self._stopped = threading.Event()
        self._beginning = threading.RLock()  # a finaliser may start a span
        self._thread: threading.Thread | None = None
        self._before: set[_Key] = set()
        self._told: dict[_Key, int] = {}  # what was written → its start, µs since 1970
        self._next_beat, self._told_since, self._rests_until = -inf, inf, -inf

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Remember a span, as long as it lives, if it is sampled. Raises nothing but what a signal handler does."""
        try:
            forks.notice()
            context: Any = span._context
            if context[3] & 1:
                if self._thread is None:
                    self._begin()
                key = context[:2]
                # pop(key, the reference): a span that nobody ends is forgotten when it dies
                self._open[key] = ref(span, partial(self._forget, key))
        except Exception as error:
            if is_interruption(error):
                raise
            warn(f"a span is not seen while it is open: {type(error).__name__}: {error}", topic="runs")

    def on_end(self, span: ReadableSpan) -> None:
        """Forget a span."""
        try:
            context: Any = span._context
            self._forget(context[:2], None)
        except Exception as error:
            if is_interruption(error):
                raise
            warn(f"a span is not seen to end: {type(error).__name__}: {error}", topic="runs")

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """True: what has ended is the others' business."""
        return True

    def shutdown(self) -> None:
        """Look no more. A statement that hangs is left to itself."""
        self._stopped.set()
        with self._beginning:
            thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join(_JOIN_SECONDS)

    def _begin(self) -> None:
        if not forks.can_start_threads():
            return
        with self._beginning:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="otel-pg-runs", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is ending, or no thread can be had: the next start tries again
                    self._thread = None

    def _run(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # what is written here is no work of the program's
        while not self._stopped.wait(_LOOK_SECONDS):
            try:
                self._look()
            except Exception as error:  # the thread must live as long as the program
                warn(f"open spans are not written: {type(error).__name__}: {error}", topic="runs")

    def _look(self) -> None:
        found = self._open.copy()
        # while nothing can be written, what is new stays new
        new = [key for key in found if key in self._before and key not in self._told]
        self._before = set(found)
        self._told = {key: start for key, start in self._told.items() if key in found}
        if monotonic() >= self._rests_until and (new or self._told):
            self._tell({key: span for key in new if (span := found[key]()) is not None})

    def _tell(self, spans: dict[_Key, Span]) -> None:
        rows = dict(self._rows(spans))
        told = {**self._told, **{key: row["time_us"] for key, row in rows.items()}}
        if not told:
            return
        since, now = min(told.values()), monotonic()
        # a reader looks for nothing that began before the time in the newest heartbeat
        is_due = now >= self._next_beat or since < self._told_since
        if not (rows or is_due):
            return
        service = next((service_name(span, self._treatment) for span in spans.values()), None)
        beat = Beat(len(told), since) if is_due else None
        try:
            self._lease.renew([*rows.values()], beat, service, now + _PATIENCE_SECONDS)
        except EventStoreError as error:
            if not isinstance(error, DataRefused):
                self._rests_until = now + self._interval
            else:
                self._told = told  # they would be refused again, and stand in the way of the others
            warn(f"runs cannot be seen from outside now: {error}", topic="runs")
            return
        self._told = told
        if is_due:
            self._next_beat, self._told_since = now + self._interval, since

    def _rows(self, spans: dict[_Key, Span]) -> Iterable[tuple[_Key, dict[str, Any]]]:
        for key, span in spans.items():
            try:
                yield key, open_row(span, self._treatment)
            except Exception as error:  # the others can be written
                warn(f"a run cannot be seen from outside: {type(error).__name__}: {error}", topic="runs")
