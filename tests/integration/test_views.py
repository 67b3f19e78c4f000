"""Which rows each view shows, and what the server reads for it."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from harness.rows import DAY, EPOCH, NOW, Rows

from otel_pg_exporter.sql_files import CONTRACT_VIEWS


def test_each_trace_is_shown_once_by_its_root(rows):
    """Not by a span whose parent is elsewhere, if there is a true root; not at all before its root has ended."""
    of = [uuid.UUID(int=number) for number in range(1, 6)]
    rows.add("events", trace_id=of[0], span_id=1, parent_span_id=2, parent_is_remote=True, event_name="skewed")
    rows.add("task_events", trace_id=of[0], span_id=2, event_name="root", time=NOW + timedelta(seconds=1),
        end_unix_nano=(NOW - EPOCH) // timedelta(microseconds=1) * 1000 + 9_000_000_000)  # fmt: skip
    rows.add("events", trace_id=of[1], span_id=3, parent_span_id=77, parent_is_remote=True, event_name="entry")
    rows.add("events", trace_id=of[1], span_id=4, parent_span_id=3, parent_is_remote=False, status="error")
    rows.add("events", 2, trace_id=of[2], span_id=5, event_name="stored twice")
    rows.add("events", trace_id=of[3], span_id=6, parent_span_id=7, parent_is_remote=False)
    rows.add("events", trace_id=of[4], span_id=8, record="log")

    found = rows.fetch("SELECT trace_id, event_name, category, spans, errors, duration_ns FROM otel.traces ORDER BY 1")

    assert [
        (of[0], "root", "task", 2, 0, 9_000_000_000),
        (of[1], "entry", "system", 2, 1, None),
        (of[2], "stored twice", "system", 2, 0, None),
    ] == found


def test_each_view_shows_what_its_comment_says(rows):
    """Which rows of which table, and what usage leaves out."""
    rows.add("task_events", event_name="job", task_name="t", task_id="1", queue="q", attempt=2)
    rows.add("task_events", event_name="failed", record="log", status="error", error_type="E")
    rows.add("agent_events", event_name="run", action="invoke", input_tokens=9, cost=1.0)
    rows.add("agent_events", event_name="call", action="llm", model="m", input_tokens=9, cost=1.0)
    rows.add("agent_events", event_name="free", action="llm")
    rows.add("agent_events", event_name="tool", action="tool", tool_name="hammer")
    rows.add("agent_events", event_name="step", action="step", output_tokens=1)
    hour = 3_600_000_000_000
    rows.add("deployment_events", event_name="span", duration_ns=hour)
    rows.add("deployment_events", event_name="log", record="log", duration_ns=hour)
    rows.add("deployment_events", event_name="begun", record="log", status="started")

    names = {
        view: {name for (name,) in rows.fetch(f"SELECT event_name FROM otel.{view}")}
        for view in ("spans", "tasks", "agent_actions", "llm_usage", "deployments", "errors", "all_events")
    }

    agents = {"run", "call", "free", "tool", "step"}
    deployed = {"span", "log", "begun"}
    assert {
        "spans": {"job", *agents, "span"}, "tasks": {"job", "failed"}, "agent_actions": agents,
        "llm_usage": {"call", "free", "step"}, "deployments": deployed, "errors": {"failed"},
        "all_events": {"job", "failed", *agents, *deployed},
    } == names  # fmt: skip
    assert [
        ("begun", NOW, None), ("log", NOW - timedelta(hours=1), NOW), ("span", NOW, NOW + timedelta(hours=1)),
    ] == rows.fetch("SELECT event_name, started_at, ended_at FROM otel.deployments ORDER BY 1")  # fmt: skip
    assert [({"host.name": "h"},)] == rows.fetch("SELECT DISTINCT resource FROM otel.spans")


def plan(rows: Rows, statement: str) -> list[dict[str, Any]]:
    """All nodes of a plan that was carried out."""
    ((root,),) = (
        rows.connection.execute(f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {statement}".encode()).fetchone(),
    )
    waiting, found = [root[0]["Plan"]], []
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1].get("Plans", [])
    return found


@pytest.fixture
def month(rows: Rows) -> Rows:
    """Ten days with some rows of each table."""
    rows.make_partitions(range(DAY - 10, DAY + 1))
    time_ = "$timestamptz '" + NOW.isoformat() + "' - i * interval '3 minutes'"
    for number, table in enumerate(("events", "task_events", "agent_events", "deployment_events")):
        rows.add(table, 4000, trace_id="$md5((i / 4)::text)::uuid", span_id=f"$i + {10_000 * number}", time=time_,
            parent_span_id=None if table == "task_events" else "$i + 10000",
            status="$CASE i % 50 WHEN 0 THEN 'error' ELSE 'completed' END")  # fmt: skip
    rows.connection.execute("ANALYZE")
    rows.connection.execute("SET enable_seqscan = off")  # what a few rows would not be worth, many are
    return rows


def test_a_trace_is_found_by_its_index(month):
    """In each partition by the index on trace_id, never by reading through it; or by that of roots, if it has none."""
    roots = {
        name for (name,) in month.fetch("SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%parent_is_remote%'")
    }
    for view in ("spans", "all_events", "traces"):
        nodes = plan(month, f"SELECT * FROM otel.{view} WHERE trace_id = md5('7')::uuid")

        partitions = {node["Relation Name"] for node in nodes if "_p2" in node.get("Relation Name", "")}
        conditions = [node for node in nodes if "trace_id" in node.get("Index Cond", "")]
        by_roots = [node for node in nodes if node.get("Index Name") in roots]
        assert 44 == len(partitions)
        assert (44, 0) == (len(conditions), len(by_roots)) or view == "traces"
        assert len(conditions) + len(by_roots) == (88 if view == "traces" else 44)
        scans = [node for node in nodes if node.get("Relation Name") in partitions]
        assert not [scan for scan in scans if scan["Node Type"] == "Seq Scan" or scan.get("Rows Removed by Filter")]


@pytest.mark.parametrize("when", ["constant", "stable"])
def test_a_time_leaves_out_the_partitions_of_other_days(month, when):
    """A literal when it is planned, `now()` when it is started. Traces and heartbeats are looked up in all days."""
    start = f"timestamptz '{NOW.replace(hour=0)}'" if when == "constant" else "now() - interval '24 hours'"
    for view in CONTRACT_VIEWS:
        nodes = plan(month, f"SELECT * FROM otel.{view} WHERE time >= {start}")

        read = {
            node["Relation Name"][-8:]
            for node in nodes
            if node["Actual Loops"] and "_p2" in node.get("Relation Name", "") and not is_looked_up(node)
        }
        assert read or view == "runs"
        assert len(read) <= (1 if when == "constant" else 2), view


def is_looked_up(node: dict[str, Any]) -> bool:
    conditions = [part.get("Index Cond", "") for part in (node, *node.get("Plans", []))]
    return any("trace_id" in condition or "process_id" in condition for condition in conditions)


def test_the_newest_rows_are_found_without_reading_all(month):
    """ORDER BY time DESC LIMIT, with no other filter, takes them from the end of the index."""
    for view in ("spans", "all_events", "errors", "tasks", "agent_actions", "deployments", "traces"):
        nodes = plan(month, f"SELECT * FROM otel.{view} ORDER BY time DESC LIMIT 10")

        read = [node for node in nodes if "_p2" in node.get("Relation Name", "") and not is_looked_up(node)]
        assert 10 <= sum(node["Actual Rows"] * node["Actual Loops"] for node in read) <= 200, view
        assert 10 == len(month.fetch(f"SELECT FROM otel.{view} ORDER BY time DESC LIMIT 10"))
