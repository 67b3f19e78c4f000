"""Runs as queries give them: spans that are open, or were when their process died."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from ..encoding import values

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """A span that was seen open for longer than a second, and how it stood when it was asked for."""

    trace_id: str
    """32 hex digits"""
    span_id: str
    """16 hex digits"""
    parent_span_id: str | None
    """16 hex digits; None for a root span"""
    category: str
    """system, task, agent or deployment"""
    event_type: str
    event_name: str
    status: str
    """started (it runs) or lost"""
    time: datetime
    """Its start by the program's clock, UTC"""
    duration_ns: int
    """Nanoseconds since its start; of what is lost, from there to the last sign of life"""
    service_name: str | None
    agent_id: str | None
    task_id: str | None
    session_id: str | None
    user_id: str | None
    attributes: Mapping[str, Any]
    """As they were when it was first seen open"""
    process_id: UUID
    host: str | None
    pid: int | None
    last_heartbeat: datetime
    """Last sign of life of its process, by the server's clock, UTC; when the span was seen if none is left"""

    @property
    def duration(self) -> timedelta:
        """To the microsecond."""
        return timedelta(microseconds=self.duration_ns // 1000)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold: times as ISO 8601."""
        plain = asdict(self)
        for name in ("time", "last_heartbeat"):
            plain[name] = plain[name].isoformat()
        return {**plain, "process_id": str(self.process_id), "attributes": values.clean(self.attributes, (), [])}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Run:
        """The run of a row of the view runs."""
        parent = row["parent_span_id"]
        decoded = {
            **row,
            "trace_id": row["trace_id"].hex,
            "span_id": _hex(row["span_id"]),
            "parent_span_id": None if parent is None else _hex(parent),
            "time": row["time"].astimezone(timezone.utc),
            "last_heartbeat": (row["last_heartbeat"] or row["seen_at"]).astimezone(timezone.utc),
        }
        return cls(**{field.name: decoded[field.name] for field in fields(cls)})


def _hex(span_id: int) -> str:
    return f"{span_id & ((1 << 64) - 1):016x}"
