"""Events as queries give them: typed, and on their way to dicts and frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, overload

from .readable import decode_row
from .tables import SPECIAL

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = ["Event", "EventPage"]

_TABLES = {
    "system": "events",
    "task": "task_events",
    "agent": "agent_events",
    "deployment": "deployment_events",
}


@dataclass(frozen=True)
class Event:
    """One event."""

    category: str
    """system, task, agent or deployment"""
    record: str
    """span or log"""
    time: datetime
    """UTC"""
    trace_id: str | None
    """32 hex digits; None for a log record outside of any trace"""
    span_id: str | None
    """16 hex digits"""
    parent_span_id: str | None
    """16 hex digits"""
    event_type: str
    event_name: str
    status: str
    """started, completed, error or cancelled"""
    duration_ns: int | None
    """Nanoseconds; None for a log record"""
    service_name: str | None
    agent_id: str | None
    task_id: str | None
    session_id: str | None
    user_id: str | None
    error_type: str | None
    error_message: str | None
    severity_number: int | None
    """1 to 24; None for a span"""
    input: Any
    output: Any
    body: Any
    attributes: Mapping[str, Any]
    """As they were set, in their order"""
    details: Mapping[str, Any]
    """The category's own columns, such as agent_name, tool_name and input_tokens"""

    @property
    def duration(self) -> timedelta | None:
        """To the microsecond."""
        return None if self.duration_ns is None else timedelta(microseconds=self.duration_ns / 1000)

    def to_dict(self) -> dict[str, Any]:
        """Every field by its name; the details beside the others."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "details"}
        return {**values, **self.details}

    @classmethod
    def from_row(cls, category: str, row: Mapping[str, Any]) -> Event:
        """The event of a row with all columns."""
        decoded = decode_row(row)
        own = ("trace_id", "span_id", "parent_span_id", "category", "details", "event_name")
        plain = {field.name: decoded[field.name] for field in fields(cls) if field.name not in own}
        return cls(
            category=category,
            trace_id=decoded["trace_id"].hex if decoded["trace_id"].int else None,
            span_id=_hex(decoded["span_id"]) if decoded["span_id"] else None,
            parent_span_id=None if decoded["parent_span_id"] is None else _hex(decoded["parent_span_id"]),
            event_name=str(row["event_name"]),
            details={column: decoded[column] for column in SPECIAL[_TABLES[category]]},
            **plain,
        )


class EventPage(Sequence[Event]):
    """Some events in order, and where the next page begins."""

    def __init__(self, events: Sequence[Event], next_cursor: str | None) -> None:
        self._events = list(events)
        self.next_cursor = next_cursor
        """For `cursor=` of the same query; None after the last page."""

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self._events[index]

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __repr__(self) -> str:
        return f"<EventPage of {len(self)}{', more follow' if self.next_cursor else ''}>"

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dict for each event."""
        return [event.to_dict() for event in self]

    def to_pandas(self) -> pandas.DataFrame:
        """A frame with a row for each event. Needs pandas."""
        import pandas

        return pandas.DataFrame(self.to_dicts())

    def to_arrow(self) -> pyarrow.Table:
        """A table with a row for each event; values of free form are JSON text. Needs pyarrow."""
        import orjson
        import pyarrow

        free = ("input", "output", "body", "attributes")
        rows = [
            {k: orjson.dumps(v, default=str).decode() if k in free and v is not None else v for k, v in row.items()}
            for row in self.to_dicts()
        ]
        return pyarrow.Table.from_pylist(rows)


def _hex(span_id: int) -> str:
    return f"{span_id & ((1 << 64) - 1):016x}"
