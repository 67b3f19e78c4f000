"""A trace as lines, however large: siblings alike are folded into one, and so is what hangs below them.

Nothing here goes from parent to child by recursion, and the indent of a line is bounded: a trace may be a
chain of thirty thousand spans.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from .nodes import Node
from .terminal import harmless

__all__ = ["Line", "Window", "columns_of", "duration_text", "fold", "padded", "render", "shortened"]

MOST_ALIKE = 10
"""Siblings of one name, kind and outcome that are shown one by one; more of them are folded."""
MOST_LINES = 1000
"""Of a trace that is not asked for as a whole."""
_MOST_DEPTH = 24
"""Levels that are indented; a deeper line says its depth."""
_MARKS = {"completed": "ok", "started": "…"}
_STEP = 3
"""Columns for each level."""
_BAR, _LEAST_BAR = 30, 10
_NAME, _LEAST_NAME, _ALIGNED = 48, 20, 120
"""Columns for names: in a pipe at least, on a terminal at least, and how far in a pipe a long one moves the rest."""
_KIND, MOST_KIND = 10, 20
_BESIDE, _MOST_OUTCOME = 15, 23
"""Columns beside name, kind and bar: the duration and gaps; status and class of error."""

Paint = Callable[[str, str], str]
"""Text and status → the text in the colour of the status."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a span or log record, or several that are alike."""

    nodes: Sequence[Node]
    depth: int
    lead: str
    """What stands before its name in text: lines of the tree."""
    indent: str
    """The same for each of its children, without the corner."""
    hidden: int = 0
    """Instead of nodes: so many lines more."""

    @property
    def node(self) -> Node:
        """The first one."""
        return self.nodes[0]

    @property
    def status(self) -> str:
        """That of all its nodes."""
        return self.node.status

    @property
    def mark(self) -> str:
        """The status as it is shown."""
        return _MARKS.get(self.status, self.status.upper())

    @property
    def error(self) -> str:
        """The class of the error, for show; empty if none is to be told."""
        error_type = self.node.row["error_type"]
        return harmless(error_type) if error_type and self.mark not in _MARKS.values() else ""

    @property
    def outcome(self) -> str:
        """Both."""
        return f"{self.mark}  {self.error}".rstrip()

    @property
    def what(self) -> str:
        """The kind, for show."""
        return harmless(self.node.what)

    def name(self, width: int | None = None) -> str:
        """The name for show, with how many there are; cut to fit a width."""
        name, many = harmless(self.node.name), f" ×{len(self.nodes):,} (avg)" if len(self.nodes) > 1 else ""
        return (name if width is None else shortened(name, max(1, width - len(many)))) + many

    @property
    def duration_ns(self) -> int | None:
        """Nanoseconds, on average; None of log records."""
        known = [node.duration_ns for node in self.nodes if node.duration_ns is not None]
        return sum(known) // len(known) if known else None

    @property
    def extent(self) -> tuple[int, int]:
        """From the first start to the last end, nanoseconds since 1970."""
        ends = (node.start_ns + (node.duration_ns or 0) for node in self.nodes)
        return min(node.start_ns for node in self.nodes), max(ends)


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of time that a trace takes."""

    start_ns: int
    end_ns: int

    @classmethod
    def of(cls, roots: Sequence[Node]) -> Window:
        """From the first start to the last end of all spans and log records."""
        starts, ends = [], []
        for root in roots:
            for _, node in root.walk():
                starts.append(node.start_ns)
                ends.append(node.start_ns + max(0, node.duration_ns or 0))
        return cls(min(starts, default=0), max(ends, default=0))

    def share(self, line: Line) -> tuple[float, float]:
        """Where a line begins and ends, 0 to 1."""
        whole = max(1, self.end_ns - self.start_ns)
        begin, end = ((moment - self.start_ns) / whole for moment in line.extent)
        begin = min(1.0, max(0.0, begin))
        return begin, min(1.0, max(begin, end))


def fold(roots: Sequence[Node], most_alike: int | None = MOST_ALIKE, most_lines: int | None = None) -> Iterator[Line]:
    """The lines of a trace, parents first.

    Args:
        roots: spans and log records without a parent.
        most_alike: how many siblings alike are shown one by one; None for all.
        most_lines: then a last line says how many are missing; None for all.
    """
    every = _folded(roots, most_alike)
    if most_lines is None:
        yield from every
        return
    yield from islice(every, most_lines)
    if hidden := sum(1 for _ in every):
        yield Line((), 0, "", "", hidden)


def _folded(roots: Sequence[Node], most_alike: int | None) -> Iterator[Line]:
    stack = _siblings(roots, most_alike, 0, "")
    while stack:
        line = stack.pop()
        yield line
        children = [child for node in line.nodes for child in node.children]
        stack += _siblings(children, most_alike, line.depth + 1, line.indent)


def _siblings(nodes: Sequence[Node], most_alike: int | None, depth: int, indent: str) -> list[Line]:
    """Lines of the children of one line, the last first."""
    groups: list[list[Node]] = [[node] for node in nodes]
    if most_alike is not None and len(nodes) > most_alike:
        alike: dict[tuple[str, str, str], list[Node]] = {}
        for node in nodes:
            alike.setdefault((node.name, node.what, node.status), []).append(node)
        groups = []
        for node in nodes:
            group = alike[node.name, node.what, node.status]
            if len(group) <= most_alike:
                groups.append([node])
            elif group[0] is node:
                groups.append(group)
    lines = []
    for group in groups:
        is_last = group is groups[-1]
        if depth == 0:
            lead, below = "", ""
        elif depth > _MOST_DEPTH:
            lead, below = f"{indent}{depth:,} ╌ ", indent
        else:
            lead, below = indent + ("└─ " if is_last else "├─ "), indent + ("   " if is_last else "│  ")
        lines.append(Line(group, depth, lead, below))
    return lines[::-1]


@dataclass(frozen=True, slots=True)
class _Layout:
    """How wide the columns of a trace are."""

    name: int
    kind: int
    bar: int
    step: int = _STEP
    """Columns for each level."""
    levels: int = _MOST_DEPTH
    """How many are indented; a deeper line says its depth."""

    @classmethod
    def of(cls, lines: Sequence[Line], has_bars: bool, width: int | None) -> _Layout:
        """What suits lines that are not hidden, in a pipe or on a terminal of a width."""
        longest = 1 + max((columns_of(line.lead + line.name()) for line in lines), default=0)  # 1 apart from the kind
        kind = max(_KIND, min(MOST_KIND, max((columns_of(line.what) for line in lines), default=0)))
        if width is None:
            return cls(min(_ALIGNED, max(_NAME, longest)), kind, _BAR if has_bars else 0)
        outcome = max((columns_of(line.outcome) for line in lines), default=0)
        room = width - _BESIDE - kind - min(_MOST_OUTCOME, outcome)
        name = max(_LEAST_NAME, min(longest, room - (_LEAST_BAR if has_bars else 0)))
        bar = max(_LEAST_BAR, min(_BAR, room - name)) if has_bars else 0
        if longest <= name:
            return cls(name, kind, bar)
        # half of it is for the names themselves
        deepest = min(_MOST_DEPTH, max(line.depth for line in lines))
        step = next((step for step in range(_STEP, 1, -1) if step * deepest <= name // 2), 1)
        return cls(name, kind, bar, step, min(_MOST_DEPTH, name // 2))

    def lead(self, line: Line) -> str:
        """What stands before the name."""
        if line.depth <= self.levels and self.step == _STEP:
            return line.lead
        levels = min(line.depth, self.levels)
        indent = "".join(line.lead[level * _STEP :][: self.step] for level in range(levels))
        return f"{indent}{line.depth:,} ╌ " if line.depth > levels else indent


def render(
    roots: Sequence[Node],
    *,
    is_whole: bool = False,
    has_bars: bool = False,
    width: int | None = None,
    paint: Paint = lambda text, status: text,
) -> Iterator[str]:
    """A trace as lines of text.

    Args:
        roots: spans and log records without a parent.
        is_whole: every span on a line of its own.
        has_bars: say when each ran.
        width: of a terminal, for which indents and bars are made narrower, and names, kinds and the classes of
            errors are cut; default no limit.
        paint: colours the marks and bars.
    """
    window = Window.of(roots) if has_bars else None
    every = list(fold(roots, *((None, None) if is_whole else (MOST_ALIKE, MOST_LINES))))
    layout = _Layout.of([line for line in every if not line.hidden], has_bars, width)
    for line in every:
        if line.hidden:
            yield f"… {line.hidden:,} lines more"
            return
        lead, kind = layout.lead(line), line.what if width is None else shortened(line.what, layout.kind)
        name = line.name(None if width is None else max(1, layout.name - columns_of(lead)))
        words = [padded(lead + name, layout.name), padded(kind, layout.kind), f"{duration_text(line.duration_ns):>9}"]
        used = sum(map(columns_of, words)) + len(words) + layout.bar + len(line.mark) + 5
        if window is not None:
            words.append(f" {paint(_bar(line, window, layout.bar), line.status)}")
        error = line.error if width is None else shortened(line.error, max(1, width - used))
        yield f"{' '.join(words)}  {paint(line.mark, line.status)}{error and '  ' + error}"


def _bar(line: Line, window: Window, width: int) -> str:
    begin, end = window.share(line)
    first = min(width - 1, int(begin * width))
    length = max(1, min(width, round(end * width)) - first)
    mark = "•" if line.duration_ns is None else "━"
    return " " * first + mark * length + " " * (width - first - length)


def duration_text(nanoseconds: float | None) -> str:
    """A duration in the unit that suits it; empty for none."""
    if nanoseconds is None:
        return ""
    for size, unit in ((60_000_000_000, "min"), (1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")):
        if abs(nanoseconds) >= size:
            return f"{nanoseconds / size:.1f} {unit}"
    return f"{nanoseconds:.0f} ns"


def padded(text: str, width: int, *, is_right: bool = False) -> str:
    """With blanks up to a width in columns of a terminal."""
    blanks = " " * (width - columns_of(text))
    return blanks + text if is_right else text + blanks


def shortened(text: str, width: int) -> str:
    """Cut to a width in columns of a terminal, with a mark where it was cut."""
    if columns_of(text) <= width:
        return text
    taken = used = 0
    for taken, character in enumerate(text):  # noqa: B007
        used += columns_of(character)
        if used > width - 1:
            break
    return text[:taken] + "…"


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
