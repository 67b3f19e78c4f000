"""The thread that brings the spool's batches into the tables: what it is asked for, and when."""

from __future__ import annotations

import threading
import time
import uuid
from types import SimpleNamespace

import pytest

from otel_pg_exporter.errors import BatchFailed, DatabaseUnavailable
from otel_pg_exporter.writing import replay
from otel_pg_exporter.writing.replay import Replay


class Spool:
    """Holds one batch."""

    def __init__(self):
        self._waiting = SimpleNamespace(id=uuid.UUID(int=1))

    def oldest(self, passed_over=()):
        return self._waiting

    def load(self, waiting):
        return SimpleNamespace(size=1)

    def done(self, waiting):
        self._waiting = None


class Server:
    """Away until it is back; an attempt ends when the next word is said."""

    def __init__(self):
        self.is_away, self.begun, self._words = True, threading.Event(), threading.Semaphore(0)

    def store(self, sink, batch, deadline):
        is_away = self.is_away  # as it was when the attempt began
        self.begun.set()
        self._words.acquire(timeout=60)
        if is_away:
            raise DatabaseUnavailable("away")

    def say(self, words=1):
        self._words.release(words)


@pytest.fixture
def server():
    made = Server()
    yield made
    made.say(1000)


@pytest.fixture
def running(server):
    made = Replay(Spool(), SimpleNamespace(hurry=lambda: None, close=lambda: None), server.store)
    made.start()
    server.begun.wait(60)
    yield made
    server.say(1000)
    made.stop(60)


def asked(running, server):
    """The answer to who asked while the first attempt was under way, which goes on for a moment and fails."""
    answers = []
    asking = threading.Thread(target=lambda: answers.append(running.wait_until_idle(60, or_failed=True)))
    asking.start()
    while not running._is_hurried:
        time.sleep(0.001)
    time.sleep(0.05)
    server.say()
    return asking, answers


def test_an_attempt_that_was_refused_before_says_nothing_about_now(running, server, monkeypatch):
    """The server has come back while it was under way: the next attempt is the answer, and comes at once."""
    monkeypatch.setattr(replay, "_UNDER_WAY_SECONDS", 60.0)
    monkeypatch.setattr(replay, "_LONGEST_PAUSE", 3600.0)
    server.is_away = False
    asking, answers = asked(running, server)
    server.say()
    asking.join(60)

    assert [True] == answers


def test_one_that_hangs_says_that_the_server_is_away(running, server, monkeypatch):
    """No second one is waited for, that may hang for as long."""
    monkeypatch.setattr(replay, "_UNDER_WAY_SECONDS", 0.01)
    asking, answers = asked(running, server)
    asking.join(30)

    assert [False] == answers


def test_the_answer_is_that_of_an_attempt_of_now(running, server):
    """Not that of the last one."""
    server.say(2)

    assert not running.wait_until_idle(60, or_failed=True)
    server.is_away = False
    server.say(1000)
    assert running.wait_until_idle(60, or_failed=True)


@pytest.mark.parametrize("place", ["disk", "way"])
def test_a_batch_that_cannot_be_read_or_sent_holds_up_no_other(place):
    """The disk does not give it, or something goes wrong with it that nobody thought of. The others are stored; it is
    tried again with each round."""
    first, second = (SimpleNamespace(id=uuid.UUID(int=number)) for number in (1, 2))
    waiting, done = [first, second], threading.Event()

    class Broken:
        def oldest(self, passed_over=()):
            return next((one for one in waiting if one.id not in passed_over), None)

        def load(self, one):
            if one is first and place == "disk":
                raise OSError("Input/output error")
            return SimpleNamespace(size=1, is_first=one is first)

        def done(self, one):
            waiting.remove(one)
            done.set()

    def store(sink, batch, deadline):
        if batch.is_first:
            raise BatchFailed("OverflowError: date value out of range")

    made = Replay(Broken(), SimpleNamespace(hurry=lambda: None, close=lambda: None), store)
    made.start()

    assert done.wait(30)
    assert [first] == waiting
    made.stop(10)
