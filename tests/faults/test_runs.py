"""Programs that die, hang and come back, and what the tables say of their open work without anybody's help."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psycopg
import pytest
from harness.delays import apart_from_delays
from harness.workload import wait_until

from otel_pg_exporter import EventQuery, migrate
from otel_pg_exporter.sql_files import Names, migrations

BEGIN = """
import os, sys, time
from instrumentation import task
from otel_pg_exporter import configure
from otel_pg_exporter.writing.lease import Lease
telemetry = configure(dsn=sys.argv[1], heartbeat_seconds=1, spool_dir=sys.argv[2], durability="process")
"""
HOLD = "with task(sys.argv[3]): time.sleep(600)"
SILENT = """
renew = Lease.renew
told = []
def once(self, opened, beat, *rest):
    renew(self, opened, None if told else beat, *rest)
    told.append(beat)
Lease.renew = once
"""
ON_DEMAND = """
with task(sys.argv[3]):
    sys.stdin.readline()
print("ended", flush=True)
time.sleep(600)
"""
SHORT_AND = """
with task("short"): pass
"""
FORK = """
with task("parent"):
    time.sleep(0.1)
    if os.fork() == 0:
        with task("child"):
            print(os.getpid(), flush=True)
            time.sleep(600)
    time.sleep(600)
"""


@contextmanager
def program(dsn, folder, text, name="held"):
    """A process that runs a program; killed at the end."""
    command = [sys.executable, "-c", BEGIN + text, dsn, str(folder / "spool"), name]
    pipe = subprocess.PIPE
    with (folder / "output").open("a") as output:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=output, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def query(dsn):
    with EventQuery(dsn=dsn) as opened:
        yield opened


def names(runs):
    return sorted(run.event_name for run in runs)


def wait_until_running(query, *expected, lost=()):
    """Wait until these run, and what was lost is this; a program that its machine keeps waiting is lost meanwhile."""

    def is_so():
        return (sorted(expected), sorted(lost)) == (names(query.running()), names(query.lost()))

    assert wait_until(is_so, 60), (query.running(), query.lost())


def is_lost_in_time(dsn, name, seconds=20):
    """Whether the view calls a run lost from three heartbeats after its last sign of life on, and not before."""
    sql = (
        "SELECT status, now() - last_heartbeat > interval '3 seconds' FROM otel.runs WHERE event_name = %s"
        " ORDER BY last_heartbeat DESC LIMIT 1"
    )
    deadline = time.monotonic() + seconds
    with psycopg.connect(dsn, autocommit=True) as connection:
        while time.monotonic() < deadline:
            status, is_late = connection.execute(sql, [name]).fetchone()
            if (status == "lost") != is_late:
                return False
            if is_late:
                return True
            time.sleep(0.05)
    return False


def beats(dsn):
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT count(*) FROM otel.heartbeats").fetchone()[0]


def test_a_process_that_hangs_is_lost_until_it_goes_on_and_one_that_is_killed_for_good(dsn, tmp_path, query):
    """SIGSTOP: lost three heartbeats later; SIGCONT: running; kill -9: lost, and not running."""
    with program(dsn, tmp_path, HOLD) as process:
        wait_until_running(query, "held")

        process.send_signal(signal.SIGSTOP)
        assert is_lost_in_time(dsn, "held")
        assert ([], ["held"]) == (names(query.running()), names(query.lost()))

        process.send_signal(signal.SIGCONT)
        wait_until_running(query, "held")
        seen = beats(dsn)
        assert wait_until(lambda: beats(dsn) > seen + 3, 60)
        wait_until_running(query, "held")

        process.kill()
        assert is_lost_in_time(dsn, "held")

    (run,) = query.lost()
    assert [] == query.running()
    assert ("lost", process.pid, "task") == (run.status, run.pid, run.category)
    assert run.duration.total_seconds() > 1


def test_a_view_without_heartbeats_would_be_noticed(dsn, tmp_path, query):
    """With a view that calls every open span running, a killed program's run is not lost in time."""
    (view,) = re.findall(r"CREATE (VIEW \{runs\}.*?;)", "".join(step.up for step in migrations()), re.DOTALL)
    broken = view.replace("WHEN beat.is_fresh THEN", "WHEN true THEN")
    with psycopg.connect(dsn) as connection:
        connection.execute(Names("otel").fill(f"CREATE OR REPLACE {broken}"))
    with program(dsn, tmp_path, HOLD) as process:
        wait_until_running(query, "held")
        process.kill()

        assert not is_lost_in_time(dsn, "held")


def test_a_processor_that_never_beats_would_be_noticed(dsn, tmp_path, query):
    """With one sign of life and no other, a run of a program that lives is called lost."""
    with program(dsn, tmp_path, SILENT + HOLD) as process:
        assert wait_until(lambda: ["held"] == names([*query.running(), *query.lost()]), 60)

        assert is_lost_in_time(dsn, "held")
        assert process.poll() is None


def test_an_end_that_arrives_late_from_the_spool_wins(dsn, tmp_path, query, wire):
    """A run ends while PostgreSQL is away, and its program is killed: lost, until another program brings the end."""
    with program(wire.conninfo, tmp_path, ON_DEMAND) as process:
        wait_until_running(query, "held")
        wire.refuse()
        process.stdin.write("\n")
        process.stdin.flush()
        assert "ended\n" == process.stdout.readline()
        process.kill()
    assert is_lost_in_time(dsn, "held")
    assert ["held"] == names(query.lost())

    wire.restore()
    with program(wire.conninfo, tmp_path, SHORT_AND + HOLD, "another"):
        wait_until_running(query, "another")

        (end,) = query.task_events(name="held")
        assert "completed" == end.status


def test_a_forked_child_has_runs_of_its_own(dsn, tmp_path, query):
    """Parent and child are two processes with a run each; the child's death loses the child's alone."""
    with program(dsn, tmp_path, FORK) as process:
        child = int(process.stdout.readline())
        wait_until_running(query, "child", "parent")
        found = {run.event_name: run for run in (*query.running(), *query.lost())}
        assert (process.pid, child) == (found["parent"].pid, found["child"].pid)
        assert found["parent"].process_id != found["child"].process_id
        assert found["parent"].trace_id == found["child"].trace_id

        subprocess.run(["kill", "-9", str(child)], check=True)

        assert is_lost_in_time(dsn, "child")
        wait_until_running(query, "parent", lost=["child"])


def test_an_owner_makes_the_tables_and_a_writer_only_inserts(dsn, tmp_path, query):
    """A role with INSERT alone on the tables shows its runs, and loses them when it dies."""
    from datetime import datetime, timezone

    from otel_pg_exporter import grants
    from otel_pg_exporter.database import Database
    from otel_pg_exporter.schema import partitions

    role = f"writer_{time.monotonic_ns()}"
    database = Database(query._database.settings)
    migrate.up(database)
    today = datetime.now(timezone.utc).toordinal() - datetime(1970, 1, 1).toordinal()
    partitions.ensure(database, {today, today + 1})
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        grants.grant(database, writers=[role])
        database.close()
        try:
            with program(psycopg.conninfo.make_conninfo(dsn, user=role), tmp_path, ON_DEMAND) as process:
                wait_until_running(query, "held")
                seen = beats(dsn)
                assert wait_until(lambda: beats(dsn) > seen + 1, 60)
                process.stdin.write("\n")
                process.stdin.flush()
                assert wait_until(lambda: query.task_events(name="held"), 60)
            assert "" == apart_from_delays((tmp_path / "output").read_text())
            assert [] == query.running()
            assert ["completed"] == [event.status for event in query.task_events(name="held")]
        finally:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
