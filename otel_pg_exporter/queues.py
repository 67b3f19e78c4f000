"""The SDK's batch processors, with a look at the queue that they keep to themselves.

When a queue is full the SDK drops the oldest record and says so in its log alone; here it is counted.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor

__all__ = ["LogQueue", "SpanQueue"]


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
