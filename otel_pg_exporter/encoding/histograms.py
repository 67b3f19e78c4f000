"""Histograms of durations: small, exact in their counts, and added up by PostgreSQL's own `sum()`.

The buckets are those of DDSketch (Masson, Rim and Lee, VLDB 2019): each is 1.02 / 0.98 times as wide as the one
before, so that what is said of a percentile is wrong by 2 % at most. A histogram is one number in base 10^8, a
digit for each bucket: `sum()` of such numbers, a `numeric` of any length, is the histogram of all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import ceil, exp, floor, log
from struct import Struct

__all__ = ["RELATIVE_ERROR", "field", "is_whole", "percentiles"]

RELATIVE_ERROR = 0.02
"""Of percentiles; durations that are not above 0 count as 0."""

_LOG_WIDTH = log((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))
_PER_LOG = 1 / _LOG_WIDTH
_DIGITS = 8
"""Decimal ones for each bucket."""
_BYTES = 4
"""Two digits in base 10,000, as a numeric is sent."""
_DIGIT = Struct(">hh").pack_into
_HEAD = Struct(">ihhHh").pack


def field(durations: Sequence[int]) -> bytes:
    """The histogram of some durations in nanoseconds, as a field of binary COPY."""
    timed = durations if min(durations) > 0 else [one for one in durations if one > 0]
    counts = Counter([int(power * _PER_LOG) + 1 for power in map(log, timed)])
    if len(timed) < len(durations):
        counts[0] = len(durations) - len(timed)
    first, last = min(counts), max(counts)
    digits = bytearray(_BYTES * (last - first + 1))
    for bucket, count in counts.items():
        _DIGIT(digits, _BYTES * (last - bucket), count // 10_000, count % 10_000)
    return _HEAD(8 + len(digits), len(digits) // 2, 2 * last + 1, 0, 0) + digits


def is_whole(histogram: str, count: int) -> bool:
    """Whether a histogram holds so many: it does not if a bucket ran over, since that is too much for one digit."""
    return count == sum(_counts(histogram)[1])


def percentiles(histogram: str, count: int, least: int, greatest: int, shares: Sequence[float]) -> list[float]:
    """What `percentile_cont` would give for these shares, nearly.

    Args:
        histogram: decimal digits.
        count: number of durations in it, more than 0.
        least: the shortest of them: no percentile is below it.
        greatest: the longest: none is above.
        shares: 0 to 1, in ascending order.
    """
    places = [share * (count - 1) for share in shares]
    at = _at(histogram, sorted({rank for place in places for rank in (floor(place), ceil(place))}))
    found = []
    for place in places:
        low, high = (min(max(at[rank], least), greatest) for rank in (floor(place), ceil(place)))
        found.append(float(low + (high - low) * (place - floor(place))))
    return found


def _at(histogram: str, ranks: Sequence[int]) -> dict[int, float]:
    """Rank, from 0 in ascending order → about which duration is there."""
    found: dict[int, float] = {}
    waiting, seen = list(reversed(ranks)), 0
    first, counts = _counts(histogram)
    for bucket, count in enumerate(counts, first):
        seen += count
        while waiting and waiting[-1] < seen:
            found[waiting.pop()] = _middle(bucket)
    return found


def _counts(histogram: str) -> tuple[int, list[int]]:
    """The first bucket that is not empty, and how many are in it and in each that follows."""
    first = (len(histogram) - len(histogram.rstrip("0"))) // _DIGITS
    ends = range(len(histogram) - first * _DIGITS, 0, -_DIGITS)
    return first, [int(histogram[max(0, end - _DIGITS) : end]) for end in ends]


def _middle(bucket: int) -> float:
    """The duration that is as far from both ends of a bucket, by ratio of the error."""
    return exp(bucket * _LOG_WIDTH) * (1 - RELATIVE_ERROR) if bucket else 0.0
