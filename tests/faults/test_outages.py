"""PostgreSQL is away for a minute, in five ways: nothing is lost, nothing is stored twice, and all in order.

`make soak-outage SECONDS=600` makes it ten minutes.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from harness.cluster import Cluster
from harness.judge import Judge
from harness.outages import SERVER, Finding, Outage

SECONDS = float(os.environ.get("FAULTS_SECONDS", "60"))
RATE = int(os.environ.get("FAULTS_RATE", "1000"))
"""Spans a second."""
MEMORY, DESCRIPTORS = 64_000_000, 8
"""By how much a program may grow."""
FRESH_SECONDS, EXIT_SECONDS = 5.0, 5.0
"""From the end of the outage to the first new batch in the tables; and for the end of a program during one."""
BATCH, TAIL_SECONDS = 2048, 2.2
"""What a program that is killed may lose in memory mode: a batch of each signal, what came during its attempt, and the
last 200 ms."""
SLACK_SECONDS = 25.0
"""For a machine that is busy with something else."""

OUTAGES = {
    outage.way: outage
    for outage in (
        Outage("refused", "process", "kill", RATE),
        Outage("black-holed", "memory", "", RATE),
        Outage("silent", "memory", "exit", RATE),
        Outage("slow", "process", "", RATE),
        Outage("flapping", "memory", "kill", RATE),
    )
}


BROKEN = {
    "retry_in_memory": (Outage("refused", rate=4000, broken="retry_in_memory", least=25_000), "memory"),
    "drop_on_error": (Outage("refused", rate=100, broken="drop_on_error"), "lost"),
    "a_file_for_each_batch": (Outage("refused", rate=100, broken="a_file_for_each_batch"), "descriptors"),
    "newest_first": (Outage("refused", rate=100, broken="newest_first"), "late"),
    "forget_predecessors": (
        Outage("refused", "process", "kill", rate=100, broken="forget_predecessors"),
        "left in the spool",
    ),
}
BROKEN_SECONDS = 12.0
"""An outage that is long enough to show what is wrong with them."""


@pytest.fixture(scope="module")
def seed() -> int:
    chosen = int(os.environ.get("FAULTS_SEED") or random.randrange(1 << 32))
    print(f"FAULTS_SEED={chosen}")
    return chosen


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Cluster]]:
    """Two servers: the one that falls silent is nobody else's."""
    folder = tmp_path_factory.mktemp("servers")
    with Cluster(folder / "silent", SERVER) as silent, Cluster(folder / "other", SERVER) as other:
        yield {way: silent if way == "silent" else other for way in OUTAGES}


@pytest.fixture(scope="module")
def findings(request, clusters, seed, tmp_path_factory) -> Iterator[dict[str, Future[Finding]]]:
    """One outage after the other, for one is work for two processors, and beside them short ones of broken builds."""
    folder = tmp_path_factory.mktemp("outages")
    wanted = {item.callspec.id for item in request.session.items if item.path == request.path}
    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as others:
        good = {
            way: pool.submit(outage.run, clusters[way], folder / way, Judge(seed), SECONDS)
            for way, outage in OUTAGES.items()
            if way in wanted
        }
        bad = {
            build: others.submit(outage.run, clusters["refused"], folder / build, Judge(seed), BROKEN_SECONDS)
            for build, (outage, _) in BROKEN.items()
            if build in wanted
        }
        yield good | bad


@pytest.mark.parametrize("way", OUTAGES)
def test_an_outage_costs_nothing(findings, way):
    """All is stored once and in order, whatever became of the program, and the program has not grown meanwhile."""
    if way == "black-holed" and isinstance(findings[way].exception(), PermissionError):
        pytest.skip("on this kernel it takes root to have the packets of a socket lost")
    outage, finding = OUTAGES[way], findings[way].result()

    print(f"{way}: {finding}")
    assert {} == finding.wrongs(MEMORY, DESCRIPTORS)
    assert finding.spooled_batches > SECONDS / 4
    assert finding.seconds_to_fresh < FRESH_SECONDS + SLACK_SECONDS
    if outage.restart == "exit":
        assert finding.exit_seconds < EXIT_SECONDS + SLACK_SECONDS
    if outage.restart == "kill":
        assert finding.tail <= (outage.durability == "memory") * (2 * BATCH + TAIL_SECONDS * outage.rate)
    assert (finding.batches_meanwhile > 0) == outage.is_passable


@pytest.mark.parametrize("build", BROKEN)
def test_a_build_that_gets_this_wrong_is_condemned(findings, build):
    """The same with a broken build."""
    finding = findings[build].result()

    print(f"{build}: {finding}")
    assert BROKEN[build][1] in finding.wrongs(MEMORY, DESCRIPTORS)
