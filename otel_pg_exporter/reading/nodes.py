"""A row of a trace, and what hangs below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..encoding import values
from ..routing import CATEGORIES

__all__ = ["Node", "title"]

_CATEGORIES = {table: category for category, table in CATEGORIES.items()}
_MOST_OF_A_BODY = 80


def title(event_name: object, body: object) -> str:
    """What a person knows an event by: its name; of a log record without one the start of its body."""
    try:
        said = str(event_name or body or "log")
    except ValueError:  # a number in it has more digits than Python writes
        said = str(values.clean(body, (), []))
    return said if event_name or len(said) <= _MOST_OF_A_BODY else said[: _MOST_OF_A_BODY - 1] + "…"


@dataclass(repr=False)  # that of a root would be as long as the trace
class Node:
    """One row of a trace and what hangs below it."""

    row: Mapping[str, Any]
    """All columns, decoded."""
    children: list[Node] = field(default_factory=list)
    """Spans and log records below, by their start."""

    def __repr__(self) -> str:
        return f"<Node {self.span_id} {self.name[:80]!r}, {len(self.children)} below>"

    @property
    def name(self) -> str:
        """The event's name; for a log record without one the start of its body."""
        return title(self.row["event_name"], self.row["body"])

    @property
    def category(self) -> str:
        """task, agent, deployment or system."""
        return _CATEGORIES[self.row["table"]]

    @property
    def what(self) -> str:
        """An agent's action, such as tool or llm; of other categories the category."""
        return str(self.row.get("action") or self.category)

    @property
    def status(self) -> str:
        """started, completed, error, cancelled or suspended."""
        return str(self.row["status"])

    @property
    def span_id(self) -> str:
        """16 hex digits."""
        return f"{self.row['span_id'] & ((1 << 64) - 1):016x}"

    @property
    def time(self) -> datetime:
        """When it started, UTC."""
        moment: datetime = self.row["time"]
        return moment

    @property
    def start_ns(self) -> int:
        """When it started, nanoseconds since 1970."""
        exact = self.row["start_unix_nano"]
        return int(exact) if exact is not None else int(self.time.timestamp() * 1e6) * 1000

    @property
    def duration_ns(self) -> int | None:
        """Nanoseconds; None for a log record."""
        duration: int | None = self.row["duration_ns"]
        return duration

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """This node and all below it, parents first, with their depth."""
        stack = [(depth, self)]
        while stack:
            level, node = stack.pop()
            yield level, node
            stack.extend((level + 1, child) for child in reversed(node.children))
