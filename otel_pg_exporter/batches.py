"""One export call becomes a batch: encoded rows, and an id that is fixed before the first attempt."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .row_identity import time_us, with_batch_id
from .rows import Row
from .sources import Source
from .sql_files import EVENT_TABLES
from .tables import COLUMNS

__all__ = ["DAY_US", "Batch", "Rejected", "encode_batch", "new_batch_id", "notice"]

DAY_US = 86_400_000_000
"""Microseconds in a day."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that could not be encoded."""

    record: Any
    reason: str


@dataclass(slots=True)
class Batch:
    """What one transaction stores."""

    id: uuid.UUID
    """UUIDv7 (RFC 9562); its milliseconds are the ledger's partition key, so the id alone finds the row."""
    producer_id: uuid.UUID
    sequence: int
    signal: str
    """span or log"""
    rows: dict[str, list[bytes]] = field(default_factory=lambda: {table: [] for table in EVENT_TABLES})
    """Table → encoded rows."""
    sources: dict[bytes, Source] = field(default_factory=dict)
    """What the rows refer to, by id."""
    days: set[int] = field(default_factory=set)
    """Days that the rows and the ledger's row fall on, counted from 1970-01-01 UTC."""
    rejected: list[Rejected] = field(default_factory=list)
    first_us: int = 0
    last_us: int = 0
    columns: Mapping[str, Sequence[str]] = field(default_factory=lambda: COLUMNS)
    """Table → what its rows hold, in order: a batch from the spool may be of an older version."""
    dropped: int = 0
    """Records of its producer that were given up, beside its rows: what the ledger has to be told."""
    dead: int = 0
    """The same of rows that were set aside."""
    was_spooled: bool = False
    """It came from the spool, not straight from the program."""

    @property
    def time_us(self) -> int:
        """When the batch was made, microseconds since 1970: what the id says, to the millisecond."""
        return (self.id.int >> 80) * 1000

    def __len__(self) -> int:
        """Number of rows."""
        return sum(map(len, self.rows.values()))

    def add(self, table: str, row: bytes, sources: Sequence[Source] = ()) -> None:
        """Append one encoded row."""
        moment = time_us(row)
        if not self.days:
            self.first_us = self.last_us = moment
            self.days.add(self.time_us // DAY_US)
        self.first_us, self.last_us = min(self.first_us, moment), max(self.last_us, moment)
        self.days.add(moment // DAY_US)
        self.rows[table].append(row)
        for source in sources:
            self.sources[source.id] = source

    def use_own_time(self) -> None:
        """Without rows, the time of the batch stands for theirs."""
        self.first_us = self.last_us = self.time_us
        self.days.add(self.time_us // DAY_US)

    def loss(self) -> Batch:
        """What the ledger is told in place of this batch, under the same id: that its rows were given up."""
        return notice(self.id, self.producer_id, self.sequence, self.signal, dropped=len(self) + self.dropped)

    def take_out(self, table: str, index: int) -> Batch:
        """Row number `index` of a table, that this batch loses, as a batch of its own with the same id."""
        taken = Batch(self.id, self.producer_id, self.sequence, self.signal)
        taken.sources, taken.columns, taken.was_spooled = self.sources, self.columns, self.was_spooled
        taken.add(table, self.rows[table].pop(index))
        return taken

    def part(self, first: int, end: int) -> Batch:
        """Rows number `first` to `end`, counted over all tables, as a batch of their own.

        Its id follows from the batch and the rows, so that a part which is sent again is known again.
        """
        name = b"%b:%d:%d" % (self.id.bytes, first, end)
        digest = int.from_bytes(hashlib.sha256(name).digest()[:10], "big")
        part = Batch(_uuid7(self.id.int >> 80, digest), self.producer_id, self.sequence, self.signal)
        part.sources, part.columns, part.was_spooled = self.sources, self.columns, self.was_spooled
        every = [(table, row) for table, rows in self.rows.items() for row in rows]
        for table, row in every[first:end]:
            part.add(table, with_batch_id(row, part.id.bytes))
        return part

    @property
    def size(self) -> int:
        """Encoded rows in bytes."""
        return sum(len(row) for rows in self.rows.values() for row in rows)


def notice(
    batch_id: uuid.UUID, producer_id: uuid.UUID, sequence: int, signal: str, *, dropped: int = 0, dead: int = 0
) -> Batch:
    """A batch without rows, that only tells the ledger of a loss."""
    batch = Batch(batch_id, producer_id, sequence, signal, dropped=dropped, dead=dead)
    batch.use_own_time()
    return batch


def new_batch_id() -> uuid.UUID:
    """A UUIDv7: 48 bits of milliseconds since 1970, then random bits."""
    return _uuid7(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big"))


def _uuid7(millis: int, random: int) -> uuid.UUID:
    value = (
        (millis & (1 << 48) - 1) << 80 | 7 << 76 | (random >> 4 & 0xFFF) << 64 | 2 << 62 | random >> 16 & (1 << 62) - 1
    )
    return uuid.UUID(int=value)


def encode_batch(
    records: Sequence[Any],
    encode: Callable[[Any, bytes, int], Row],
    *,
    producer_id: uuid.UUID,
    sequence: int,
    signal: str,
) -> Batch:
    """Encode records; one that cannot be encoded is set aside, and the others are stored."""
    batch = Batch(new_batch_id(), producer_id, sequence, signal)
    batch_id = batch.id.bytes
    rows, sources = batch.rows, batch.sources
    times = []
    known: tuple[Source, ...] = ()
    for index, record in enumerate(records):
        try:
            table, data, moment, origin = encode(record, batch_id, index)
        except Exception as error:
            batch.rejected.append(Rejected(record, f"{type(error).__name__}: {error}"))
            continue
        rows[table].append(data)
        times.append(moment)
        if origin is not known:
            sources.update((source.id, source) for source in origin)
            known = origin
    times = times or [batch.time_us]
    batch.first_us, batch.last_us = min(times), max(times)
    batch.days = {batch.time_us // DAY_US, batch.first_us // DAY_US}
    if batch.first_us // DAY_US != batch.last_us // DAY_US:
        batch.days.update(moment // DAY_US for moment in times)
    return batch
