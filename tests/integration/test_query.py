"""Queries: what they select, in which order, page by page, and what they count."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from datetime import datetime, timedelta, timezone

import psycopg
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, Status, StatusCode

from otel_pg_exporter.async_query import AsyncEventQuery
from otel_pg_exporter.errors import QueryError
from otel_pg_exporter.exporter import PostgresSpanExporter
from otel_pg_exporter.query import EventQuery

COUNT = 200
NOW = time.time_ns()
CATEGORIES = ("system", "task", "agent", "deployment")


def make(i: int) -> ReadableSpan:
    """Span number i: what it is follows from a generator seeded with i."""
    chance = random.Random(i)
    category = chance.choice(CATEGORIES)
    attributes = {"otel_pg.category": category, "i": i, "even": i % 2 == 0, "session.id": f"s{i % 7}"}
    if category == "agent":
        attributes |= {"gen_ai.agent.name": chance.choice(["ann", "bob"]), "gen_ai.usage.input_tokens": i}
        attributes |= {"gen_ai.operation.name": "chat", "otel_pg.action": chance.choice(["llm", "invoke"])}
    if category == "deployment":
        attributes |= {"deployment.environment.name": chance.choice(["staging", "production"])}
    failed = chance.random() < 0.2
    start = NOW - chance.randrange(5 * 3600 * 10**9)
    return ReadableSpan(
        f"name {i % 5}",
        SpanContext(chance.getrandbits(128), i + 1, False),
        resource=Resource({"service.name": f"svc{i % 2}"}),
        attributes=attributes,
        status=Status(StatusCode.ERROR, "broken") if failed else Status(StatusCode.UNSET),
        start_time=start,
        end_time=start + chance.randrange(10**9),
    )


SPANS = [make(i) for i in range(COUNT)]


@pytest.fixture
def query(dsn):
    exporter = PostgresSpanExporter(dsn)
    exporter.export(SPANS)
    assert exporter.last_error is None
    exporter.shutdown()
    with EventQuery(dsn=dsn) as opened:
        yield opened


def numbers(page):
    return {event.attributes["i"] for event in page}


def expected(predicate):
    return {span.attributes["i"] for span in SPANS if predicate(span.attributes, span)}


def moment(hours):
    return datetime.fromtimestamp(NOW / 1e9, timezone.utc) - timedelta(hours=hours)


@pytest.mark.parametrize(
    ("category", "filters", "predicate"),
    [
        (None, {}, lambda a, s: True),
        (None, {"name": "name 3"}, lambda a, s: s.name == "name 3"),
        (None, {"name": ["name 1", "name 3"]}, lambda a, s: s.name in ("name 1", "name 3")),
        (None, {"status": "error"}, lambda a, s: s.status.status_code is StatusCode.ERROR),
        (None, {"service": "svc1"}, lambda a, s: a["i"] % 2 == 1),
        (None, {"session": "s3"}, lambda a, s: a["session.id"] == "s3"),
        (None, {"attributes": {"even": True}}, lambda a, s: a["even"]),
        (None, {"event_type": "task_execution"}, lambda a, s: a["otel_pg.category"] == "task"),
        (None, {"start": moment(2)}, lambda a, s: s.start_time >= NOW - 2 * 3600 * 10**9),
        (None, {"end": moment(2)}, lambda a, s: s.start_time < NOW - 2 * 3600 * 10**9),
        (None, {"trace": f"{SPANS[9].context.trace_id:032x}"}, lambda a, s: a["i"] == 9),
        (None, {"record": "log"}, lambda a, s: False),
        ("agent", {"agent": "ann"}, lambda a, s: a.get("gen_ai.agent.name") == "ann"),
        ("agent", {"action": "llm"}, lambda a, s: a.get("otel_pg.action") == "llm"),
        ("deployment", {"environment": "staging"}, lambda a, s: a.get("deployment.environment.name") == "staging"),
        ("task", {"name": "name 2", "status": "completed"}, None),
    ],
)
def test_a_filter_selects_what_a_loop_over_the_records_selects(query, category, filters, predicate):
    """Every filter gives just the events that plain Python picks."""
    if predicate is None:

        def predicate(a, s):
            return s.name == "name 2" and s.status.status_code is not StatusCode.ERROR

    found = query.events(category, limit=10_000, **filters)

    wanted = expected(lambda a, s: predicate(a, s) and (category is None or a["otel_pg.category"] == category))
    assert wanted == numbers(found)


@pytest.mark.parametrize("order_by", ["time", "duration"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("category", [None, "agent"])
def test_pages_hold_every_event_once_in_order(query, order_by, direction, category):
    """Going from page to page meets each event once, in the order that was asked for."""
    seen, cursor = [], None
    while True:
        page = query.events(category, order_by=order_by, order_direction=direction, limit=17, cursor=cursor)
        seen += page
        cursor = page.next_cursor
        if cursor is None:
            break

    keys = [event.time if order_by == "time" else event.duration_ns for event in seen]
    assert sorted(keys, reverse=direction == "desc") == keys
    wanted = expected(lambda a, s: category is None or a["otel_pg.category"] == category)
    assert len(wanted) == len(seen)
    assert wanted == numbers(seen)


def test_pages_are_not_shaken_by_writers(query, dsn):
    """Events that are stored between two pages neither repeat nor push out another."""
    exporter = PostgresSpanExporter(dsn)
    seen, cursor = [], None
    while True:
        page = query.events(limit=25, cursor=cursor)
        seen += [event.attributes["i"] for event in page]
        exporter.export([make(1000 + len(seen) + i) for i in range(10)])
        cursor = page.next_cursor
        if cursor is None:
            break
    exporter.shutdown()

    old = [i for i in seen if i < COUNT]
    assert sorted(old) == sorted(set(old)) == list(range(COUNT))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"order_by": "time; DROP TABLE canary"}, "time, duration"),
        ({"order_direction": "desc; DROP TABLE canary"}, "asc, desc"),
        ({"limit": 0}, "1 to 10000"),
        ({"limit": "5; DROP TABLE canary"}, "1 to 10000"),
        ({"category": "events"}, "system, task, agent, deployment"),
        ({"colour": "red"}, "known are"),
        ({"tool": "x"}, "known are"),
        ({"start": datetime(2026, 1, 1)}, "time zone"),
        ({"trace": "'; DROP TABLE canary"}, "32 hex digits"),
        ({"name": "a\0b"}, "NUL"),
        ({"cursor": "bm8"}, "cursor"),
        ({"attributes": "x"}, "mapping"),
    ],
)
def test_what_a_query_does_not_understand_is_named(query, options, named):
    """A wrong option is one clear error that says what is allowed."""
    with pytest.raises(QueryError, match=named):
        query.events(**options)


def test_a_cursor_belongs_to_its_order(query):
    """The cursor of one order is refused by another."""
    cursor = query.events(limit=1).next_cursor

    with pytest.raises(QueryError, match="belongs to order time desc"):
        query.events(limit=1, order_by="duration", cursor=cursor)


@pytest.mark.parametrize(
    "payload", ["'; DROP TABLE canary; --", '"', "%s", "%(name)s", "{table}", "\\", "$$", "a'||pg_sleep(9)||'"]
)
def test_values_are_never_sql(query, dsn, payload):
    """Whatever a filter is given, it selects nothing and changes nothing."""
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE canary ()")

    for name in ("name", "status", "session", "agent", "task", "user", "service"):
        assert 0 == len(query.events(**{name: payload}))
    assert 0 == len(query.events(attributes={payload: payload}))

    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT * FROM canary")


def test_statistics_equal_a_count_by_hand(query):
    """Totals, groups, percentiles, tokens and stretches of time are those of a loop over the records."""
    found = query.statistics()

    durations = [span.end_time - span.start_time for span in SPANS]
    agents = [span for span in SPANS if span.attributes["otel_pg.category"] == "agent"]
    errors = [span for span in SPANS if span.status.status_code is StatusCode.ERROR]
    assert (COUNT, len(errors), len(errors) / COUNT) == (found.total, found.errors, found.error_rate)
    assert statistics.mean(durations) == pytest.approx(found.average_duration_ns)
    assert statistics.median(durations) == pytest.approx(found.p50)
    cuts = statistics.quantiles(durations, n=100, method="inclusive")
    assert [cuts[94], cuts[98]] == pytest.approx([found.p95, found.p99])
    for category in CATEGORIES:
        wanted = [span for span in SPANS if span.attributes["otel_pg.category"] == category]
        assert len(wanted) == found.by_category[category].count
    assert {"ann", "bob"} == set(found.by_agent)
    tokens = sum(s.attributes["gen_ai.usage.input_tokens"] for s in agents if s.attributes["otel_pg.action"] == "llm")
    assert tokens == found.input_tokens == found.by_category["agent"].input_tokens
    assert COUNT == sum(bucket.count for bucket in found.over_time)
    assert len(errors) == found.by_status["error"].count == sum(bucket.errors for bucket in found.over_time)


def test_statistics_take_the_filters_of_events(query):
    """Statistics of a selection are those of the events it selects."""
    found = query.statistics("agent", agent="ann", bucket=timedelta(minutes=5))

    assert len(query.agent_events(agent="ann", limit=1000)) == found.total
    assert {"ann"} == set(found.by_agent)


def test_statistics_of_nothing_are_zero(query):
    """Where nothing is selected there are no rates to divide by."""
    found = query.statistics(name="no such name")

    assert (0, 0, 0.0, None, []) == (found.total, found.errors, found.error_rate, found.p50, list(found.over_time))


def test_answers_become_dicts_and_frames(query):
    """Events and statistics convert to plain data, pandas and Arrow."""
    page = query.events(limit=20)

    assert page.to_dicts()[0]["event_name"] == page[0].event_name
    assert list(page.to_pandas()["trace_id"]) == [event.trace_id for event in page]
    assert page.to_arrow().num_rows == 20
    assert query.statistics().to_dict()["count"] == COUNT
    assert set(query.statistics().to_pandas()["by"]) == {"category", "type", "status", "agent"}


def test_asyncio_gets_the_same_answers(query, dsn):
    """The asynchronous query answers as the other does."""

    async def ask():
        async with AsyncEventQuery(dsn=dsn) as asynchronous:
            return (
                await asynchronous.agent_events(agent="ann", limit=50),
                await asynchronous.statistics(),
                await asynchronous.counts(),
                str(await asynchronous.trace(f"{SPANS[3].context.trace_id:032x}")),
                (await asynchronous.health()).is_healthy,
            )

    page, found, counts, trace, is_healthy = asyncio.run(ask())

    assert list(query.agent_events(agent="ann", limit=50)) == list(page)
    assert query.statistics() == found
    assert query.counts() == counts
    assert str(query.trace(f"{SPANS[3].context.trace_id:032x}")) == trace
    assert is_healthy


def test_an_unknown_trace_is_empty(query):
    """A trace that is not stored is a trace without spans."""
    trace = query.trace("ab" * 16)

    assert 0 == len(trace)
    assert "nothing is stored" in str(trace)


def test_health_says_what_is_wrong_and_never_raises(dsn):
    """Health of a server that is there, of one that is not, and of a wrong database."""
    with EventQuery(dsn=dsn) as query:
        good = query.health()
    with EventQuery(dsn="host=127.0.0.1 port=9 user=x dbname=y") as query:
        away = query.health()
    with EventQuery(dsn=dsn.replace("dbname=", "dbname=not_")) as query:
        wrong = query.health()

    assert (True, 1, 0) == (good.is_healthy, good.migrations_applied, good.migrations_pending)
    assert not away.is_healthy
    assert "cannot reach" in away.error
    assert not wrong.is_healthy
    assert "does not exist" in wrong.error
