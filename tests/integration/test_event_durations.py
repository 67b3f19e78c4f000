"""Durations of the event integration, and its ways through several processes, on a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psycopg
import pytest
from click.testing import CliRunner
from harness.patience import PATIENT

from otel_pg_exporter import EventIntegration
from otel_pg_exporter.cli import main
from otel_pg_exporter.events.event_types import IDS, OCCASIONS

TABLES = {"task": "task_events", "agent": "agent_events", "deployment": "deployment_events"}
PROGRAM = "import sys\nfrom otel_pg_exporter import EventIntegration\n"


@pytest.fixture
def events(dsn):
    with EventIntegration(dsn=dsn, health_monitoring=False) as events:
        yield events


def rows(dsn, table, columns="event_name"):
    with psycopg.connect(dsn) as connection:
        return connection.execute(f"SELECT {columns} FROM otel.{table} ORDER BY time, batch_index").fetchall()


def a_payload(name, its_id="1"):
    return {IDS[OCCASIONS[name].category]: its_id}


def run(program: str, first: str = PATIENT, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", first + PROGRAM + program], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


ENDS = [
    ("task:started", "task:completed"),
    ("task:started", "task:error"),
    ("task:started", "task:cancelled"),
    ("agent:registered", "agent:error"),
    ("agent:registered", "agent:unregistered"),
    ("deployment:started", "deployment:completed"),
    ("deployment:started", "deployment:error"),
]


@pytest.mark.parametrize(("start", "end"), ENDS)
def test_an_end_carries_the_duration_since_its_start(dsn, events, start, end):
    """From this process's own memory; the start itself has none."""
    before = time.monotonic()
    events.emit(start, a_payload(start))
    time.sleep(0.02)
    events.emit(end, a_payload(end))
    took = time.monotonic() - before
    events.force_flush()

    started, ended = rows(dsn, TABLES[OCCASIONS[end].category], "event_name, duration_ns")
    assert (start, None) == started
    assert end == ended[0]
    assert 0.02 <= ended[1] / 1e9 <= took


@pytest.mark.parametrize(("start", "end"), ENDS)
def test_the_start_may_come_from_another_process(dsn, events, start, end):
    """It is looked up by its id; a start of another id does not count."""
    before = time.time()
    done = run(
        f"with EventIntegration() as events:\n"
        f" events.emit({start!r}, {a_payload(start)!r}); print(__import__('time').time())\n"
        f" events.emit({start!r}, {a_payload(start, 'other')!r})",
        OTEL_EXPORTER_POSTGRES_DSN=dsn,
    )
    assert ("", 0) == (done.stderr, done.returncode)

    after = time.time()
    events.emit(end, a_payload(end))
    at = time.time()
    events.force_flush()

    _, _, (name, duration) = rows(dsn, TABLES[OCCASIONS[end].category], "event_name, duration_ns")
    assert end == name
    assert after - float(done.stdout) <= duration / 1e9 <= at - before


@pytest.mark.parametrize(("waits", "is_found"), [(60.0, True), (0.0, False)])
def test_a_start_that_is_not_stored_yet_is_waited_for(dsn, events, monkeypatch, waits, is_found):
    """Another process has emitted it, and its batch is still to come; without the wait it is missed."""
    monkeypatch.setattr("otel_pg_exporter.integration._SETTLED_SECONDS", waits)
    with EventIntegration(dsn=dsn, health_monitoring=False, batch_timeout_millis=3_600_000) as elsewhere:
        # in place of the wait: what comes meanwhile
        monkeypatch.setattr(events._courier, "pause", lambda seconds: seconds > 0 and elsewhere.force_flush())
        elsewhere.emit("task:started", {"task_id": "t1"})
        events.emit("task:completed", {"task_id": "t1"})
        events.force_flush()

    (ended,) = [row for row in rows(dsn, "task_events", "event_name, duration_ns") if row[0] == "task:completed"]
    assert is_found == (ended[1] is not None)


def test_an_end_without_a_start_has_no_duration(dsn, events):
    """It is stored all the same."""
    events.emit("task:started", {"task_id": "t1"})
    for task_id in ("t1", "never began"):
        events.emit("task:completed", {"task_id": task_id})
    events.force_flush()

    assert [False, True, False] == [duration is not None for (duration,) in rows(dsn, "task_events", "duration_ns")]


def test_a_duration_that_is_given_wins(dsn, events):
    """The one who measured it knows better."""
    events.emit("task:started", {"task_id": "t1"})
    events.emit("task:completed", {"task_id": "t1", "duration_seconds": 7.5})
    events.force_flush()

    assert [(None,), (7_500_000_000,)] == rows(dsn, "task_events", "duration_ns")


def test_a_program_that_just_ends_has_stored_its_events(dsn):
    """Without a close in it."""
    done = run(
        "e = EventIntegration(); e.emit('system:event', {}); e.emit('task:completed', {'task_id': 't'})",
        OTEL_EXPORTER_POSTGRES_DSN=dsn,
    )

    assert ("", 0) == (done.stderr, done.returncode)
    assert [("system:event",)] == rows(dsn, "events")
    assert [("task:completed",)] == rows(dsn, "task_events")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("owner", ["EventIntegration()", "EventIntegration(store=EventStore())"])
def test_a_forked_child_goes_on_by_itself(dsn, owner):
    """Both store their events once, and the child knows what began before the fork."""
    done = run(
        "import os\nfrom otel_pg_exporter import EventStore\n"
        f"e = {owner}; e.emit('task:started', {{'task_id': 't1'}}); e.force_flush()\n"
        "pid = os.fork()\n"
        "e.emit('task:completed', {'task_id': 't1', 'task_name': 'parent' if pid else 'child'})\n"
        "e.force_flush(); e.close()\n"
        "os._exit(0) if not pid else sys.exit(os.waitpid(pid, 0)[1])",
        OTEL_EXPORTER_POSTGRES_DSN=dsn, EVENT_HEALTH_MONITORING="false",
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    ended = rows(dsn, "task_events", "status, task_name, duration_ns IS NOT NULL")
    assert [("completed", "child", True), ("completed", "parent", True), ("started", None, False)] == sorted(ended)


def test_threads_that_go_on_after_the_main_one_are_heard(dsn):
    """The end of the main thread is not the end of the program: what others emit later is stored too."""
    done = run(
        "import threading, time\n"
        "e = EventIntegration(); main = threading.main_thread(); begun = threading.Event()\n"
        "def work():\n"
        "    e.emit('task:started', {'task_id': 't'}); begun.set(); main.join(); time.sleep(0.5)\n"
        "    e.emit('task:completed', {'task_id': 't'})\n"
        "threading.Thread(target=work).start(); begun.wait()",
        OTEL_EXPORTER_POSTGRES_DSN=dsn,
    )

    assert ("", 0) == (done.stderr, done.returncode)
    assert [("task:started",), ("task:completed",)] == rows(dsn, "task_events")


def test_a_worker_of_multiprocessing_has_stored_its_events(dsn):
    """It ends without the exit handlers of its program."""
    done = run(
        "import multiprocessing\n"
        "e = EventIntegration()\n"
        "def work(number): e.emit('task:started', {'task_id': number})\n"
        "workers = [multiprocessing.get_context('fork').Process(target=work, args=(n,)) for n in range(2)]\n"
        "e.emit('task:started', {'task_id': 'parent'})\n"
        "[worker.start() for worker in workers]; [worker.join() for worker in workers]",
        OTEL_EXPORTER_POSTGRES_DSN=dsn,
    )

    assert ("", 0) == (done.stderr, done.returncode)
    assert ["0", "1", "parent"] == sorted(i for (i,) in rows(dsn, "task_events", "task_id"))


def test_a_thread_that_emits_to_the_very_end_is_not_hurt(dsn, monkeypatch, tmp_path):
    """What comes too late is counted as lost; no exception says so to the thread."""
    monkeypatch.setenv("EVENT_SPOOL_DIR", str(tmp_path))
    done = run(
        "import threading\n"
        "e = EventIntegration(); e.initialize(); begun = threading.Event()\n"
        "def work():\n"
        "    while True: e.emit('task:started', {'task_id': 't'}); begun.set()\n"
        "threading.Thread(target=work, daemon=True).start(); begun.wait()",
        first="",  # whose end does not wait for long
        OTEL_EXPORTER_POSTGRES_DSN=dsn, EVENT_HEALTH_MONITORING="false", EVENT_QUEUE_SIZE="1000",
    )  # fmt: skip

    assert 0 == done.returncode
    assert "Traceback" not in done.stderr
    # on a machine that is busy the time at the end is enough for the spool alone
    replayed = CliRunner().invoke(main, ["--dsn", dsn, "spool", "replay"])
    assert 0 == replayed.exit_code, replayed.output
    assert rows(dsn, "task_events")
