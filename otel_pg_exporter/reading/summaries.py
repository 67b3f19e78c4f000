"""Traces in a list, and what agents, tools and models have used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, overload

from .events import Event

__all__ = ["TracePage", "TraceSummary", "Usage"]


@dataclass(frozen=True)
class TraceSummary:
    """A trace by its root: the span without a parent, or whose parent in another process is not stored."""

    trace_id: str
    """32 hex digits."""
    root: Event
    spans: int
    logs: int
    """Log records."""
    errors: int
    """Spans and log records whose status is error."""
    input_tokens: int
    """Of model calls and tools; an agent's own total is not counted again."""
    output_tokens: int
    cost: float | None
    """US dollars; None if nothing states a cost."""

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold, the root's fields beside the totals."""
        root = self.root.to_dict()
        names = ("time", "category", "event_type", "event_name", "status", "duration_ns", "service_name", "span_id",
                 "agent_id", "task_id", "session_id", "user_id", "error_type", "error_message")  # fmt: skip
        totals = {name: getattr(self, name) for name in ("spans", "logs", "errors", "input_tokens", "output_tokens")}
        return {"trace_id": self.trace_id, **{name: root[name] for name in names}, **totals, "cost": self.cost}


class TracePage(Sequence[TraceSummary]):
    """Some traces, newest first, and where the next page begins."""

    def __init__(self, traces: Sequence[TraceSummary], next_cursor: str | None) -> None:
        self._traces = list(traces)
        self.next_cursor = next_cursor
        """For `cursor=` of the same query; None after the last page."""

    @overload
    def __getitem__(self, index: int) -> TraceSummary: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TraceSummary]: ...
    def __getitem__(self, index: int | slice) -> TraceSummary | Sequence[TraceSummary]:
        return self._traces[index]

    def __len__(self) -> int:
        return len(self._traces)

    def __iter__(self) -> Iterator[TraceSummary]:
        return iter(self._traces)

    def __repr__(self) -> str:
        return f"<TracePage of {len(self)}{', more follow' if self.next_cursor else ''}>"

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dict for each trace."""
        return [trace.to_dict() for trace in self]


@dataclass(frozen=True)
class Usage:
    """What one agent, tool or model did."""

    name: str
    count: int
    """Runs of an agent, calls of a tool or model."""
    errors: int
    """Of these."""
    p50: float | None
    """Median duration in nanoseconds; None if none has a duration."""
    p95: float | None
    input_tokens: int
    """Of an agent, those of all that bears its name or id."""
    output_tokens: int
    cost: float | None
    """US dollars; None if nothing states a cost."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Usage:
        """What a query of usage gave."""
        p50, p95 = row["percentiles"] or (None, None)
        plain = {name: row[name] for name in ("name", "count", "errors")}
        read, written = int(row["input_tokens"]), int(row["output_tokens"])
        cost = None if row["cost"] is None else float(row["cost"])
        return cls(**plain, cost=cost, input_tokens=read, output_tokens=written, p50=p50, p95=p95)
