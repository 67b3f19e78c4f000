"""Percentiles of a histogram are as near as they are said to be."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from struct import unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_pg_exporter.encoding.histograms import RELATIVE_ERROR, field, is_whole, percentiles

SHARES = (0.0, 0.5, 0.95, 0.99, 1.0)
durations = st.lists(st.integers(1, 2**63 - 1) | st.integers(1, 10**9) | st.integers(1, 9), min_size=1, max_size=200)


def digits(encoded: bytes) -> str:
    """A whole number as PostgreSQL writes it, from how it is sent."""
    length, count, weight, sign, scale = unpack(">ihHhH", encoded[:12])
    assert (len(encoded) - 4, 0, 0) == (length, sign, scale)
    parts = unpack(f">{count}h", encoded[12:])
    return ("".join(f"{part:04}" for part in parts) + "0000" * (weight + 1 - count)).lstrip("0")


def exactly(values: list[int], share: float) -> float:
    """As percentile_cont."""
    place = (len(values) - 1) * share
    low, high = values[math.floor(place)], values[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


@given(durations)
def test_no_percentile_is_off_by_more_than_the_error(values):
    """From 1 ns to all that a column can hold."""
    found = percentiles(digits(field(values)), len(values), min(values), max(values), SHARES)

    for share, one in zip(SHARES, found, strict=True):
        assert one == pytest.approx(exactly(sorted(values), share), rel=RELATIVE_ERROR * (1 + 1e-9)), share
    assert is_whole(digits(field(values)), len(values))


@given(st.lists(durations, min_size=2, max_size=5))
def test_the_sum_of_histograms_is_the_histogram_of_all(several):
    """So that PostgreSQL's own sum() adds them up."""
    with localcontext() as context:
        context.prec = 10_000
        total = sum(Decimal(digits(field(values))) for values in several)

    assert Decimal(digits(field([one for values in several for one in values]))) == total


@given(st.lists(st.integers(-(2**63), 3), min_size=1, max_size=50))
def test_what_is_not_above_zero_counts_as_zero(values):
    """But no percentile is outside of what there is."""
    found = percentiles(digits(field(values)), len(values), min(values), max(values), SHARES)

    for share, one in zip(SHARES, found, strict=True):
        as_zero = exactly(sorted(min(max(0, one), max(values)) for one in values), share)
        assert one == pytest.approx(as_zero, rel=RELATIVE_ERROR * (1 + 1e-9)), share


def test_a_bucket_that_ran_over_is_noticed():
    """One more than a digit can say goes into the next, and the total is not what it should be."""
    full = int(digits(field([5] * 9999))) * 10_001
    assert is_whole(str(full), 9999 * 10_001)
    assert not is_whole(str(full + int(digits(field([5])))), 9999 * 10_001 + 1)
