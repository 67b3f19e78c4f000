"""Processors for spans and log records that must survive the death of the program.

Each record is encoded and written to the spool before `end()` or `emit()` returns: with durability
"process" the operating system has it (it survives kill -9), with "power" the disk has it (fdatasync).
Batches are stored in the background as usual, and their files go when they are stored.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, get_value, set_value
from opentelemetry.sdk._logs import LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from ..encoding.batches import Batch, new_batch_id
from ..encoding.plain_rows import SpanEncoder
from ..encoding.rows import Row, RowEncoder
from ..encoding.treatment import Treatment
from ..errors import EventStoreError, SpoolError
from ..host import forks
from ..host.diagnostics import warn
from ..host.interruptions import put_off, undisturbed
from ..host.signal_handlers import is_interruption
from ..spool import Journal, Waiting
from ..writing.delivery import Delivery
from .fitting import BATCH_BYTES

__all__ = ["DurableLogRecordProcessor", "DurableSpanProcessor"]

_MOST_IN_MEMORY = 16
"""Batches; more of them wait on disk only."""


class _Intake:
    """Takes records in the program's threads, and delivers batches of them in a thread of its own."""

    def __init__(
        self,
        signal: str,
        encode: Callable[[Any, bytes, int], Row],
        delivery: Delivery,
        batch_size: int,
        delay_millis: int,
        max_queue_size: int,
        max_queue_bytes: int,
    ) -> None:
        self._signal, self._encode, self._delivery = signal, encode, delivery
        self._batch_size, self._delay = batch_size, delay_millis / 1000
        self._capacity, self._max_bytes = max_queue_size, max_queue_bytes
        self._has_given_way = False
        self._start_anew()
        forks.in_child(self._start_anew)

    def _start_anew(self) -> None:
        self._producer_id = uuid.uuid4()
        self._sequence = 0
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._journal = self._new_journal()
        self._batch: Batch | None = None
        self._size = self._bytes = 0
        self._is_on_disk = True
        """All of the batch's rows are; else none is."""
        self._complete: deque[tuple[Batch | None, Waiting | None]] = deque()
        """Batches in order; without a batch, it is on disk only."""
        self._is_delivering = self._is_closed = False
        self._worker: threading.Thread | None = None

    @property
    def depth(self) -> int:
        """Records that wait in memory."""
        with undisturbed(self._lock):
            return (self._size if self._batch else 0) + sum(len(batch) for batch, _ in self._complete if batch)

    def take(self, record: Any) -> None:
        """Make a record safe. Raises what a signal handler does, and nothing else."""
        if self._has_given_way:
            return
        forks.notice()
        if self._worker is None:
            forks.can_start_threads()  # which renews the lock, if it has to
        if not put_off(self._take_safely, record):
            self._take_safely(record)

    def _take_safely(self, record: Any) -> None:
        try:
            with undisturbed(self._lock):
                self._take(record)
        except BaseException as error:
            self._delivery.drop(self._producer_id, self._signal, 1, f"{type(error).__name__}: {error}", "internal")
            warn(f"a {self._signal} record was lost: {type(error).__name__}: {error}", topic="durable lost")
            if is_interruption(error) or not isinstance(error, Exception):
                raise

    def flush(self, seconds: float) -> bool:
        """Deliver what was taken by now; False if the time ran out."""
        forks.notice()
        with undisturbed():
            return self._flush(seconds)

    def _flush(self, seconds: float) -> bool:
        ends_at = monotonic() + seconds
        if not self._lock.acquire(timeout=max(0.0, seconds)):  # a disk that is slow may hold up another thread
            return False
        try:
            self._close_batch()
            self._start_worker()
            self._wake.notify_all()
            if self._worker is not None:
                return self._wake.wait_for(
                    lambda: not self._complete and not self._is_delivering, max(0.0, ends_at - monotonic())
                )
        finally:
            self._lock.release()
        while self._complete and monotonic() < ends_at:
            self._deliver_next()
        return not self._complete

    def close(self, seconds: float) -> None:
        """Deliver what is left within the time; later records are for the next process, from the disk."""
        self.flush(seconds)
        with undisturbed(self._lock):
            self._is_closed = True
            self._close_batch()
            self._journal = self._new_journal()  # the spool is about to close the files of the other
            left = [batch for batch, held in self._complete if batch and held is None]
            self._complete = deque((batch, held) for batch, held in self._complete if held is not None)
            self._wake.notify_all()
        for batch in left:  # which the disk had no room for
            self._deliver(batch, None, 0.0)

    def give_way(self) -> None:
        """Take nothing more, also in children: another processor does."""
        self._has_given_way = True

    def _new_journal(self) -> Journal | None:
        spool = self._delivery.spool
        return Journal(spool, self._delivery.database.settings.durability == "power") if spool else None

    def _take(self, record: Any) -> None:
        if self._is_closed:
            self._take_for_next_process(record)
            return
        if self._batch is None:
            self._batch, self._size, self._is_on_disk = self._new_batch(), 0, True
        self._start_worker()
        batch = self._batch
        row = self._encode(record, batch.id.bytes, self._size)
        try:
            if self._journal is not None and self._is_on_disk:
                self._journal.append(batch, row)
        except SpoolError as error:
            warn(f"{error}; records are held in memory only", topic="durable memory")
            if self._size:
                # what lies on disk under this id must not be mixed with what does not
                self._close_batch()
                self._batch, self._size = self._new_batch(), 0
                batch = self._batch
                row = self._encode(record, batch.id.bytes, 0)
            self._is_on_disk = False  # the next batch tries again
        batch.add_row(row)
        self._size += 1
        self._bytes += len(row[1])
        if self._size >= self._batch_size or self._bytes >= BATCH_BYTES:
            self._close_batch()
            self._wake.notify_all()

    def _take_for_next_process(self, record: Any) -> None:
        if self._journal is None:
            raise SpoolError("the processor was shut down, and there is no spool")
        if self._batch is None:
            self._batch, self._size = self._new_batch(), 0
        row = self._encode(record, self._batch.id.bytes, self._size)
        try:
            self._journal.append(self._batch, row)
        except SpoolError:  # it was being closed, perhaps: another file will do
            self._journal.append(self._batch, row)
        self._size += 1

    def _new_batch(self) -> Batch:
        self._sequence += 1
        return Batch(new_batch_id(), self._producer_id, self._sequence, self._signal)

    def _close_batch(self) -> None:
        batch, self._batch = self._batch, None
        self._bytes = 0
        if batch is None or not len(batch):
            return
        held = self._journal.complete(batch) if self._journal and self._is_on_disk else None
        is_kept = held is None or len(self._complete) < _MOST_IN_MEMORY
        self._complete.append((batch if is_kept else None, held))
        if held is None:
            self._limit_memory()

    def _limit_memory(self) -> None:
        in_memory = [batch for batch, held in self._complete if batch and not held]
        count, size = sum(map(len, in_memory)), sum(batch.size for batch in in_memory)
        for batch in in_memory:
            if count <= self._capacity and size <= self._max_bytes:
                return
            count, size = count - len(batch), size - batch.size
            self._complete.remove((batch, None))
            self._delivery.give_up(batch, "neither PostgreSQL nor the disk takes records, and too many wait in memory")

    def _start_worker(self) -> None:
        if self._worker is None and not self._is_closed and forks.can_start_threads():
            self._worker = threading.Thread(target=self._work, name=f"otel-pg-durable-{self._signal}", daemon=True)
            try:
                self._worker.start()
            except RuntimeError:  # none can be had now, or any more: the next record, or a flush, tries again
                self._worker = None

    def _work(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            while self._deliver_next():
                pass
        finally:
            self._worker = None  # whatever ended it, the next record starts another

    def _deliver_next(self) -> bool:
        """Wait for a batch and deliver it; False if none comes any more."""
        with undisturbed(self._lock):
            if not self._complete:
                self._wait_for_records()
            if not self._complete:
                return not self._is_closed
            batch, held = self._complete.popleft()
            self._is_delivering = True
        try:
            self._deliver(batch, held, self._delivery.database.settings.export_timeout_millis / 1000)
        finally:
            with undisturbed(self._lock):
                self._is_delivering = False
                self._wake.notify_all()
        return True

    def _deliver(self, batch: Batch | None, held: Waiting | None, seconds: float) -> None:
        try:
            batch = batch or (self._delivery.recall(held) if held else None)
            if batch is not None:
                self._delivery.deliver(batch, seconds, held)
        except EventStoreError as error:
            warn(f"{self._signal} records were lost: {error}", topic="durable lost")
        except Exception as error:  # the thread must live as long as the program
            warn(f"a batch stays in the spool: {type(error).__name__}: {error}", topic="durable error")

    def _wait_for_records(self) -> None:
        due = monotonic() + self._delay
        while not self._complete and not self._is_closed and (remaining := due - monotonic()) > 0:
            self._wake.wait(remaining)
        self._close_batch()


class _Durable:
    """What both processors have beside taking a record."""

    _intake: _Intake
    untold = late = 0
    """Records that a full queue pushed out, and that came after the end: none, the disk takes them. What finds no room
    on it either the delivery counts."""

    @property
    def depth(self) -> int:
        """Records that wait in memory."""
        return self._intake.depth

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Store every record that was taken by now; False if the time ran out."""
        return self._intake.flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: int = 30_000) -> None:
        """Store what is left; what cannot be stored stays on disk for the next process."""
        self._intake.close(timeout_millis / 1000)

    def give_way(self) -> None:
        """After the shutdown: another processor of ours takes what comes, and the next process would store it again."""
        self._intake.give_way()


class DurableSpanProcessor(_Durable, SpanProcessor):
    """Instead of the SDK's BatchSpanProcessor: a span is on disk before its `end()` returns.

    Args:
        delivery: where spans go; its settings say how durable.
        treatment: how records become rows; default what the delivery's settings say.
        batch_size: spans in a batch.
        delay_millis: longest wait before a part-filled batch is stored.
        max_queue_size: spans that may wait in memory while the disk takes none.
        max_queue_bytes: what they may hold.
    """

    def __init__(
        self,
        delivery: Delivery,
        treatment: Treatment | None = None,
        *,
        batch_size: int = 2048,
        delay_millis: int = 200,
        max_queue_size: int = 65_536,
        max_queue_bytes: int = 256 << 20,
    ) -> None:
        encoder = SpanEncoder(treatment or Treatment.of(delivery.database.settings))
        sizes = (batch_size, delay_millis, max_queue_size, max_queue_bytes)
        self._intake = _Intake("span", encoder.span, delivery, *sizes)

    def on_end(self, span: ReadableSpan) -> None:
        """Make a finished span safe."""
        if span.context is not None and span.context.trace_flags.sampled:
            self._intake.take(span)


class DurableLogRecordProcessor(_Durable, LogRecordProcessor):
    """Instead of the SDK's BatchLogRecordProcessor: a log record is on disk before `emit()` returns.

    Takes the same arguments as `DurableSpanProcessor`.
    """

    def __init__(
        self,
        delivery: Delivery,
        treatment: Treatment | None = None,
        *,
        batch_size: int = 2048,
        delay_millis: int = 200,
        max_queue_size: int = 65_536,
        max_queue_bytes: int = 256 << 20,
    ) -> None:
        encoder = RowEncoder(treatment or Treatment.of(delivery.database.settings))
        sizes = (batch_size, delay_millis, max_queue_size, max_queue_bytes)
        self._intake = _Intake("log", encoder.log, delivery, *sizes)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Make a log record safe."""
        if not get_value(_SUPPRESS_INSTRUMENTATION_KEY):
            self._intake.take(
                ReadableLogRecord(
                    log_record.log_record,
                    log_record.resource or Resource.create({}),
                    log_record.instrumentation_scope,
                    log_record.limits,
                )
            )
