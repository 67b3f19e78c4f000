"""Batches of spans that are exported in the test's own process, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.exporter import PostgresSpanExporter
from otel_pg_exporter.writing.delivery import Delivery

from .judge import Judge
from .payload import SequentialIds, payload, producer_trace

__all__ = ["Exports"]


class Exports(SpanProcessor):
    """An exporter, and the spans for it.

    Args:
        dsn: where it stores them.
        spool: folder for what it cannot store.
        judge: is told of each span.
        producer: its name; two in one test have different names.
        settings: other fields of Settings.
    """

    def __init__(self, dsn: str, spool: Path, judge: Judge, producer: str = "exports", **settings: Any) -> None:
        self._judge, self._trace_id, self._last = judge, producer_trace(judge.seed, producer), 0
        provider = TracerProvider(
            id_generator=SequentialIds(judge.seed, producer),
            resource=Resource({"service.name": producer}),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self)
        self._tracer = provider.get_tracer("harness")
        self._ended: list[ReadableSpan] = []
        self.delivery = Delivery(Database(Settings.from_env(dsn=dsn, spool_dir=str(spool), **settings)))
        self.exporter = PostgresSpanExporter(delivery=self.delivery)

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it for the next export."""
        self._ended.append(span)

    def export(self, count: int = 5) -> None:
        """Export so many new spans in one batch."""
        numbers = range(self._last + 1, self._last + count + 1)
        self._last += count
        for number in numbers:
            content = payload((self._trace_id, number))
            self._tracer.start_span(content.name, attributes=content.attributes).end()
        spans, self._ended = self._ended, []
        self._judge.accept((self._trace_id, number) for number in numbers)
        self.exporter.export(spans)

    def settle(self, seconds: float = 30) -> bool:
        """Wait until nothing is left in the spool."""
        return self.delivery.replay_now(seconds)

    def close(self) -> None:
        """Leave the server."""
        self.delivery.close(5)
        self.delivery.database.close()

    def __enter__(self) -> Exports:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
