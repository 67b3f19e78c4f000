"""The event store on a real PostgreSQL: what is logged is stored as asked, and is found again."""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
import uuid
from datetime import date, datetime, timedelta, timezone
from inspect import signature

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from instrumentation import agent, task
from otel_pg_exporter import AgentEvent, AsyncEventStore, DeploymentEvent, EventStore, Settings, SystemEvent, TaskEvent
from otel_pg_exporter.errors import (
    AccessDenied,
    ClosedError,
    ConfigurationError,
    DatabaseUnavailable,
    InvalidEventError,
    QueryError,
    SchemaMismatch,
)
from otel_pg_exporter.events.shapes import EventShape
from otel_pg_exporter.sql_files import EVENT_TABLES
from otel_pg_exporter.upkeep import runner

NOWHERE = "host=127.0.0.1 port=9 user=x dbname=y"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def store(dsn):
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        yield store


@pytest.fixture
def own(dsn):
    """A connection as a program has it, with a table of its own."""
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE orders (id integer)")
        connection.commit()
        yield connection


def stored(dsn, table="task_events"):
    with psycopg.connect(dsn) as connection:
        events = connection.execute(f"SELECT event_name FROM otel.{table} ORDER BY time").fetchall()
        return [name for (name,) in events]


def orders(dsn):
    with psycopg.connect(dsn) as connection:
        return [number for (number,) in connection.execute("SELECT id FROM orders ORDER BY id")]


def test_each_category_fills_its_table(store):
    """Fields come back in the columns of the same names, and data as it was."""
    moment = datetime(2026, 11, 23, 12, 0, 0, 1, tzinfo=timezone.utc)
    common = {"user_id": "ada", "session_id": "s1", "data": {"k": [1, None]}, "wait": True}
    store.log_system_event(event_name="login", event_type="user_action", timestamp=moment, **common)
    store.log_task_event(
        event_name="sent", task_id=42, task_name="mail", attempt=2, queue="q", input={"a": 1}, **common
    )
    store.log_agent_event(event_name="asked", agent_id="a1", model="gpt-5", input_tokens=4, cost=0.5, **common)
    store.log_deployment_event(
        event_name="released", environment="WSL2", branch="main", commit_sha="4f2a", pull_request=7,
        pipeline="shop", deployment_id="d1", build_result="success", test_result="failure", result="failure", **common,
    )  # fmt: skip

    (system,), (task,) = store.query_system_events(), store.query_task_events()
    (agent,), (deployment,) = store.query_agent_events(), store.query_deployment_events()

    for event in (system, task, agent, deployment):
        assert ("ada", "s1", {"k": [1, None]}, "log") == (event.user_id, event.session_id, event.body, event.record)
    assert ("login", "user_action", "completed", moment) == (
        system.event_name, system.event_type, system.status, system.time,
    )  # fmt: skip
    assert ("42", {"a": 1}) == (task.task_id, task.input)
    assert {"task_name": "mail", "attempt": 2, "queue": "q"} == task.details
    assert ("a1", "llm", "gpt-5", 4, 0.5) == (
        agent.agent_id, *(agent.details[name] for name in ("action", "model", "input_tokens", "cost")),
    )  # fmt: skip
    assert ("error", 17) == (deployment.status, deployment.severity_number)
    assert {
        "environment": "WSL2", "branch": "main", "commit_sha": "4f2a", "pull_request": "7", "pipeline": "shop",
        "pipeline_run_id": "d1", "result": "failure", "build_result": "success", "test_result": "failure",
    } == deployment.details  # fmt: skip


def test_a_name_of_an_event_is_no_name_of_a_task_or_agent(store):
    """What happened is not taken for whom it happened to."""
    store.log_task_event(event_name="started", wait=True)
    store.log_agent_event(event_name="registered", wait=True)

    assert store.query_task_events()[0].details["task_name"] is None
    assert (None, None) == (
        store.query_agent_events()[0].agent_id,
        store.query_agent_events()[0].details["agent_name"],
    )


@pytest.mark.parametrize("wait", [False, True])
def test_an_event_belongs_to_the_current_trace(store, wait):
    """Through the queue and past it, it carries the ids of the span around it, and the program's resource."""
    with TracerProvider(shutdown_on_exit=False).get_tracer("x").start_as_current_span("around") as span:
        store.log_task_event(TaskEvent(event_name="inside"), wait=wait)
    store.force_flush()

    (event,) = store.query_task_events()
    assert (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}") == (event.trace_id, event.span_id)
    assert Resource.create().attributes["service.name"] == event.service_name


@pytest.mark.parametrize("wait", [False, True])
def test_an_event_inside_a_block_is_of_its_task_agent_and_session(store, wait):
    """What it says itself comes first, an id of an agent with no other's name; outside of blocks it says nothing."""
    with task("work", task_id="t"), agent("helper", agent_id="h1", session_id="s"):
        store.log_system_event(event_name="inside", wait=wait)
        store.log_agent_event(event_name="other", agent_id="h2", wait=wait)
    store.log_system_event(event_name="outside", wait=wait)
    store.force_flush()

    outside, inside = store.query_system_events()
    (other,) = store.query_agent_events(event_name="other")
    assert ("h1", "t", "s") == (inside.agent_id, inside.task_id, inside.session_id)
    assert ("h2", None, "t", "s") == (other.agent_id, other.details["agent_name"], other.task_id, other.session_id)
    assert (None, None, None) == (outside.agent_id, outside.task_id, outside.session_id)


def test_a_duration_is_kept_to_the_nanosecond(store):
    """It fills the column that statistics read."""
    store.log_task_event(event_name="x", duration_seconds=1.000000001, wait=True)

    (event,) = store.query_task_events()
    assert 1_000_000_001 == event.duration_ns
    assert 1.000000001 == store.get_event_statistics().average_duration


def test_an_event_is_found_by_the_id_that_logging_gave(store):
    """Each way of storing gives one, and it is the event's alone."""
    ids = [store.log_task_event(event_name=f"{i}", wait=True) for i in range(3)]

    assert ["1"] == [event.event_name for event in store.query_task_events(event_id=ids[1])]
    assert len(store.query_task_events(event_id=ids)) == 3
    assert ids[1] == str(uuid.UUID(ids[1]))


def test_what_is_not_waited_for_is_stored_when_the_store_closes(dsn):
    """Events in the queue are not lost."""
    with EventStore(dsn=dsn) as store:
        for number in range(100):
            store.log_task_event(event_name=f"{number:03}")

    assert [f"{number:03}" for number in range(100)] == sorted(stored(dsn))


@pytest.mark.parametrize(
    ("event", "fields", "said"),
    [
        (SystemEvent(event_name="x"), {}, "allowed is a TaskEvent, or its fields"),
        (TaskEvent(event_name="x"), {"queue": "q"}, "with queue=…"),
        (None, {"event_name": "x", "colour": 1}, "TaskEvent has no field 'colour'; it has event_name"),
        (None, {}, "event_name is missing"),
        (None, {"event_name": "x", "status": "done"}, "TaskEvent.status='done'"),
    ],
)
def test_a_wrong_event_is_refused_before_it_is_queued(store, dsn, event, fields, said):
    """Also when nobody waits for it."""
    with pytest.raises(InvalidEventError, match=said):
        store.log_task_event(event, **fields)
    store.close()

    assert [] == stored(dsn)


@pytest.fixture
def keeping(dsn):
    """A store that looks for no secrets: by chance a name of generated data is that of one."""
    with EventStore(dsn=dsn, redact=False, health_monitoring=False) as opened:
        yield opened


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.dictionaries(st.text(), JSON, min_size=1), JSON)
def test_any_data_comes_back_as_it_was(keeping, data, value):
    """NUL, surrogates, huge integers, odd floats: in data they are restored, and never an error."""
    store = keeping
    event_id = store.log_task_event(event_name="x", data=data, input=value, wait=True)

    (event,) = store.query_task_events(event_id=event_id)
    assert repr(data) == repr(event.body)
    assert event.attributes.get("input.value") == TaskEvent(event_name="x", input=value).attributes().get("input.value")


def test_infinite_numbers_come_back(store):
    """NaN is not equal to itself, so it has a test of its own."""
    store.log_task_event(event_name="x", data={"n": [math.nan, math.inf, -math.inf, -0.0]}, wait=True)

    assert "[nan, inf, -inf, -0.0]" == repr(store.query_task_events()[0].body["n"])


def test_data_is_searched_by_what_it_contains(store):
    """At any level; what was logged under a name is found under it."""
    store.log_system_event(event_name="a", data={"deep": {"k": "v", "n": 1}}, user_id="ada", wait=True)
    store.log_system_event(event_name="b", data={"deep": {"k": "w"}}, user_id="bob", wait=True)

    for options in ({"data": {"deep": {"k": "v"}}}, {"user_id": "ada"}, {"event_name": "a"}):
        assert ["a"] == [event.event_name for event in store.query_system_events(**options)]
    with pytest.raises(QueryError, match="data="):
        store.query_system_events(data="x")
    with pytest.raises(QueryError, match=r"^user and user_id say the same"):
        store.query_system_events(user="ada", user_id="ada")
    with pytest.raises(QueryError, match="unknown filter 'colour'"):
        store.query_system_events(colour="red")


def test_an_agents_id_is_not_its_name(store):
    """agent_id and task_id select exactly."""
    store.log_agent_event(event_name="a", agent_id="1", agent_name="planner", wait=True)
    store.log_agent_event(event_name="b", agent_id="planner", wait=True)

    assert ["b"] == [event.event_name for event in store.query_agent_events(agent_id="planner")]
    assert 2 == len(store.query_agent_events(agent_name="planner"))


def test_a_date_stands_for_the_whole_day(store):
    """From the first moment of the start to the last of the end, UTC; datetimes are taken as they are."""
    days = [datetime(2026, 11, day, hour, tzinfo=timezone.utc) for day in (20, 21, 22) for hour in (0, 23)]
    for moment in days:
        store.log_system_event(event_name=f"{moment:%d %H}", timestamp=moment, wait=True)

    def names(**options):
        return [event.event_name for event in store.query_system_events(order_direction="asc", **options)]

    assert ["21 00", "21 23"] == names(start_date=date(2026, 11, 21), end_date=date(2026, 11, 21))
    assert ["20 23", "21 00"] == names(start_date=days[1], end_date=days[3])
    with pytest.raises(QueryError, match=r"^start_date=2026-11-22 is after end_date=2026-11-21; allowed is one before"):
        names(start_date=date(2026, 11, 22), end_date=date(2026, 11, 21))
    for name, wrong in (("start_date", datetime(2026, 11, 21)), ("start_date", "2026-11-01"), ("end_date", 5)):
        allowed = "allowed is a date, or a datetime with a time zone"
        with pytest.raises(QueryError, match=re.escape(f"{name}={wrong!r} is not allowed; {allowed}")):
            names(**{name: wrong})


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("order", ["time", "duration"])
def test_offsets_and_cursors_give_the_same_pages(store, order, direction):
    """Every event once, in the same order, also where values are equal."""
    for number in range(23):
        store.log_task_event(event_name=f"{number}", duration_seconds=number % 3 or None, wait=True)
    options = {"order_by": order, "order_direction": direction, "limit": 5}
    everything = [event.event_name for event in store.query_task_events(**{**options, "limit": 100})]

    by_offset = [event.event_name for i in range(0, 30, 5) for event in store.query_task_events(**options, offset=i)]
    by_cursor, cursor = [], None
    while True:
        page = store.query_task_events(**options, cursor=cursor)
        by_cursor += [event.event_name for event in page]
        if (cursor := page.next_cursor) is None:
            break

    assert len(everything) == 23
    assert everything == by_offset == by_cursor
    second = store.query_task_events(**options).next_cursor
    assert everything[7:12] == [
        event.event_name for event in store.query_task_events(**options, cursor=second, offset=2)
    ]


def test_orders_are_those_of_a_list(store):
    """Nothing that a caller gives becomes SQL."""
    with pytest.raises(QueryError, match="allowed are: time, duration"):
        store.query_task_events(order_by="time; DROP TABLE orders")
    with pytest.raises(QueryError, match="0 to"):
        store.query_task_events(offset=-1)


def test_a_store_opens_when_it_is_used_and_closes_for_good(dsn):
    """Without initialize() too; a closed one says so."""
    store = EventStore(dsn=dsn)
    assert not store.is_open
    store.log_task_event(event_name="x")
    store.initialize()
    store.close()
    store.close()

    assert ["x"] == stored(dsn)
    for use in (
        store.initialize,
        lambda: store.log_task_event(event_name="x"),
        store.query_task_events,
        store.get_event_statistics,
    ):
        with pytest.raises(ClosedError, match="closed"):
            use()


def test_tables_are_made_on_first_use_unless_that_is_off(empty_dsn):
    """The error names the command that makes them."""
    with (
        EventStore(dsn=empty_dsn, auto_migrate=False) as store,
        pytest.raises(SchemaMismatch, match="otel-pg migrate up"),
    ):
        store.initialize()
    with EventStore(dsn=empty_dsn) as store:
        store.log_task_event(event_name="x", wait=True)
    assert ["x"] == stored(empty_dsn)


def test_a_database_that_cannot_be_used_is_an_error_that_can_be_tried_again(dsn):
    """Each call that needs it says what is wrong; one that does not raises nothing."""
    with EventStore(dsn=NOWHERE, health_monitoring=False) as store:
        for needs_it in (
            store.initialize,
            store.initialize,
            lambda: store.log_task_event(event_name="x", wait=True),
            store.query_task_events,
            store.get_event_statistics,
        ):
            with pytest.raises(DatabaseUnavailable, match="cannot reach"):
                needs_it()
        store.log_task_event(event_name="x")
    wrong = psycopg.conninfo.make_conninfo(dsn, user="nobody_of_this_name")
    with EventStore(dsn=wrong, health_monitoring=False) as store, pytest.raises(AccessDenied):
        store.initialize()
    with pytest.raises(ConfigurationError, match="one of them"):
        EventStore(Settings(), dsn=dsn)


def test_the_async_store_has_all_that_the_store_has():
    """Under the same names, with the same arguments."""
    for name in (name for name in dir(EventStore) if not name.startswith("_") and name != "direct"):
        blocking, awaited = getattr(EventStore, name), getattr(AsyncEventStore, name)
        if callable(blocking):
            assert [*signature(blocking).parameters] == [*signature(awaited).parameters], name


def test_the_async_store_does_the_same(dsn, own):
    """Logging, the caller's transaction, queries, statistics and health, awaited."""

    async def main():
        async with AsyncEventStore(dsn=dsn) as store:
            await store.log_system_event(event_name="login", wait=True)
            await store.log_deployment_event(DeploymentEvent(event_name="d"), wait=True)
            await store.log_agent_event(AgentEvent(event_name="a"))
            async with await psycopg.AsyncConnection.connect(dsn) as theirs:
                for number in (1, 2):
                    await theirs.execute("INSERT INTO orders VALUES (%s)", [number])
                    await store.log_task_event(event_name=f"{number}", connection=theirs)
                    await (theirs.rollback() if number == 1 else theirs.commit())
                await theirs.set_autocommit(True)
                event_id = await store.log_task_event(event_name="3", connection=theirs)
            (found,) = await store.query_task_events(event_id=event_id)
            statistics = await store.get_event_statistics("task")
            health = await store.get_health_status()
            deployments, systems = await store.query_deployment_events(), await store.query_system_events()
            assert {"d", "login", "3"} <= {event.event_name for event in await store.query_events()}
            with pytest.raises(InvalidEventError, match=r"allowed is an open psycopg\.AsyncConnection$"):
                await store.log_task_event(event_name="x", connection=own)
        with pytest.raises(ClosedError):
            await store.query_agent_events()
        with pytest.raises(ClosedError):
            await store.log_agent_event(event_name="late")
        return found, statistics, health, [event.event_name for event in (*deployments, *systems)]

    found, statistics, health, others = asyncio.run(main())

    assert ("3", 2, ["d", "login"]) == (found.event_name, statistics.total_events, others)
    assert health.is_healthy
    assert health.pool["open"] >= 1
    assert (["2", "3"], [2], ["a"]) == (stored(dsn), orders(dsn), stored(dsn, "agent_events"))


@pytest.mark.parametrize("wrong", ["x", None, {"event_name": "x"}, TaskEvent, EventShape(event_name="x")])
def test_what_is_no_event_is_refused_by_name(store, wrong):
    """By `log`, which takes those of all categories; a class of the program's own that is one of them is one."""

    class Nightly(TaskEvent):
        pass

    with pytest.raises(InvalidEventError, match="allowed is one of SystemEvent, TaskEvent, AgentEvent, DeploymentEv"):
        store.log(wrong)
    assert store.log(Nightly(event_name="x"), wait=True)


@pytest.mark.parametrize("table", EVENT_TABLES)
def test_the_database_checks_json_itself(dsn, table):
    """No other hand can write attributes that are no object, or lists that are none; its constraint is why."""
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        for log in (store.log_system_event, store.log_task_event, store.log_agent_event, store.log_deployment_event):
            log(event_name="x", wait=True)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for column, wrong in (("attributes", "[]"), ("events", "{}"), ("links", "1"), ("fixups", '"x"')):
            change, constraint = f"UPDATE otel.{table} SET {column} = '{wrong}'", f"{table}_{column}_check"
            with pytest.raises(psycopg.errors.CheckViolation, match=constraint):
                connection.execute(change)
            connection.execute(f"ALTER TABLE otel.{table} DROP CONSTRAINT {constraint}")
            assert 1 == connection.execute(change).rowcount


def test_every_json_column_is_checked_but_those_that_hold_anything(dsn):
    """Of every table; a body may be any JSON, and input and output are of type json, which may too."""
    with psycopg.connect(dsn) as connection:
        unchecked = connection.execute(
            "SELECT DISTINCT a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'otel'::regnamespace AND c.relkind IN ('r', 'p') AND a.atttypid = 'jsonb'::regtype"
            " AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'"
            " AND k.conkey = ARRAY[a.attnum] AND pg_get_constraintdef(k.oid) LIKE '%jsonb_typeof%')"
        ).fetchall()
    assert {"body"} == {name for (name,) in unchecked}


def test_a_program_that_has_seeded_random_gets_the_numbers_it_expects(dsn, monkeypatch):
    """Whatever waits in our threads for a length that chance decides."""
    monkeypatch.setattr(runner, "_FIRST_SECONDS", 0.01)
    tomorrow = f"otel.events_p{datetime.now(timezone.utc) + timedelta(days=1):%Y%m%d}"
    random.seed(7)
    expected = [random.random() for _ in range(3)]
    random.seed(7)

    with EventStore(dsn=dsn, health_monitoring=False) as store, psycopg.connect(dsn, autocommit=True) as connection:
        store.log_system_event(event_name="x", wait=True)
        give_up_at = time.monotonic() + 30
        while connection.execute("SELECT to_regclass(%s)", [tomorrow]).fetchone() == (None,):
            assert time.monotonic() < give_up_at, "upkeep makes tomorrow's partition"
            time.sleep(0.02)

    assert expected == [random.random() for _ in range(3)]
