"""A trace that was read back: a tree of spans with their log records, and the way back to OpenTelemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from ..encoding import readable
from ..otlp.to_json import encode
from .nodes import Node
from .waterfall import render

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["Node", "Trace", "build_trace"]

T = TypeVar("T")


@dataclass(repr=False)
class Trace:
    """All that is stored of one trace. `print(trace)` shows it as a tree."""

    trace_id: str
    """32 hex digits."""
    roots: list[Node]
    """Spans without a parent, or whose parent is not stored (yet); of spans that are each other's parents the first."""
    _resources: Mapping[UUID, Mapping[str, Any]]
    _scopes: Mapping[UUID, Mapping[str, Any]]

    def walk(self) -> Iterator[tuple[int, Node]]:
        """Every node, parents first, with its depth."""
        for root in self.roots:
            yield from root.walk()

    def __len__(self) -> int:
        """Number of spans and log records."""
        return sum(1 for _ in self.walk())

    def to_readable_spans(self) -> list[ReadableSpan]:
        """The spans as the SDK exported them, parents first: nanoseconds, links, events, scope and all."""
        return self._built("span", readable.span)

    def to_log_records(self) -> list[ReadableLogRecord]:
        """The log records as the SDK exported them."""
        return self._built("log", readable.log_record)

    def to_otlp_json(self) -> dict[str, Any]:
        """OTLP/JSON: `{"resourceSpans": […], "resourceLogs": […]}`."""
        return encode(self.to_readable_spans(), self.to_log_records())

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dict of columns for each node, parents first, with `depth`.

        As they stand in the tables: ids are UUIDs and signed integers, times datetimes.
        """
        return [{**node.row, "depth": depth} for depth, node in self.walk()]

    def __repr__(self) -> str:
        return f"<Trace {self.trace_id} of {len(self)}>"

    def __str__(self) -> str:
        """A tree; of more than ten siblings alike it has one line, with their number and average."""
        if not self.roots:
            return f"trace {self.trace_id}: nothing is stored"
        return "\n".join((f"trace {self.trace_id}", *render(self.roots)))

    def _repr_html_(self) -> str:
        """A waterfall, for notebooks."""
        from .waterfall_html import page

        return page(self.trace_id, self.roots)

    def _built(self, record: str, build: Callable[..., T]) -> list[T]:
        """Those of one kind as the SDK's objects, that share their resources and scopes."""
        resources = {each: readable.resource(row) for each, row in self._resources.items()}
        scopes = {each: readable.scope(row) for each, row in self._scopes.items()}
        gone = readable.resource(None)
        rows = (node.row for _, node in self.walk() if node.row["record"] == record)
        return [build(row, resources.get(row["resource_id"], gone), scopes.get(row["scope_id"])) for row in rows]


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
    nodes = [Node(readable.decode_row(row)) for row in sorted(rows, key=_order)]
    # of a span that is stored twice the first has what is below it
    spans = {node.row["span_id"]: node for node in reversed(nodes) if node.row["record"] == "span"}
    cut = _cut(spans)
    roots = []
    for node in nodes:
        is_span = node.row["record"] == "span"
        parent = spans.get(node.row["parent_span_id"] if is_span else node.row["span_id"])
        if parent is None or parent is node or id(node) in cut:
            roots.append(node)
        else:
            parent.children.append(node)
    return Trace(trace_id, roots, resources, scopes)


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["time"], row["start_unix_nano"] or 0, row["batch_index"]


def _cut(spans: Mapping[int, Node]) -> set[int]:
    """Identities of the first spans of circles: those of a broken id generator may be each other's parents."""
    found: set[int] = set()
    seen: dict[int, int] = {}
    for start in spans.values():
        path: list[Node] = []
        node: Node | None = start
        while node is not None and id(node) not in seen:
            seen[id(node)] = id(start)
            path.append(node)
            node = spans.get(node.row["parent_span_id"])
        if node is not None and seen[id(node)] == id(start):  # this walk has met itself
            found.add(id(min(path[path.index(node) :], key=lambda each: _order(each.row))))
    return found
