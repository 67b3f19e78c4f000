"""The wire is cut while a batch is stored: wherever that is, its spans are stored once.

`make soak-commit CYCLES=1000` runs more cycles of each cut than `make test` does.
"""

from __future__ import annotations

import os

import psycopg
import pytest
from harness import broken
from harness.cuts import AfterCommit, BeforeCommit, CutAt, LateCommit, RaceCommit, Recorder
from harness.exports import Exports
from harness.frames import CLIENT, SERVER

from otel_pg_exporter.writing import sink

CYCLES = int(os.environ.get("FAULTS_CYCLES", "250"))
SPANS = 5
"""In one batch."""
CUTS = {
    "before": lambda seed: BeforeCommit(),
    "after": lambda seed: AfterCommit(),
    "late": LateCommit,
    "race": RaceCommit,
}


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch, patient):
    """Neither the pauses between attempts are tested here nor the time after which there is none."""
    monkeypatch.setattr(sink, "_FIRST_PAUSE", 0.001)


def cut_again_and_again(wire, cut, exports, judge, cycles):
    """One batch after the other, each with a cut; what had to wait on disk is stored before the next."""
    exports.export(SPANS)
    wire.meddler = cut
    for _ in range(cycles * 2):
        cut.arm()
        exports.export(SPANS)
        assert exports.settle()
        if cut.count == cycles:
            break
    cut.is_armed = False
    exports.export(SPANS)  # it is alive
    judge.saw("cut", cut.count)


@pytest.mark.parametrize("where", CUTS)
def test_a_batch_whose_commit_is_ambiguous_is_stored_once(dsn, wire, judge, seed, tmp_path, where):
    """Whether the server has committed or not, or does so later: nothing is lost, and the ledger refuses repeats."""
    cut = CUTS[where](seed)
    # each cut is to be that of a batch, not of the texts that some batches share, which have a COMMIT of their own
    with Exports(wire.conninfo, tmp_path, judge, shared_text_length=0) as exports:
        cut_again_and_again(wire, cut, exports, judge, CYCLES)
        counts = exports.delivery.counts

    verdict = judge.verdict(dsn, tmp_path, cut=CYCLES)

    refused = counts["duplicate"] // SPANS
    print(f"{where}: {verdict} | the ledger refused {refused} batches")
    assert {} == verdict.wrongs
    assert set() == verdict.missing
    assert 0 == verdict.sizes["spooled"]
    if where == "before":
        assert 0 == refused
    elif where == "race":
        assert 0 < refused
    else:
        assert CYCLES == refused


def test_a_cut_at_any_message_of_an_export_costs_nothing(dsn, wire, judge, tmp_path):
    """From the first byte of a connection to the last answer, each message of either side in turn, before and after."""
    for side in (CLIENT, SERVER):
        for is_forwarded in (False, True):
            number, is_through = 0, False
            while not is_through:
                wire.meddler = cut = CutAt(side, number, is_forwarded)
                cut.arm()
                with Exports(wire.conninfo, tmp_path, judge, f"{side} {number} {is_forwarded}") as exports:
                    exports.export(2)
                    is_through, cut.is_armed = not cut.count, False
                    exports.export(2)
                    assert exports.settle()
                judge.saw(f"{side} {'after' if is_forwarded else 'before'}", cut.count)
                number += 1

    verdict = judge.verdict(dsn, tmp_path)

    print(verdict)
    assert {} == verdict.wrongs
    assert set() == verdict.missing
    assert all(judge.faults[f"{CLIENT} {when}"] >= 10 for when in ("before", "after"))
    assert all(judge.faults[f"{SERVER} {when}"] >= 20 for when in ("before", "after"))


BROKEN = {
    "drop_on_error": ("before", "lost_silently"),
    "blind_retry": ("after", "duplicated"),
    "select_then_insert": ("late", "duplicated"),
}


@pytest.mark.parametrize("build", BROKEN)
def test_a_build_that_gets_this_wrong_is_condemned(dsn, wire, judge, seed, tmp_path, monkeypatch, build):
    """The same run with a broken build: what it loses or stores twice, the judge finds."""
    where, wrong = BROKEN[build]
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE otel.event_batches DROP CONSTRAINT event_batches_pkey")
    broken.BUILDS[build](monkeypatch.setattr)

    with Exports(wire.conninfo, tmp_path, judge, shared_text_length=0) as exports:
        cut_again_and_again(wire, CUTS[where](seed), exports, judge, 20)

    verdict = judge.verdict(dsn, tmp_path, cut=20)
    print(verdict)
    assert verdict.wrongs[wrong] >= 10 * SPANS


def test_without_a_cut_a_broken_build_passes(dsn, wire, judge, tmp_path, monkeypatch):
    """So it is the cut that shows what is wrong with it."""
    broken.blind_retry(monkeypatch.setattr)
    wire.meddler = Recorder()

    with Exports(wire.conninfo, tmp_path, judge, shared_text_length=0) as exports:
        for _ in range(5):
            exports.export(SPANS)

    assert {} == judge.verdict(dsn, tmp_path).wrongs
