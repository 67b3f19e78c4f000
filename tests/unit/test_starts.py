"""When something began: remembered, and asked for within a time limit."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone

from otel_pg_exporter.errors import DatabaseUnavailable
from otel_pg_exporter.events import starts
from otel_pg_exporter.events.starts import WINDOW, OwnStarts, StoredStarts

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
LATER = NOON + timedelta(seconds=90)


def test_an_end_takes_its_start_away():
    """What closes, closes; what does not leaves the start for the next."""
    own = OwnStarts()
    own.note("task", "1", NOON, False)

    assert 90 == own.seconds("task", "1", LATER, False, closes=False)
    assert 90 == own.seconds("task", "1", LATER, False, closes=True)
    assert own.seconds("task", "1", LATER, False, closes=True) is None


def test_categories_and_ids_are_apart():
    """The agent 1 is not the task 1."""
    own = OwnStarts()
    own.note("task", "1", NOON, False)

    assert own.seconds("agent", "1", LATER, False, closes=True) is None
    assert own.seconds("task", "2", LATER, False, closes=True) is None


def test_now_is_measured_by_a_clock_that_nobody_sets(monkeypatch):
    """Of two events that come without a time, times do not matter; of one with a time, they do."""
    monkeypatch.setattr(starts, "monotonic", iter([5.0, 7.5]).__next__)
    own = OwnStarts()
    own.note("task", "1", NOON, True)

    assert 90 == own.seconds("task", "1", LATER, False, closes=False)
    assert 2.5 == own.seconds("task", "1", LATER, True, closes=False)


def test_an_end_before_its_start_has_no_duration():
    """A negative one says nothing."""
    own = OwnStarts()
    own.note("task", "1", LATER, False)

    assert own.seconds("task", "1", NOON, False, closes=True) is None


def test_the_oldest_start_makes_room(monkeypatch):
    """Tasks that never end do not fill the memory; one that begins anew is young again."""
    monkeypatch.setattr(starts, "_CAPACITY", 2)
    own = OwnStarts()
    for its_id in ("1", "2", "1", "3"):
        own.note("task", its_id, NOON, False)

    known = [own.seconds("task", its_id, LATER, False, closes=True) is not None for its_id in ("1", "2", "3")]
    assert [True, False, True] == known


def test_the_database_is_asked_about_a_window():
    """It ends with the event."""
    asked = []
    stored = StoredStarts(lambda *question: asked.append(question) or NOON, 60)

    assert 90 == stored.seconds("task", "1", LATER)
    assert [("task", "1", LATER - WINDOW, LATER)] == asked
    assert StoredStarts(lambda *question: None, 60).seconds("task", "1", LATER) is None


def test_a_silent_database_is_not_waited_for():
    """The answer is none after the limit, and nobody asks a second time until the first has come back."""
    asked, begun, goes_on = [], threading.Event(), threading.Event()

    def ask(*question):
        asked.append(question)
        begun.set()
        goes_on.wait()
        return NOON

    stored = StoredStarts(ask, 0.05)
    assert stored.seconds("task", "1", LATER) is None
    assert begun.wait(60)
    assert stored.seconds("task", "2", LATER) is None
    assert 1 == len(asked)

    goes_on.set()
    stored._asking.join()
    stored._limit = 60
    assert 90 == stored.seconds("task", "3", LATER)


def test_a_database_that_is_away_is_left_alone_for_a_while(monkeypatch):
    """Thousand ends are not thousand attempts to connect."""
    monkeypatch.setattr(starts, "_REST_SECONDS", 60.0)
    asked = []

    def ask(*question):
        asked.append(question)
        raise DatabaseUnavailable("away")

    stored = StoredStarts(ask, 60)
    assert [None, None] == [stored.seconds("task", its_id, LATER) for its_id in ("1", "2")]
    assert 1 == len(asked)


def test_a_mistake_in_asking_is_said(monkeypatch):
    """No traceback of a thread in the program's output, but a line in the log."""
    said = []
    monkeypatch.setattr(starts, "say", lambda level, message: said.append(message))

    assert StoredStarts(lambda *question: 1 / 0, 60).seconds("task", "1", LATER) is None
    assert ["a start was not looked up: ZeroDivisionError: division by zero"] == said
