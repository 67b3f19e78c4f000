"""The same batch is on its way twice: an earlier attempt that does not end, and copies of a spool."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from harness.exports import Exports
from harness.frames import CLIENT
from harness.workload import Workload, wait_until

from otel_pg_exporter.writing.replay import Replay

SPANS = 5


class Zombie:
    """Claims the next batch that it sees in a transaction of its own, and does not end it."""

    def __init__(self, dsn):
        self._connection = psycopg.connect(dsn)
        self.count = 0

    def __call__(self, link, frame):
        if not self.count and frame.side == CLIENT and frame.kind == "Q":
            claim = re.search(rb"INSERT INTO \S+event_batches.*ON CONFLICT DO NOTHING", frame.body, re.DOTALL)
            if claim:
                self._connection.execute(claim[0])
                self.count += 1
        return True

    def end(self):
        self._connection.rollback()
        self._connection.close()


def stored(dsn):
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT coalesce(sum(stored), 0) FROM otel.event_batches").fetchone()[0]


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_batch_that_is_locked_holds_up_no_other(dsn, wire, judge, tmp_path, monkeypatch, is_broken):
    """While an earlier attempt holds a batch's row in the ledger others are stored, unless the replay insists on it."""
    if is_broken:
        monkeypatch.setattr(Replay, "_passes_over", lambda *_: False)
    wire.meddler = zombie = Zombie(dsn)
    with Exports(wire.conninfo, tmp_path, judge) as exports:
        exports.export(SPANS)
        assert "spooled" in exports.delivery.counts
        for _ in range(4):
            exports.export(SPANS)
        judge.saw("zombie", zombie.count)

        have_passed = wait_until(lambda: stored(dsn) == 4 * SPANS, 12 if is_broken else 60)
        zombie.end()

        assert exports.settle()
    assert have_passed is not is_broken
    assert {} == judge.verdict(dsn, tmp_path, zombie=1).wrongs


REPLAY = """
import sys
from otel_pg_exporter.cli import main
from harness import broken
if sys.argv[1]:
    broken.BUILDS[sys.argv[1]](setattr)
print("ready", flush=True)
sys.stdin.readline()
sys.argv[1:] = ["spool", "replay"]
main()
"""


def replayed_by_two(dsn, spools, build):
    """Have two processes store what lies in two spools, as far as can be in the same moment."""
    harness = str(Path(__file__).parent)
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", REPLAY, build],
            env={**os.environ, "OTEL_EXPORTER_POSTGRES_DSN": dsn, "EVENT_SPOOL_DIR": str(spool), "PYTHONPATH": harness},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for spool in spools
    ]
    for program in programs:
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        program.stdin.write("\n")
        program.stdin.flush()
    return [program.communicate(timeout=60)[0] for program in programs]


@pytest.mark.parametrize("build", ["", "blind_retry"])
def test_a_copy_of_a_spool_is_stored_once(dsn, wire, judge, seed, tmp_path, build):
    """Two processes that store copies of one spool at once store each span once, unless batches get new ids."""
    wire.refuse()
    settings = {"batch_size": 10, "batch_timeout_millis": 20}
    with Workload(wire.conninfo, tmp_path, seed, rate=5000, count=600, flush_seconds=0, settings=settings) as load:
        assert 0 == load.wait(), load.output.read_text()
    judge.read_journal(load.journal)
    copy = tmp_path / "copy"
    shutil.copytree(load.spool, copy)
    wire.restore()

    outputs = replayed_by_two(wire.conninfo, (load.spool, copy), build)

    verdict = judge.verdict(dsn, tmp_path)
    print(verdict, outputs)
    assert 600 == load.report["counts"]["spooled"]
    assert 0 == verdict.sizes["spooled"]
    assert ({"duplicated": 600} if build else {}) == verdict.wrongs
