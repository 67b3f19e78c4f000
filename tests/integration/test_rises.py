"""What was deployed before errors or cost rose: answers that are known."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from harness.rows import NOW, Rows

RISE = NOW - timedelta(hours=4)
AROUND = {"since": RISE - timedelta(hours=2), "until": RISE + timedelta(hours=2)}


def rises(rows: Rows, measure: str = "errors", **options: Any) -> list[tuple[Any, ...]]:
    given = {**AROUND, **options}
    named = ", ".join(f"{name} => %({name})s" for name in given)
    statement = (
        "SELECT service_name, rise_at, value::float8, baseline::float8, pipeline, minutes_before"
        f" FROM otel.deployments_before_rise(%(measure)s, {named})"
    )
    return rows.connection.execute(statement.encode(), {"measure": measure, **given}).fetchall()


def at(minutes: float) -> datetime:
    return RISE + timedelta(minutes=minutes)


def errors(rows: Rows, count: int, minutes: float, **more: Any) -> None:
    rows.add("events", count, status="error", time=at(minutes), **more)


def deployed(rows: Rows, pipeline: str, minutes: float, took: float = 0, **more: Any) -> None:
    duration = int(took * 60e9)
    rows.add("deployment_events", time=at(minutes - took), duration_ns=duration, pipeline=pipeline,
        trace_id=uuid.uuid4(), **more)  # fmt: skip


def test_what_was_deployed_in_the_half_hour_before_errors_rose(rows):
    """Those that ended then or were under way, the last first; one rise, though it lasts for three stretches."""
    for minutes in range(-60, 0, 5):
        errors(rows, 2, minutes)
    for minutes in (1, 6, 11):
        errors(rows, 10, minutes)
    deployed(rows, "too early", -30.1)
    deployed(rows, "just", -29.9)
    deployed(rows, "long", 30, took=45)
    deployed(rows, "within", 3)
    deployed(rows, "after", 10)

    assert [
        ("s", RISE, 10, 2, "long", -30), ("s", RISE, 10, 2, "within", -3), ("s", RISE, 10, 2, "just", 29.9),
    ] == rises(rows)  # fmt: skip
    assert ["long", "within", "just", "too early"] == [row[4] for row in rises(rows, lookback=timedelta(minutes=31))]


def test_times_may_be_infinite(rows):
    """All that there is; and nothing, where the one is behind the other."""
    errors(rows, 10, 1)

    assert [("s", RISE, 10, 0, None, None)] == rises(rows, since="-infinity", until="infinity")
    assert [] == rises(rows, since="infinity", until="-infinity")


def test_a_rise_without_a_deployment_is_told_too(rows):
    """With nothing in the columns of a deployment."""
    errors(rows, 5, 0)

    assert [("s", RISE, 5, 0, None, None)] == rises(rows)


@pytest.mark.parametrize(
    "quiet",
    [
        lambda c: None,
        lambda c: errors(c, 4, 0),
        lambda c: [errors(c, 10, minutes) for minutes in range(-180, 0, 5)] and errors(c, 20, 0),
        lambda c: errors(c, 50, -121 - 5),
        lambda c: errors(c, 50, 121),
        lambda c: c.add("events", 50, time=RISE),
    ],
    ids=["nothing", "fewer than the least", "just twice as many", "before", "after", "no errors"],
)
def test_what_is_no_rise_is_not_told(rows, quiet):
    """Whatever was deployed."""
    deployed(rows, "innocent", -5)
    quiet(rows)

    assert [] == rises(rows)


def test_one_more_than_twice_the_mean_is_a_rise(rows):
    """The counterpart at the edge; a factor of three is not reached."""
    for minutes in range(-60, 0, 5):
        errors(rows, 10, minutes)
    errors(rows, 21, 0)

    assert [("s", RISE, 21, 10, None, None)] == rises(rows, since=at(-30))
    assert [] == rises(rows, since=at(-30), factor=3)
    assert [] == rises(rows, since=at(-30), minimum=22)
    assert [] == rises(rows, since=at(-30), until=at(4.9))  # its stretch is not over


def test_services_rise_each_for_itself(rows):
    """A small one is not hidden by a large one."""
    for minutes in range(-60, 5, 5):
        errors(rows, 100, minutes, service_name="large")
    errors(rows, 9, 2, service_name="small")
    errors(rows, 9, 2, service_name=None)

    assert [("small", 9, 0), (None, 9, 0)] == [(row[0], row[2], row[3]) for row in rises(rows, since=at(-30))]


def test_what_was_deployed_before_cost_rose(rows):
    """By the cost of model calls; steps of a pipeline and the beginning of what has ended are not told apart."""
    for minutes in range(-60, 0, 5):
        rows.add("agent_events", action="llm", cost=0.5, time=at(minutes))
    rows.add("agent_events", 4, action="llm", cost=0.5, time=at(1))
    rows.add("agent_events", 4, action="invoke", cost=9, time=at(-7))
    run = uuid.uuid4()
    rows.add(
        "deployment_events",
        time=at(-9),
        duration_ns=60_000_000_000,
        pipeline="whole",
        trace_id=run,
        span_id=1,
    )
    rows.add(
        "deployment_events",
        time=at(-9),
        duration_ns=1,
        pipeline="step",
        trace_id=run,
        span_id=2,
        parent_span_id=1,
    )
    for status, minutes in (("started", -15), ("completed", -12)):
        rows.add("deployment_events", record="log", status=status, time=at(minutes), pipeline="told",
            pipeline_run_id="7", duration_ns=None if status == "started" else 180_000_000_000)  # fmt: skip

    assert [("s", RISE, 2, 0.5, "whole", 8), ("s", RISE, 2, 0.5, "told", 12)] == rises(rows, "cost", since=at(-30))


@pytest.mark.parametrize(
    ("measure", "options", "says"),
    [
        ("latency", {}, "allowed is errors or cost"),
        (None, {}, "allowed is errors or cost"),
        ("errors", {"stretch": timedelta(0)}, "a second or more"),
        ("errors", {"compared": timedelta(minutes=1)}, "a second or more"),
    ],
)
def test_an_argument_that_is_not_allowed_is_named(rows, measure, options, says):
    """With what is."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=says):
        rises(rows, measure, **options)
