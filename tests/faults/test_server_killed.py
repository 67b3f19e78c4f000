"""PostgreSQL is killed under load, all its processes at once: nothing is lost, nothing is stored twice.

`make soak-kill KILLS=200` kills it more often than `make test` does.
"""

from __future__ import annotations

import os
import random
import time

import psycopg
import pytest
from harness.cluster import Cluster
from harness.workload import Workload, wait_until

from otel_pg_exporter import migrate
from otel_pg_exporter.config import Settings

KILLS = int(os.environ.get("FAULTS_KILLS", "20"))
RATE = int(os.environ.get("FAULTS_RATE", "400"))
"""Spans a second."""
WRITING_AGAIN_SECONDS = 5.0
SLACK_SECONDS = 10.0
"""For a machine that is busy with something else."""


def batches(dsn):
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT count(*) FROM otel.event_batches").fetchone()[0]


def killed_again_and_again(cluster, dsn, load, judge, kills):
    """Kill and restart the server at random instants; gives the seconds from each restart to the next batch."""
    choose, took = random.Random(judge.seed), []
    load.wait_until_accepted(10)
    assert wait_until(lambda: batches(dsn) > 0, 60)
    for _ in range(kills):
        time.sleep(choose.uniform(0.05, 0.6))
        cluster.kill()
        time.sleep(choose.uniform(0.0, 0.3))
        cluster.start()
        begun, before = time.monotonic(), batches(dsn)
        assert wait_until(lambda before=before: batches(dsn) > before, 60), load.output.read_text()
        took.append(time.monotonic() - begun)
        assert load.is_running
    judge.saw("kill", cluster.kills)
    return took


def database(cluster):
    """A database with the tables, on the disk of a server that is to be killed."""
    dsn = cluster.database()
    migrate.up(Settings(dsn=dsn))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    return dsn


def test_nothing_is_lost_when_the_server_is_killed(cluster, judge, seed, tmp_path):
    """Every span that ended is stored once, in order, however often the server dies; it writes again within 5 s."""
    dsn = database(cluster)
    with Workload(dsn, tmp_path, seed, rate=RATE, settings={"batch_timeout_millis": 50}) as load:
        took = killed_again_and_again(cluster, dsn, load, judge, KILLS)
        assert 0 == load.stop(), load.output.read_text()
    judge.read_journal(load.journal)

    verdict = judge.verdict(dsn, load.spool, kill=KILLS)

    took.sort()
    print(f"{verdict} | writing again after {took[len(took) // 2]:.2f} s, at most {took[-1]:.2f} s")
    assert {} == verdict.wrongs
    assert set() == verdict.missing
    assert 0 == verdict.sizes["spooled"]
    assert load.report["is_flushed"]
    assert took[-1] <= WRITING_AGAIN_SECONDS + SLACK_SECONDS


LENIENT = {"synchronous_commit": "off", "wal_writer_delay": "10s", "wal_buffers": "16MB"}
"""A server that says "committed" up to 30 s before its disk has it."""


@pytest.mark.parametrize(("build", "is_lost"), [(None, False), ("asynchronous_commit", True)])
def test_a_server_that_commits_lightly_is_overruled(judge, seed, tmp_path, build, is_lost):
    """With synchronous_commit=off on the server nothing is lost; a build that leaves it so loses spans."""
    arguments = {"broken": build} if build else {}
    with Cluster(tmp_path / "server", LENIENT) as cluster:
        dsn = database(cluster)
        with Workload(dsn, tmp_path, seed, rate=RATE, settings={"batch_timeout_millis": 20}, **arguments) as load:
            killed_again_and_again(cluster, dsn, load, judge, 3)
            assert 0 == load.stop(), load.output.read_text()
        judge.read_journal(load.journal)

        verdict = judge.verdict(dsn, load.spool, kill=3)

    print(verdict)
    assert is_lost == ("lost_silently" in verdict.wrongs)
    assert {} == {name: value for name, value in verdict.wrongs.items() if name != "lost_silently"}
