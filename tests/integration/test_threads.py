"""Threads of ours that cannot be had: at a limit of the system for a while, or because the interpreter is ending."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import psycopg
import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider

from otel_pg_exporter import EventStore, configure

SECONDS = 60

LIMITS = """
import os, sys, threading
from opentelemetry import trace
from otel_pg_exporter import configure
start = threading.Thread.start
def refuse(thread):
    raise RuntimeError("can't start new thread")
telemetry = configure()
tracer = trace.get_tracer("x")
threading.Thread.start = refuse
tracer.start_span("without").end()
if sys.argv[1] == "for a while":
    threading.Thread.start = start
    tracer.start_span("with").end()
    assert telemetry.force_flush()
"""


def stored(dsn):
    with psycopg.connect(dsn) as connection:
        return {name for (name,) in connection.execute("SELECT event_name FROM otel.events")}


@pytest.mark.parametrize("durability", ["memory", "process", "power"])
@pytest.mark.parametrize("how_long", ["for a while", "to the end"])
def test_without_threads_nothing_is_lost(dsn, tmp_path, durability, how_long):
    """The first record comes when none can be started; it is stored with the next, or by the end of the program."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITS, how_long], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "OTEL_EXPORTER_POSTGRES_DSN": dsn, "EVENT_SPOOL_DIR": str(tmp_path),
             "EVENT_DURABILITY": durability},
    )  # fmt: skip

    assert ("", 0) == (done.stderr, done.returncode)
    assert {"without", *(["with"] if how_long == "for a while" else [])} == stored(dsn)


def test_an_event_store_that_gets_no_thread_logs_all_the_same(dsn, tmp_path, monkeypatch):
    """Its monitor is one; nothing comes out of a call."""
    with monkeypatch.context() as limits:
        limits.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("no more")))
        store = EventStore(dsn=dsn, spool_dir=str(tmp_path), health_monitoring=True)
        store.log_system_event(event_name="without")
    store.log_system_event(event_name="with")
    assert store.force_flush()
    store.close()

    assert {"without", "with"} == stored(dsn)


def test_what_looks_after_runs_and_tables_begins_when_a_thread_can_be_had(dsn, tmp_path, monkeypatch):
    """One refusal is not for ever."""
    telemetry = configure(
        dsn=dsn, spool_dir=str(tmp_path), tracer_provider=TracerProvider(shutdown_on_exit=False),
        logger_provider=LoggerProvider(shutdown_on_exit=False),
    )  # fmt: skip
    tracer = telemetry.tracer_provider.get_tracer("x")
    with monkeypatch.context() as limits:
        limits.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("no more")))
        tracer.start_span("without").end()
        assert telemetry.force_flush()
    tracer.start_span("with").end()
    assert telemetry.force_flush()

    for beginning in (telemetry._open_spans, telemetry.delivery._upkeep):
        assert beginning._thread.is_alive()
    telemetry.shutdown()
