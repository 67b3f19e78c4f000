"""Events as queries give them: typed, and on their way to dicts and frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, overload
from uuid import UUID

from ..encoding import values
from ..encoding.readable import decode_row
from ..encoding.tables import SPECIAL
from ..host.optional import optional
from ..routing import CATEGORIES
from .nodes import title

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = ["Event", "EventPage", "columns", "flat"]

_FREE = ("input", "output", "body", "attributes")
_WHOLE = (
    "batch_index", "duration_ns", "severity_number", "attempt",
    *(name for name in SPECIAL["agent_events"] if name.endswith("_tokens")),
)  # fmt: skip


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
    """started, completed, error, cancelled or suspended"""
    duration_ns: int | None
    """Nanoseconds; None for a log record that states none"""
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
    batch_id: UUID
    """The batch that stored it: event_batches.batch_id"""
    batch_index: int
    """Its position in that batch"""
    details: Mapping[str, Any]
    """The category's own columns, such as agent_name, tool_name and input_tokens"""

    @property
    def event_id(self) -> str | None:
        """The UUID that logging it with an `EventStore` gave; None of what came another way."""
        return self._stated("otel_pg.event.id")

    @property
    def target(self) -> str | None:
        """Of a system event, what it was about."""
        return self._stated("otel_pg.target")

    @property
    def deployment_id(self) -> str | None:
        """Which deployment it is of."""
        return self._stated("deployment.id")

    @property
    def duration(self) -> timedelta | None:
        """To the microsecond."""
        return None if self.duration_ns is None else timedelta(microseconds=self.duration_ns // 1000)

    @property
    def title(self) -> str:
        """What a person knows it by: its name; of a log record without one the start of its body."""
        return title(self.event_name, self.body)

    def to_columns(self) -> dict[str, Any]:
        """Every field by its name, as Python has it; the details beside the others."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "details"}
        return {**own, **self.details}

    def to_dict(self) -> dict[str, Any]:
        """As `to_columns`, of what JSON can hold: time as ISO 8601, bytes as base64, NaN and integers beyond 64 bits
        as text."""
        columns = {**self.to_columns(), "time": self.time.isoformat(), "batch_id": str(self.batch_id)}
        return {name: values.clean(value, (name,), []) for name, value in columns.items()}

    def _stated(self, key: str) -> str | None:
        """An attribute as text, as the queries look for it, whatever another library has set it to."""
        value = self.attributes.get(key)
        return value if value is None or isinstance(value, str) else values.dump(value, key, []).decode()

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
            details={column: decoded[column] for column in SPECIAL[CATEGORIES[category]]},
            **plain,
        )


class EventPage(Sequence[Event]):
    """Some events in order, and where the next page begins."""

    def __init__(
        self, events: Sequence[Event], next_cursor: str | None, categories: Iterable[str] = tuple(CATEGORIES)
    ) -> None:
        self._events = list(events)
        self._categories = tuple(categories)
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
        """A frame with a row for each event; each page of a query has the same columns. Needs pandas."""
        pd = optional("pandas")
        rows = ([event.to_columns().get(name) for name in self._columns()] for event in self)
        columns = list(zip(*rows, strict=True)) or [()] * len(self._columns())
        kinds = {"time": "datetime64[us, UTC]", **dict.fromkeys(_WHOLE, "Int64"), "cost": "float64"}
        frame: pandas.DataFrame = pd.DataFrame(
            {
                name: pd.Series(list(column), dtype=kinds.get(name, "object"))
                for name, column in zip(self._columns(), columns, strict=True)
            }
        )
        return frame

    def to_arrow(self) -> pyarrow.Table:
        """The same as an Arrow table; values of free form are JSON text. Needs pyarrow."""
        pa = optional("pyarrow")
        kinds = {"time": pa.timestamp("us", "UTC"), **dict.fromkeys(_WHOLE, pa.int64()), "cost": pa.float64()}
        schema = pa.schema([(name, kinds.get(name, pa.string())) for name in self._columns()])
        return pa.Table.from_pylist([flat(event) for event in self], schema=schema)

    def _columns(self) -> list[str]:
        return columns(self._categories)


def columns(categories: Iterable[str]) -> list[str]:
    """What events of these categories have, the details after the others."""
    own = [column for category in categories for column in SPECIAL[CATEGORIES[category]]]
    return [*(field.name for field in fields(Event) if field.name != "details"), *own]


def flat(event: Event) -> dict[str, Any]:
    """As `Event.to_columns`, of what a table holds: values of free form are JSON text."""
    flattened: dict[str, Any] = {}
    for name, value in event.to_columns().items():
        if name in _FREE:
            flattened[name] = None if value is None else values.dump(value, name, []).decode()
        elif name == "batch_id":
            flattened[name] = str(value)
        else:
            flattened[name] = values.clean_text(value, name, []) if isinstance(value, str) else value
    return flattened


def _hex(span_id: int) -> str:
    return f"{span_id & ((1 << 64) - 1):016x}"
