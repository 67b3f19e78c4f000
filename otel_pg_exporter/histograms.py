"""Histograms of durations: small, exact in their counts, and added up by PostgreSQL's own `sum()`.

The buckets are those of DDSketch (Masson, Rim and Lee, VLDB 2019): each is 1.02 / 0.98 times as wide as the one
before, so that what is said of a percentile is wrong by 2 % at most. A histogram is one number in base 10^12, a
digit for each bucket: `sum()` of such numbers, a `numeric` of any length, is the histogram of all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import ceil, exp, floor, log
from struct import pack

__all__ = ["RELATIVE_ERROR", "field", "percentiles"]

RELATIVE_ERROR = 0.02
"""Of percentiles, for durations from 1 ns to seven years; what is not above 0 counts as 0."""

_LOG_WIDTH = log((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))
_PER_LOG = 1 / _LOG_WIDTH
_LAST = 999
"""The last bucket: PostgreSQL takes 3,000 digits in base 10,000, of which each bucket has three."""
_DIGITS = 12
"""Decimal ones for each bucket: more events than fit there, no table has."""


def field(durations: Iterable[int]) -> bytes:
    """The histogram of some durations in nanoseconds, as a field of binary COPY."""
    counts = Counter([min(_LAST, int(log(one) * _PER_LOG) + 1) if one > 0 else 0 for one in durations])
    first, last = min(counts), max(counts)
    digits = [0] * (3 * (last - first + 1))
    for bucket, count in counts.items():
        place = 3 * (last - bucket)
        digits[place : place + 3] = count // 10**8, count // 10**4 % 10**4, count % 10**4
    return pack(f">ihhHh{len(digits)}h", 8 + 2 * len(digits), len(digits), 3 * last + 2, 0, 0, *digits)


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
    for bucket, end in enumerate(range(len(histogram), 0, -_DIGITS)):
        seen += int(histogram[max(0, end - _DIGITS) : end])
        while waiting and waiting[-1] < seen:
            found[waiting.pop()] = _middle(bucket)
    return found


def _middle(bucket: int) -> float:
    """The duration that is as far from both ends of a bucket, by ratio of the error."""
    return exp(bucket * _LOG_WIDTH) * (1 - RELATIVE_ERROR) if bucket else 0.0
