"""What comes in the middle of our own lines is put off until the thread has given back what it holds."""

from __future__ import annotations

import subprocess
import sys

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider

from otel_pg_exporter import configure
from otel_pg_exporter.host import interruptions
from otel_pg_exporter.host.interruptions import put_off, undisturbed

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
