"""The whole hours in a period: those that summaries can answer for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

__all__ = ["HOUR", "Hours", "whole_hours"]

HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Hours:
    """Hours behind each other, UTC."""

    first: datetime | None
    """The first one; None if there is none before which nothing is."""
    after: datetime | None
    """The one after the last; None if they do not end."""


def whole_hours(start: datetime | None, end: datetime | None) -> Hours | None:
    """The hours between two moments, the end excluded, that lie between them from beginning to end; None if none does.

    A moment that is None does not limit them.
    """
    try:
        first = None if start is None else _EPOCH - (_EPOCH - start) // HOUR * HOUR
        after = None if end is None else _EPOCH + (end - _EPOCH) // HOUR * HOUR
    except OverflowError:  # in the last hour that there is
        return None
    return Hours(first, after) if first is None or after is None or first < after else None
