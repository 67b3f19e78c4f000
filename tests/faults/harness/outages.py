"""PostgreSQL is away while a program goes on: ways to be away, and what is found when it is over.

    finding = Outage("refused", refused, durability="process", restart="kill").run(cluster, folder, judge, 60)

The ledger's order of commits comes from the server, which needs `track_commit_timestamp = on`.
"""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from otel_pg_exporter import migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.sql_files import EVENT_TABLES

from .cluster import Cluster
from .judge import Judge, Verdict
from .payload import Id, producer_trace
from .wire import Wire
from .workload import Workload

__all__ = ["SERVER", "WAYS", "Finding", "Outage", "Watch"]

SERVER = {"track_commit_timestamp": "on"}
"""Settings that the server needs."""
_WARM_BATCHES = 20
_BUSY_SECONDS = 180.0
_FIRST_MOMENTS = 1.0
_AFTERWARDS_SECONDS = 60.0
"""The program goes on for so long when the server is back, at most: until something new is stored at once."""
_FRESH_BATCHES = 5
_FLUSH_SECONDS = 180.0
"""Then what waited is brought in, at most for so long and three times the outage; five programs that record at the same
time would keep two processors from it."""
_LOOKED_INTO = 10
"""Of so many rows the judge looks into one: which there are is what these runs are about."""
_COMMITS = """
    SELECT b.producer_id, b.sequence, b.spooled,
           extract(epoch FROM pg_xact_commit_timestamp((b.transaction_id & 4294967295)::text::xid))::float AS committed
      FROM otel.event_batches b WHERE b.sequence > 0 ORDER BY committed
"""
_PRODUCERS = """
    SELECT DISTINCT b.producer_id FROM otel.{} e JOIN otel.event_batches b USING (batch_id)
     WHERE e.trace_id = ANY(%s)
"""
_judging = threading.Lock()
"""One verdict at a time: it takes memory and attention."""


@contextmanager
def _refused(wire: Wire, cluster: Cluster) -> Any:
    wire.refuse()
    yield
    wire.restore()


@contextmanager
def _vanished(wire: Wire, cluster: Cluster) -> Any:
    wire.vanish()
    yield
    wire.restore()


@contextmanager
def _slow(wire: Wire, cluster: Cluster) -> Any:
    wire.delay = 1.0
    yield
    wire.delay = 0.0


def _silent(wire: Wire, cluster: Cluster) -> AbstractContextManager[None]:
    return cluster.silent()


def _flapping(wire: Wire, cluster: Cluster) -> AbstractContextManager[None]:
    return wire.flapping(1.0, 1.0)


WAYS: dict[str, Callable[[Wire, Cluster], AbstractContextManager[None]]] = {
    "refused": _refused, "black-holed": _vanished, "silent": _silent, "slow": _slow, "flapping": _flapping,
}  # fmt: skip
"""Refused: connections are reset, and new ones refused. Black-holed: packets vanish. Silent: SIGSTOP of the server's
processes. Slow: a second before each answer. Flapping: refused and taken in turn, a second each."""


class Watch:
    """Looks at a process from outside, again and again, until it is closed."""

    def __init__(self, load: Workload) -> None:
        self._load, self._ended = load, threading.Event()
        self.memory = self.descriptors = self.threads = 0
        """The most there were."""
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.is_set():
            try:
                self.memory = self._load.most_memory_bytes
                self.descriptors = max(self.descriptors, self._load.descriptors)
                self.threads = max(self.threads, self._load.threads)
            except (OSError, KeyError):  # it has ended
                return
            self._ended.wait(0.2)

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()


@dataclass
class Finding:
    """What an outage did."""

    verdict: Verdict
    tail: int = 0
    """Spans that a killed program lost at its end; those that it lost elsewhere are in `lost`."""
    lost: int = 0
    rate: float = 0.0
    """Spans a second that ended during the outage: a busy machine has less than was asked for."""
    memory_growth: int = 0
    """Bytes, of the process that grew most, beside what it had when all was well."""
    descriptors_growth: int = 0
    threads_growth: int = 0
    late: int = 0
    """Batches of one producer that came from the spool after one that was made later."""
    late_allowed: int = 0
    """One may be: that whose earlier attempt hung, and kept its row in the ledger locked until the server noticed."""
    overtaken: int = 0
    """Batches that a program left behind and that came after those that the next one spooled."""
    spooled_batches: int = 0
    batches_meanwhile: int = 0
    """Batches that were stored between the first moments of the outage and its end."""
    seconds_to_fresh: float = 0.0
    """From the end of the outage to the first batch that is stored without a stay in the spool."""
    seconds_to_stored: float = 0.0
    """From the end of the outage to the commit of the last batch that waited in the spool."""
    exit_seconds: float = 0.0
    """How long the program took to end in the middle of the outage."""
    is_flushed: bool = False
    """The program says, at its end, that nothing is left to store."""
    printed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.verdict} | {self.rate:.0f} a second | memory +{self.memory_growth / 1e6:.1f} MB,"
            f" descriptors +{self.descriptors_growth},"
            f" threads +{self.threads_growth} | {self.batches_meanwhile} batches stored meanwhile,"
            f" {self.spooled_batches} from the spool,"
            f" {self.late} late | fresh ones stored after {self.seconds_to_fresh:.1f} s,"
            f" all after {self.seconds_to_stored:.1f} s | lost by a kill: {self.tail},"
            f" ended in {self.exit_seconds:.1f} s"
        )

    def wrongs(self, memory: int, descriptors: int) -> dict[str, Any]:
        """What went wrong, by name, with these limits of growth."""
        found = {
            **{name: value for name, value in self.verdict.wrongs.items() if name != "lost_silently"},
            "lost": self.lost,
            "left in the spool": self.verdict.sizes["spooled"],
            "not flushed": not self.is_flushed,
            "memory": self.memory_growth if self.memory_growth > memory else 0,
            "descriptors": self.descriptors_growth if self.descriptors_growth > descriptors else 0,
            "late": self.late if self.late > self.late_allowed else 0,
            "overtaken": self.overtaken,
        }
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True)
class Outage:
    """A program at work, and what happens to it.

    Args:
        way: one of WAYS.
        durability: of the program.
        restart: how the program ends in the middle, and another takes its place: kill or exit; empty: it does not.
        rate: spans a second; each fiftieth has a log record beside it.
        broken: a broken build.
        least: it lasts until the program has ended so many spans, at least.
    """

    way: str
    durability: str = "memory"
    restart: str = ""
    rate: int = 1000
    broken: str = ""
    least: int = 100

    @property
    def is_passable(self) -> bool:
        """Something gets through: then it lasts until something did."""
        return self.way in ("slow", "flapping") and not self.broken

    @property
    def leaves_attempts(self) -> bool:
        """The server does not learn that a program has given up an attempt."""
        return self.way in ("black-holed", "silent", "slow")

    def run(self, cluster: Cluster, folder: Path, judge: Judge, seconds: float) -> Finding:
        """Let it happen, for that long, and judge."""
        dsn = cluster.database()
        migrate.up(Settings(dsn=dsn))
        folder.mkdir()
        with Wire(dsn) as wire:
            return _Trial(self, wire, cluster, folder, judge).run(dsn, seconds)


class _Trial:
    """One outage on its way."""

    def __init__(self, outage: Outage, wire: Wire, cluster: Cluster, folder: Path, judge: Judge) -> None:
        self._outage, self._wire, self._cluster, self._folder, self._judge = outage, wire, cluster, folder, judge
        self._loads: list[Workload] = []
        self._watches: list[Watch] = []
        self._exit_seconds = 0.0

    def run(self, dsn: str, seconds: float) -> Finding:
        """From the start of the program to the verdict."""
        outage = self._outage
        try:
            flush_seconds = _FLUSH_SECONDS + 3 * seconds
            first = self._start(0 if outage.restart else flush_seconds)
            self._wait_for(lambda: self._batches(dsn, 0) >= _WARM_BATCHES)
            base = (first.memory_bytes, first.descriptors, first.threads)
            begun_at, begun_with = time.time(), first.accepted
            with WAYS[outage.way](self._wire, self._cluster):
                self._judge.saw(outage.way)
                time.sleep(seconds / 2)
                if outage.restart:
                    self._end(first)
                    self._start(flush_seconds)
                time.sleep(seconds / 2)
                self._wait_for(lambda: self._loads[-1].accepted >= outage.least)
                if outage.is_passable:
                    self._wait_for(lambda: self._batches(dsn, begun_at + _FIRST_MOMENTS) > 0)
            is_back_at, ended = time.time(), sum(load.accepted for load in self._loads) - begun_with
            deadline = time.monotonic() + _AFTERWARDS_SECONDS
            while time.monotonic() < deadline and self._batches(dsn, is_back_at, fresh=True) < _FRESH_BATCHES:
                time.sleep(0.5)
            last = self._loads[-1]
            assert last.stop(flush_seconds + 60) == 0, last.output.read_text()
        finally:
            for watch in self._watches:
                watch.close()
            for load in self._loads:
                load.__exit__()
        finding = self._judged(dsn, begun_at, is_back_at)
        finding.rate = ended / (is_back_at - begun_at)
        finding.memory_growth = max(watch.memory for watch in self._watches) - base[0]
        finding.descriptors_growth = max(watch.descriptors for watch in self._watches) - base[1]
        finding.threads_growth = max(watch.threads for watch in self._watches) - base[2]
        return finding

    def _start(self, flush_seconds: float) -> Workload:
        outage, producer = self._outage, f"program{len(self._loads) + 1}"
        broken = {"broken": outage.broken} if outage.broken else {}
        load = Workload(
            self._wire.conninfo, self._folder, self._judge.seed, producer, rate=outage.rate, logs_every=50,
            durability=outage.durability, flush_seconds=flush_seconds, **broken,
        )  # fmt: skip
        self._loads.append(load.start())
        self._watches.append(Watch(load))
        return load

    def _wait_for(self, is_so: Callable[[], bool]) -> None:
        # a machine that is busy with something else takes its time
        deadline = time.monotonic() + _BUSY_SECONDS
        while not is_so() and time.monotonic() < deadline:
            time.sleep(0.5)
        assert is_so(), self._loads[-1].output.read_text()

    def _batches(self, dsn: str, since: float, *, fresh: bool = False) -> int:
        """How many were stored since then, fresh ones without a stay in the spool; asked past the wire."""
        with psycopg.connect(dsn) as connection:
            batches = connection.execute(_COMMITS.encode()).fetchall()
        return sum(committed > since and not (fresh and spooled) for *_, spooled, committed in batches)

    def _end(self, load: Workload) -> None:
        if self._outage.restart == "kill":
            load.kill()
            return
        begun = time.monotonic()
        assert load.stop(60) == 0, load.output.read_text()
        self._exit_seconds = time.monotonic() - begun

    def _judged(self, dsn: str, begun_at: float, is_back_at: float) -> Finding:
        judge = self._judge
        with _judging:
            for load in self._loads:
                for path in load.journals:
                    judge.read_journal(path)
            finding = Finding(judge.verdict(dsn, self._loads[-1].spool, every=_LOOKED_INTO, **{self._outage.way: 1}))
            self._look_at_commits(dsn, begun_at, is_back_at, finding)
        lost = finding.verdict.missing
        if self._outage.restart == "kill" and self._outage.durability == "memory":
            finding.tail = len(self._tail(lost, judge))
        finding.lost = len(lost) - finding.tail
        finding.exit_seconds = self._exit_seconds
        finding.is_flushed = self._loads[-1].report["is_flushed"]
        return finding

    @property
    def _traces_of_first(self) -> list[int]:
        return [producer_trace(self._judge.seed, name) for name in ("program1", "program1 logs")]

    def _tail(self, lost: set[Id], judge: Judge) -> list[Id]:
        """What is lost at the very end of what the killed program recorded."""
        found = []
        for trace_id in self._traces_of_first:
            number = max((one[1] for one in judge.accepted if one[0] == trace_id), default=0)
            while (trace_id, number) in lost:
                found.append((trace_id, number))
                number -= 1
        return found

    def _look_at_commits(self, dsn: str, begun_at: float, is_back_at: float, finding: Finding) -> None:
        with psycopg.connect(dsn) as connection:
            batches = connection.execute(_COMMITS.encode()).fetchall()
            traces = [uuid.UUID(int=trace_id) for trace_id in self._traces_of_first]
            of_first = set()
            for table in EVENT_TABLES:
                rows = connection.execute(_PRODUCERS.format(table).encode(), (traces,)).fetchall()
                of_first |= {producer_id for (producer_id,) in rows}
        spooled = [batch for batch in batches if batch[2]]
        finding.spooled_batches = len(spooled)
        by_producer: dict[Any, list[Any]] = {}
        for batch in spooled:
            by_producer.setdefault(batch[0], []).append(batch)
        for own in by_producer.values():
            newest = itertools.accumulate((batch[1] for batch in own), max)
            finding.late += sum(batch[1] < sequence for batch, sequence in zip(own, newest, strict=True))
        finding.late_allowed = int(self._outage.leaves_attempts)
        ended = of_first if self._outage.restart else set()
        of_next = min((batch[3] for batch in spooled if batch[0] not in ended), default=float("inf"))
        finding.overtaken = sum(batch[0] in ended and batch[3] > of_next for batch in spooled)
        finding.seconds_to_stored = max((batch[3] for batch in spooled), default=is_back_at) - is_back_at
        finding.batches_meanwhile = sum(begun_at + _FIRST_MOMENTS < batch[3] < is_back_at for batch in batches)
        fresh = [batch[3] for batch in batches if not batch[2] and batch[3] > is_back_at]
        finding.seconds_to_fresh = min(fresh, default=float("inf")) - is_back_at
