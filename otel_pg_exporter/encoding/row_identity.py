"""What can be read off a row that is encoded: its first fields have a fixed place.

    fields 2 · trace_id 4+16 · span_id 4+8 · batch_id 4+16 · batch_index 4+4 · time 4+8 …

So a batch that waited on disk needs nothing but its rows.
"""

from __future__ import annotations

from struct import Struct

__all__ = ["EPOCH_2000_US", "FIXED", "TIMES", "batch_index", "duration_ns", "time_us"]

EPOCH_2000_US = 946_684_800_000_000
"""PostgreSQL counts time from 2000-01-01 UTC: this many microseconds after 1970."""

_BATCH_INDEX = 58
_TIME = 66
FIXED, TIMES = 6, 82
"""So many columns, and bytes, are before those of start, end and duration, each of which may be NULL."""
_INT4 = Struct(">i").unpack_from
_INT8 = Struct(">q").unpack_from


def time_us(row: bytes) -> int:
    """The column `time`, microseconds since 1970."""
    (since_2000,) = _INT8(row, _TIME)
    return int(since_2000) + EPOCH_2000_US


def batch_index(row: bytes) -> int:
    """The column `batch_index`."""
    (index,) = _INT4(row, _BATCH_INDEX)
    return int(index)


def duration_ns(row: bytes) -> int | None:
    """The column `duration_ns`."""
    place = TIMES
    for _ in range(2):
        place += 4 + max(0, *_INT4(row, place))
    found: int | None = _INT8(row, place + 4)[0] if _INT4(row, place)[0] == 8 else None
    return found
