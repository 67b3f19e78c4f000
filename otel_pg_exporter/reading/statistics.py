"""Statistics: totals, outcomes, durations and tokens of many events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any

from ..encoding.histograms import RELATIVE_ERROR, percentiles
from ..host.optional import optional
from .markup import bars, block, facts, table
from .waterfall import duration_text

if TYPE_CHECKING:
    import pandas

__all__ = ["Bucket", "Group", "Statistics", "build_statistics"]

_ONE_OF_FOUR = {0b0111: "category", 0b1011: "event_type", 0b1101: "status", 0b1110: "agent_id"}
_ALL = 0b1111
_SECOND = 1_000_000_000
_SHARES = (0.5, 0.95, 0.99)
_MOST_ROWS, _MOST_BARS = 50, 96
"""Of each group, and of the chart, in HTML."""


@dataclass(frozen=True)
class Group:
    """Some events together."""

    count: int
    errors: int
    """Events whose status is error."""
    average_duration_ns: float | None
    """Nanoseconds; None if no event has a duration."""
    p50: float | None
    """Median duration in nanoseconds, interpolated as percentile_cont does; `Statistics.percentile_error` says how
    exactly."""
    p95: float | None
    p99: float | None
    input_tokens: int
    """Of model calls and tools; an agent's own total is not counted again."""
    output_tokens: int
    cost: float | None
    """US dollars, each cost taken to 15 digits; None if nothing states a cost."""

    @property
    def error_rate(self) -> float:
        """Errors of all, 0 to 1."""
        return self.errors / self.count if self.count else 0.0


@dataclass(frozen=True)
class Bucket:
    """One stretch of time."""

    start: datetime
    """UTC"""
    count: int
    errors: int


@dataclass(frozen=True)
class Statistics(Group):
    """All events together, and by what they are."""

    by_category: Mapping[str, Group]
    by_type: Mapping[str, Group]
    by_status: Mapping[str, Group]
    by_agent: Mapping[str, Group]
    """Agent id → its events; events of no agent are left out."""
    over_time: Sequence[Bucket]
    percentile_error: float = 0.0
    """How far percentiles may be off, relative: 0 if the events were read, 0.02 if whole hours were summed up from
    batches, where a duration that is not above 0 counts as 0. All else is always exact."""

    @property
    def total(self) -> int:
        """Number of events."""
        return self.count

    @property
    def total_events(self) -> int:
        """Number of events."""
        return self.count

    @property
    def events_by_category(self) -> dict[str, int]:
        """Category → number of events."""
        return _counts(self.by_category)

    @property
    def events_by_type(self) -> dict[str, int]:
        """Event type → number of events."""
        return _counts(self.by_type)

    @property
    def events_by_status(self) -> dict[str, int]:
        """Status → number of events."""
        return _counts(self.by_status)

    @property
    def events_by_agent(self) -> dict[str, int]:
        """Agent id → number of events."""
        return _counts(self.by_agent)

    @property
    def events_by_day(self) -> dict[date, int]:
        """UTC day → number of events of the stretches that begin on it."""
        days: Counter[date] = Counter()
        for bucket in self.over_time:
            days[bucket.start.date()] += bucket.count
        return dict(days)

    @property
    def average_duration(self) -> float | None:
        """Seconds; None if no event has a duration."""
        return None if self.average_duration_ns is None else self.average_duration_ns / _SECOND

    @property
    def duration_percentiles(self) -> dict[int, float]:
        """50, 95 and 99 → seconds; empty if no event has a duration."""
        found = {50: self.p50, 95: self.p95, 99: self.p99}
        return {percent: value / _SECOND for percent, value in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and lists; times as ISO 8601."""
        plain = {"total": self.total, "error_rate": self.error_rate, **asdict(self)}
        for by in ("by_category", "by_type", "by_status", "by_agent"):
            for name, group in getattr(self, by).items():
                plain[by][name]["error_rate"] = group.error_rate
        for bucket in plain["over_time"]:
            bucket["start"] = bucket["start"].isoformat()
        return plain

    def _repr_html_(self) -> str:
        """Totals, a chart over time and a table, for notebooks."""
        rate = f" ({self.error_rate:.1%})" if self.errors else ""
        told = [("events", f"{self.count:,}", False), (f"errors{rate}", f"{self.errors:,}", self.errors > 0)]
        told += [(name, duration_text(value), False) for name, value in (("p50", self.p50), ("p95", self.p95)) if value]
        told += [("tokens in", f"{self.input_tokens:,}", False), ("tokens out", f"{self.output_tokens:,}", False)]
        if self.cost is not None:
            told.append(("", f"${self.cost:.4f}", False))
        named = {"category": self.by_category, "type": self.by_type, "status": self.by_status, "agent": self.by_agent}
        rows = [_cells(by, name, group) for by, groups in named.items() for name, group in _largest(groups)]
        titles = ["by", "name", "events", "errors", "p50", "p95", "p99", "tokens in", "tokens out", "cost"]
        chart = [bars(_merged(self.over_time))] if len(self.over_time) > 1 else []
        return block("Statistics", facts(told), [*chart, table(titles, rows, texts=2, bad=3)])

    def to_pandas(self) -> pandas.DataFrame:
        """A frame with a row for each group. Needs pandas."""
        pd = optional("pandas")
        named = {
            "category": self.by_category,
            "type": self.by_type,
            "status": self.by_status,
            "agent": self.by_agent,
        }
        rows = [
            {"by": by, "name": name, **asdict(group), "error_rate": group.error_rate}
            for by, groups in named.items()
            for name, group in groups.items()
        ]
        columns = ["by", "name", *(field.name for field in fields(Group)), "error_rate"]
        frame: pandas.DataFrame = pd.DataFrame(rows, columns=columns)
        return frame


def _cells(by: str, name: str, group: Group) -> list[object]:
    durations = [duration_text(value) for value in (group.p50, group.p95, group.p99)]
    tokens = [f"{number:,}" if number else "" for number in (group.input_tokens, group.output_tokens)]
    cost = "" if group.cost is None else f"${group.cost:.4f}"
    return [by, name, f"{group.count:,}", f"{group.errors:,}" if group.errors else "", *durations, *tokens, cost]


def _largest(groups: Mapping[str, Group]) -> list[tuple[str, Group]]:
    return sorted(groups.items(), key=lambda item: -item[1].count)[:_MOST_ROWS]


def _merged(over_time: Sequence[Bucket]) -> list[tuple[int, int, str]]:
    """The stretches of time as bars of a chart, neighbours together if they are many."""
    together = -(-len(over_time) // _MOST_BARS)
    merged = []
    for place in range(0, len(over_time), together):
        some = over_time[place : place + together]
        count, errors = sum(bucket.count for bucket in some), sum(bucket.errors for bucket in some)
        merged.append((count, errors, f"{some[0].start:%Y-%m-%d %H:%M} UTC: {count:,} events, {errors:,} errors"))
    return merged


def build_statistics(groups: Sequence[Mapping[str, Any]], over_time: Sequence[Mapping[str, Any]]) -> Statistics:
    """Put together what the query statistics_of_rows or statistics_of_summaries, and statistics_over_time gave."""
    by: dict[str, dict[str, Group]] = {name: {} for name in _ONE_OF_FOUR.values()}
    overall: dict[str, Any] = {}
    for row in groups:
        values = _values(row)
        if row["missing"] == _ALL:
            overall = values
        elif (name := row[column := _ONE_OF_FOUR[row["missing"]]]) is not None:
            by[column][name] = Group(**values)
    is_summed = any("histogram" in row for row in groups)
    return Statistics(
        **overall,
        percentile_error=RELATIVE_ERROR if is_summed else 0.0,
        by_category=by["category"],
        by_type=by["event_type"],
        by_status=by["status"],
        by_agent=by["agent_id"],
        over_time=[
            Bucket(row["start"].astimezone(timezone.utc), int(row["count"]), int(row["errors"])) for row in over_time
        ],
    )


def _percentiles(row: Mapping[str, Any]) -> Sequence[float] | None:
    if "histogram" not in row:
        exact: Sequence[float] | None = row["percentiles"]
        return exact
    if not row["timed"]:
        return None
    return percentiles(row["histogram"], row["timed"], row["duration_min"], row["duration_max"], _SHARES)


def _counts(groups: Mapping[str, Group]) -> dict[str, int]:
    return {name: group.count for name, group in groups.items()}


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    p50, p95, p99 = _percentiles(row) or (None, None, None)
    plain = ("count", "errors", "average_duration_ns")
    tokens = {name: int(row[name]) for name in ("input_tokens", "output_tokens")}
    cost = None if row["cost"] is None else float(row["cost"])
    return {**{name: row[name] for name in plain}, **tokens, "cost": cost, "p50": p50, "p95": p95, "p99": p99}
