"""A trace as lines: what is folded, what is bounded, and that nothing in it gets out of its place."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from time import perf_counter

import pytest

from otel_pg_exporter.reading.statistics import Bucket, Group, Statistics
from otel_pg_exporter.reading.trace import Trace, build_trace
from otel_pg_exporter.reading.waterfall import columns_of, duration_text, padded, render, shortened

START = datetime(2026, 11, 25, tzinfo=timezone.utc)
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202e&amp;</details></span></style>`"


def row(number: int, parent: int | None, name: str = "page", **columns):
    moment = START + timedelta(milliseconds=number % 1000)
    return {
        "table": "task_events", "trace_id": uuid.UUID(int=1), "span_id": number, "parent_span_id": parent,
        "batch_index": number, "record": "span", "time": moment, "duration_ns": 1_000_000 * (number % 7 + 1),
        "start_unix_nano": int(moment.timestamp() * 1000) * 1_000_000, "event_name": name, "status": "completed",
        "error_type": None, "body": None, "attributes": {}, "attribute_order": None, "events": None, "links": None,
        "input": None, "input_attribute": None, "output": None, "output_attribute": None,
        "fixups": None, "resource_id": uuid.UUID(int=2), "scope_id": uuid.UUID(int=0), **columns,
    }  # fmt: skip


def trace(*rows) -> Trace:
    return build_trace("ab" * 16, rows, {}, {})


class Page(HTMLParser):
    """What a browser would make of HTML: elements, attributes, and text that is shown."""

    EMPTY = frozenset({"rect", "i"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.rows = 0
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert [] == self._open

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        self.attributes.update(name for name, _ in attributes)
        self.rows += tag == "details"
        self._open.append(tag)

    def handle_endtag(self, tag):
        assert tag == self._open.pop()

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.text += data


def test_ten_siblings_alike_are_shown_and_more_are_folded():
    """By name, kind and outcome; what hangs below those that are folded is folded too."""
    few = trace(row(1, None, "root"), *(row(n, 1) for n in range(2, 12)))
    assert 12 == len(str(few).splitlines())

    children = [row(n, 1, status="error" if n == 50 else "completed", error_type="Oops") for n in range(2, 102)]
    below = [row(1000 + n, n, "call") for n in range(2, 102)]
    lines = str(trace(row(1, None, "root"), *children, *below)).splitlines()

    left = [re.split(r" \(avg\)|  +task", line)[0] for line in lines[1:]]
    assert ["root", "├─ page ×99", "│  └─ call ×99", "└─ page", "   └─ call"] == left
    assert lines[4].endswith("ERROR  Oops")


def test_thirty_thousand_spans_are_few_lines_of_bounded_length():
    """Wide, deep, and of a name each."""
    rows = [row(1, None, "root")]
    rows += [row(n, 1) for n in range(2, 10_000)]
    rows += [row(n, n - 1, "deep") for n in range(10_001, 20_000)] + [row(10_000, 1, "deep")]
    rows += [row(n, 1, f"step {n}") for n in range(20_000, 30_000)]
    begun = perf_counter()

    large = trace(*rows)
    text, html = str(large), large._repr_html_()

    assert perf_counter() - begun < 60  # a minute would be a walk from each span to the root
    assert len(text) < 200_000
    assert len(html) < 1_000_000
    page = Page(html)
    assert 300 == page.rows
    assert "lines more" in page.text
    assert "29,999 spans" in page.text
    assert 29_999 == sum(1 for _ in render(large.roots, is_whole=True))
    assert max(map(len, render(large.roots, is_whole=True, has_bars=True))) < 200
    assert repr(large) == f"<Trace {'ab' * 16} of 29999>"
    assert len(repr(large.roots[0])) < 100


def chain(count, name):
    """Spans below each other."""
    return trace(*(row(n, n - 1 if n > 1 else None, f"{name} {n}") for n in range(1, count + 1)))


def durations_end(lines):
    """The columns in which the durations of lines end."""
    return {columns_of(line[: line.index(" ms") + 3]) for line in lines}


def test_a_pipe_is_shown_names_and_kinds_as_they_are_in_columns():
    """Also long ones, and those of a deep trace; only what is longer than a line moves its line alone."""
    long, longest = "x" * 110, "y" * 300
    tool = {"table": "agent_events", "action": "k" * 20}
    rows = row(1, None, "root"), row(2, 1, long), row(3, 1, "call", **tool), row(4, 1, longest)
    lines = str(trace(*rows)).splitlines()

    assert f"├─ {long} " in lines[2]
    assert f"└─ {longest} " in lines[4]
    assert "k" * 20 in lines[3]
    assert 1 == len(durations_end(lines[1:4]))
    deep = str(chain(24, "step")).splitlines()[1:]
    assert f"{' ' * 66}└─ step 24 " in deep[-1]
    assert 1 == len(durations_end(deep))


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_on_a_terminal_names_stay_readable_in_a_deep_trace(width):
    """Indents become narrower, and a level that has none says its depth; columns stay, and lines fit."""
    lines = list(render(chain(40, "step").roots, has_bars=True, width=width))

    assert all(f"step {number} " in line for number, line in enumerate(lines, 1))
    assert max(map(columns_of, lines)) <= width
    assert 1 == len(durations_end(lines))
    assert " 39 ╌ step 40 " in lines[-1]


def test_a_count_is_not_cut_from_a_name():
    """A long name that is shown for many still says for how many."""
    many = trace(row(1, None, "root"), *(row(n, 1, "z" * 90) for n in range(2, 30)))

    assert "z… ×28 (avg) " in list(render(many.roots, width=80))[1]
    assert "z… ×28 (avg)<" in many._repr_html_()


def test_a_circle_of_parents_is_cut_at_its_first_span():
    """As those of a broken id generator: that one is a root, and what hangs on it stays on it, as in SQL."""
    circle = trace(row(1, 3), row(2, 1), row(3, 2), row(4, 1, "child"), row(5, 5, "self"))

    assert [(0, 1), (1, 2), (2, 3), (1, 4), (0, 5)] == [(depth, node.row["span_id"]) for depth, node in circle.walk()]
    assert 5 == len(circle)


@pytest.mark.parametrize("column", ["event_name", "error_type", "error_message", "status_message", "body", "model"])
def test_nothing_that_was_stored_is_markup(column):
    """Hostile names, errors, bodies and attributes, keys too, are text in HTML, and harmless in a terminal."""
    hostile = row(1, None, status="error", error_type="E", **{"action": HOSTILE, "agent_name": HOSTILE})
    hostile |= {column: HOSTILE, "attributes": {HOSTILE: HOSTILE, "n": [HOSTILE, {HOSTILE: float("nan")}]}}

    made = trace(hostile, row(2, 1, HOSTILE))
    page = Page(made._repr_html_())

    assert page.names <= {"div", "style", "span", "b", "code", "details", "summary", "em", "i", "dl", "dt", "dd"}
    assert page.attributes <= {"class", "style", "title"}
    assert "<script>alert(1)</script>" in page.text
    for character in "\x1b\u202e":
        assert character not in made._repr_html_()
        assert character not in str(made)


def test_statistics_are_a_table_in_which_nothing_is_markup():
    """Names of groups are text; many of them, and many stretches of time, are bounded."""
    group = Group(3, 1, 1e6, 1e6, 2e6, 3e6, 10, 5, 0.5)
    named = {**{f"agent {n}": group for n in range(500)}, HOSTILE: Group(9, 0, None, None, None, None, 0, 0, None)}
    stretches = [Bucket(START + timedelta(hours=n), n % 10, n % 3) for n in range(2000)]
    found = Statistics(
        **vars(group), by_category={"agent": group}, by_type={}, by_status={"error": group}, by_agent=named,
        over_time=stretches,
    )  # fmt: skip

    html = found._repr_html_()
    page = Page(html)

    assert page.names <= {"div", "style", "span", "b", "table", "tr", "th", "td", "svg", "rect", "title"}
    assert page.attributes <= {"class", "style", "role", "x", "y", "width", "height", "rx"}
    assert "<script>alert(1)</script>" in page.text
    assert "3 events" in page.text
    assert "1 errors (33.3%)" in page.text
    assert html.count("<tr>") == 1 + 1 + 1 + 50
    assert len(html) < 60_000


def test_a_trace_without_rows_says_so():
    """In both forms."""
    assert "nothing" in Page(trace()._repr_html_()).text
    assert str(trace()).endswith("nothing is stored")


def test_widths_are_those_of_a_terminal():
    """A character of East Asia takes two columns, an accent of its own none."""
    assert (2, 4, 1) == (columns_of("ab"), columns_of("日本"), columns_of("e\u0301"))
    assert "日本  " == padded("日本", 6)
    assert "  ab" == padded("ab", 4, is_right=True)
    cut = (("日本", 4), ("日本語", 4), ("日本語", 3), ("abcdef", 4))
    assert ["日本", "日…", "日…", "abc…"] == [shortened(text, width) for text, width in cut]
    assert ("", "999 ns", "1.5 µs", "-2.0 s", "2.0 min") == tuple(
        map(duration_text, (None, 999, 1500, -2_000_000_000, 120_000_000_000))
    )
