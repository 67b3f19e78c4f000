"""A trace that was read back: a tree of spans with their log records, and the way back to OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .readable import decode_row

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["Node", "Trace", "build_trace"]

_CATEGORIES = {
    "events": "system",
    "task_events": "task",
    "agent_events": "agent",
    "deployment_events": "deployment",
}
_MARKS = {"completed": "ok", "started": "…"}


@dataclass
class Node:
    """One row of a trace and what hangs below it."""

    row: Mapping[str, Any]
    """All columns, decoded."""
    children: list[Node] = field(default_factory=list)
    """Spans and log records below, by their start."""

    @property
    def name(self) -> str:
        """The event's name; for a log record without one the start of its body."""
        return str(self.row["event_name"] or self.row["body"] or "log")[:80]

    @property
    def category(self) -> str:
        """task, agent, deployment or system."""
        return _CATEGORIES[self.row["table"]]

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


@dataclass
class Trace:
    """All that is stored of one trace. `print(trace)` shows it as a tree."""

    trace_id: str
    """32 hex digits."""
    roots: list[Node]
    """Spans without a parent, or whose parent is not stored (yet)."""
    _resources: Mapping[UUID, Mapping[str, Any]] = field(repr=False)
    _scopes: Mapping[UUID, Mapping[str, Any]] = field(repr=False)

    def walk(self) -> Iterator[tuple[int, Node]]:
        """Every node, parents first, with its depth."""
        for root in self.roots:
            yield from root.walk()

    def __len__(self) -> int:
        """Number of spans and log records."""
        return sum(1 for _ in self.walk())

    def to_readable_spans(self) -> list[ReadableSpan]:
        """The spans as the SDK exported them, parents first: nanoseconds, links, events, scope and all."""
        from . import readable

        return [readable.span(row, *self._origin(row)) for row in self._rows("span")]

    def to_log_records(self) -> list[ReadableLogRecord]:
        """The log records as the SDK exported them."""
        from . import readable

        return [readable.log_record(row, *self._origin(row)) for row in self._rows("log")]

    def to_otlp_json(self) -> dict[str, Any]:
        """OTLP/JSON: `{"resourceSpans": […], "resourceLogs": […]}`."""
        from .otlp_json import encode

        return encode(self.to_readable_spans(), self.to_log_records())

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dict of columns for each node, parents first, with `depth`."""
        return [{**node.row, "depth": depth} for depth, node in self.walk()]

    def __str__(self) -> str:
        lines = [f"trace {self.trace_id}"]
        for root in self.roots:
            lines += _tree(root)
        return "\n".join(lines) if self.roots else f"trace {self.trace_id}: nothing is stored"

    def _rows(self, record: str) -> list[Mapping[str, Any]]:
        return [node.row for _, node in self.walk() if node.row["record"] == record]

    def _origin(self, row: Mapping[str, Any]) -> tuple[Any, Any]:
        from . import readable

        scope = self._scopes.get(row["scope_id"])
        return readable.resource(self._resources[row["resource_id"]]), scope and readable.scope(scope)


def build_trace(
    trace_id: str,
    rows: Sequence[Mapping[str, Any]],
    resources: Mapping[UUID, Mapping[str, Any]],
    scopes: Mapping[UUID, Mapping[str, Any]],
) -> Trace:
    """Put rows together.

    Args:
        trace_id: 32 hex digits.
        rows: all columns of the trace's rows, and `table`.
        resources: rows of `resources` by id.
        scopes: rows of `scopes` by id.
    """
    ordered = sorted(rows, key=lambda row: (row["time"], row["start_unix_nano"] or 0, row["batch_index"]))
    nodes = [Node(decode_row(row)) for row in ordered]
    spans = {node.row["span_id"]: node for node in nodes if node.row["record"] == "span"}
    roots = []
    for node in nodes:
        is_span = node.row["record"] == "span"
        parent = spans.get(node.row["parent_span_id"] if is_span else node.row["span_id"])
        if parent is None or parent is node or (is_span and _is_below(node, parent, spans)):
            roots.append(node)
        else:
            parent.children.append(node)
    return Trace(trace_id, roots, resources, scopes)


def _is_below(node: Node, ancestor: Node | None, spans: Mapping[int, Node]) -> bool:
    """Whether a span's parents lead back to itself, as those of a broken id generator may."""
    seen = set()
    while ancestor is not None and id(ancestor) not in seen:
        if ancestor is node:
            return True
        seen.add(id(ancestor))
        ancestor = spans.get(ancestor.row["parent_span_id"])
    return False


def _tree(root: Node) -> Iterator[str]:
    yield _line("", root)
    stack = [("", child, child is root.children[-1]) for child in reversed(root.children)]
    while stack:
        indent, node, is_last = stack.pop()
        yield _line(f"{indent}{'└─ ' if is_last else '├─ '}", node)
        below = f"{indent}{'   ' if is_last else '│  '}"
        stack.extend((below, child, child is node.children[-1]) for child in reversed(node.children))


def _line(indent: str, node: Node) -> str:
    status = _MARKS.get(node.status, node.status.upper())
    what = node.row.get("action") or node.category
    error = f"  {node.row['error_type']}" if node.row["error_type"] and status not in _MARKS.values() else ""
    name = "".join(character if character.isprintable() else "�" for character in node.name)
    left = f"{indent}{name}"
    return f"{left:<48} {what:<10} {_duration(node.duration_ns):>9}  {status}{error}"


def _duration(nanoseconds: int | None) -> str:
    if nanoseconds is None:
        return ""
    for size, unit in ((60_000_000_000, "min"), (1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")):
        if abs(nanoseconds) >= size:
            return f"{nanoseconds / size:.1f} {unit}"
    return f"{nanoseconds} ns"
