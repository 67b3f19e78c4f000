"""A disk is full, the spool's or PostgreSQL's: the program does not notice, and what was promised is stored.

The spool's disk is full while PostgreSQL is away, so that records have nowhere to go but memory; what is lost when a
bound is reached there is counted, and the ledger is told.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from harness.cluster import Cluster
from harness.evidence import ledger_rows
from harness.judge import Judge, Verdict
from harness.small_disk import NoDiskError, SmallDisk
from harness.wire import Wire
from harness.workload import Workload, wait_until
from psycopg.conninfo import make_conninfo

from otel_pg_exporter import migrate
from otel_pg_exporter.config import Settings

RATE = 150
"""Spans a second, of each of the programs, which all run at once."""
FULL_SECONDS = 4.0
RECOVERY_SECONDS = 10.0
"""From the first free byte to the first record that is written again."""
SLACK_SECONDS = 10.0
"""For a machine that is busy with something else."""
LONGEST_SECONDS = 3.0
"""Of `end()`, but for what the machine takes: any wait for a server or a disk takes longer."""


@dataclass
class Finding:
    """What became of a program's spans."""

    verdict: Verdict
    report: dict[str, Any]
    ledger: dict[str, int]
    recovery_seconds: float
    """How long it took until something was written again."""

    @property
    def wrongs(self) -> dict[str, Any]:
        """What went wrong, by name."""
        failed, missing = sum(self.report["failed"].values()), len(self.verdict.missing)
        found = {
            **self.verdict.wrongs,
            "miscounted": failed - missing,
            "untold": max(0, missing - self.ledger["dropped"]),
            "slow": self.report["end_us"]["longest"] - self.report["stalled_us"] > LONGEST_SECONDS * 1e6,
            "not recovered": self.recovery_seconds > RECOVERY_SECONDS + SLACK_SECONDS,
            "dead": self.verdict.sizes["dead"],
        }
        return {name: value for name, value in found.items() if value}

    def __str__(self) -> str:
        end = ", ".join(f"{name} {value / 1000:.2f} ms" for name, value in self.report["end_us"].items())
        failed = self.report["failed"] or "nothing"
        return f"{self.verdict} | lost: {failed} | end(): {end} | written again after {self.recovery_seconds:.1f} s"


class Run:
    """A program at work, and the judge of it."""

    def __init__(self, load: Workload, dsn: str, judge: Judge) -> None:
        self.load, self.dsn, self.judge = load, dsn, judge
        self._recovery_seconds = 0.0

    def batches(self) -> int:
        """How many are stored."""
        with psycopg.connect(self.dsn) as connection:
            (row,) = connection.execute("SELECT count(*) FROM otel.event_batches").fetchall()
        return int(row[0])

    def wait_for(self, is_so: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until it is so."""
        assert wait_until(is_so, seconds), self.load.output.read_text()

    def recovers(self, is_so: Callable[[], bool]) -> None:
        """Note how long it takes until it is so; it need not become so."""
        begun = time.monotonic()
        wait_until(is_so, RECOVERY_SECONDS + SLACK_SECONDS + 1)
        self._recovery_seconds = time.monotonic() - begun

    def end(self) -> Finding:
        """Stop the program, and judge."""
        assert self.load.stop(240) == 0, self.load.output.read_text()
        self.judge.read_journal(self.load.journal)
        self.judge.declared = sum(self.load.report["failed"].values())
        verdict = self.judge.verdict(self.dsn, self.load.spool, **{"full disk": 1})
        return Finding(verdict, self.load.report, ledger_rows(self.dsn), self._recovery_seconds)


@contextmanager
def running(dsn: str, folder: Path, judge: Judge, conninfo: str = "", **arguments: Any) -> Iterator[Run]:
    """A program that has stored something."""
    folder.mkdir(exist_ok=True)
    with Workload(conninfo or dsn, folder, judge.seed, rate=RATE, flush_seconds=120, **arguments) as load:
        run = Run(load, dsn, judge)
        run.wait_for(lambda: run.batches() > 5)
        yield run


def fill_the_spools_disk(
    cluster: Cluster, folder: Path, judge: Judge, until_it_says: str = "", **arguments: Any
) -> Finding:
    """PostgreSQL goes away, then the spool's disk is filled; it is freed, and PostgreSQL comes back."""
    folder.mkdir()
    dsn = cluster.database()
    migrate.up(Settings(dsn=dsn))
    with SmallDisk(folder / "spool", 2) as disk, Wire(dsn) as wire:

        def size() -> int:
            total = 0
            for path in disk.folder.rglob("*.seg"):
                with suppress(FileNotFoundError):  # the program has just removed it
                    total += path.stat().st_size
            return total

        with running(dsn, folder, judge, wire.conninfo, **arguments) as run:
            wire.refuse()
            run.wait_for(lambda: size() > 500_000)  # two files, so that an oldest one can be dropped
            disk.fill()
            judge.saw("full disk")
            # on a busy machine it takes its time to find out; some broken builds never say so
            wait_until(lambda: "No space left" in run.load.output.read_text(), SLACK_SECONDS / 2)
            time.sleep(FULL_SECONDS)
            if until_it_says:
                run.wait_for(lambda: disk.fill() or until_it_says in run.load.output.read_text())
            disk.free()
            before = size()
            run.recovers(lambda: size() > before)
            wire.restore()
            return run.end()


def fill_the_servers_disk(folder: Path, seed: int) -> dict[str, Finding]:
    """The disk of the tables is filled under the load of three programs, and freed."""
    with SmallDisk(folder / "disk", 160) as disk, Cluster(folder / "server") as cluster:
        (disk.folder / "tables").mkdir(mode=0o700)
        with psycopg.connect(cluster.conninfo, autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{disk.folder / 'tables'}'".encode())
            for name in SERVERS_DISK:
                connection.execute(f"CREATE DATABASE {name} TABLESPACE small".encode())
        runs: dict[str, Run] = {}
        with ExitStack() as stack:
            for name, arguments in SERVERS_DISK.items():
                dsn = make_conninfo(cluster.conninfo, dbname=name)
                migrate.up(Settings(dsn=dsn))
                runs[name] = stack.enter_context(running(dsn, folder / name, Judge(seed), **arguments))
            disk.fill()
            for run in runs.values():
                run.judge.saw("full disk")
                run.wait_for(lambda run=run: "No space left" in run.load.output.read_text())
            time.sleep(FULL_SECONDS)
            disk.free()
            before = {name: run.batches() for name, run in runs.items()}
            for name, run in runs.items():
                run.recovers(lambda name=name, run=run: run.batches() > before[name])
            return {name: run.end() for name, run in runs.items()}


def fill_the_servers_log(folder: Path, seed: int) -> Finding:
    """All of a server lies on the disk: for want of room for its write-ahead log it ends, and is started again."""
    with SmallDisk(folder / "disk", 192) as disk, Cluster(disk.folder / "server", {"fsync": "off"}) as cluster:
        dsn = cluster.database()
        migrate.up(Settings(dsn=dsn))
        with running(dsn, folder / "program", Judge(seed)) as run:
            disk.fill()
            run.judge.saw("full disk")
            run.wait_for(lambda: not _wants_more_log(dsn))
            time.sleep(FULL_SECONDS)
            disk.free()
            # it may also stay, in a recovery that had no room, and take no connections
            with suppress(OSError):  # or have ended just now
                cluster.kill()
            cluster.start()
            before = run.batches()
            run.recovers(lambda: run.batches() > before)
            return run.end()


def _wants_more_log(dsn: str) -> bool:
    """Has a segment of the log begun, for which there may be no room; False if the server has gone."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=2) as connection:
            connection.execute("SELECT pg_switch_wal()")
    except psycopg.Error:
        return False
    return True


LONG = {"export_timeout_millis": 25_000, "batch_size": 200}
"""A batch waits in memory for longer than the disk is full, also where the machine is busy."""
SHORT = {"export_timeout_millis": 1000, "queue_size": 900, "batch_size": 200, "spool_policy": "drop-newest"}
SPOOLS_DISK: dict[str, dict[str, Any]] = {
    **{
        f"{durability}, {policy}": {"durability": durability, "settings": {**LONG, "spool_policy": policy}}
        for durability in ("memory", "process")
        for policy in ("drop-oldest", "drop-newest")
    },
    **{
        f"{durability}, for long": {"durability": durability, "settings": SHORT, "until_it_says": "records were lost"}
        for durability in ("memory", "process")
    },
}
BROKEN = {
    "trust_the_disk": ("memory", "untold"),
    "give_up_the_disk": ("memory", "not recovered"),
    "let_errors_out": ("process", "raised"),
    "wait_for_the_disk": ("process", "slow"),
}
SERVERS_DISK: dict[str, dict[str, Any]] = {
    "memory": {"durability": "memory"},
    "process": {"durability": "process"},
    "broken": {"broken": "take_a_full_disk_for_bad_rows"},
}


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    """All at the same time: these programs wait most of the time. Where no disk can be mounted they are left out."""
    folder = tmp_path_factory.mktemp("full")
    try:
        with SmallDisk(folder / "probe", 1):
            pass
    except NoDiskError as error:
        pytest.skip(str(error))
    seed = int(os.environ.get("FAULTS_SEED") or random.randrange(1 << 32))
    print(f"FAULTS_SEED={seed}")
    cases = {name: dict(arguments) for name, arguments in SPOOLS_DISK.items()}
    for build, (durability, _) in BROKEN.items():
        cases[build] = {
            "durability": durability,
            "broken": build,
            "settings": {"spool_policy": "drop-newest", "batch_size": 200},
        }
    with Cluster(folder / "server") as cluster, ThreadPoolExecutor(len(cases) + 2) as pool:
        for part in ("tables", "log"):
            (folder / part).mkdir()
        yield {
            "tables": pool.submit(fill_the_servers_disk, folder / "tables", seed),
            "log": pool.submit(fill_the_servers_log, folder / "log", seed),
            **{
                name: pool.submit(fill_the_spools_disk, cluster, folder / name.replace(", ", "-"), Judge(seed), **case)
                for name, case in cases.items()
            },
        }


@pytest.mark.parametrize("case", SPOOLS_DISK)
def test_a_full_disk_of_the_spool_is_not_noticed(findings, case):
    """Records wait in memory for the disk. What is given up, by the policy or for want of time, is counted and told."""
    finding = findings[case].result()

    print(f"{case}: {finding}")
    assert {} == finding.wrongs
    if "drop-newest" in case:
        assert not finding.verdict.missing
    elif "for long" in case:
        assert finding.verdict.missing


@pytest.mark.parametrize("build", BROKEN)
def test_a_build_that_gets_this_wrong_is_condemned(findings, build):
    """The same with a broken build."""
    finding = findings[build].result()

    print(f"{build}: {finding}")
    assert BROKEN[build][1] in finding.wrongs


@pytest.mark.parametrize("durability", ["memory", "process"])
def test_a_full_disk_of_the_server_is_not_noticed(findings, durability):
    """Batches go to the spool, none of their rows is taken for a bad one, and all are stored when there is room."""
    finding = findings["tables"].result()[durability]

    print(f"{durability}: {finding}")
    assert {} == finding.wrongs
    assert set() == finding.verdict.missing


def test_a_build_that_takes_a_full_disk_for_bad_rows_is_condemned(findings):
    """Rows are set aside, though nothing is wrong with them."""
    finding = findings["tables"].result()["broken"]

    print(finding)
    assert "dead" in finding.wrongs


def test_a_server_that_falls_over_its_full_disk_costs_nothing(findings):
    """When there is room and it is started again, all is stored."""
    finding = findings["log"].result()

    print(finding)
    assert {} == finding.wrongs
    assert set() == finding.verdict.missing
