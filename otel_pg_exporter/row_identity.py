"""What can be read off, and changed in, a row that is encoded: its first fields have a fixed place.

    fields 2 · trace_id 4+16 · span_id 4+8 · batch_id 4+16 · batch_index 4+4 · time 4+8 …

So a batch that waited on disk, or has to be split, needs nothing but its rows.
"""

from __future__ import annotations

from struct import Struct

__all__ = ["EPOCH_2000_US", "time_us", "with_batch_id"]

EPOCH_2000_US = 946_684_800_000_000
"""PostgreSQL counts time from 2000-01-01 UTC: this many microseconds after 1970."""

_BATCH_ID = 38
_TIME = 66
_INT8 = Struct(">q").unpack_from


def time_us(row: bytes) -> int:
    """The column `time`, microseconds since 1970."""
    (since_2000,) = _INT8(row, _TIME)
    return int(since_2000) + EPOCH_2000_US


def with_batch_id(row: bytes, batch_id: bytes) -> bytes:
    """The same row in another batch."""
    return row[:_BATCH_ID] + batch_id + row[_BATCH_ID + 16 :]
