"""One export call becomes a batch: encoded rows, and an id that is fixed before the first attempt."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import FAULTS
from ..sql_files import EVENT_TABLES
from .binary_copy import NULL
from .presumed import with_json
from .row_identity import batch_index, time_us
from .rows import Row
from .sources import Source, service_field
from .tables import COLUMNS
from .tally import Tally

__all__ = ["DAY_US", "Batch", "Rejected", "derived_batch_id", "encode_batch", "new_batch_id", "notice"]

DAY_US = 86_400_000_000
_LAST_MILLIS = (1 << 63) // 1_000_000
"""Of 2262: no span is later, whose nanoseconds are a bigint. A clock of the program's may say anything."""
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
    unread: int = 0
    """Records that were not looked at, for the time was over."""
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
    was_mended: bool = field(default=False, init=False)
    """An input or output that was taken for JSON was none."""
    _summaries: list[bytes] | None = field(default=None, init=False)
    """What the rows come to, if they were counted and are still the same."""
    _tally: Tally | None = field(default=None, init=False)
    """Counts the rows of a batch to which only `add_row` adds."""

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
        self._summaries = self._tally = None
        for source in sources:
            self.sources[source.id] = source

    def add_row(self, row: Row) -> None:
        """Append a row that was just encoded: what it is counted with need not be read from its bytes."""
        table, data, moment, sources, kind, duration, numbers = row
        tally = self._tally if len(self) else Tally()
        self.add(table, data, sources)
        if tally is not None:
            tally.add(moment, service_field(sources), kind, duration, numbers)
            self._tally = tally

    def summaries(self) -> list[bytes]:
        """What its rows come to, as encoded rows of event_summaries."""
        if self._summaries is None:
            self._summaries = (self._tally or self._counted()).rows(self.id.bytes)
        return self._summaries

    def _counted(self) -> Tally:
        tally = Tally()
        for table, rows in self.rows.items():
            for row in rows:
                tally.add_encoded(table, self.columns[table], row)
        return tally

    def use_own_time(self) -> None:
        """Without rows, the time of the batch stands for theirs."""
        self.first_us = self.last_us = self.time_us
        self.days.add(self.time_us // DAY_US)

    def loss(self) -> Batch:
        """What the ledger is told in place of this batch, under the same id: that its rows were given up."""
        return notice(self.id, self.producer_id, self.sequence, self.signal, dropped=len(self) + self.dropped)

    def mend(self) -> bool:
        """Look into inputs and outputs that were taken for JSON; True if one was none, which is a JSON string now."""
        mended = {table: [with_json(row, self.columns[table]) for row in rows] for table, rows in self.rows.items()}
        if mended == self.rows:
            return False
        self.rows, self.was_mended = mended, True
        return True

    def take_out(self, table: str, index: int) -> Batch:
        """Row number `index` of a table, that this batch loses, as a batch of its own with the same id."""
        self._summaries = self._tally = None
        row = self.rows[table].pop(index)
        taken = replace(self, rows={name: [] for name in self.rows}, sources=self._sources_of(row), days=set())
        taken.add(table, row)
        return taken

    def _sources_of(self, row: bytes) -> dict[bytes, Source]:
        named = {key: source for key, source in self.sources.items() if source.is_in(row)}
        listed = {part for source in named.values() for part in source.parts}
        return named | {key: source for key, source in self.sources.items() if source.row.get("content_id") in listed}

    def leave_out(self, indexes: Collection[int]) -> None:
        """Lose the rows that have these numbers in column `batch_index`."""
        if not indexes:
            return
        self._summaries = self._tally = None
        for table, rows in self.rows.items():
            self.rows[table] = [row for row in rows if batch_index(row) not in indexes]

    def beginning(self, count: int) -> Batch:
        """The first rows, counted over all tables: to be tried, never to be stored under the id that they share."""
        rows = {}
        for table, every in self.rows.items():
            rows[table] = every[:count]
            count -= len(rows[table])
        return replace(self, rows=rows)

    def place(self, number: int) -> tuple[str, int]:
        """Table and index of the row of that number, counted over all tables from 0."""
        for table, rows in self.rows.items():
            if number < len(rows):
                return table, number
            number -= len(rows)
        raise IndexError(number)

    @property
    def size(self) -> int:
        """Encoded rows, and texts that they share, in bytes, about."""
        shared = sum(source.size for source in self.sources.values())
        return shared + sum(sum(map(len, rows)) for rows in self.rows.values())


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


def derived_batch_id(millis: int, digest: bytes) -> uuid.UUID:
    """The same UUIDv7 for the same content: what is stored under it once is not stored again."""
    return _uuid7(millis, int.from_bytes(digest[:10], "big"))


def _uuid7(millis: int, random: int) -> uuid.UUID:
    millis = min(max(0, millis), _LAST_MILLIS)
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
    batch_id: uuid.UUID | None = None,
    is_over: Callable[[], bool] | None = None,
) -> Batch:
    """Encode records; one that cannot be encoded is set aside, and the others are stored.

    From the first before which the time `is_over` none is looked at.
    """
    batch = Batch(batch_id or new_batch_id(), producer_id, sequence, signal)
    id_bytes = batch.id.bytes
    rows, sources = batch.rows, batch.sources
    times = []
    tally, service = Tally(), NULL
    known: tuple[Source, ...] = ()
    first_us = end_us = 0
    for index, record in enumerate(records):
        if is_over is not None and is_over():
            batch.unread = len(records) - index
            break
        try:
            table, data, moment, origin, kind, duration, numbers = encode(record, id_bytes, index)
        except FAULTS as error:  # what a value raises when it is made a text
            batch.rejected.append(Rejected(record, f"{type(error).__name__}: {error}"))
            continue
        rows[table].append(data)
        times.append(moment)
        if origin is not known:
            sources.update((source.id, source) for source in origin)
            known = origin
            if service != (service := service_field(origin)):
                first_us = end_us  # no moment lies between them
        if not first_us <= moment < end_us:
            first_us, end_us, durations, sums = tally.place(moment, service)
        durations[kind].append(duration)
        if numbers is not None:
            sums[kind].append(numbers)
    batch._summaries = tally.rows(id_bytes)
    times = times or [batch.time_us]
    batch.first_us, batch.last_us = min(times), max(times)
    batch.days = {batch.time_us // DAY_US, batch.first_us // DAY_US}
    if batch.first_us // DAY_US != batch.last_us // DAY_US:
        batch.days.update(moment // DAY_US for moment in times)
    return batch
