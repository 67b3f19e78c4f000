"""Statistics: totals, outcomes, durations and tokens of many events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any

from .optional import optional

if TYPE_CHECKING:
    import pandas

__all__ = ["Bucket", "Group", "Statistics", "build_statistics"]

_ONE_OF_FOUR = {0b0111: "category", 0b1011: "event_type", 0b1101: "status", 0b1110: "agent_id"}
_ALL = 0b1111
_SECOND = 1_000_000_000


@dataclass(frozen=True)
class Group:
    """Some events together."""

    count: int
    errors: int
    """Events whose status is error."""
    average_duration_ns: float | None
    """Nanoseconds; None if no event has a duration."""
    p50: float | None
    """Median duration in nanoseconds, interpolated as percentile_cont does."""
    p95: float | None
    p99: float | None
    input_tokens: int
    """Of model calls and tools; an agent's own total is not counted again."""
    output_tokens: int
    cost: float | None
    """US dollars; None if nothing states a cost."""

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


def build_statistics(groups: Sequence[Mapping[str, Any]], over_time: Sequence[Mapping[str, Any]]) -> Statistics:
    """Put together what the queries statistics and statistics_over_time gave."""
    by: dict[str, dict[str, Group]] = {name: {} for name in _ONE_OF_FOUR.values()}
    overall: dict[str, Any] = {}
    for row in groups:
        values = _values(row)
        if row["missing"] == _ALL:
            overall = values
        elif (name := row[column := _ONE_OF_FOUR[row["missing"]]]) is not None:
            by[column][name] = Group(**values)
    return Statistics(
        **overall,
        by_category=by["category"],
        by_type=by["event_type"],
        by_status=by["status"],
        by_agent=by["agent_id"],
        over_time=[
            Bucket(row["start"].astimezone(timezone.utc), int(row["count"]), int(row["errors"])) for row in over_time
        ],
    )


def _counts(groups: Mapping[str, Group]) -> dict[str, int]:
    return {name: group.count for name, group in groups.items()}


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    p50, p95, p99 = row["percentiles"] or (None, None, None)
    plain = ("count", "errors", "average_duration_ns", "cost")
    tokens = {name: int(row[name]) for name in ("input_tokens", "output_tokens")}
    return {**{name: row[name] for name in plain}, **tokens, "p50": p50, "p95": p95, "p99": p99}
