"""Records that wait in memory, and the thread that exports them in batches.

In place of the SDK's batch processors, which start a thread in every forked child, whether it records
anything or not, take no notice of a timeout, and drop records of a full queue without a count. Here the thread
begins with the first record, a flush and a shutdown end in time, and what was dropped is counted.
"""

from __future__ import annotations

import copy
import os
import threading
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import Any, Generic, TypeVar

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context, attach, detach, set_value
from opentelemetry.sdk._logs import LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from ..host import errands, forks
from .fitting import Fit

__all__ = ["LogQueue", "NoQueue", "SpanQueue", "StandingQueue", "exporters_of", "processors_of"]

T = TypeVar("T")

_HANGING_SECONDS = 0.3
"""At the end, an export that takes longer is not waited for by what is behind it."""
_LOOK_SECONDS = 0.05
_LEAST_SECONDS = 0.2
"""At the end, beside the others: what a busy machine has taken of the time is not missing for the way to the spool."""
_FULL = "the queue was full, and its oldest went: EVENT_QUEUE_SIZE and EVENT_QUEUE_MAX_BYTES say how many may wait"
_LATE_SECONDS = 1.0
"""After the end of its time an export is waited for no longer: it may be in a function of the program's, that hangs."""
_BETWEEN = 0b1111
"""Of sixteen records one is weighed."""


class _Queue(Generic[T]):
    """Takes records from any thread; a full one drops its oldest.

    Args:
        exporter: is handed lists of records.
        batch_size: records that are exported without waiting.
        delay_millis: longest wait of a record.
        capacity: records that may wait.
        max_bytes: what they may hold, about.
        name: the thread's.
    """

    def __init__(
        self, exporter: Any, batch_size: int, delay_millis: int, capacity: int, max_bytes: int, name: str
    ) -> None:
        self._exporter, self._name = exporter, name
        self._batch_size, self._delay, self._capacity = batch_size, delay_millis / 1000, capacity
        self._max_bytes = max_bytes
        self._is_closed = self._has_given_way = False
        self._start_anew()
        forks.in_child(self._start_anew)

    def _start_anew(self) -> None:
        self.late = self._taken = self._pushed_out = self._told = 0
        self._records: deque[T] = deque(maxlen=self._capacity)
        self._fit = Fit(self._max_bytes, self._capacity, self._batch_size)
        self._pid = os.getpid()
        self._starting, self._exporting, self._telling = threading.Lock(), threading.Lock(), threading.Lock()
        self._awake = threading.Event()
        self._worker: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._records)

    @property
    def untold(self) -> int:
        """Records that were pushed out, of which the exporter does not know yet."""
        return self._pushed_out - self._told

    def put(self, record: T) -> None:
        """Take a record."""
        if self._pid != os.getpid():
            forks.notice()
        if self._is_closed:
            self.late += not self._has_given_way
            return
        if self._worker is None:
            self._start()
        records, fit = self._records, self._fit
        if not self._taken & _BETWEEN:
            fit.look(record)
        self._taken += 1
        if len(records) >= fit.most:
            self._make_room(fit.most)
        records.append(record)
        if self._is_closed:  # by another thread, since the look above
            self._take_back(record)  # type: ignore[unreachable]
        if len(records) >= fit.batch and not self._awake.is_set():
            self._awake.set()

    def flush(self, seconds: float) -> bool:
        """Export what waits now; False if the time ran out."""
        forks.notice()
        if not self._records and not self._exporting.locked():
            return True
        ends_at = monotonic() + seconds
        return errands.run(lambda: self._export_all(ends_at), seconds, f"{self._name}-flush") is True

    def close(self, seconds: float) -> None:
        """Export what waits, as far as the time allows, and take nothing more."""
        forks.notice()
        ends_at = monotonic() + seconds
        self._is_closed = True
        self._awake.set()
        errands.run(lambda: self._export_last(ends_at), max(0.0, seconds) + _LATE_SECONDS, f"{self._name}-end")
        if self.untold:
            self._tell()
        if left := self._taken_out(self._capacity):
            self._exporter.give_up(len(left), "the program ended before they could be stored")
        self._exporter.shutdown(timeout_millis=max(0.0, ends_at - monotonic()) * 1000)

    def give_way(self) -> None:
        """Count nothing more as late: another queue takes it."""
        self._has_given_way = True

    def _export_last(self, ends_at: float) -> None:
        # the worker takes part, if there is one: none can be started when the interpreter is ending
        patience = _HANGING_SECONDS
        while self._records and monotonic() < ends_at:
            if not (is_ours := self._exporting.acquire(timeout=patience)):
                patience = _LOOK_SECONDS  # it hangs: a busy machine needs the time for what is behind it
            try:
                if is_ours or not self._exporter.is_encoding:
                    self._export_batch()  # past one that hangs: what is behind it has a chance to get to the spool
            finally:
                if is_ours:
                    self._exporting.release()
        self._wait_for_last(ends_at)
        late_ends_at = monotonic() + _LEAST_SECONDS
        while self._records and monotonic() < late_ends_at and not self._exporter.is_encoding:
            self._export_batch()

    def _take_back(self, record: T) -> None:
        # the end may have looked for the last one already
        with suppress(ValueError, IndexError):  # gone, or going
            self._records.remove(record)
            self.late += 1

    def _make_room(self, most: int) -> None:
        with suppress(IndexError):  # another thread takes out too
            while len(self._records) >= most:
                self._records.popleft()
                self._pushed_out += 1

    def _start(self) -> None:
        # not waiting: this may be a signal handler, in the middle of this very function
        if not (forks.can_start_threads() and self._starting.acquire(blocking=False)):
            return
        try:
            if self._worker is None:
                worker = threading.Thread(target=self._work, name=self._name, daemon=True)
                worker.start()
                self._worker = worker
        except RuntimeError:
            pass  # the interpreter is ending: closing exports
        finally:
            self._starting.release()

    def _work(self) -> None:
        try:
            due = monotonic() + self._delay
            while not self._is_closed:
                was_woken = self._awake.wait(max(0.0, due - monotonic()))
                self._awake.clear()
                if not was_woken:
                    due = monotonic() + self._delay  # not after the export: what comes meanwhile waits already
                self._export_batches(self._fit.batch if was_woken and not self._is_closed else 1)
        finally:
            self._worker = None  # whatever ended it, the next record starts another

    def _export_all(self, ends_at: float) -> bool:
        while self._records:
            if not self._exporting.acquire(timeout=max(0.0, ends_at - monotonic())):
                return False
            try:
                self._export_batch()
            finally:
                self._exporting.release()
            if self._records and monotonic() > ends_at:
                return False
        # what another thread has taken out may still be on its way
        if not self._exporting.acquire(timeout=max(0.0, ends_at - monotonic())):
            return False
        self._exporting.release()
        return True

    def _wait_for_last(self, ends_at: float) -> None:
        while monotonic() < ends_at and not self._exporter.is_hanging:
            if self._exporting.acquire(timeout=_LOOK_SECONDS):
                self._exporting.release()
                return

    def _export_batches(self, least: int) -> None:
        while len(self._records) >= least:
            with self._exporting:
                self._export_batch()

    def _export_batch(self) -> None:
        if self.untold:
            self._tell()
        if batch := self._taken_out(self._fit.batch):
            token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
            try:
                self._exporter.export(batch)
            finally:
                detach(token)

    def _tell(self) -> None:
        # not where it happens: who records is not to wait for a log. A flush in a signal handler may come in between
        if self._telling.acquire(blocking=False):
            try:
                count = self.untold
                self._told += count
                self._exporter.give_up(count, _FULL, "queue_full")
            finally:
                self._telling.release()

    def _taken_out(self, most: int) -> list[T]:
        taken: list[T] = []
        with suppress(IndexError):  # another thread takes out too
            while len(taken) < most:
                taken.append(self._records.popleft())
        return taken


class _Queued:
    """What both queues have beside taking a record."""

    _queue: _Queue[Any]

    @property
    def untold(self) -> int:
        """Records that a full queue pushed out, and that are not counted yet."""
        return self._queue.untold

    @property
    def late(self) -> int:
        """Records that came after the end."""
        return self._queue.late

    @property
    def depth(self) -> int:
        """Records that wait."""
        return len(self._queue)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export every record that was taken by now; False if the time ran out."""
        return self._queue.flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: int = 30_000) -> None:
        """Export what is left, as far as the time allows."""
        self._queue.close(timeout_millis / 1000)

    def give_way(self) -> None:
        """After the shutdown: another processor of ours takes what comes."""
        self._queue.give_way()


class SpanQueue(_Queued, SpanProcessor):
    """Spans on their way to an exporter.

    Args:
        exporter: where they go.
        max_export_batch_size: spans in one export.
        schedule_delay_millis: longest wait before a part-filled batch is exported, ms.
        max_queue_size: spans that may wait.
        max_queue_bytes: what they may hold, about; batches are smaller, too, where spans are large.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        max_export_batch_size: int,
        schedule_delay_millis: int,
        max_queue_size: int,
        max_queue_bytes: int,
    ) -> None:
        self._queue: _Queue[ReadableSpan] = _Queue(
            exporter, max_export_batch_size, schedule_delay_millis, max_queue_size, max_queue_bytes, "otel-pg-spans"
        )

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that ended, if it is sampled."""
        if span.context is not None and span.context.trace_flags.sampled:
            self._queue.put(span)


class LogQueue(_Queued, LogRecordProcessor):
    """Log records on their way to an exporter. Takes the same arguments as `SpanQueue`."""

    def __init__(
        self,
        exporter: LogRecordExporter,
        *,
        max_export_batch_size: int,
        schedule_delay_millis: int,
        max_queue_size: int,
        max_queue_bytes: int,
    ) -> None:
        self._queue: _Queue[ReadableLogRecord] = _Queue(
            exporter, max_export_batch_size, schedule_delay_millis, max_queue_size, max_queue_bytes, "otel-pg-logs"
        )

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Queue a log record."""
        record = copy.copy(log_record.log_record)
        record.context = Context()  # may hold large things, and nothing that is stored
        self._queue.put(
            ReadableLogRecord(
                record, log_record.resource or Resource.create({}), log_record.instrumentation_scope, log_record.limits
            )
        )


class NoQueue(SpanProcessor, LogRecordProcessor):
    """What is there when the SDK is disabled: no thread, and nothing waits."""

    depth = untold = late = 0

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Nothing."""

    def shutdown(self, timeout_millis: int = 30_000) -> None:
        """Nothing."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """True: nothing waits."""
        return True

    def give_way(self) -> None:
        """Nothing."""


class StandingQueue:
    """A processor that somebody else has put before an exporter of ours, seen as a queue."""

    untold = late = 0
    """Not known."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        """As it was found."""

    @property
    def depth(self) -> int:
        """Records that wait."""
        return len(getattr(getattr(self.processor, "_batch_processor", None), "_queue", ()))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what waits; False if the processor says that it did not."""
        return self.processor.force_flush(timeout_millis) is not False

    def shutdown(self, timeout_millis: int = 30_000) -> None:
        """Export what waits, and close the exporter; the SDK's own processors take no time limit."""
        self.processor.shutdown()

    def give_way(self) -> None:
        """Nothing: after its shutdown it takes nothing."""


def processors_of(provider: Any) -> tuple[Any, ...]:
    """Those of a provider; the SDK keeps them to itself."""
    composite = getattr(provider, "_active_span_processor", None) or getattr(
        provider, "_multi_log_record_processor", None
    )
    return tuple(getattr(composite, "_span_processors", ()) or getattr(composite, "_log_record_processors", ()))


def exporters_of(provider: Any) -> list[tuple[Any, Any]]:
    """(processor, its exporter) of a provider.

    What cannot be found out is left out: at worst something is stored twice.
    """
    found = []
    for processor in processors_of(provider):
        holder = getattr(processor, "_batch_processor", processor)
        exporter = getattr(holder, "_exporter", None) or getattr(holder, "span_exporter", None)
        if exporter is not None:
            found.append((processor, exporter))
    return found
