"""`otel-pg` in this process, and a database with something in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from harness.patience import wait_for_tables
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_pg_exporter import PostgresSpanExporter
from otel_pg_exporter.cli import main
from otel_pg_exporter.demo import record

Command = Callable[..., Result]


class Collected(SpanExporter):
    """Spans in the order in which they ended."""

    def __init__(self) -> None:
        self.spans = []

    def export(self, spans):
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self):
        pass


@pytest.fixture(autouse=True)
def _patient(monkeypatch) -> None:
    """What this process stores is in the tables, and not in the spool, also where the machine is busy."""
    wait_for_tables(monkeypatch.setattr)


@pytest.fixture
def otel_pg(dsn) -> Command:
    """Runs a command on the test's database; a real process only where the process is what is tested."""

    def run(*arguments: str, stdin: bytes | None = None, code: int = 0) -> Result:
        done = CliRunner().invoke(main, ["--dsn", dsn, *arguments], input=stdin)
        assert code == done.exit_code, done.output
        return done

    return run


@pytest.fixture
def record_spans(dsn) -> Callable[..., object]:
    """Stores the spans that a function makes with a tracer; gives what it gives."""

    def store(make, service="shop"):
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        collected = Collected()
        provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(collected))
        given = make(provider.get_tracer("tests"))
        exporter = PostgresSpanExporter(dsn)
        exporter.export(collected.spans)
        exporter.shutdown()
        return given

    return store


@pytest.fixture
def demo(record_spans) -> str:
    """The trace id of what `otel-pg demo` records."""
    return record_spans(record, "otel-pg-demo")
