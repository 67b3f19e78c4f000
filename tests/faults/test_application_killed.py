"""The program is killed (SIGKILL) while threads record: what each durability promises is in the tables afterwards.

`make soak-application-kill KILLS=200` kills more of them than `make test` does.
"""

from __future__ import annotations

import os

import pytest
from harness.killing import Killer
from harness.workload import Workload

KILLS = int(os.environ.get("FAULTS_KILLS", "14"))
"""Of each mode: half of them with PostgreSQL up, half with PostgreSQL away."""
BATCH_SECONDS = 0.2
"""EVENT_BATCH_TIMEOUT, by default."""
NOISE_SECONDS = 0.1
"""Beside the time for which a machine that is busy with something else keeps a thread waiting, which is measured."""


@pytest.fixture
def killer(wire, tmp_path, seed):
    """Makes killers of programs that store through the wire."""
    with Killer(wire.conninfo, tmp_path, seed) as made:
        yield made


def read(judge, killer, deaths):
    """What the killed programs had accepted."""
    for death in deaths:
        for path in death.journals:
            judge.read_journal(path)
    judge.saw("kill", len(deaths))
    assert "Traceback" not in killer.output.read_text()


def inherited(judge, wire, folder):
    """The next program stores what the killed ones left, and what it records itself."""
    wire.restore()
    with Workload(wire.conninfo, folder, judge.seed, "heir", count=20, flush_seconds=120) as heir:
        assert 0 == heir.wait(180), heir.output.read_text()
    assert heir.report["is_flushed"], heir.report
    judge.read_journal(heir.journal)


@pytest.mark.parametrize("durability", ["process", "power"])
def test_nothing_that_ended_is_lost(judge, wire, killer, tmp_path, durability):
    """Spans whose end() and log records whose emit() returned are stored once, whenever the kill comes."""
    killer.options |= {"durability": durability, "segment_bytes": 1 << 16}  # files of the spool that are soon full
    deaths = killer.kill(KILLS // 2, (0.0, 0.6))
    wire.refuse()
    deaths += killer.kill(KILLS // 2, (0.0, 0.6))
    read(judge, killer, deaths)
    inherited(judge, wire, tmp_path)

    verdict = judge.verdict(wire.conninfo, killer.spool, kill=KILLS // 2 * 2)

    print(verdict)
    assert {} == verdict.wrongs
    assert 0 == verdict.sizes["spooled"]


def test_a_spool_that_is_written_lazily_loses(judge, dsn, wire, killer):
    """The counterpart: a build that gathers what it writes to the spool is condemned."""
    killer.options |= {"durability": "process", "broken": "lazy_writes"}
    wire.refuse()
    read(judge, killer, killer.kill(2, (0.1, 0.3)))

    verdict = judge.verdict(dsn, killer.spool, kill=2)

    print(verdict)
    assert verdict.missing


def allowed(death, signal):
    """Seconds before the kill from which on a record may be lost: a thread waits for its turn before the export, and in
    it, and before it tells of it."""
    longest, under_way = death.sending(signal)
    return max(BATCH_SECONDS, longest) + under_way + NOISE_SECONDS + 3 * death.unfair


def late(deaths, missing):
    """How many each kill lost, the oldest of them in seconds, and those that should have been safe."""
    lost, oldest, wrong = [0], 0.0, {}
    for death in deaths:
        for signal in ("span", "log"):
            most = allowed(death, signal)
            ages = {one: age for one, age in death.ended(signal).items() if one in missing}
            lost.append(len(ages))
            oldest = max(oldest, *ages.values(), 0.0)
            wrong |= {one: (age, most) for one, age in ages.items() if age > most}
    return lost, oldest, wrong


def test_in_memory_no_more_is_lost_than_a_batch_and_its_wait(judge, wire, killer, tmp_path):
    """What ended earlier than 200 ms, and the sending of one batch, before the kill is stored or spooled."""
    killer.options |= {"rate": 400}
    deaths = {"up": killer.kill(KILLS // 2, (0.0, 1.0))}
    wire.refuse()
    deaths["away"] = killer.kill(KILLS // 2, (0.0, 4.5), at_once=8)
    read(judge, killer, deaths["up"] + deaths["away"])
    inherited(judge, wire, tmp_path)

    verdict = judge.verdict(wire.conninfo, killer.spool, kill=KILLS // 2 * 2)

    print(verdict)
    assert {} == {name: value for name, value in verdict.wrongs.items() if name != "lost_silently"}
    for how, some in deaths.items():
        lost, oldest, wrong = late(some, verdict.missing)
        print(f"PostgreSQL {how}: a kill lost at most {max(lost)} of 200 a second, {oldest * 1000:.0f} ms old at most")
        assert {} == wrong
    assert verdict.sizes["stored"] > 20


def test_a_batch_that_waits_too_long_is_seen(judge, wire, killer):
    """The counterpart: a build that waits for a minute is condemned."""
    killer.options |= {"rate": 400}
    killer.settings |= {"batch_timeout_millis": 60_000}
    # a machine that kept the program waiting allows that for longer
    deaths = killer.kill(
        2, (1.5, 2.0), at_once=2, is_ripe=lambda death: max(death.ended("span").values()) > allowed(death, "span") + 1
    )
    read(judge, killer, deaths)

    verdict = judge.verdict(wire.conninfo, killer.spool, kill=2)

    print(verdict)
    assert late(deaths, verdict.missing)[2]
