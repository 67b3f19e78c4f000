"""Queries give what a brute-force search over the same rows gives."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import threading
import uuid
from collections import Counter
from datetime import datetime, timedelta, timezone
from itertools import count
from math import isfinite
from typing import Any

import psycopg
import pytest
from harness.summaries import summarise
from psycopg.types.json import Jsonb

from otel_pg_exporter import AsyncEventQuery, EventQuery, Settings, migrate
from otel_pg_exporter.database import Database
from otel_pg_exporter.encoding.tables import SPECIAL
from otel_pg_exporter.errors import ConfigurationError, DatabaseError, QueryError, SchemaMismatch
from otel_pg_exporter.reading.filters import SUMMARY_FILTERS
from otel_pg_exporter.routing import CATEGORIES
from otel_pg_exporter.schema import partitions

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
FIRST, NEVER = datetime(2026, 11, 20, tzinfo=timezone.utc), datetime(2100, 1, 1, tzinfo=timezone.utc)
RESOURCE, SCOPE, NO_TRACE = uuid.UUID(int=21), uuid.UUID(int=22), uuid.UUID(int=0)
TRACES = [uuid.UUID(int=(0xFEED << 112) + number) for number in range(1, 20)]
COLUMN_OF = {
    "name": "event_name", "service": "service_name", "session": "session_id", "user": "user_id",
    "tool": "tool_name", "commit": "commit_sha", "agent": "agent_id", "task": "task_id",
}  # fmt: skip
COLUMN_OF_ORDER = {"time": "time", "duration": "duration_ns"}
HOSTILE = (
    "'; DROP TABLE canary; --",
    '"; DROP TABLE canary; --',
    "\\'; DROP TABLE canary; --",
    "%s %(x)s %%",
    "{events}",
)

Row = dict[str, Any]


def make_rows(count: int, seed: int, batches: int = 5) -> list[Row]:
    """Rows with many equal values, so that every order has ties and every filter finds some."""
    chance = random.Random(seed)
    ids = [uuid.UUID(int=chance.getrandbits(128)) for _ in range(batches)]
    rows = []
    for index in range(count):
        category = chance.choice(list(CATEGORIES))
        is_span = chance.random() < 0.7
        time = FIRST + timedelta(hours=chance.randrange(60), microseconds=chance.choice([0, 1, 999_999]))
        row: Row = {
            "category": category,
            "trace_id": chance.choice(TRACES) if is_span or chance.random() < 0.5 else NO_TRACE,
            "span_id": chance.getrandbits(64) - (1 << 63) if is_span else 0,
            "batch_id": chance.choice(ids),
            "batch_index": index,
            "time": time,
            "trace_flags": 1,
            "kind": 1 if is_span else 0,
            "status_code": 0,
            "resource_id": RESOURCE,
            "scope_id": SCOPE,
            "service_name": chance.choice(["api", "worker", None]),
            "start_unix_nano": (time - EPOCH) // timedelta(microseconds=1) * 1000,
            "end_unix_nano": 0 if is_span else None,
            "duration_ns": chance.choice([0, -5, 1_000, 2_500_000, 7_000_000_001]) if is_span else None,
            "record": "span" if is_span else "log",
            "event_type": chance.choice(["task_execution", "agent_action", "operation"]),
            "event_name": chance.choice(["plan", "search", "naïve ☃", ""]),
            "status": chance.choice(["started", "completed", "completed", "error", "cancelled"]),
            "agent_id": chance.choice(["a1", "a2", None]),
            "task_id": chance.choice(["t1", "t2", None]),
            "session_id": chance.choice(["s1", None]),
            "user_id": chance.choice(["u1", "u2", None]),
            "error_type": chance.choice(["ValueError", None]),
            "attributes": {"n": chance.randrange(3), "deep": {"k": chance.choice(["v", "w"])}, "tags": ["x", "y"]},
        }
        if category == "agent":
            row |= {
                "agent_name": chance.choice(["a1", "planner", None]),
                "action": chance.choice(["invoke", "llm", "tool", None]),
                "tool_name": chance.choice(["search", None]),
                "model": chance.choice(["m1", "m2"]),
                "provider": chance.choice(["p1", "p2"]),
                "input_tokens": chance.choice([None, 0, 10, 1 << 62]),
                "output_tokens": chance.choice([None, 3, 7]),
                "cost": chance.choice([None, 0.25, 0.1, 1e-9, float("inf")]),
            }
        elif category == "task":
            row |= {"task_name": chance.choice(["t1", "mail", None]), "queue": chance.choice(["q1", "q2", None])}
        elif category == "deployment":
            row |= {
                "environment": chance.choice(["production", "staging"]),
                "branch": chance.choice(["main", None]),
                "commit_sha": chance.choice(["c0ffee", "beef"]),
                "pull_request": chance.choice(["1", "2", None]),
                "pipeline": chance.choice(["release", None]),
                "result": chance.choice(["success", "failure"]),
            }
        rows.append(row)
    return rows


def insert(connection: psycopg.Connection[Any], rows: list[Row], schema: str = "otel") -> None:
    with connection.transaction():
        insert_rows(connection, rows, schema)
        summarise(connection, list({row["batch_id"] for row in rows}), schema)


def insert_rows(connection: psycopg.Connection[Any], rows: list[Row], schema: str) -> None:
    for row in rows:
        columns = [name for name in row if name != "category"]
        values = {name: Jsonb(row[name]) if isinstance(row[name], dict | list) else row[name] for name in columns}
        quoted = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join(f"%({name})s" for name in columns)
        table = CATEGORIES[row["category"]]
        connection.execute(f"INSERT INTO {schema}.{table} ({quoted}) VALUES ({marks})".encode(), values)


def prepare(dsn: str, rows: list[Row]) -> None:
    database = Database(Settings.from_env(dsn=dsn))
    partitions.ensure(database, {(row["time"] - EPOCH).days for row in rows})
    database.close()
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO otel.resources (resource_id, attributes, schema_url) VALUES (%s, '{}', '')", [RESOURCE]
        )
        connection.execute("INSERT INTO otel.scopes (scope_id, name, attributes) VALUES (%s, 'test', '{}')", [SCOPE])
        insert(connection, rows)


@pytest.fixture
def rows() -> list[Row]:
    return make_rows(400, seed=4)


@pytest.fixture
def stored(dsn, rows):
    """A database that holds the rows, for a test that changes it."""
    prepare(dsn, rows)
    return dsn


@pytest.fixture(scope="module")
def unchanged(shared_dsn):
    """One for all tests that only read."""
    prepare(shared_dsn, make_rows(400, seed=4))
    return shared_dsn


@pytest.fixture
def query(request):
    """Of the test's own database, if it asks for that too."""
    dsn = request.getfixturevalue("stored" if "stored" in request.fixturenames else "unchanged")
    with EventQuery(dsn=dsn) as query:
        yield query


def is_match(row: Row, filters: dict[str, Any]) -> bool:
    """What the filters mean, in Python."""
    for name, wanted in filters.items():
        if name == "start":
            found = row["time"] >= wanted
        elif name == "end":
            found = row["time"] < wanted
        elif name == "attributes":
            found = contains(row["attributes"], wanted)
        else:
            several = [wanted] if isinstance(wanted, str) else wanted
            if name == "trace":
                found = row["trace_id"].hex in several
            else:
                values = [row.get(COLUMN_OF.get(name, name))]
                values += [row.get(f"{name}_name")] if name in {"agent", "task"} else []
                found = any(value in several for value in values if value is not None)
        if not found:
            return False
    return True


def contains(whole: Any, part: Any) -> bool:
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(key in whole and contains(whole[key], value) for key, value in part.items())
    if isinstance(whole, list) and isinstance(part, list):
        return all(any(contains(one, wanted) for one in whole) for wanted in part)
    return bool(whole == part)


def in_order(rows: list[Row], order: str, direction: str) -> list[Row]:
    """Sorted as a page promises: by the order, then by position; what has no value comes last."""
    column = COLUMN_OF_ORDER.get(order, order)

    def key(row: Row) -> Any:
        return row[column], row["batch_id"], row["batch_index"]

    is_down = direction == "desc"
    valued = [row for row in rows if row.get(column) is not None]
    rest = [row for row in rows if row.get(column) is None]
    rest.sort(key=lambda row: (row["batch_id"], row["batch_index"]), reverse=is_down)
    return sorted(valued, key=key, reverse=is_down) + rest


def positions(found: Any) -> list[tuple[uuid.UUID, int]]:
    """What tells events and rows apart."""
    return [
        (one["batch_id"], one["batch_index"]) if isinstance(one, dict) else (one.batch_id, one.batch_index)
        for one in found
    ]


def pages(query: EventQuery, category: str | None = None, **options: Any) -> list[Any]:
    """All pages one after the other."""
    found, cursor = [], None
    while True:
        page = query.events(category, cursor=cursor, **options)
        found += page
        cursor = page.next_cursor
        if cursor is None:
            return found


COMMON_FILTERS: list[dict[str, Any]] = [
    {},
    {"event_type": "operation"},
    {"event_type": ["operation", "agent_action"]},
    {"name": "naïve ☃"},
    {"name": ""},
    {"name": []},
    {"name": "nothing has this name"},
    {"status": ["error", "cancelled"]},
    {"record": "log"},
    {"service": "api"},
    {"session": "s1"},
    {"user": ["u1", "u3"]},
    {"agent": "a1"},
    {"agent": ["planner", "a2"]},
    {"task": "t1"},
    {"task": "mail"},
    {"error_type": "ValueError"},
    {"trace": TRACES[0].hex},
    {"trace": [TRACES[1].hex, TRACES[2].hex]},
    {"start": FIRST + timedelta(hours=20)},
    {"end": FIRST + timedelta(hours=20)},
    {"start": FIRST + timedelta(hours=5), "end": FIRST + timedelta(hours=30)},
    {"attributes": {"n": 1}},
    {"attributes": {"deep": {"k": "v"}, "n": 2}},
    {"attributes": {"tags": ["y"]}},
    {"attributes": {"tags": "y"}},
    {"attributes": {}},
    {"agent": "a1", "status": "error", "record": "span", "service": ["api", "worker"]},
]
OWN_FILTERS: list[tuple[str, dict[str, Any]]] = [
    ("task", {"queue": "q1"}),
    ("task", {"queue": ["q1", "q2"], "task": "t2"}),
    ("agent", {"tool": "search"}),
    ("agent", {"model": "m1", "provider": "p2"}),
    ("agent", {"action": ["llm", "tool"]}),
    ("deployment", {"environment": "production", "branch": "main"}),
    ("deployment", {"commit": "c0ffee"}),
    ("deployment", {"pull_request": ["1", "2"], "result": "failure"}),
    ("deployment", {"pipeline": "release"}),
]


def test_every_common_filter_selects_what_a_search_by_hand_does(query, rows):
    """Over all four tables and over each, with nothing left out and nothing twice."""
    for filters in COMMON_FILTERS:
        for category in (None, *CATEGORIES):
            candidates = [row for row in rows if category in (None, row["category"])]
            expected = in_order([row for row in candidates if is_match(row, filters)], "time", "desc")
            found = query.events(category, limit=10_000, **filters)
            assert positions(found) == positions(expected), (category, filters)
            assert found.next_cursor is None


@pytest.mark.parametrize(("category", "filters"), OWN_FILTERS)
def test_a_categorys_own_filters_select_what_a_search_by_hand_does(query, rows, category, filters):
    """They work in their category's method, and in no other's."""
    expected = [row for row in rows if row["category"] == category and is_match(row, filters)]
    assert 0 < len(expected) < 100

    found = getattr(query, f"{category}_events")(limit=1000, **filters)

    assert positions(found) == positions(in_order(expected, "time", "desc"))
    other = "deployment" if category == "agent" else "agent"
    for method in (query.events, query.system_events, getattr(query, f"{other}_events")):
        with pytest.raises(QueryError, match="unknown filter"):
            method(**filters)


def test_the_method_of_a_category_refuses_another_as_any_filter(dsn, query):
    """It was a TypeError about a method that was not called."""

    async def ask():
        async with AsyncEventQuery(dsn=dsn) as asynchronous:
            for category in CATEGORIES:
                with pytest.raises(QueryError, match="unknown filter 'category'; known are: "):
                    await getattr(asynchronous, f"{category}_events")(category="task")

    for category in CATEGORIES:
        with pytest.raises(QueryError, match="unknown filter 'category'; known are: "):
            getattr(query, f"{category}_events")(category="task")
    asyncio.run(ask())


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize(
    ("category", "order"),
    [
        (None, "time"), (None, "duration"), ("task", "duration"), ("system", "time"),
        ("agent", "input_tokens"), ("agent", "output_tokens"), ("agent", "cost"),
    ],
)  # fmt: skip
def test_pages_follow_one_order(query, rows, category, order, direction):
    """All pages together are the sorted rows, whatever the size of a page; rows without a value come last."""
    candidates = [row for row in rows if category in (None, row["category"])]
    expected = positions(in_order(candidates, order, direction))

    for limit in (7, len(candidates), len(candidates) - 1, 10_000):
        found = pages(query, category, order_by=order, order_direction=direction, limit=limit)
        assert positions(found) == expected, limit


def test_the_newest_are_found_however_far_back_they_are(dsn):
    """Of today, of the last weeks and of long ago: a page goes on where the one before it ended, in each of them."""
    now = datetime.now(timezone.utc)
    rows, ago = make_rows(60, seed=5), random.Random(5)
    for row in rows:
        row["time"] = now - timedelta(days=ago.choice([-2, 0, 0.9, 1.5, 12, 13.9, 14.5, 40]), minutes=ago.randrange(90))
    prepare(dsn, rows)
    with EventQuery(dsn=dsn) as query:
        for limit in (1, 8, 59, 60, 1000):
            assert positions(pages(query, limit=limit)) == positions(in_order(rows, "time", "desc")), limit
        for filters in ({"status": "error"}, {"end": now - timedelta(days=10)}, {"start": now - timedelta(days=13)}):
            expected = in_order([row for row in rows if is_match(row, filters)], "time", "desc")
            assert positions(pages(query, limit=3, **filters)) == positions(expected), filters


def test_a_full_last_page_has_no_next(query, rows):
    """A page says at once that nothing follows."""
    page = query.events(limit=len(rows))
    assert (len(page), page.next_cursor) == (len(rows), None)
    assert query.events(limit=len(rows) - 1).next_cursor is not None
    assert query.events(name="nothing has this name").next_cursor is None


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_paging_while_rows_are_written_gives_each_older_row_once(query, stored, rows, direction):
    """New rows before, on and after the cursor neither repeat an event nor push one out."""
    found, cursor, more = [], None, make_rows(400, seed=9)
    with psycopg.connect(stored, autocommit=True) as connection:
        while True:
            page = query.events(limit=23, cursor=cursor, order_direction=direction)
            found += positions(page)
            insert(connection, [more.pop() for _ in range(min(20, len(more)))])
            if (cursor := page.next_cursor) is None:
                break

    counted = Counter(found)
    assert set(counted.values()) == {1}
    assert set(positions(rows)) <= set(counted)


def percentile(values: list[int], share: float) -> float | None:
    if not values:
        return None
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def group_by_hand(rows: list[Row]) -> dict[str, Any]:
    durations = sorted(row["duration_ns"] for row in rows if row["duration_ns"] is not None)
    counted = [row for row in rows if row.get("action") != "invoke"]
    costs = [row["cost"] for row in counted if row.get("cost") is not None and isfinite(row["cost"])]
    return {
        "count": len(rows),
        "errors": sum(row["status"] == "error" for row in rows),
        "error_rate": sum(row["status"] == "error" for row in rows) / len(rows) if rows else 0.0,
        "average_duration_ns": sum(durations) / len(durations) if durations else None,
        "p50": percentile(durations, 0.5),
        "p95": percentile(durations, 0.95),
        "p99": percentile(durations, 0.99),
        "input_tokens": sum(row.get("input_tokens") or 0 for row in counted),
        "output_tokens": sum(row.get("output_tokens") or 0 for row in counted),
        "cost": sum(costs) if costs else None,
    }


def approximately(expected: dict[str, Any], percentile_error: float = 0.0) -> dict[str, Any]:
    """Floats nearly; percentiles as nearly as they are said to be, where -5 counts as 0."""

    def nearly(name: str, value: float) -> Any:
        if percentile_error and name in {"p50", "p95", "p99"}:
            return pytest.approx(value, rel=percentile_error, abs=5)
        return pytest.approx(value, rel=1e-12)

    return {name: nearly(name, value) if isinstance(value, float) else value for name, value in expected.items()}


@pytest.mark.parametrize(
    ("category", "filters"),
    [
        (None, {}),
        ("agent", {}),
        ("task", {"service": "api"}),
        (None, {"agent": "a1", "start": FIRST + timedelta(hours=5), "end": FIRST + timedelta(hours=31)}),
        (None, {"start": FIRST + timedelta(hours=5, microseconds=1), "end": FIRST + timedelta(hours=31, seconds=1)}),
        (None, {"start": FIRST + timedelta(hours=5, seconds=1), "end": FIRST + timedelta(hours=5, seconds=9)}),
        ("agent", {"agent": ["planner", "a2"], "status": "error", "event_type": "operation"}),
        (None, {"agent_id": "a1", "service": ["api", "worker"], "status": ["completed"]}),
        ("agent", {"model": "m1", "attributes": {"n": 1}}),
        (None, {"record": "log"}),
        (None, {"name": "nothing has this name"}),
    ],
)
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("bucket", [timedelta(hours=1), timedelta(hours=7), timedelta(seconds=1, microseconds=1)])
def test_statistics_are_those_of_a_count_by_hand(query, rows, category, filters, bucket, exact):
    """Counts, rates, percentiles, tokens beyond 64 bits, and every stretch of time: from batches and from rows."""
    chosen = [row for row in rows if category in (None, row["category"]) and is_match(row, filters)]

    plain = query.statistics(category, bucket=bucket, exact=exact, **filters).to_dict()

    error = plain["percentile_error"]
    length = filters.get("end", NEVER) - filters.get("start", FIRST)
    assert (error == 0.02) == (not exact and filters.keys() <= SUMMARY_FILTERS.keys() and length > timedelta(hours=1))
    overall = group_by_hand(chosen)
    assert {name: plain[name] for name in overall} == approximately(overall, error)
    assert plain["total"] == len(chosen)
    columns = {"by_category": "category", "by_type": "event_type", "by_status": "status", "by_agent": "agent_id"}
    for by, column in columns.items():
        names = {row[column] for row in chosen} - {None}
        expected = {name: group_by_hand([row for row in chosen if row[column] == name]) for name in names}
        assert plain[by] == {name: approximately(group, error) for name, group in expected.items()}
    starts = [EPOCH + (row["time"] - EPOCH) // bucket * bucket for row in chosen]
    errors = Counter(start for start, row in zip(starts, chosen, strict=True) if row["status"] == "error")
    assert plain["over_time"] == [
        {"start": start.isoformat(), "count": count, "errors": errors[start]}
        for start, count in sorted(Counter(starts).items())
    ]


def test_stretches_before_1970_begin_at_their_start(query, stored):
    """A clock that is far off still counts in whole stretches."""
    early = {**make_rows(1, seed=1)[0], "time": EPOCH - timedelta(minutes=30, microseconds=1)}
    database = Database(Settings.from_env(dsn=stored))
    partitions.ensure(database, {-1})
    database.close()
    with psycopg.connect(stored) as connection:
        insert(connection, [early])

    (first,) = query.statistics(end=EPOCH).over_time

    assert (first.start, first.count) == (EPOCH - timedelta(hours=1), 1)


@pytest.mark.parametrize(
    "bucket", [timedelta(0), timedelta(milliseconds=999), -timedelta(hours=1), timedelta.max, 3600, "1h", None]
)
def test_a_stretch_is_a_timedelta_of_a_second_or_more(query, bucket):
    """The message says so."""
    with pytest.raises(QueryError, match="a timedelta of a second to"):
        query.statistics(bucket=bucket)


def test_the_numbers_of_one_answer_agree_while_rows_are_written(query, stored):
    """All statements of an answer see the same rows."""
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(stored, autocommit=True) as connection:
            for seed in count():
                if stop.is_set():
                    return
                insert(connection, make_rows(20, seed=100 + seed))

    writer = threading.Thread(target=write)
    writer.start()
    totals = set()
    try:
        for turn in count():
            if turn >= 15 and len(totals) > 1:
                break
            assert writer.is_alive()
            answer = query.statistics()
            totals.add(answer.total)
            groups = [answer.by_category, answer.by_type, answer.by_status]
            assert {sum(group.count for group in by.values()) for by in groups} == {answer.total}
            assert sum(bucket.count for bucket in answer.over_time) == answer.total
    finally:
        stop.set()
        writer.join()


def ask_with_everything(query: EventQuery, payload: Any) -> list[tuple[str, dict[str, Any]]]:
    names = ("event_type", "name", "agent", "task", "session", "user", "service", "error_type")
    own = ("tool", "model", "provider", "action")
    asked: list[tuple[str, dict[str, Any]]] = [("events", {name: payload}) for name in names]
    asked += [("agent_events", {name: [payload, "x"]}) for name in own]
    asked += [("task_events", {"queue": payload})]
    deployment = ("environment", "branch", "commit", "pull_request", "pipeline", "result")
    asked += [("deployment_events", {name: payload}) for name in deployment]
    asked += [("events", {"attributes": {payload: payload}}), ("events", {"attributes": {"a": {payload: [payload]}}})]
    asked += [("statistics", {"agent": payload, "service": payload, "attributes": {payload: 1}})]
    return asked


@pytest.mark.parametrize("payload", HOSTILE)
def test_hostile_text_is_only_text(query, stored, payload):
    """A value finds nothing, a name is refused, and a table beside ours stays."""
    with psycopg.connect(stored) as connection:
        connection.execute("CREATE TABLE canary AS SELECT 1 AS alive")

    for method, options in ask_with_everything(query, payload):
        answer = getattr(query, method)(**options)
        assert (answer.total if method == "statistics" else len(answer)) == 0, options
    for options in (
        {"order_by": payload}, {"order_direction": payload}, {"cursor": payload}, {"limit": payload},
        {"category": payload}, {"trace": payload}, {"start": payload}, {"end": payload},
        {"attributes": payload}, {payload: "x"}, {"order_by": f"time {payload}"},
        {"status": payload}, {"record": payload}, {"event_id": payload},
    ):  # fmt: skip
        with pytest.raises(QueryError):
            query.events(**options)
    for method, argument in (("trace", payload), ("statistics", payload)):
        with pytest.raises(QueryError):
            getattr(query, method)(argument)

    with psycopg.connect(stored) as connection:
        assert connection.execute("SELECT alive FROM canary").fetchall() == [(1,)]
    assert sum(query.counts().values()) == 400


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 1_000_000])
def test_text_that_no_column_holds_finds_nothing(query, text):
    """It is no error either."""
    assert len(query.events(name=text, agent=[text], attributes={text: text})) == 0


def test_an_event_is_found_by_the_values_it_had(query, stored):
    """Values that are stored in a form of their own are compared in that form, and come back as they were."""
    special = make_rows(1, seed=2)[0] | {
        "event_name": "a�b",
        "attributes": {"f": "NaN", "zz": "AQ=="},
        "attribute_order": "10",
        "fixups": [[["attributes", "f"], "float", "NaN"], [["attributes", "zz"], "bytes"]],
        "batch_index": 1000,
    }
    with psycopg.connect(stored) as connection:
        insert(connection, [special])

    (event,) = query.events(name="a\0b", attributes={"zz": b"\1", "f": float("nan")})

    assert list(event.attributes) == ["zz", "f"]
    assert event.attributes["zz"] == b"\1"
    assert event.attributes["f"] != event.attributes["f"]
    assert json.loads(json.dumps(event.to_dict()))["attributes"] == {"zz": "AQ==", "f": "NaN"}


def test_an_event_has_the_fields_of_its_row(query, rows):
    """Ids in OpenTelemetry's form, times in UTC, and the category's own columns as details."""
    by_position = {positions([row])[0]: row for row in rows}
    for event in query.events(limit=1000):
        row = by_position[event.batch_id, event.batch_index]
        plain = ("category", "record", "time", "event_type", "event_name", "status", "duration_ns", "service_name",
                 "agent_id", "task_id", "session_id", "user_id", "error_type", "attributes")  # fmt: skip
        assert [getattr(event, name) for name in plain] == [row[name] for name in plain]
        assert event.time.tzinfo is timezone.utc
        assert event.trace_id == (row["trace_id"].hex if row["trace_id"].int else None)
        assert event.span_id == (f"{row['span_id'] % (1 << 64):016x}" if row["span_id"] else None)
        assert event.details == {name: row.get(name) for name in SPECIAL[CATEGORIES[row["category"]]]}
        is_span = row["record"] == "span"
        assert event.duration == (timedelta(microseconds=row["duration_ns"] // 1000) if is_span else None)


@pytest.mark.parametrize("category", [None, *CATEGORIES])
def test_a_page_becomes_dicts_a_frame_and_a_table(query, category):
    """All pages of a query have the same columns and types, an empty one too."""
    page, empty = query.events(category, limit=300), query.events(category, name="nothing has this name")
    dicts, frame, table = page.to_dicts(), page.to_pandas(), page.to_arrow()

    assert json.loads(json.dumps(dicts)) == dicts
    assert len(page) == len(dicts) == len(frame) == table.num_rows
    assert [*frame.columns] == table.column_names
    assert {name for one in dicts for name in one} == set(frame.columns)
    assert str(frame["time"].dtype) == "datetime64[us, UTC]"
    assert [*frame["time"]] == [event.time for event in page] == table["time"].to_pylist()
    durations = [event.duration_ns for event in page]
    assert table["duration_ns"].to_pylist() == durations
    assert frame["duration_ns"].sum() == sum(duration or 0 for duration in durations)
    assert [json.loads(text) for text in table["attributes"].to_pylist()] == [dict(e.attributes) for e in page]
    assert empty.to_dicts() == []
    assert empty.to_arrow().schema == table.schema
    assert empty.to_pandas().dtypes.equals(frame.dtypes)


def test_statistics_become_a_frame(query):
    """A row for each group."""
    answer = query.statistics()
    frame = answer.to_pandas()

    assert frame[frame["by"] == "status"]["count"].sum() == answer.total
    assert set(frame["by"]) == {"category", "type", "status", "agent"}
    assert [*query.statistics(name="nothing has this name").to_pandas().columns] == [*frame.columns]


@pytest.mark.parametrize(("library", "method"), [("pandas", "to_pandas"), ("pyarrow", "to_arrow")])
def test_a_missing_library_is_named(query, monkeypatch, library, method):
    """The error says what to install."""
    page = query.events(limit=1)
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(ImportError, match=f"pip install {library}"):
        getattr(page, method)()


def test_a_trace_holds_its_rows_of_all_tables(query, rows):
    """Under its id in hex digits of either case; an unknown one is empty."""
    for trace_id in TRACES[:3]:
        expected = [row for row in rows if row["trace_id"] == trace_id]
        for written in (trace_id.hex, trace_id.hex.upper(), str(trace_id)):
            trace = query.trace(written)
            assert trace.trace_id == trace_id.hex
            assert sorted(positions(dict(node.row) for _, node in trace.walk())) == sorted(positions(expected))
    assert len(query.trace("ab" * 16)) == 0


@pytest.mark.parametrize("trace_id", ["", "xyz", "f" * 31, 5, None, "0" * 32])
def test_a_malformed_trace_id_is_refused(query, trace_id):
    """Zeros are no id: they stand for all log records outside of any trace."""
    with pytest.raises(QueryError, match="trace id"):
        query.trace(trace_id)


def test_counts_are_exact(query, rows):
    """For each of the five main tables."""
    expected = Counter(CATEGORIES[row["category"]] for row in rows)
    assert query.counts() == {**expected, "event_batches": 0}


def test_health_of_a_database_in_use(query, stored):
    """Version, migrations, and what the ledger says."""
    with psycopg.connect(stored) as connection:
        connection.execute(
            "INSERT INTO otel.event_batches (batch_id, time, producer_id, sequence, signal, stored, spooled,"
            " dropped_before, dead_before, events, task_events, agent_events, deployment_events, first_time, last_time)"
            " SELECT md5('batch' || n)::uuid, %(t)s, md5('producer')::uuid, n, 'span', 10, false,"
            " 1, 0, 1, 2, 3, 4, %(t)s, %(t)s FROM generate_series(1, 2) n",
            {"t": FIRST},
        )

    health = query.health()

    assert (health.is_healthy, health.error, health.migrations_pending) == (True, None, 0)
    assert health.migrations_applied == len(migrate.status(Settings.from_env(dsn=stored)))
    assert (health.stored, health.dropped) == (20, 2)
    assert health.rows == {"events": 2, "task_events": 4, "agent_events": 6, "deployment_events": 8}
    assert health.last_batch_at is not None
    assert health.latency_ms is not None
    assert health.server_version
    assert json.loads(json.dumps(health.to_dict()))["schema"] == "otel"


def test_health_never_raises():
    """Its error says what is wrong, and shows no password."""
    with EventQuery(dsn="postgresql://me:secret-word@127.0.0.1:1/nowhere") as query:
        health = query.health()
        assert not health.is_healthy
        assert "cannot reach" in (health.error or "")
        assert "secret-word" not in repr(health)
        with pytest.raises(DatabaseError):
            query.events()
    for dsn in ("host=/nonexistent", "nonsense=1"):
        with EventQuery(dsn=dsn) as query:
            assert query.health().error


def test_health_changes_nothing(empty_dsn):
    """It says what is still to be applied, and applies nothing."""
    for auto_migrate in (True, False):
        with EventQuery(dsn=empty_dsn, auto_migrate=auto_migrate) as query:
            health = query.health()
            assert health.is_healthy is auto_migrate
            assert (health.migrations_applied, health.migrations_pending > 0) == (0, True)
            assert auto_migrate or "otel-pg migrate up" in (health.error or "")
    with psycopg.connect(empty_dsn) as connection:
        assert connection.execute("SELECT to_regnamespace('otel')").fetchone() == (None,)


def test_the_first_question_creates_the_tables(empty_dsn):
    """Unless auto_migrate is off: then the error says what to run."""
    with EventQuery(dsn=empty_dsn, auto_migrate=False) as query, pytest.raises(SchemaMismatch, match="otel-pg migrate"):
        query.events()
    with EventQuery(dsn=empty_dsn, schema="telemetry", table_prefix="x_") as query:
        assert (len(query.events()), query.statistics().total) == (0, 0)
        assert set(query.counts().values()) == {0}


def test_a_shared_database_stays_open(stored):
    """Only its owner closes it."""
    database = Database(Settings.from_env(dsn=stored))
    with EventQuery(database=database) as query:
        query.counts()
        pool = database._pool
    assert pool is not None
    assert not pool.closed
    database.close()
    assert pool.closed


def test_settings_are_given_in_one_way():
    """Of two ways one would be ignored without a word."""
    settings = Settings.from_env(dsn="host=a")
    for query in (EventQuery, AsyncEventQuery):
        with pytest.raises(ConfigurationError, match="one of them"):
            query(settings, schema="other")
    with pytest.raises(ConfigurationError, match="one of them"):
        EventQuery(settings, database=Database(settings))


def test_asyncio_gives_the_same_answers(query, stored):
    """Pages, traces, statistics, counts, health and errors."""
    asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("events", (), {"status": "error", "limit": 9}),
        ("events", ("agent",), {"order_by": "cost", "limit": 5}),
        *((f"{category}_events", (), {"agent": "a1", "limit": 50}) for category in CATEGORIES),
        ("trace", (TRACES[0].hex,), {}),
        ("statistics", (), {"agent": "a1", "bucket": timedelta(hours=3)}),
        ("counts", (), {}),
    ]

    async def ask() -> tuple[list[Any], Any]:
        async with AsyncEventQuery(dsn=stored) as there:
            answers = await asyncio.gather(*(getattr(there, name)(*a, **k) for name, a, k in asked))
            with pytest.raises(QueryError):
                await there.events(order_by="nothing")
            assert len(await there.events(limit=1)) == 1
            return answers, await there.health()

    answers, health = asyncio.run(ask())

    for (name, arguments, options), answer in zip(asked, answers, strict=True):
        here = getattr(query, name)(*arguments, **options)
        if name.endswith("events"):
            assert (list(answer), answer.next_cursor) == (list(here), here.next_cursor)
            assert len(answer) > 0
        else:
            assert answer == here
    assert health.is_healthy
    assert health.rows == query.health().rows


@pytest.mark.parametrize("number", [0, -1, 1.5, "5", True, 10**30])
def test_a_number_of_records_that_is_none_is_named(query, number):
    """Of a stream and of documents, as of a page."""
    for ask in (
        lambda: query.stream(limit=number),
        lambda: query.otlp_documents(limit=number),
        lambda: query.otlp_documents(records=number),
    ):
        with pytest.raises(QueryError, match=f"(limit|records)={number!r}.{{0,2}} is not allowed"):
            list(ask())


def test_rows_whose_resource_is_gone_are_read_all_the_same(stored, query):
    """As after a repair by hand: with an empty one."""
    with psycopg.connect(stored) as connection:
        connection.execute("TRUNCATE otel.resources")

    (document,) = query.otlp_documents(trace=TRACES[0].hex)
    trace = query.trace(TRACES[0].hex).to_otlp_json()

    for found in (document, trace):
        assert [{"attributes": []}] == [each["resource"] for each in found["resourceSpans"]]
    assert len(query.trace(TRACES[0].hex)) > 10


def test_one_asyncio_run_after_the_other(stored):
    """What the loop before had open is left to it: more queries than it had connections are answered, and it closes."""
    query = AsyncEventQuery(dsn=stored, pool_max_size=4)

    async def ask(many):
        return [len(page) for page in await asyncio.gather(*(query.events() for _ in range(many)))]

    assert [100] == asyncio.run(ask(1))
    assert [100] * 8 == asyncio.run(ask(8))
    assert [100] * 8 == asyncio.run(ask(8))
    asyncio.run(query.close())
