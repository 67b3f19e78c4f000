"""A trace as a tree: ancestors, descendants, totals, whatever the spans say of their parents."""

from __future__ import annotations

import time
import uuid
from datetime import timedelta
from math import inf
from pathlib import Path

import pytest
from harness.rows import NOW, TRACE, Rows

from otel_pg_exporter import EventQuery


def test_a_tree_is_ordered_with_depth_path_and_totals(rows):
    """Children by their start, log records under their span, orphans as roots; an agent's own tokens count once."""
    late = {"time": NOW + timedelta(seconds=5)}
    rows.add("task_events", span_id=1, event_name="root")
    rows.add("agent_events", span_id=2, parent_span_id=1, event_name="late", action="invoke",
        input_tokens=70, output_tokens=7, cost=0.3, **late)  # fmt: skip
    rows.add("agent_events", span_id=3, parent_span_id=2, event_name="model", action="llm",
        input_tokens=40, output_tokens=4, cost=0.1, **late)  # fmt: skip
    rows.add("agent_events", span_id=4, parent_span_id=2, event_name="again", action="llm",
        input_tokens=30, output_tokens=3, cost=0.2, status="error", time=NOW + timedelta(seconds=6))  # fmt: skip
    rows.add("events", span_id=-5, parent_span_id=1, event_name="early", time=NOW + timedelta(seconds=1))
    rows.add("events", span_id=4, record="log", event_name="told", status="error",
        time=NOW + timedelta(seconds=7))  # fmt: skip
    rows.add("events", span_id=6, parent_span_id=99, event_name="orphan", time=NOW + timedelta(seconds=8))
    rows.add("events", span_id=7, trace_id=uuid.UUID(int=0xDEF))

    found = rows.fetch(
        "SELECT ordinal, depth, path, is_orphan, below, total_errors, total_input_tokens, total_output_tokens,"
        " total_cost::float8 FROM otel.trace_tree(%s)",
        TRACE,
    )

    assert [
        (1, 0, ["root"], False, 5, 2, 70, 7, 0.3),
        (2, 1, ["root", "early"], False, 0, 0, 0, 0, None),
        (3, 1, ["root", "late"], False, 3, 2, 70, 7, 0.3),
        (4, 2, ["root", "late", "model"], False, 0, 0, 40, 4, 0.1),
        (5, 2, ["root", "late", "again"], False, 1, 2, 30, 3, 0.2),
        (6, 3, ["root", "late", "again", "told"], False, 0, 1, 0, 0, None),
        (7, 0, ["orphan"], True, 0, 0, 0, 0, None),
    ] == found
    names = "SELECT array_agg(event_name) FROM otel.{}(%s, %s)"
    assert [(["root", "late"],)] == rows.fetch(names.format("span_ancestors"), TRACE, 4)
    assert [(["model", "again", "told"],)] == rows.fetch(names.format("span_descendants"), TRACE, 2)
    assert [(None,)] == rows.fetch(names.format("span_ancestors"), TRACE, 1)
    assert [(None,)] == rows.fetch(names.format("span_descendants"), TRACE, 4711)
    totals = "SELECT spans, logs, errors, input_tokens, output_tokens, cost::text FROM otel.subtree_totals(%s, %s)"
    assert [(1, 1, 2, 30, 3, "0.2")] == rows.fetch(totals, TRACE, 4)
    assert [(6, 1, 2, 70, 7, "0.3")] == rows.fetch(totals, TRACE, None)
    assert [] == rows.fetch(totals, TRACE, 4711)
    assert [] == rows.fetch("SELECT FROM otel.trace_tree(%s)", uuid.UUID(int=0))


SHAPES = {
    "chain": "nullif(i - 1, 0)",
    "chain that starts at its end": "nullif(i + 1, {n} + 1)",
    "wide": "CASE WHEN i > 1 THEN 1 END",
    "binary": "nullif(i / 2, 0)",
    "orphans": "i + 1000000",
    "of itself": "i",
    "one circle": "CASE WHEN i = 1 THEN {n} ELSE i - 1 END",
    "pairs": "CASE WHEN i % 2 = 0 THEN i - 1 ELSE i + 1 END",
    "tails into a circle": "CASE WHEN i = {n} THEN {n} - 1 WHEN i <= 50 THEN {n} ELSE i - 50 END",
    "a root beside a circle": "CASE WHEN i = 1 THEN NULL WHEN i <= 10 THEN 1 WHEN i = 11 THEN {n} ELSE i - 1 END",
}


def plant(rows: Rows, shape: str, count: int, of: uuid.UUID = TRACE) -> None:
    start = "$timestamptz '" + NOW.isoformat() + "' + i * interval '1 microsecond'"
    rows.add("agent_events", count, trace_id=of, span_id="$i", time=start, event_name="$'n' || i", action="llm",
        parent_span_id="$" + SHAPES[shape].format(n=count), input_tokens=1, cost=0.1)  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_no_span_is_lost_whatever_parents_say(rows, shape):
    """Each span stands in the tree once, under its parent unless that would close a circle, and totals add up."""
    count = 2000
    plant(rows, shape, count)

    found = rows.fetch(
        "SELECT ordinal, depth, is_orphan, below, span_id, parent_span_id, total_input_tokens, total_cost, path"
        " FROM otel.trace_tree(%s)",
        TRACE,
    )

    assert [*range(1, count + 1)] == sorted(span for _, _, _, _, span, *_ in found)
    assert [*range(1, count + 1)] == [ordinal for ordinal, *_ in found]
    above: list[int] = []
    for _, depth, is_orphan, below, span, parent, tokens, cost, path in found:
        del above[depth:]
        assert len(above) == depth
        assert is_orphan == (depth == 0 and parent is not None)
        assert depth == 0 or above[-1] == parent
        assert (tokens, float(cost)) == (below + 1, pytest.approx(0.1 * (below + 1)))
        above.append(span)
        assert [f"n{number}" for number in above[:64]] == path
    assert count == sum(below + 1 for _, depth, _, below, *_ in found if depth == 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_python_has_the_same_tree(rows, dsn, shape):
    """Also where a circle has to be cut: at its first span, and all others stay below their parents."""
    plant(rows, shape, 300)
    expected = rows.fetch("SELECT depth, event_name FROM otel.trace_tree(%s) ORDER BY ordinal", TRACE)

    with EventQuery(dsn=dsn) as query:
        assert expected == [(depth, node.name) for depth, node in query.trace(TRACE.hex).walk()]


def test_a_path_has_a_name_for_each_level_also_an_empty_one(rows):
    """Log records, and spans of some programs, have no name."""
    for span, parent in ((1, None), (2, 1), (3, 2)):
        rows.add("events", span_id=span, parent_span_id=parent, event_name="")

    paths = rows.fetch("SELECT path FROM otel.trace_tree(%s) ORDER BY ordinal", TRACE)
    assert [([""],), (["", ""],), (["", "", ""],)] == paths


def test_what_is_below_a_span_that_is_stored_twice_is_below_the_first(rows, dsn):
    """In SQL and in Python; as after an import of an export into the tables that it came from."""
    for _ in range(2):
        plant(rows, "binary", 30)
    expected = rows.fetch("SELECT depth, event_name FROM otel.trace_tree(%s) ORDER BY ordinal", TRACE)

    with EventQuery(dsn=dsn) as query:
        assert expected == [(depth, node.name) for depth, node in query.trace(TRACE.hex).walk()]


NAIVE = """
CREATE FUNCTION otel.naive(trace uuid) RETURNS SETOF bigint LANGUAGE sql STABLE SET enable_hashjoin = off
SET enable_mergejoin = off AS $$
WITH RECURSIVE spans AS MATERIALIZED (SELECT span_id, parent_span_id FROM otel.spans WHERE trace_id = trace), tree AS (
    SELECT span_id FROM spans WHERE parent_span_id IS NULL
    UNION ALL
    SELECT spans.span_id FROM tree JOIN spans ON spans.parent_span_id = tree.span_id
) SELECT span_id FROM tree $$
"""


def spent(rows: Rows) -> int:
    """What the session has taken of a processor, ns; where the system does not say, of the time."""
    try:
        return int(Path(f"/proc/{rows.connection.info.backend_pid}/schedstat").read_text().split()[0])
    except OSError:
        return time.monotonic_ns()


def growth(rows: Rows, function: str, short: uuid.UUID, long: uuid.UUID) -> float:
    """How many times as much it takes for the longer trace; the least of three, on a machine that has other work."""
    least = dict.fromkeys((short, long), inf)
    for trace in (short, long) * 3:
        begun = spent(rows)
        rows.fetch(f"SELECT count(*) FROM otel.{function}(%s)", trace)
        least[trace] = min(least[trace], spent(rows) - begun)
    return least[long] / least[short]


def test_a_tree_takes_time_in_proportion_to_its_spans(rows):
    """A chain eight times as long takes some eight times as long; to look through all spans for each would take 64."""
    short, long = uuid.UUID(int=1), uuid.UUID(int=2)
    plant(rows, "chain", 400, short)
    plant(rows, "chain", 3200, long)
    rows.connection.execute(NAIVE)

    assert growth(rows, "trace_tree", short, long) < 24
    assert growth(rows, "naive", short, long) > 24


def test_a_trace_of_30_000_spans_is_a_tree_within_the_time_of_a_dashboard(rows):
    """Deep and wide; statement_timeout ends what takes longer."""
    rows.connection.execute("SET statement_timeout = '60s'")
    for number, shape in enumerate(("chain", "wide"), 1):
        trace = uuid.UUID(int=number)
        plant(rows, shape, 30_000, trace)
        assert [(30_000, 30_000)] == rows.fetch("SELECT count(*), max(below) + 1 FROM otel.trace_tree(%s)", trace)


def test_numbers_that_do_not_add_up_do_no_harm(rows):
    """Costs that are no number are left out of sums, which hold tokens and costs as great as columns do."""
    for cost in ("Infinity", "-Infinity", "NaN", "1e308", "1e308"):
        rows.add("agent_events", action="llm", cost=cost, input_tokens=(1 << 63) - 1, output_tokens=1,
            end_unix_nano=(1 << 63) - 1)  # fmt: skip

    (totals,) = rows.fetch("SELECT cost, input_tokens FROM otel.subtree_totals(%s)", TRACE)
    (trace,) = rows.fetch("SELECT cost, input_tokens, duration_ns > 0 FROM otel.traces")

    assert (2 * 10**308, 5 * ((1 << 63) - 1)) == totals
    assert (*totals, True) == trace
    assert 5 == len(rows.fetch("SELECT total_cost FROM otel.trace_tree(%s)", TRACE))
    risen = "SELECT value, baseline FROM otel.deployments_before_rise('cost', %s, %s)"
    assert [(2 * 10**308, 0)] == rows.fetch(risen, NOW - timedelta(days=1), NOW + timedelta(hours=1))
