"""Whose providers an event store uses: in programs of their own, because the providers are set once."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest
from harness.patience import PATIENT

SET_UP = (
    "from opentelemetry import _logs, trace\n"
    "from opentelemetry.sdk._logs import LoggerProvider\n"
    "from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor\n"
    "from otel_pg_exporter import EventStore, configure\n"
    "memory = InMemoryLogRecordExporter()\n"
    "provider = LoggerProvider(shutdown_on_exit=False)\n"
    "provider.add_log_record_processor(SimpleLogRecordProcessor(memory))\n"
)


def run(program: str, dsn: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PATIENT + SET_UP + program], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "DSN": dsn},
    )  # fmt: skip


def stored(dsn):
    with psycopg.connect(dsn) as connection:
        return [name for (name,) in connection.execute("SELECT event_name FROM otel.events ORDER BY time")]


@pytest.mark.parametrize("arguments", ["", "dsn=os.environ['DSN']"])
def test_an_event_goes_through_the_providers_of_configure(dsn, arguments):
    """With the same settings, or none: another exporter sees it too, and the store's end is not theirs."""
    done = run(
        "import os; _logs.set_logger_provider(provider); telemetry = configure(dsn=os.environ['DSN'])\n"
        f"with EventStore({arguments}) as store: store.log_system_event(event_name='both')\n"
        "print([record.log_record.event_name for record in memory.get_finished_logs()], telemetry.is_shut_down)",
        dsn,
    )

    assert ("['both'] False\n", "") == (done.stdout, done.stderr)
    assert ["both"] == stored(dsn)


def test_a_store_alone_leaves_the_programs_providers_alone(dsn):
    """Nothing global is set, and what the program emits through its own is not stored."""
    done = run(
        "import os; _logs.set_logger_provider(provider)\n"
        "with EventStore(dsn=os.environ['DSN']) as store:\n"
        "    store.log_system_event(event_name='ours')\n"
        "    _logs.get_logger('theirs').emit(_logs.LogRecord(event_name='theirs'))\n"
        "print([record.log_record.event_name for record in memory.get_finished_logs()],\n"
        "      type(trace.get_tracer_provider()).__name__)",
        dsn,
    )

    assert ("['theirs'] ProxyTracerProvider\n", "") == (done.stdout, done.stderr)
    assert ["ours"] == stored(dsn)


def test_a_program_that_does_not_close_its_store_loses_nothing(dsn):
    """What is queued at the program's end is stored."""
    done = run("import os; EventStore(dsn=os.environ['DSN']).log_system_event(event_name='last')", dsn)

    assert ("", 0) == (done.stderr, done.returncode)
    assert ["last"] == stored(dsn)


def test_a_store_ends_with_the_telemetry_it_shares(dsn):
    """It says so, where the SDK would drop events without a word."""
    done = run(
        "import os; telemetry = configure(dsn=os.environ['DSN']); store = EventStore(); store.initialize()\n"
        "telemetry.shutdown()\n"
        "from otel_pg_exporter.errors import ClosedError\n"
        "try: store.log_system_event(event_name='x')\n"
        "except ClosedError as error: print(error)\n"
        "store.close()",
        dsn,
    )

    assert "the telemetry of configure() was shut down" in done.stdout
    assert ("", 0) == (done.stderr, done.returncode)


def test_without_the_sdk_what_is_waited_for_is_stored_all_the_same(dsn):
    """OTEL_SDK_DISABLED is about what goes through providers."""
    done = run(
        "import os; os.environ['OTEL_SDK_DISABLED'] = 'true'\n"
        "with EventStore(dsn=os.environ['DSN'], health_monitoring=False) as store:\n"
        "    store.log_system_event(event_name='queued')\n"
        "    store.log_system_event(event_name='waited for', wait=True)",
        dsn,
    )

    assert ("", "") == (done.stdout, done.stderr)
    assert ["waited for"] == stored(dsn)
