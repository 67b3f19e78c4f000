"""Ours: `configure()`, and nothing between this program and PostgreSQL."""

from __future__ import annotations

import psycopg
from opentelemetry import trace
from opentelemetry.trace import Tracer
from realistic import RESOURCE

from otel_pg_exporter import configure

from .measure import Stored, main


class Ours:
    """As a program would use it, secrets looked for."""

    packages = ("otel-pg-exporter", "opentelemetry-sdk")
    table = "otel.agent_events"

    def __init__(self, dsn: str) -> None:
        self._telemetry = configure(dsn=dsn, resource=RESOURCE)

    def tracer(self) -> Tracer:
        return trace.get_tracer("bench", "1.0")

    def flush(self) -> None:
        self._telemetry.force_flush()

    def server(self) -> int | None:
        return None

    def read(self, span_id: int, connection: psycopg.Connection) -> Stored:
        row = connection.execute(
            "SELECT trace_id FROM otel.agent_events WHERE span_id = %s",
            [span_id - 2**64 if span_id >= 2**63 else span_id],
        ).fetchone()
        assert row is not None
        spans = self._telemetry.query.trace(row[0].hex).to_readable_spans()
        (span,) = (each for each in spans if each.context.span_id == span_id)
        return Stored(
            attributes=span.attributes,
            events=[(event.name, event.attributes) for event in span.events],
            links=[(link.context.span_id, link.attributes) for link in span.links],
            times=(span.start_time, span.end_time),
            resource=span.resource.attributes,
            scope=(span.instrumentation_scope.name, span.instrumentation_scope.version),
        )

    def stop(self) -> None:
        self._telemetry.shutdown()


if __name__ == "__main__":
    main(Ours)
