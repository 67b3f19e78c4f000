"""Summaries of hours that are over are merged: statistics are the same, and cost what kinds of events cost."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import datetime, timedelta, timezone

import psycopg
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from otel_pg_exporter import EventQuery, grants
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.errors import AccessDenied
from otel_pg_exporter.exporter import PostgresSpanExporter
from otel_pg_exporter.schema import partitions
from otel_pg_exporter.upkeep import retention
from otel_pg_exporter.upkeep.merging import merge
from otel_pg_exporter.upkeep.runner import Upkeep

HOUR = timedelta(hours=1)
LONGEST_TEST_SECONDS = 15
KINDS = 6
"""Kinds of events that `trickle` makes in an hour."""


def this_hour():
    return datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)


@pytest.fixture(autouse=True)
def _one_hour():
    """None ends in the middle of a test."""
    if (left := 3600 - time.time() % 3600) < LONGEST_TEST_SECONDS:
        time.sleep(left + 0.1)


def trickle(dsn, hours, each=150):
    """A program that has little to do: a batch for each span. Gives their number."""
    exporter = PostgresSpanExporter(dsn)
    number = 0
    for hour in hours:
        for _ in range(each):
            number += 1
            start = int((hour + timedelta(seconds=number % 3500)).timestamp() * 1e9)
            attributes = {
                "gen_ai.operation.name": "chat", "gen_ai.agent.name": f"agent {number % 3}",
                "gen_ai.request.model": "gpt-5", "gen_ai.usage.input_tokens": number, "gen_ai.usage.output_tokens": 7,
            }  # fmt: skip
            status = Status(StatusCode.ERROR) if number % 2 else Status()
            span = ReadableSpan(
                "chat", SpanContext(uuid.uuid4().int, number, False, TraceFlags(1)), resource=Resource({}),
                attributes=attributes, start_time=start, end_time=start + number * 1_000_003, status=status,
            )  # fmt: skip
            exporter.export([span])
    exporter.shutdown()
    assert exporter.counts["stored"] == number
    return number


def fetch(dsn, sql):
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(sql).fetchall()


def execute(dsn, sql):
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql)


def summaries(dsn):
    """Hour → number of its summaries, and of the events that they count."""
    rows = fetch(dsn, 'SELECT "time", count(*), sum(event_count) FROM otel.event_summaries GROUP BY 1')
    return {hour: (count, events) for hour, count, events in rows}


def statistics(dsn, **filters):
    with EventQuery(dsn=dsn) as query:
        return query.statistics(bucket=HOUR, start=this_hour() - 9 * HOUR, end=this_hour() + HOUR, **filters)


def test_statistics_stay_the_same(dsn):
    """In all their numbers, percentiles too, also for one agent; and equal to those from the events."""
    trickle(dsn, [this_hour() - 3 * HOUR, this_hour() - 2 * HOUR])
    before = [statistics(dsn), statistics(dsn, agent="agent 1", status="error")]

    assert 2 == merge(Settings(dsn=dsn))

    assert {(KINDS, 150)} == set(summaries(dsn).values())
    assert before == [statistics(dsn), statistics(dsn, agent="agent 1", status="error")]
    exact = statistics(dsn, exact=True)
    assert (300, 150, exact.cost, exact.input_tokens) == (
        before[0].count, before[0].errors, before[0].cost, before[0].input_tokens,
    )  # fmt: skip
    assert 0 == merge(Settings(dsn=dsn))


def test_a_build_that_leaves_what_it_has_merged_is_found_out(dsn, monkeypatch):
    """The counterpart: what is counted twice is seen."""
    trickle(dsn, [this_hour() - 3 * HOUR])
    before = statistics(dsn)
    sql = Database.sql

    def without_delete(self, name):
        return sql(self, name).replace("DELETE FROM", "SELECT * FROM").replace("RETURNING *", "")

    monkeypatch.setattr(Database, "sql", without_delete)
    merge(Settings(dsn=dsn))
    monkeypatch.undo()

    assert before != statistics(dsn)


@pytest.mark.parametrize("zone", ["UTC", "<ours>+00:01"])
def test_hours_that_are_not_over_or_have_few_are_left(dsn, zone):
    """The present one and the one before it, in which batches still come, and a hundred summaries or less; also where
    the server's own hours begin at another minute."""
    execute(dsn, f"ALTER DATABASE {conninfo_to_dict(dsn)['dbname']} SET timezone = '{zone}'")
    trickle(dsn, [this_hour(), this_hour() - HOUR])
    trickle(dsn, [this_hour() - 5 * HOUR], each=90)
    before = summaries(dsn)

    assert 0 == merge(Settings(dsn=dsn))
    assert before == summaries(dsn)


def test_what_comes_later_counts_and_is_merged_in_turn(dsn):
    """A batch of long ago beside the merged ones, then many."""
    hour = this_hour() - 4 * HOUR
    trickle(dsn, [hour])
    merge(Settings(dsn=dsn))
    trickle(dsn, [hour], each=1)
    assert (KINDS + 1, 151) == summaries(dsn)[hour]
    assert 151 == statistics(dsn).count

    trickle(dsn, [hour], each=120)
    assert 1 == merge(Settings(dsn=dsn))
    assert (KINDS, 271) == summaries(dsn)[hour]
    assert 271 == statistics(dsn).count == statistics(dsn, exact=True).count


def test_writers_and_readers_see_no_difference_meanwhile(dsn):
    """While it is merged again and again, and batches come for the same hours, each answer is that of the events."""
    hour = this_hour() - 3 * HOUR
    trickle(dsn, [hour])
    is_over = threading.Event()

    def again_and_again():
        while not is_over.is_set():
            merge(Settings(dsn=dsn))

    def write():
        for _ in range(4):
            trickle(dsn, [hour], each=110)

    merging, writing = threading.Thread(target=again_and_again), threading.Thread(target=write)
    merging.start()
    writing.start()
    wrong = []
    with EventQuery(dsn=dsn) as query:
        while writing.is_alive():
            with query._snapshot() as connection:  # both in one moment
                (row,) = connection.execute(
                    "SELECT (SELECT count(*) FROM otel.agent_events) AS events,"
                    " (SELECT sum(event_count) FROM otel.event_summaries) AS counted"
                ).fetchall()
            if row["events"] != row["counted"]:
                wrong.append(row)
    writing.join()
    is_over.set()
    merging.join()

    assert [] == wrong
    assert 590 == statistics(dsn).count
    merge(Settings(dsn=dsn))
    assert summaries(dsn)[hour][0] <= 100


def test_it_waits_for_retention_which_takes_summaries_out(dsn):
    """While one has its turn, the other does nothing: what is dropped must not come back."""
    trickle(dsn, [this_hour() - 3 * HOUR])
    database = Database(Settings(dsn=dsn))
    with psycopg.connect(dsn) as connection:
        key = {"key": f"{database.names.lock_key} retention"}
        connection.execute(database.sql("try_retention").encode(), key)

        assert 0 == merge(database)
    assert 1 == merge(database)
    database.close()


def test_what_retention_drops_leaves_merged_summaries_too(dsn):
    """A category that is kept for a shorter time, of a day whose summaries stay for the others."""
    hour = (this_hour() - 26 * HOUR).replace(hour=12)
    trickle(dsn, [hour])
    exporter = PostgresSpanExporter(dsn)
    start = int(hour.timestamp() * 1e9)
    exporter.export([
        ReadableSpan("t", SpanContext(9, 9, False, TraceFlags(1)), resource=Resource({}), start_time=start,
                     end_time=start + 1, attributes={"otel_pg.category": "task"})
    ])  # fmt: skip
    exporter.shutdown()
    assert 1 == merge(Settings(dsn=dsn))

    gone = Settings(dsn=dsn, retention_days=30, retention_agent_days=1)
    retention.prune(gone)

    is_gone = fetch(dsn, "SELECT count(*) FROM otel.agent_events") == [(0,)]
    assert fetch(dsn, "SELECT coalesce(sum(event_count), 0) FROM otel.event_summaries WHERE category = 'agent'") == [
        (0 if is_gone else 150,)
    ]
    assert fetch(dsn, "SELECT sum(event_count) FROM otel.event_summaries WHERE category = 'task'") == [(1,)]


def test_a_program_does_it_by_itself(dsn, monkeypatch):
    """With nothing set: at a look of the thread that makes partitions."""
    trickle(dsn, [this_hour() - 3 * HOUR])
    monkeypatch.setattr("otel_pg_exporter.upkeep.runner._FIRST_SECONDS", 0.1)
    database = Database(Settings(dsn=dsn))
    upkeep = Upkeep(database)
    upkeep.begin()
    for _ in range(1200):
        if summaries(dsn)[this_hour() - 3 * HOUR][0] == KINDS:
            break
        threading.Event().wait(0.05)
    upkeep.stop(5)
    database.close()

    assert (KINDS, 150) == summaries(dsn)[this_hour() - 3 * HOUR]


def test_a_writer_that_may_not_goes_on(dsn, caplog):
    """Its thread says nothing, and makes partitions as before; by hand it is told."""
    role = f"writer_{uuid.uuid4().hex[:12]}"
    partitions.ahead(Database(Settings(dsn=dsn)), 2)
    trickle(dsn, [this_hour() - 3 * HOUR])
    grants.grant(Settings(dsn=dsn), writers=[role], create=True)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {role} LOGIN PASSWORD 'x'")
        try:
            settings = Settings(dsn=make_conninfo(dsn, user=role, password="x"))
            with pytest.raises(AccessDenied):
                merge(settings)
            database = Database(settings)
            Upkeep(database)._look()
            Upkeep(database)._look()
            database.close()
        finally:
            grants.revoke(Settings(dsn=dsn), role)
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")
    assert "partitions were not looked after" not in caplog.text
    assert 150 == summaries(dsn)[this_hour() - 3 * HOUR][0]
