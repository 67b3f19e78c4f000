"""A row that the server refuses, and the wire cut, or the program killed, while it is looked for."""

from __future__ import annotations

import threading

import psycopg
import pytest
from harness import broken
from harness.cuts import AfterCommit, CutAt
from harness.exports import Exports
from harness.frames import CLIENT

from otel_pg_exporter.writing import refusals, sink

SPANS = 8
RULE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.attributes->>'fault.number')::int % 8 = 3 THEN
        RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation', CONSTRAINT = 'no';
    END IF;
    RETURN NEW;
END $$;
"""
WHEN = {
    "at once": "CREATE TRIGGER no BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION refuse()",
    "at the commit": "CREATE CONSTRAINT TRIGGER no AFTER INSERT ON {} DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION refuse()",
}
"""When the server refuses a row: only at once does it say which."""
TABLES = ("otel.events", "otel.task_events", "otel.agent_events", "otel.deployment_events")


class Rule:
    """Each eighth row is refused, while the rule is on."""

    def __init__(self, dsn, when):
        self._dsn, self._statement = dsn, WHEN[when]
        self._execute(RULE)

    def on(self):
        self._execute(*(self._statement.format(table) for table in TABLES))

    def off(self):
        self._execute(*(f"DROP TRIGGER no ON {table}" for table in TABLES))

    def _execute(self, *statements):
        with psycopg.connect(self._dsn) as connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture
def _in_a_hurry(monkeypatch, patient):
    """A program that gives up when it is refused is as good as one that was killed: it is to get that far."""
    monkeypatch.setattr(sink, "_FIRST_PAUSE", 0.001)


class ForGood:
    """A cut after which every connection is refused."""

    def __init__(self, wire, cut):
        self.cut, self._wire, self._is_over = cut, wire, threading.Event()

    def __call__(self, link, frame):
        if self.cut(link, frame):
            return True
        self._wire.refuse()
        self._is_over.set()
        return False

    def end(self):
        """Wait for it, if it has begun; it will not begin any more."""
        self.cut.is_armed = False
        if self.cut.count:
            assert self._is_over.wait(10)
        self._wire.restore()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("when", WHEN)
def test_what_is_refused_is_set_aside_and_the_rest_is_stored_under_one_id(dsn, wire, judge, tmp_path, when):
    """One row of eight goes to a file, seven to the tables, in one batch whose ledger row says so."""
    Rule(dsn, when).on()

    with Exports(wire.conninfo, tmp_path, judge) as exports:
        exports.export(SPANS)
        exports.export(SPANS)
        assert exports.settle()
        counts = exports.delivery.counts

    verdict = judge.verdict(dsn, tmp_path)
    assert {} == verdict.wrongs
    assert (14, 2) == (verdict.sizes["stored"], verdict.sizes["dead"])
    assert (14, 2) == (counts["stored"] + counts["replayed"], counts["dead"])
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT sequence, stored, dead_before FROM otel.event_batches ORDER BY 1").fetchall()
    assert [(1, 7, 1), (2, 7, 1)] == rows


def given_up_and_taken_over(dsn, wire, judge, spool, rule, cut, **settings):
    """A batch is cut off for good, its program ends, the rule is dropped, and the next program stores what it finds."""
    rule.on()
    wire.meddler = for_good = ForGood(wire, cut)
    number = judge.faults["program"]
    with Exports(wire.conninfo, spool, judge, f"program {number}", **settings) as exports:
        cut.arm()
        exports.export(SPANS)
    for_good.end()
    rule.off()
    with Exports(wire.conninfo, spool, judge, f"heir {number}") as heir:
        assert heir.settle()
    judge.saw("program")
    judge.saw("cut", cut.count)


@pytest.mark.usefixtures("_in_a_hurry")
@pytest.mark.parametrize(("when", "step"), [("at once", 4), ("at the commit", 2)])
def test_a_search_that_is_never_finished_costs_nothing(dsn, wire, judge, seed, tmp_path, when, step):
    """Whatever message is the program's last: when the rule is gone, the next program stores every row, once."""
    rule, number, cut = Rule(dsn, when), seed % step, None
    while cut is None or cut.count:
        cut = CutAt(CLIENT, number, is_forwarded=True)
        given_up_and_taken_over(dsn, wire, judge, tmp_path, rule, cut)
        number += step

    verdict = judge.verdict(dsn, tmp_path, cut=5)

    print(verdict)
    assert {} == verdict.wrongs
    assert set() == verdict.missing


@pytest.mark.parametrize("build", ["", "store_by_halves"])
def test_a_program_that_dies_as_it_stores_what_is_left(dsn, wire, judge, tmp_path, monkeypatch, build):
    """Its heir is told so by the ledger; of a build that stores parts as batches of their own it stores one twice."""
    monkeypatch.setattr(refusals, "_SEARCH_SECONDS", 3)
    if build:
        broken.BUILDS[build](monkeypatch.setattr)
    # the first COMMIT is to be that of rows
    rule, cut = Rule(dsn, "at the commit"), AfterCommit()
    given_up_and_taken_over(dsn, wire, judge, tmp_path, rule, cut, shared_text_length=0)

    verdict = judge.verdict(dsn, tmp_path, cut=1)

    print(verdict)
    assert (["duplicated"] if build else []) == [*verdict.wrongs]
