"""What became of everything that was produced, by the ledger and by this machine's spool.

    from otel_pg_exporter import doctor

    diagnosis = doctor.examine()
    for producer in diagnosis.producers:
        print(producer.producer_id, producer.stored, producer.dropped, producer.gaps)

Each producer (an exporter in a process) numbers its batches. A number is in the ledger, with the rows that were
stored or given up; or it lies in a spool; or it is missing, and then its neighbours say when it was made.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from time import monotonic
from typing import Any

from .config import Settings
from .database import Database, limits, opened
from .errors import EventStoreError, SpoolError
from .schema import migrate, obstacles
from .schema.obstacles import Obstacle, Rows
from .spool.inspection import batches_in, look
from .upkeep import retention

__all__ = ["Diagnosis", "Gap", "Producer", "examine"]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DAY = timedelta(days=1)
_SECONDS = 30.0
"""For an answer; a large ledger takes a while."""
_UNREAD_FIX = "What it holds is not stored, as far as can be told. Move it away if it is of no use"


@dataclass(frozen=True)
class Gap:
    """Batches of a producer that are neither in the ledger nor in this machine's spool."""

    first: int
    """Sequence number."""
    last: int
    after: datetime | None
    """When the batch before it was made, UTC; None if there is none."""
    before: datetime
    """When the batch after it was made, UTC."""

    @property
    def batches(self) -> int:
        """How many are missing."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Producer:
    """What became of the records of one exporter in one process."""

    producer_id: str
    signal: str
    """span or log"""
    stored: int = 0
    spooled: int = 0
    """Records that wait on this machine's disk."""
    dropped: int = 0
    """Records that were given up, as far as it could tell."""
    dead: int = 0
    """Rows that PostgreSQL refused; they are set aside."""
    gaps: tuple[Gap, ...] = ()
    first_time: datetime | None = None
    """Earliest time of its rows in the tables, UTC."""
    last_time: datetime | None = None

    @property
    def produced(self) -> int:
        """Records whose fate is known: all but those of missing batches."""
        return self.stored + self.spooled + self.dropped + self.dead

    @property
    def missing_batches(self) -> int:
        """Batches whose fate is not known."""
        return sum(gap.batches for gap in self.gaps)


@dataclass(frozen=True)
class Diagnosis:
    """The answer of `examine`."""

    target: str
    """Where the database is, without secrets."""
    schema: str
    since: datetime
    """Producers are left out that stored nothing since then."""
    producers: tuple[Producer, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    """What stands in the way of storing, each with what to do about it."""
    risks: tuple[str, ...] | None = None
    """Settings of the server by which a power cut loses what it has confirmed; None if it cannot be asked."""
    refused: int = 0
    """Rows in this machine's spool that PostgreSQL refused: `otel-pg spool export --dead`."""
    reasons: tuple[str, ...] = field(default=())
    """Why."""
    retention: str | None = None
    """What should have been dropped by now, and what to do about it."""

    @property
    def is_power_safe(self) -> bool | None:
        """A commit that was confirmed survives a power cut of the server; None if it cannot be asked."""
        return None if self.risks is None else not self.risks

    @property
    def is_complete(self) -> bool:
        """All that was produced is stored, and nothing is in the way."""
        return not self.obstacles and all(p.produced == p.stored and not p.gaps for p in self.producers)

    @property
    def totals(self) -> dict[str, int]:
        """Sums over all producers."""
        names = ("produced", "stored", "spooled", "dropped", "dead", "missing_batches")
        return {name: sum(getattr(producer, name) for producer in self.producers) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON; times as ISO 8601."""
        producers = [
            {**_plain(asdict(p)), "produced": p.produced, "missing_batches": p.missing_batches} for p in self.producers
        ]
        mine = {name: value for name, value in asdict(self).items() if name != "producers"}
        return {
            "is_complete": self.is_complete,
            "is_power_safe": self.is_power_safe,
            "totals": self.totals,
            **_plain(mine),
            "producers": producers,
        }


def examine(where: Settings | Database | None = None, *, since: datetime | None = None, **overrides: Any) -> Diagnosis:
    """Compare what was produced with what is stored. Changes nothing, and raises nothing of the database's.

    Args:
        where: default the environment.
        since: leave out producers that stored nothing since then; default all.
        overrides: fields of `Settings`, in place of `where`.
    """
    with opened(where, **overrides) as database:
        return _examine(database, since or _EPOCH)


def _examine(database: Database, since: datetime) -> Diagnosis:
    settings = database.settings
    spool = _Spooled()
    spool.look(settings)
    found: list[Obstacle] = []
    risks = late = None
    rows: Rows | None = None
    gaps: Rows = []
    try:
        missing = [step for step in migrate.status(database) if not step.applied_at]
        if missing:
            found.append(Obstacle(f"migration {missing[0].version:04d} is not applied", "Run: otel-pg migrate up"))
        else:
            found, server = obstacles.ask(database, _SECONDS)
            risks = server.risks
            rows, gaps = _read_ledger(database, since, spool)
            # a lock that is in the way of storing would keep sizes back
            late = None if found else retention.behind(database, _SECONDS)
    except EventStoreError as error:
        found.append(Obstacle(str(error), ""))
    if gaps:
        spool.look(settings)  # what went there after the first look, and before the ledger's answer
    return Diagnosis(
        target=settings.target,
        schema=settings.schema,
        since=since,
        producers=tuple(_producers(rows, gaps, spool)),
        obstacles=(*found, *(Obstacle(f"the spool cannot be read: {error}", _UNREAD_FIX) for error in spool.unread)),
        risks=risks,
        refused=spool.refused,
        reasons=tuple(sorted(spool.reasons)),
        retention=late,
    )


def _read_ledger(database: Database, since: datetime, spool: _Spooled) -> tuple[Rows, Rows]:
    with database.connection("same_moment") as connection:
        connection.execute(database.sql("limit_time").encode(), limits(monotonic() + _SECONDS))

        def fetch(name: str, parameters: Mapping[str, Any]) -> Rows:
            return connection.execute(database.sql(name).encode(), parameters).fetchall()

        names = database.names
        bounds = fetch("partition_bounds", {"schema": names.schema, "tables": [f"{names.prefix}event_batches"]})
        oldest = [row["lower"] for row in bounds if row["lower"] is not None]
        applied_at = fetch("applied_migrations", {})[0]["applied_at"]
        (pruned,) = fetch("ledger_begin", {})  # older days may be there again: of a clock that was wrong, of an import
        begin = _EPOCH + max(min(oldest, default=0), pruned["day"] or 0) * _DAY
        # days that retention has taken cannot be missed
        complete_since = _EPOCH if begin <= applied_at else begin + _DAY
        stored = fetch("batches_in_ledger", {"ids": [batch_id for b in spool.batches.values() for batch_id in b]})
        spool.forget(row["batch_id"] for row in stored)
        wanted = {"since": since, "waiting": [*map(uuid.UUID, spool.batches)], "complete_since": complete_since}
        return fetch("producers", wanted), fetch("sequence_gaps", wanted)


class _Spooled:
    """What lies on this machine, by producer."""

    def __init__(self) -> None:
        self.batches: defaultdict[str, dict[uuid.UUID, Any]] = defaultdict(dict)
        self.signals: dict[str, str] = {}
        self.refused = 0
        self.reasons: set[str] = set()
        self.unread: list[str] = []
        """What could not be looked into, and why."""
        self._stored: set[uuid.UUID] = set()

    def forget(self, stored: Iterable[uuid.UUID]) -> None:
        """These are in the tables already, and their files are about to go."""
        self._stored.update(stored)
        for batches in self.batches.values():
            for batch_id in self._stored & batches.keys():
                del batches[batch_id]

    def look(self, settings: Settings) -> None:
        self.refused, self.unread = 0, []
        try:
            files = look(settings)
        except SpoolError:  # there is no place for one, so nothing waits
            return
        except OSError as error:
            self.unread = [str(error)]
            return
        self.unread = [file.error for file in files if file.error and file.path.exists()]
        for file in files:
            if file.is_dead:
                self.refused += file.rows
                self.reasons.update(file.reasons)
                continue
            try:
                for batch in batches_in(file) if file.error is None else ():
                    if batch.id in self._stored:
                        continue
                    producer = str(batch.producer_id)
                    self.signals[producer] = batch.signal
                    at = _EPOCH + timedelta(microseconds=batch.time_us)
                    self.batches[producer][batch.id] = (batch.sequence, at, len(batch), batch.dropped, batch.dead)
            except (EventStoreError, OSError):
                continue  # it was stored, and removed, just now


def _producers(rows: Rows | None, gaps: Iterable[Mapping[str, Any]], spool: _Spooled) -> Iterator[Producer]:
    holes: defaultdict[str, list[Gap]] = defaultdict(list)
    for gap in gaps:
        holes[str(gap["producer_id"])].append(Gap(gap["first"], gap["last"], gap["after"], gap["before"]))
    known = {str(row["producer_id"]): row for row in rows or ()}
    for producer_id in (*known, *(p for p in spool.batches if p not in known)):
        row: Mapping[str, Any] = known.get(producer_id, {})
        waiting = list(spool.batches[producer_id].values())
        numbers = {sequence: at for sequence, at, *_ in waiting if sequence}
        tail = [] if rows is None else _tail(row, numbers)  # a ledger that was not read misses nothing
        yield Producer(
            producer_id,
            row.get("signal") or spool.signals[producer_id],
            stored=row.get("stored", 0),
            spooled=sum(count for _, _, count, _, _ in waiting),
            dropped=row.get("dropped", 0) + sum(dropped for *_, dropped, _ in waiting),
            dead=row.get("dead", 0) + sum(dead for *_, dead in waiting),
            gaps=tuple(part for gap in (*holes[producer_id], *tail) for part in _without(gap, numbers)),
            first_time=row.get("first_time"),
            last_time=row.get("last_time"),
        )


def _tail(row: Mapping[str, Any], spooled: Mapping[int, datetime]) -> list[Gap]:
    """What lies between the last batch in the ledger and the last one in the spool."""
    last = row.get("last_sequence", 0)
    newest = max(spooled, default=0)
    if newest <= last + 1:
        return []
    return [Gap(last + 1, newest - 1, row.get("last_batch_at") if last else None, spooled[newest])]


def _without(gap: Gap, spooled: Mapping[int, datetime]) -> Iterator[Gap]:
    """What is left of a gap beside the batches that wait in the spool."""
    first, after = gap.first, gap.after
    for number in sorted(number for number in spooled if gap.first <= number <= gap.last):
        if number > first:
            yield Gap(first, number - 1, after, spooled[number])
        first, after = number + 1, spooled[number]
    if first <= gap.last:
        yield Gap(first, gap.last, after, gap.before)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
