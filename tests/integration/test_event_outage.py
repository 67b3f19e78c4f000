"""The event store and the event integration while PostgreSQL is away: nothing is raised, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time

import psycopg
import pytest
from harness.patience import PATIENT

from otel_pg_exporter import AsyncEventStore, EventIntegration, EventStore, migrate
from otel_pg_exporter.errors import DatabaseUnavailable


@pytest.fixture
def options(dsn, tmp_path):
    return {"dsn": dsn, "spool_dir": str(tmp_path), "health_monitoring": False, "export_timeout_millis": 1_000}


def rows(dsn, columns):
    with psycopg.connect(dsn) as connection:
        return connection.execute(f"SELECT {columns} FROM otel.task_events ORDER BY time, batch_index").fetchall()


def run(program: str, options: dict[str, object], first: str = PATIENT) -> str:
    """A program in a process of its own; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", first + "from otel_pg_exporter import EventIntegration, EventStore\n" + program],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "OTEL_EXPORTER_POSTGRES_DSN": str(options["dsn"]), "EVENT_HEALTH_MONITORING": "false",
             "EVENT_SPOOL_DIR": str(options["spool_dir"]), "EVENT_CONNECT_TIMEOUT": "60"},
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_a_store_that_begins_in_an_outage_keeps_its_events(dsn, outage, options):
    """Logging raises nothing; what needs the database does, and afterwards all is stored once."""
    outage.begin()
    with EventStore(**options) as store:
        for number in range(20):
            store.log_task_event(event_name=f"{number:02}")
        for needs_it in (
            store.initialize,
            lambda: store.log_task_event(event_name="x", wait=True),
            store.query_task_events,
        ):
            with pytest.raises(DatabaseUnavailable, match="not currently accepting connections"):
                needs_it()
        assert not store.force_flush()
        during = store.get_health_status()
        outage.end()
        assert store.force_flush()
        after = store.get_health_status()

    assert (False, 20, {}) == (during.is_healthy, during.spool_depth, during.failed)
    assert (True, 0, 20) == (after.is_healthy, after.spool_depth, after.exported)
    assert [(f"{number:02}",) for number in range(20)] == rows(dsn, "event_name")


class NeedsDatabase(EventStore):
    """As the store would be if its first use connected."""

    def _opened(self):
        opened = super()._opened()
        migrate.ensure(opened.telemetry.database)
        return opened


def test_a_store_that_connects_before_it_logs_fails_that(dsn, outage, options):
    """The counterpart: with a store whose first use needs the tables, logging raises."""
    outage.begin()
    with pytest.raises(DatabaseUnavailable), NeedsDatabase(**options) as store:
        store.log_task_event(event_name="never")


def test_the_async_store_keeps_its_events_too(dsn, outage, options):
    """It begins, logs and ends in an outage."""

    async def main():
        async with AsyncEventStore(**options) as store:
            await store.log_task_event(event_name="x")
            with pytest.raises(DatabaseUnavailable):
                await store.query_task_events()
            with pytest.raises(DatabaseUnavailable):
                await store.initialize()

    outage.begin()
    asyncio.run(main())
    outage.end()
    with EventStore(**options) as store:
        assert store.force_flush()
    assert [("x",)] == rows(dsn, "event_name")


def test_an_integration_keeps_its_events_with_their_durations(dsn, outage, options):
    """Starts and ends before, in and after the outage; an end without a start has none, and is stored too."""
    with EventIntegration(**options) as events:
        events.emit("task:started", {"task_id": "before"})
        assert events.force_flush()
        outage.begin()
        for task_id in ("during", "after"):
            events.emit("task:started", {"task_id": task_id})
        for task_id in ("before", "during", "never began"):
            events.emit("task:completed", {"task_id": task_id})
        assert not events.force_flush()
        assert {} == events.get_health_status().failed
        outage.end()
        events.emit("task:completed", {"task_id": "after"})
        assert events.force_flush()

    assert [
        ("after", "completed", True), ("after", "started", False),
        ("before", "completed", True), ("before", "started", False),
        ("during", "completed", True), ("during", "started", False),
        ("never began", "completed", False),
    ] == sorted(rows(dsn, "task_id, status, duration_ns IS NOT NULL"))  # fmt: skip


def test_emitting_in_an_outage_waits_for_nothing(outage, options):
    """500 ends whose start cannot be looked up are emitted, and spooled, at once."""
    outage.begin()
    with EventIntegration(**options) as events:
        for number in range(500):
            events.emit("task:completed", {"task_id": number})
        begun = time.monotonic()
        while events._courier.depth:
            time.sleep(0.05)
        assert time.monotonic() - begun < 20  # half a second for each would be 250
        events.force_flush()
        assert 500 == events.get_health_status().spool_depth


def test_what_one_process_left_in_the_spool_the_next_knows(dsn, outage, options):
    """A start from a process that ended in the outage, an end from another after it: with the duration."""
    outage.begin()
    run("with EventIntegration() as events: events.emit('task:started', {'task_id': 't1'})", options)
    run("events = EventIntegration(); events.emit('task:started', {'task_id': 't2'})", options)
    outage.end()

    printed = run(
        "with EventIntegration() as events:\n"
        "    events.initialize(); events.force_flush()\n"
        "    for its_id in ('t1', 't2'): events.emit('task:completed', {'task_id': its_id})\n"
        "    print(events.force_flush(), events.get_health_status().failed)",
        options,
    )

    assert "True {}\n" == printed
    assert [("t1", True), ("t2", True)] == rows(dsn, "task_id, duration_ns > 0")[2:]
    assert 4 == len(rows(dsn, "1"))


@pytest.mark.parametrize(("durability", "is_kept"), [("process", True), ("memory", False)])
def test_what_was_emitted_survives_a_kill_with_a_durable_mode(dsn, options, durability, is_kept):
    """It is on disk before emit returns; in memory mode, the counterpart, it is lost."""
    program = (
        "import os\n"
        f"events = EventIntegration(durability={durability!r}, batch_timeout_millis=60_000)\n"
        "for number in range(20): events.emit('task:started', {'task_id': number})\n"
        "os.kill(os.getpid(), 9)"
    )
    with pytest.raises(AssertionError):
        run(program, options)
    with EventStore(**options) as store:
        assert store.force_flush()

    assert (20 if is_kept else 0) == len(rows(dsn, "1"))


def test_a_process_that_says_nothing_itself_stores_what_was_left(dsn, outage, options):
    """It need not wait for an event of its own to look into the spool."""
    outage.begin()
    run("with EventStore() as store: store.log_task_event(event_name='left')", options)
    outage.end()

    assert "True\n" == run("with EventStore() as store: print(store.force_flush())", options)
    assert [("left",)] == rows(dsn, "event_name")


@pytest.mark.parametrize("last", ["events.close()", ""])
def test_a_silent_server_does_not_keep_an_integration_from_ending(tmp_path, last):
    """It accepts connections and never answers: the program ends in time, with all events in the spool."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        dsn = f"host=127.0.0.1 port={server.getsockname()[1]} dbname=d user=u"
        options = {"dsn": dsn, "spool_dir": str(tmp_path)}
        printed = run(
            "import time\n"
            "events = EventIntegration()\n"
            "for number in range(200):\n"
            "    events.emit('task:started', {'task_id': number})\n"
            "    events.emit('task:completed', {'task_id': f'not {number}'})\n"
            f"print(time.monotonic(), flush=True); {last}",
            options,
            first="",
        )
        took = time.monotonic() - float(printed)
    with EventStore(dsn=dsn, spool_dir=str(tmp_path), health_monitoring=False) as store:
        spool = store._open.telemetry.delivery.spool
        spool.oldest()
        assert 400 == spool.rows_waiting
    assert took < 15  # 5 s, and what a busy machine adds


def test_who_waits_for_others_that_wait_for_a_silent_server_waits_no_longer(options):
    """Twenty threads log outright: each is told in its own time that it cannot be, not one after the other."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        where = f"host=127.0.0.1 port={silent.getsockname()[1]} user=u dbname=d"
        store, told = EventStore(**{**options, "dsn": where}), []

        def log():
            with pytest.raises(DatabaseUnavailable):
                store.log_system_event(event_name="outright", wait=True)
            told.append(time.monotonic())

        threads = [threading.Thread(target=log) for _ in range(20)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.close()

    assert 20 == len(told)
    assert max(told) - begun < 15  # 2 s; one after the other take 40 s
