"""Agno: `setup_tracing`, whose exporter writes to PostgreSQL from the program itself."""

from __future__ import annotations

import psycopg
from agno.db.postgres import PostgresDb
from agno.tracing import setup_tracing
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer

from .measure import QUEUE, Stored, main, sqlalchemy_url


class Agno:
    """With its batches, which are off by default; the queue is what our `configure()` has too."""

    packages = ("agno", "opentelemetry-sdk", "sqlalchemy", "psycopg")
    table = "ai.agno_spans"

    def __init__(self, dsn: str) -> None:
        self._database = PostgresDb(db_url=sqlalchemy_url(dsn, "postgresql+psycopg"))
        setup_tracing(self._database, batch_processing=True, max_queue_size=QUEUE)

    def tracer(self) -> Tracer:
        return trace.get_tracer("bench", "1.0")

    def flush(self) -> None:
        provider = trace.get_tracer_provider()
        assert isinstance(provider, TracerProvider)
        provider.force_flush(600_000)

    def server(self) -> int | None:
        return None

    def read(self, span_id: int, connection: psycopg.Connection) -> Stored:
        span = self._database.get_span(format(span_id, "016x"))
        return Stored(attributes=span.attributes)  # its tables have no place for what else there is

    def stop(self) -> None:
        self._database.close()


if __name__ == "__main__":
    main(Agno)
