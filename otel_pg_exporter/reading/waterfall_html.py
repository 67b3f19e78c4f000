"""A trace as a waterfall in HTML, of bounded size: for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from ..encoding import values
from .markup import block, escaped, facts
from .nodes import Node
from .waterfall import MOST_ALIKE, MOST_KIND, Line, Window, duration_text, fold, shortened

__all__ = ["page"]

_MOST_LINES, _MOST_NAME = 300, 80
_MOST_DEPTH = 16
"""Levels that are indented."""
_MOST_DETAIL = 300_000
"""Characters of what the lines say when they are opened."""
_MOST_FIELDS, _MOST_VALUE = 24, 600
_DETAILS = (
    "error_type", "error_message", "agent_name", "tool_name", "model", "provider", "task_name", "task_id", "queue",
    "attempt", "environment", "branch", "commit_sha", "result", "session_id", "user_id", "input_tokens",
    "output_tokens", "cost", "input", "output", "body",
)  # fmt: skip
_COLOURS = {"invoke": "agent", "chat": "llm", "embeddings": "llm"}
_KINDS = frozenset({"task", "agent", "llm", "tool", "deployment", "system"})


def page(trace_id: str, roots: Sequence[Node]) -> str:
    """The waterfall of a trace."""
    if not roots:
        return block(f"trace {trace_id}", facts([("stored", "nothing", False)]), ())
    window = Window.of(roots)
    first = roots[0]
    told = facts(_facts(roots, window)) + f"<code>{escaped(trace_id)}</code>"
    return block(shortened(first.name, _MOST_NAME), told, _body(roots, window))


def _facts(roots: Sequence[Node], window: Window) -> Iterator[tuple[str, str, bool]]:
    spans = logs = errors = tokens = 0
    cost = None
    for root in roots:
        for _, node in root.walk():
            row = node.row
            spans, logs = spans + (row["record"] == "span"), logs + (row["record"] == "log")
            errors += node.status == "error"
            if node.what != "invoke":  # an agent's own total is that of its calls
                tokens += (row.get("input_tokens") or 0) + (row.get("output_tokens") or 0)
                if row.get("cost") is not None:
                    cost = (cost or 0.0) + row["cost"]
    yield "", f"{roots[0].time:%Y-%m-%d %H:%M:%S} UTC", False
    yield "", duration_text(window.end_ns - window.start_ns), False
    yield _plural("span", spans), f"{spans:,}", False
    if logs:
        yield _plural("log record", logs), f"{logs:,}", False
    if errors:
        yield _plural("error", errors), f"{errors:,}", True
    if tokens:
        yield _plural("token", tokens), f"{tokens:,}", False
    if cost is not None:
        yield "", f"${cost:.4f}", False


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _body(roots: Sequence[Node], window: Window) -> Iterator[str]:
    whole = window.end_ns - window.start_ns
    quarters = [(25 * quarter, duration_text(whole * quarter / 4) if quarter else "0") for quarter in range(4)]
    ticks = "".join(f'<span style="left:{place}%">{time}</span>' for place, time in quarters)
    yield f'<div class="axis"><span></span><span class="ticks">{ticks}</span><span></span><span></span></div>'
    room = _MOST_DETAIL
    for line in fold(roots, MOST_ALIKE, _MOST_LINES):
        if line.hidden:
            yield f'<div class="more">… {line.hidden:,} lines more</div>'
            return
        details = _details(line) if room > 0 else ""
        room -= len(details)
        yield _row(line, window, details)


def _row(line: Line, window: Window, details: str) -> str:
    begin, end = window.share(line)
    colour = _COLOURS.get(line.node.what, line.node.what)
    colour = colour if colour in _KINDS else line.node.category
    kind = "dot" if line.duration_ns is None else "folded" if len(line.nodes) > 1 else "one"
    width = "" if kind == "dot" else f"width:{max(0.15, (end - begin) * 100):.3f}%"
    outcome = "error" if line.status == "error" else "fine"
    deeper = f"<em>level {line.depth:,}</em>" if line.depth > _MOST_DEPTH else ""
    error = line.error.rpartition(".")[2] if line.status == "error" else ""
    why = f'<em class="why">{escaped(error)}</em>' if error else ""
    title, kind = escaped(line.name(_MOST_NAME)), escaped(shortened(line.what, MOST_KIND))
    name = f'<span title="{title}">{title}</span><em>{kind}</em>{why}{deeper}'
    return (
        f'<details class="{outcome}" style="--c:var(--{colour});--d:{min(line.depth, _MOST_DEPTH)}"><summary>'
        f'<span class="name">{name}</span>'
        f'<span class="lane"><i class="{kind}" style="left:{begin * 100:.3f}%;{width}"></i></span>'
        f'<span class="took">{escaped(duration_text(line.duration_ns))}</span>'
        f'<span class="mark">{escaped(line.mark)}</span></summary>{details}</details>'
    )


def _details(line: Line) -> str:
    if len(line.nodes) > 1:
        return _list([("spans like this", f"{len(line.nodes):,}")])
    row = line.node.row
    known = [(name, row[name]) for name in _DETAILS if row.get(name) not in (None, "")]
    own = [("span id", line.node.span_id), ("started", line.node.time.isoformat())]
    # what a column says is not said again by the attribute that it comes from
    said = {_text(row.get(name)) for name in (*_DETAILS, "event_name", "event_type", "status", "action")} | {
        line.node.category
    }
    more_of = [(name, value) for name, value in row["attributes"].items() if _text(value) not in said]
    every = [*own, *known, *more_of]
    more = [("…", f"{len(every) - _MOST_FIELDS} more")] if len(every) > _MOST_FIELDS else []
    return _list([*every[:_MOST_FIELDS], *more])


def _list(pairs: Iterable[tuple[str, Any]]) -> str:
    items = (f"<dt>{escaped(name)}</dt><dd>{escaped(_text(value), _MOST_VALUE)}</dd>" for name, value in pairs)
    return f"<dl>{''.join(items)}</dl>"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps(values.clean(value, ("value",), [])).decode()
