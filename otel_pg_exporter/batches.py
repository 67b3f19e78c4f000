"""One export call becomes a batch: encoded rows, and an id that is fixed before the first attempt."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .rows import Row
from .sources import Source
from .sql_files import EVENT_TABLES

__all__ = ["DAY_US", "Batch", "Rejected", "encode_batch", "new_batch_id"]

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

    @property
    def time_us(self) -> int:
        """When the batch was made, microseconds since 1970: what the id says, to the millisecond."""
        return (self.id.int >> 80) * 1000

    def __len__(self) -> int:
        """Number of rows."""
        return sum(map(len, self.rows.values()))

    @property
    def size(self) -> int:
        """Encoded rows in bytes."""
        return sum(len(row) for rows in self.rows.values() for row in rows)


def new_batch_id() -> uuid.UUID:
    """A UUIDv7: 48 bits of milliseconds since 1970, then random bits."""
    millis = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
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
            table, data, time_us, origin = encode(record, batch_id, index)
        except Exception as error:
            batch.rejected.append(Rejected(record, f"{type(error).__name__}: {error}"))
            continue
        rows[table].append(data)
        times.append(time_us)
        if origin is not known:
            sources.update((source.id, source) for source in origin)
            known = origin
    times = times or [batch.time_us]
    batch.first_us, batch.last_us = min(times), max(times)
    batch.days = {batch.time_us // DAY_US, batch.first_us // DAY_US}
    if batch.first_us // DAY_US != batch.last_us // DAY_US:
        batch.days.update(time_us // DAY_US for time_us in times)
    return batch
