"""What the rows of a batch come to, for each hour and kind of event: rows of the table `event_summaries`.

They are stored in the batch's own transaction, so that they are as true as its rows are, whatever happens to it.
Statistics of whole hours read them in place of the events. While a batch is encoded its rows are counted on the
way; a batch that lost a row, or lay on disk, is counted again from the bytes of its rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from functools import lru_cache, reduce
from struct import Struct
from typing import TypeAlias

from ..routing import CATEGORIES
from . import histograms
from .binary_copy import NULL, int4, int8, label, numeric, uuid
from .row_identity import EPOCH_2000_US, FIXED, TIMES, duration_ns, time_us
from .rows import Kind, Numbers
from .tables import KIND, NUMBERS, SUMMARY

__all__ = ["Tally"]

_HOUR_US = 3_600_000_000
_LENGTH = Struct(">i").unpack_from
_INT8 = Struct(">4xq").unpack
_FLOAT8 = Struct(">4xd").unpack
_COUNT = Struct(">h").pack(len(SUMMARY))
_EXACTLY = Context(prec=2000)
_CATEGORIES = {table: label(category) for category, table in CATEGORIES.items()}
_INVOKE = label("invoke")
_WANTED = frozenset((*KIND, *NUMBERS, "service_name", "action"))

Durations: TypeAlias = dict[Kind, list[int | None]]
AllNumbers: TypeAlias = dict[Kind, list[Numbers]]
Place: TypeAlias = tuple[int, int, Durations, AllNumbers]
"""The hour's first microsecond and that of the next one, and by kind the durations and numbers of the rows."""


class Tally:
    """Counts rows."""

    def __init__(self) -> None:
        self._durations: dict[tuple[int, bytes], Durations] = {}
        self._numbers: dict[tuple[int, bytes], AllNumbers] = {}

    def add(self, moment: int, service: bytes, kind: Kind, duration: int | None, numbers: Numbers | None) -> None:
        """Count a row.

        Args:
            moment: its column `time`, microseconds since 1970.
            service: its field service_name.
            kind: what it is counted with.
            duration: its column `duration_ns`.
            numbers: its tokens and cost; None where they are not to be counted.
        """
        _, _, durations, sums = self.place(moment, service)
        durations[kind].append(duration)
        if numbers is not None:
            sums[kind].append(numbers)

    def place(self, moment: int, service: bytes) -> Place:
        """Where rows of the same hour and service are counted: what `add` does, done by the caller for many rows."""
        hour = moment // _HOUR_US
        durations = self._durations.setdefault((hour, service), defaultdict(list))
        numbers = self._numbers.setdefault((hour, service), defaultdict(list))
        return hour * _HOUR_US, (hour + 1) * _HOUR_US, durations, numbers

    def add_encoded(self, table: str, columns: Sequence[str], row: bytes) -> None:
        """Count a row of which there is nothing but its bytes."""
        found = _fields(row, _wanted(tuple(columns)))
        event_type, status, agent_id, agent_name = (found.get(column, NULL) for column in KIND)
        kind = table, event_type, status, agent_id, agent_name
        tokens_in, tokens_out, cost = (found.get(column, NULL) for column in NUMBERS)
        is_counted = table == "agent_events" and found["action"] != _INVOKE
        numbers = (tokens_in, tokens_out, cost) if is_counted else None
        self.add(time_us(row), found["service_name"], kind, duration_ns(row), numbers)

    def rows(self, batch_id: bytes) -> list[bytes]:
        """The rows of `event_summaries`, for binary COPY."""
        found = []
        for place, kinds in self._durations.items():
            hour, service = place
            front = _COUNT + uuid(batch_id) + int8(hour * _HOUR_US - EPOCH_2000_US)
            for kind, (durations, numbers) in _merged(kinds, self._numbers[place]).items():
                table, event_type, status, agent_id, agent_name = kind
                names = _CATEGORIES[table], event_type, status, service, agent_id, agent_name
                found.append(b"".join((front, *names, int4(len(durations)), *_durations(durations), *_sums(numbers))))
        return found


def _merged(
    durations: Mapping[Kind, list[int | None]], numbers: Mapping[Kind, list[Numbers]]
) -> dict[Kind, tuple[list[int | None], list[Numbers]]]:
    """Durations and numbers by kind, without the name of an agent that has no other id."""
    found: dict[Kind, tuple[list[int | None], list[Numbers]]] = {}
    for kind in durations:
        table, event_type, status, agent_id, agent_name = kind
        short = kind if agent_name != agent_id else (table, event_type, status, agent_id, NULL)
        these, those = found.setdefault(short, ([], []))
        these += durations[kind]
        those += numbers.get(kind, ())
    return found


def _durations(every: Sequence[int | None]) -> tuple[bytes, ...]:
    """How many have one, the sum, the shortest, the longest, and the histogram."""
    durations = [one for one in every if one is not None]
    if not durations:
        return int4(0), NULL, NULL, NULL, NULL
    least, most = min(durations), max(durations)
    return int4(len(durations)), numeric(sum(durations)), int8(least), int8(most), histograms.field(durations)


def _sums(numbers: Sequence[Numbers]) -> tuple[bytes, bytes, bytes]:
    """Tokens in and out, and cost; NULL if no row says any."""
    inputs = [_INT8(one)[0] for one, _, _ in numbers if one is not NULL and one != NULL]
    outputs = [_INT8(one)[0] for _, one, _ in numbers if one is not NULL and one != NULL]
    costs = [one for _, _, one in numbers if one is not NULL and one != NULL]
    return (
        numeric(sum(inputs)) if inputs else NULL,
        numeric(sum(outputs)) if outputs else NULL,
        _cost(costs) if costs else NULL,
    )


def _cost(fields: Sequence[bytes]) -> bytes:
    # as PostgreSQL makes a numeric of a double precision: so the sum is the same in whichever order, and exact
    costs = [Decimal(f"{_FLOAT8(one)[0]:.15g}") for one in fields]
    sign, digits, exponent = reduce(_EXACTLY.add, costs).as_tuple()
    value = int("".join(map(str, digits))) * (-1 if sign else 1)
    assert isinstance(exponent, int)  # no number that is encoded is infinite
    return numeric(value * 10 ** max(0, exponent), max(0, -exponent))


@lru_cache(maxsize=64)
def _wanted(columns: tuple[str, ...]) -> Sequence[str | None]:
    """The columns behind those of a fixed place, to the last that is wanted; None for one that is not."""
    wanted = [column if column in _WANTED else None for column in columns[FIXED:]]
    while wanted[-1] is None:
        wanted.pop()
    return wanted


def _fields(row: bytes, wanted: Sequence[str | None]) -> dict[str, bytes]:
    found, start = {}, TIMES
    for column in wanted:
        (length,) = _LENGTH(row, start)
        end = start + 4 + length if length > 0 else start + 4
        if column is not None:
            found[column] = row[start:end]
        start = end
    return found
