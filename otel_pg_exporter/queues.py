"""The SDK's batch processors, with a look at the queue that they keep to themselves.

When a queue is full the SDK drops the oldest record and says so in its log alone; here it is counted.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

__all__ = ["LogQueue", "NoQueue", "SpanQueue", "StandingQueue", "exporters_of"]


class _Watched:
    _batch_processor: Any
    overflowed = 0
    """Records that a full queue pushed out."""

    @property
    def depth(self) -> int:
        """Records that wait."""
        return len(self._batch_processor._queue)

    def _watch(self) -> None:
        queue = self._batch_processor._queue
        if len(queue) == queue.maxlen:
            self.overflowed += 1


class SpanQueue(_Watched, BatchSpanProcessor):
    """Spans on their way to an exporter."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that ended, if it is sampled."""
        if span.context is not None and span.context.trace_flags.sampled:
            self._watch()
        super().on_end(span)


class LogQueue(_Watched, BatchLogRecordProcessor):
    """Log records on their way to an exporter."""

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Queue a log record."""
        self._watch()
        super().on_emit(log_record)


class NoQueue(SpanProcessor, LogRecordProcessor):
    """What is there when the SDK is disabled: no thread, and nothing waits."""

    depth = overflowed = 0

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Nothing."""

    def shutdown(self) -> None:
        """Nothing."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """True: nothing waits."""
        return True


class StandingQueue:
    """A processor that somebody else has put before an exporter of ours, seen as a queue."""

    overflowed = 0
    """Not known."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        """As it was found."""

    @property
    def depth(self) -> int:
        """Records that wait."""
        return len(getattr(getattr(self.processor, "_batch_processor", None), "_queue", ()))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what waits."""
        return bool(self.processor.force_flush(timeout_millis))

    def shutdown(self) -> None:
        """Export what waits, and close the exporter."""
        self.processor.shutdown()


def exporters_of(provider: Any) -> list[tuple[Any, Any]]:
    """(processor, its exporter) of a provider; the SDK keeps them to itself.

    What cannot be found out is left out: at worst something is stored twice.
    """
    composite = getattr(provider, "_active_span_processor", None) or getattr(
        provider, "_multi_log_record_processor", None
    )
    processors = getattr(composite, "_span_processors", ()) or getattr(composite, "_log_record_processors", ())
    found = []
    for processor in processors:
        holder = getattr(processor, "_batch_processor", processor)
        exporter = getattr(holder, "_exporter", None) or getattr(holder, "span_exporter", None)
        if exporter is not None:
            found.append((processor, exporter))
    return found
