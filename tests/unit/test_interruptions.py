"""What comes in the middle of our own lines is put off until the thread has given back what it holds."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider

from otel_pg_exporter import configure
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.host import forks, interruptions
from otel_pg_exporter.host.interruptions import put_off, undisturbed
from otel_pg_exporter.host.signal_handlers import is_interruption
from otel_pg_exporter.processors.fitting import Fit
from otel_pg_exporter.processors.inheritance import handed_down
from otel_pg_exporter.processors.open_spans import OpenSpanProcessor

FORKS = """
import os
from otel_pg_exporter.host.interruptions import put_off, undisturbed

with undisturbed():
    if not (child := os.fork()):
        os._exit(put_off(print, "the parent's"))
    assert put_off(print, "put off")
assert not os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def test_it_is_done_when_the_first_lock_is_given_back():
    """In the order in which it came; what it puts off itself is done too."""
    done = []

    def act(what):
        done.append(what)
        if what == "first":
            assert put_off(act, "third")

    assert not put_off(act, "none")
    with undisturbed():
        with undisturbed():
            assert put_off(act, "first")
        assert put_off(act, "second")
        assert [] == done

    assert ["first", "second", "third"] == done
    assert not put_off(act, "none")


def test_what_is_made_in_the_middle_leaves_it_so(tmp_path):
    """An EventStore makes its processors while it holds its lock: what interrupts that is put off to the end of it."""
    done = []
    with undisturbed():
        telemetry = configure(
            dsn="dbname=none", spool_dir=str(tmp_path), durability="process",
            tracer_provider=TracerProvider(shutdown_on_exit=False),
            logger_provider=LoggerProvider(shutdown_on_exit=False),
        )  # fmt: skip
        assert put_off(done.append, 1)
        telemetry.shutdown(0)
    assert [1] == done
    assert interruptions._this_thread.waiting is None


def test_a_forked_child_is_in_the_middle_of_nothing():
    """What its thread held is the parent's, and so is what was put off."""
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=False)

    assert ("put off\n", "", 0) == (done.stdout, done.stderr, done.returncode)


class LimitError(Exception):
    """The program's time is over."""


def give_up(number, frame):
    raise LimitError


def interrupted(*_):
    """A signal comes here."""
    give_up(14, sys._getframe())


class Interrupted:
    """A record, or a block; a signal comes while it is looked at."""

    log_record = property(interrupted)
    handed_down = property(interrupted)


@pytest.mark.parametrize(
    "handler", [give_up, lambda *given: give_up(*given), lambda number, frame, more=0: give_up(0, 0)]
)
def test_what_a_signal_handler_raises_is_told_from_what_goes_wrong(handler):
    """It was given the frame that it interrupts; who fetches the frame of its caller was not."""

    def fetching():
        caller = sys._getframe(1)
        raise LimitError(caller)

    for raising, expected in ((lambda: handler(14, sys._getframe()), True), (fetching, False)):
        try:
            raising()
        except LimitError as error:
            found = is_interruption(error)
        assert expected is found


@pytest.mark.parametrize(
    "work",
    [
        lambda _: OpenSpanProcessor(Database(Settings(dsn="host=127.0.0.1 port=1"))).on_start(SimpleNamespace()),
        lambda _: Fit(1, 1, 1).look(Interrupted()),
        lambda _: handed_down({"otel_pg.block": Interrupted()}),
    ],
    ids=["a span that begins", "weighing", "inheriting"],
)
def test_what_a_signal_handler_raises_in_the_middle_of_us_reaches_the_program(work, monkeypatch):
    """A time limit is for the program; what else goes wrong there is a line in the log."""
    monkeypatch.setattr(forks, "notice", interrupted)

    with pytest.raises(LimitError):
        work(None)


def test_what_else_goes_wrong_in_the_middle_of_us_does_not():
    """These have none of what is looked for."""
    OpenSpanProcessor(Database(Settings(dsn="host=127.0.0.1 port=1"))).on_start(SimpleNamespace())
    Fit(1, 1, 1).look(SimpleNamespace())

    assert {} == handed_down({"otel_pg.block": SimpleNamespace()})
