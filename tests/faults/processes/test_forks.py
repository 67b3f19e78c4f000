"""Forks: no child hangs, what was queued before is stored once, by the parent, and the children's own is stored too."""

from __future__ import annotations

import os

import pytest
from psycopg.conninfo import make_conninfo

FORKS = int(os.environ.get("FORKS", "500"))
SEED = int(os.environ.get("SEED", "1"))
MODES = ["memory", "process"]


@pytest.mark.parametrize("durability", MODES)
def test_forks_at_random_moments_hang_and_lose_nothing(judge, durability):
    """With threads busy in every part of the exporter, children of forks at any moment do their work."""
    code, out, _ = judge.run(
        "fork_randomly.py", FORKS // len(MODES), SEED, durability, seconds=60 + FORKS, EVENT_HEALTH_INTERVAL="1"
    )

    assert (0, "True\n") == (code, out)
    assert [] == judge.told("hang")
    assert FORKS // len(MODES) == len(judge.told("seconds"))
    assert (set(), set()) == judge.verdict()


def late_imports(judge, wire, durability, **environment):
    code, out, err = judge.run(
        "late_imports.py", durability, DSN=make_conninfo(wire.conninfo, host="localhost"), **environment
    )
    assert 0 == code, err
    return out


@pytest.mark.parametrize("durability", MODES)
def test_nothing_is_imported_while_a_program_may_fork(judge, wire, durability):
    """A module that a thread is importing at a fork stays locked in the child for ever."""
    assert "[]\n" == late_imports(judge, wire, durability)


def test_what_is_imported_late_is_seen(judge, wire):
    """The counterpart: a module that is not there after the set-up."""
    assert "encodings.idna" in late_imports(judge, wire, "memory", BROKEN="imports")


@pytest.mark.parametrize("durability", MODES)
def test_a_lock_that_is_held_at_a_fork_hangs_nobody(judge, durability):
    """Whichever of our locks another thread holds at the fork, the child can use everything."""
    code, _, err = judge.run("hold_locks.py", durability)

    assert (0, "") == (code, err)
    outcomes = dict(line.rsplit(" ", 1) for line in judge.told("lock"))
    assert {"0"} == set(outcomes.values()), outcomes
    assert len(outcomes) > 15
    assert (set(), set()) == judge.verdict()


def test_without_beginning_anew_a_held_lock_does_hang(judge):
    """The counterpart: if nothing begins anew in the child, the test above fails."""
    judge.run("hold_locks.py", "memory", BROKEN="forks", ONLY="setup.py", HANG_SECONDS="3")

    assert "hang" in {line.rsplit(" ", 1)[1] for line in judge.told("lock")}


@pytest.mark.parametrize("durability", MODES)
@pytest.mark.parametrize("kind", ["exit", "twice", "daemon"])
def test_a_child_stores_its_own_and_the_parent_what_was_queued(judge, kind, durability):
    """A child that ends normally leaves the parent's connection and queue alone."""
    code, out, err = judge.run("fork_once.py", kind, durability)

    assert (0, "child 0\nparent True\nsame connection True\n", "") == (code, out, err)
    assert (set(), set()) == judge.verdict()


def test_without_beginning_anew_a_child_spoils_what_is_its_parents(judge):
    """The counterpart: a child that goes on with its parent's queue and connection stores twice, or breaks both."""
    code, out, _ = judge.run("fork_once.py", "exit", "memory", BROKEN="forks")

    assert (0, "child 0\nparent True\nsame connection True\n") != (code, out) or (set(), set()) != judge.verdict()


@pytest.mark.parametrize("durability", MODES)
def test_a_fork_that_python_does_not_know_of_is_noticed(judge, durability):
    """A server in C that forks without Python's hooks has children that begin anew with their first record."""
    code, out, err = judge.run("fork_once.py", "unnoticed", durability)

    assert (0, "") == (code, err)
    assert {"flushed True", "child 0", "parent True", "same connection True"} == set(out.splitlines())
    assert (set(), set()) == judge.verdict()


@pytest.mark.parametrize("durability", MODES)
def test_a_child_that_only_executes_a_program_has_no_thread_of_ours(judge, durability):
    """Nothing is started or connected in a child before its first record."""
    code, _, err = judge.run("fork_once.py", "exec", durability)

    assert (0, "") == (code, err)
    assert (["1"], ["0"]) == (judge.told("threads"), judge.told("sockets"))
    assert (set(), set()) == judge.verdict()


def test_the_processor_of_the_sdk_does_start_a_thread_in_such_a_child(judge):
    """The counterpart: the test above sees threads where there are some."""
    judge.run("fork_once.py", "exec", "memory", BROKEN="sdk")

    assert int(judge.told("threads")[0]) > 1


@pytest.mark.parametrize("kind", ["process", "pool", "executor"])
@pytest.mark.parametrize(
    ("method", "when", "durability"),
    [
        ("fork", "early", "memory"),
        ("fork", "early", "process"),
        ("fork", "late", "memory"),
        ("spawn", "early", "memory"),
        ("forkserver", "early", "memory"),
    ],
)
def test_children_of_multiprocessing_lose_nothing(judge, method, kind, durability, when):
    """They leave by os._exit, past the interpreter's exit handlers, and are stored all the same."""
    code, out, _ = judge.run("multiply.py", method, kind, durability, when)

    assert (0, "[0, 3, 1]\n" if kind == "process" else "") == (code, out)
    assert len(judge.told("span")) >= (6 if kind == "process" else 8)
    assert (set(), set()) == judge.verdict()


def test_without_a_finalizer_children_of_multiprocessing_do_lose(judge):
    """The counterpart: with the interpreter's exit handlers alone the children's records are lost."""
    judge.run("multiply.py", "fork", "process", "memory", "early", BROKEN="exits")

    lost, _ = judge.verdict()
    assert lost
