"""`otel-pg partitions`: what a user sees of what there is, and of what goes."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from otel_pg_exporter import EventStore
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.schema import partitions
from otel_pg_exporter.sql_files import PARTITIONED

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def make(dsn: str, *ages: int) -> datetime:
    """Partitions of days that are so old; gives this moment."""
    database, now = Database(Settings(dsn=dsn)), datetime.now(timezone.utc)
    partitions.ensure(database, [(now - EPOCH).days - age for age in ages])
    database.close()
    return now


def test_they_are_listed_planned_and_dropped(dsn, otel_pg):
    """A line for each partition with its time, rows and size; the plan of a dry run is what the next run does."""
    today = make(dsn, 0, 40)
    otel_pg("partitions", "create", "--days", "1")
    day = today - timedelta(days=40)

    table = otel_pg("partitions", "list").output
    listed = [json.loads(line) for line in otel_pg("partitions", "list", "--json").output.splitlines()]
    planned = [
        json.loads(line)
        for line in otel_pg("partitions", "prune", "--days", "30", "--dry-run", "--json").output.splitlines()
    ]
    shown = otel_pg("partitions", "prune", "--days", "30").output

    assert f"events_p{day:%Y%m%d}" in table
    assert f"{3 * len(PARTITIONED)} partitions; all tables take" in table
    assert {
        "table": "events", "partition": f"events_p{day:%Y%m%d}", "from": f"{day:%Y-%m-%d}",
        "until": f"{day + timedelta(days=1):%Y-%m-%d}", "rows": 0, "bytes": planned[0]["bytes"],
    } in [{**row, "bytes": planned[0]["bytes"]} for row in listed]  # fmt: skip
    assert {*PARTITIONED} == {row["table"] for row in planned}
    assert {("age", "due")} == {(row["reason"], row["fate"]) for row in planned}
    assert f"dropped {len(PARTITIONED)} partitions, " in shown
    assert "dropped 0 partitions, 0 B" in otel_pg("partitions", "prune", "--days", "30").output
    assert 2 * len(PARTITIONED) == len(otel_pg("partitions", "list", "--json").output.splitlines())


def test_empty_days_are_a_line(dsn, otel_pg):
    """For each table, with the time of all of them; not over a gap, nor over a day that has rows, nor with --all."""
    today = make(dsn, 0, 39, 40)
    otel_pg("partitions", "create", "--days", "30")
    first, last = today, today + timedelta(days=31)
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        store.log_task_event(event_name="x", timestamp=today + timedelta(days=3), wait=True)

    table = otel_pg("partitions", "list").output
    every = otel_pg("partitions", "list", "--all").output

    assert re.search(
        rf"^agent_events +\(2 empty ones\) .*\n(.*\n)+agent_events +\(31 empty ones\) +{first:%F} +{last:%F} +0 ",
        table,
        re.MULTILINE,
    )
    assert [2, 3, 27] == [int(count) for count in re.findall(r"^task_events +\((\d+) empty", table, re.MULTILINE)]
    assert re.search(rf"^task_events +task_events_p{today + timedelta(days=3):%Y%m%d} ", table, re.MULTILINE)
    assert 33 * len(PARTITIONED) + 2 == len(every.splitlines())
    assert every.splitlines()[-1] == table.splitlines()[-1]
    assert 33 * len(PARTITIONED) == len(otel_pg("partitions", "list", "--json").output.splitlines())


def test_without_a_limit_it_says_how_to_give_one(otel_pg, monkeypatch):
    """Wrong usage, not silence; a limit at which rows are refused is not one by which they go."""
    assert "EVENT_RETENTION_DAYS" in otel_pg("partitions", "prune", code=2).output

    monkeypatch.setenv("EVENT_MAX_BYTES", "100000000")
    monkeypatch.setenv("EVENT_MAX_BYTES_POLICY", "refuse")
    said = "Error: EVENT_MAX_BYTES_POLICY=refuse drops nothing: give --days or --max-bytes\n"
    assert otel_pg("partitions", "prune", code=2).stderr.endswith(said)
    otel_pg("partitions", "prune", "--max-bytes", "100000000")


def test_what_is_in_use_is_named_and_exit_code_1(dsn, otel_pg, monkeypatch):
    """What nobody uses is dropped all the same."""
    from otel_pg_exporter.commands import partitions

    monkeypatch.setattr(partitions, "_ATTEMPTS", 1)
    make(dsn, 40)
    with psycopg.connect(dsn) as reader:
        reader.execute("SELECT FROM otel.agent_events")
        shown = otel_pg("partitions", "prune", "--days", "30", code=1).output

    assert "locked" in shown
    assert "in use by other sessions" in shown
    # and what its rows need: texts, resources, and what counts them
    assert 3 == shown.count("needed")
    assert f"dropped {len(PARTITIONED) - 4} partitions" in shown


@pytest.mark.parametrize("wrong", [["--days", "x"], ["--days", "-1"], ["--max-bytes", "-1"]])
def test_what_it_does_not_understand_is_said(otel_pg, wrong):
    """Exit code 2."""
    otel_pg("partitions", "prune", *wrong, code=2)


@pytest.mark.parametrize("day", ["0011-05-01", "1676-12-31", "2263-01-01", "9999-12-31"])
def test_a_day_that_no_event_is_of_is_refused(otel_pg, day):
    """PostgreSQL takes some of them for other days."""
    done = otel_pg("partitions", "create", "--day", day, code=2)

    assert f"{day} is not allowed; allowed is a day of the years 1677 to 2262" in " ".join(done.output.split())
