"""A server that is slow to answer, or never does, is not felt by the program. Figures are in benchmarks/."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from harness.delays import Stalls
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_pg_exporter import configure
from otel_pg_exporter.exporter import PostgresSpanExporter

COUNT = 20_000


@pytest.fixture
def silent() -> Any:
    """Where a server accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"host=127.0.0.1 port={server.getsockname()[1]} user=u dbname=d"


def longest(calls: Any) -> float:
    """Seconds of the slowest call."""
    slowest = 0.0
    for call in calls:
        begun = time.perf_counter()
        call()
        slowest = max(slowest, time.perf_counter() - begun)
    return slowest


@pytest.mark.parametrize("signal", ["span", "log"])
def test_a_silent_server_is_not_felt(silent, tmp_path, signal):
    """None of 20,000 calls takes as long as the shortest wait for a server does, but for what the machine takes."""
    telemetry = configure(
        dsn=silent, spool_dir=str(tmp_path), tracer_provider=TracerProvider(shutdown_on_exit=False),
        logger_provider=LoggerProvider(shutdown_on_exit=False),
    )  # fmt: skip
    tracer, emit = telemetry.tracer_provider.get_tracer("x"), telemetry.logger_provider.get_logger("x").emit

    with Stalls() as stalls:
        if signal == "span":
            slowest = longest(tracer.start_span("s").end for _ in range(COUNT))
        else:
            slowest = longest(lambda: emit(LogRecord(body="x")) for _ in range(COUNT))

    telemetry.force_flush(60_000)  # False, for nothing is stored; a busy machine needs its time to spool all of it
    telemetry.shutdown()
    print(f"slowest {slowest * 1000:.1f} ms, of which the machine took {stalls.longest * 1000:.1f} ms at most")
    assert slowest - stalls.longest < 1.5
    assert COUNT == telemetry.counts["spooled"]


def test_an_exporter_in_the_programs_own_thread_is_felt(silent, tmp_path):
    """The counterpart: behind the SDK's SimpleSpanProcessor one call waits for the server."""
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = PostgresSpanExporter(silent, spool_dir=str(tmp_path))
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    slowest = longest([provider.get_tracer("x").start_span("s").end])

    exporter.shutdown(1)
    assert slowest > 1.5
