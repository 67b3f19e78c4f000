"""The event integration on a real PostgreSQL: each event in its table, its duration, and what is refused."""

from __future__ import annotations

import logging
import re
import threading
import uuid
from datetime import datetime, timezone
from functools import partial

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from otel_pg_exporter import AsyncEventStore, EventIntegration, EventQuery, EventStore
from otel_pg_exporter.errors import ClosedError, ConfigurationError, DatabaseUnavailable, InvalidEventError
from otel_pg_exporter.events.event_types import OCCASIONS
from otel_pg_exporter.host import diagnostics

NOWHERE = "host=127.0.0.1 port=9 user=x dbname=y"
TABLES = {"task": "task_events", "agent": "agent_events", "deployment": "deployment_events", "system": "events"}


@pytest.fixture
def events(dsn):
    with EventIntegration(dsn=dsn, health_monitoring=False) as events:
        yield events


@pytest.fixture
def said(monkeypatch):
    """What the library said in the log."""
    lines: list[str] = []
    monkeypatch.setattr(diagnostics, "_said", {})
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    diagnostics.logger.addHandler(handler)
    yield lines
    diagnostics.logger.removeHandler(handler)


def rows(dsn, table, columns="event_name"):
    with psycopg.connect(dsn) as connection:
        return connection.execute(f"SELECT {columns} FROM otel.{table} ORDER BY time, batch_index").fetchall()


EXPECTED = {
    "task:started": ("task_execution", "started"),
    "task:completed": ("task_execution", "completed"),
    "task:error": ("task_execution", "error"),
    "task:cancelled": ("task_execution", "cancelled"),
    "agent:registered": ("agent_lifecycle", "started"),
    "agent:action": ("agent_action", "completed"),
    "agent:error": ("agent_error", "error"),
    "agent:unregistered": ("agent_lifecycle", "completed"),
    "deployment:started": ("deployment", "started"),
    "deployment:completed": ("deployment", "completed"),
    "deployment:error": ("deployment", "error"),
    "system:event": ("operation", "completed"),
}


def a_payload(name):
    category = OCCASIONS[name].category
    own = {"task": {"task_id": "t1"}, "agent": {"agent_id": "a1"}, "deployment": {"deployment_id": "d1"}}
    return {**own.get(category, {}), "user_id": "ada", "session_id": "s1", "data": {"k": [1]}}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_event_lands_in_its_table(dsn, events, name):
    """With its type, status and ids, and in no other table."""
    events.emit(name, a_payload(name))
    assert events.force_flush()

    category = OCCASIONS[name].category
    column = {"deployment": "pipeline_run_id", "system": "NULL"}.get(category, f"{category}_id")
    columns = f"event_name, event_type, status, user_id, session_id, body, {column}"
    its_id = {"task": "t1", "agent": "a1", "deployment": "d1"}.get(category)
    assert [(name, *EXPECTED[name], "ada", "s1", {"k": [1]}, its_id)] == rows(dsn, TABLES[category], columns)
    assert not any(rows(dsn, table) for of, table in TABLES.items() if of != category)


def test_there_are_twelve_events():
    """Those that are expected above, and no others."""
    assert set(EXPECTED) == set(OCCASIONS)


@pytest.mark.parametrize(
    ("name", "payload", "said"),
    [
        ("task:begun", {"task_id": "t1"}, "event 'task:begun' is not known; known are: task:started"),
        (None, {"task_id": "t1"}, "event None is not known"),
        (["task:started"], {}, "is not known"),
        ("task:started", {}, "the payload of task:started lacks task_id"),
        ("task:started", {"task_id": ""}, "lacks task_id"),
        ("deployment:error", {"environment": "x"}, "lacks deployment_id"),
        ("task:started", None, "payload=None of task:started is not allowed; allowed is a mapping"),
        ("task:started", [("task_id", "t1")], "allowed is a mapping"),
        ("task:started", {"task_id": "t1", "taks_name": "x"}, "has no key 'taks_name'; it may have timestamp"),
        ("task:started", {"task_id": "t1", "status": "error"}, "has no key 'status'"),
        ("task:started", {"task_id": "t1", 5: 6}, "has no key 5"),
        ("task:started", {"task_id": 1.5}, "TaskEvent.task_id=1.5 is not allowed"),
        ("task:completed", {"task_id": "t1", "output": object()}, "TaskEvent.output="),
        ("system:event", {"data": [1]}, "SystemEvent.data=[1] is not allowed"),
    ],
)
def test_a_wrong_event_stores_nothing(dsn, events, name, payload, said):
    """The error names what is wrong and what is allowed; no handler hears of it, and there are no rows."""
    heard = []
    events.on("*", lambda *event: heard.append(event))

    with pytest.raises(InvalidEventError) as caught:
        events.emit(name, payload)

    events.force_flush()
    assert said in str(caught.value)
    assert [] == heard
    assert not any(rows(dsn, table) for table in TABLES.values())


def test_a_closed_integration_refuses(dsn):
    """Every method but close and health says so, and nothing is stored."""
    events = EventIntegration(dsn=dsn)
    events.close()
    events.close()

    for call in (
        lambda: events.emit("task:started", {"task_id": "t1"}),
        lambda: events.on("*", print),
        lambda: events.log_custom_event("x", {}),
        lambda: events.set_enabled(True),
        events.initialize,
        events.force_flush,
        events.query_events,
        events.get_event_statistics,
    ):
        with pytest.raises(ClosedError, match="the event integration is closed"):
            call()
    assert (False, "the event integration is closed") == (
        events.get_health_status().is_healthy, events.get_health_status().error,
    )  # fmt: skip
    assert [] == rows(dsn, "task_events")


def test_close_stores_what_waits(dsn):
    """Also if the store was not opened before."""
    events = EventIntegration(dsn=dsn, health_monitoring=False)
    events.emit("task:started", {"task_id": "t1"})
    events.close()

    assert [("task:started",)] == rows(dsn, "task_events")


def test_disabled_it_does_nothing(dsn, events):
    """Nothing is checked, heard or stored; enabled again, it goes on."""
    heard = []
    events.on("*", lambda *event: heard.append(event))

    events.set_enabled(False)
    events.emit("no such event", None)
    events.emit("task:started", {"task_id": "off"})
    assert not events.is_enabled
    events.set_enabled(True)
    events.emit("task:started", {"task_id": "on"})
    events.force_flush()

    assert [("task:started", {"task_id": "on"})] == heard
    assert [("on",)] == rows(dsn, "task_events", "task_id")
    with pytest.raises(ConfigurationError, match="is_enabled='no'"):
        events.set_enabled("no")


def test_the_environment_may_disable_it(dsn, monkeypatch):
    """EVENT_INTEGRATION_ENABLED is what it begins with."""
    monkeypatch.setenv("EVENT_INTEGRATION_ENABLED", "false")
    with EventIntegration(dsn=dsn, health_monitoring=False) as events:
        events.emit("task:started", {"task_id": "off"})
        events.set_enabled(True)
        events.emit("task:started", {"task_id": "on"})

    assert [("on",)] == rows(dsn, "task_events", "task_id")


@pytest.mark.parametrize("category", ["task", "agent", "deployment"])
def test_a_category_may_be_left_out(dsn, monkeypatch, category):
    """Its events are checked and heard, but not stored; the others are."""
    monkeypatch.setenv(f"EVENT_AUTO_CAPTURE_{category.upper()}S", "false")
    heard = []
    with EventIntegration(dsn=dsn, health_monitoring=False) as events:
        events.on("*", lambda name, payload: heard.append(name))
        for name in OCCASIONS:
            events.emit(name, a_payload(name))
        with pytest.raises(InvalidEventError):
            events.emit(f"{category}:error", {})

    stored = sorted(name for table in TABLES.values() for (name,) in rows(dsn, table))
    assert sorted(name for name, known in OCCASIONS.items() if known.category != category) == stored
    assert list(OCCASIONS) == heard


def test_handlers_hear_until_they_are_removed(dsn, events):
    """With the payload; the same function twice is two handlers."""
    heard = []
    removals = [events.on("task:started", heard.append) for _ in range(2)]
    events.emit("task:started", {"task_id": "1"})
    events.emit("task:error", {"task_id": "1"})
    removals[0]()
    removals[0]()
    events.emit("task:started", {"task_id": "2"})
    removals[1]()
    events.emit("task:started", {"task_id": "3"})

    assert ["1", "1", "2"] == [payload["task_id"] for payload in heard]
    with pytest.raises(InvalidEventError, match="event 'task:begun' is not known"):
        events.on("task:begun", print)
    with pytest.raises(InvalidEventError, match="handler=None is not allowed"):
        events.on("*", None)


def test_what_a_handler_does_to_its_payload_nobody_sees(dsn, events):
    """Neither who emits, nor another handler, nor the row."""
    heard = []

    def spoil(payload):
        heard.append(str(payload))
        del payload["timestamp"]
        payload["input"]["orders"].clear()

    for _ in range(2):
        events.on("task:started", spoil)
    moment = datetime(2026, 1, 2, tzinfo=timezone.utc)
    payload = {"task_id": "1", "timestamp": moment, "input": {"orders": [{"id": 7}]}}
    before = str(payload)
    events.emit("task:started", payload)
    events.force_flush()

    assert [before] * 3 == [str(payload), *heard]
    assert [(moment, {"orders": [{"id": 7}]})] == rows(dsn, "task_events", '"time", input')


def test_an_async_handler_is_refused(events):
    """Nobody would await what it gives."""

    async def handler(payload):
        raise AssertionError

    class Listener:
        async def __call__(self, payload):
            raise AssertionError

    for wrong in (handler, partial(handler), Listener()):
        with pytest.raises(InvalidEventError, match="is not allowed; allowed is a function that is not async"):
            events.on("task:started", wrong)


def test_a_handler_that_fails_hurts_nobody(dsn, events, said):
    """The others hear, the event is stored, and the log has one line."""
    heard = []
    events.on("task:started", lambda payload: {}[payload["task_id"]])
    events.on("task:started", heard.append)
    for number in range(5):
        events.emit("task:started", {"task_id": number})
    events.force_flush()

    assert 5 == len(heard) == len(rows(dsn, "task_events"))
    assert ["a handler of task:started failed: KeyError: 0"] == said


def test_many_threads_lose_nothing(dsn, events):
    """8 threads with 200 events each: every id is stored once."""
    emitted = [[str(uuid.uuid4()) for _ in range(200)] for _ in range(8)]
    threads = [
        threading.Thread(target=lambda ids=ids: [events.emit("task:started", {"task_id": one}) for one in ids])
        for ids in emitted
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert events.force_flush()

    assert sorted(one for ids in emitted for one in ids) == sorted(i for (i,) in rows(dsn, "task_events", "task_id"))


def test_events_keep_their_order_and_their_trace(dsn, events):
    """An event belongs to the span in which it was emitted, though another thread stores it."""
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("x")
    with tracer.start_as_current_span("one") as one:
        for number in range(50):
            events.emit("task:started", {"task_id": number})
    events.emit("system:event", {})
    events.force_flush()

    stored = rows(dsn, "task_events", "task_id, trace_id")
    assert [(str(n), uuid.UUID(int=one.get_span_context().trace_id)) for n in range(50)] == stored
    assert [(uuid.UUID(int=0),)] == rows(dsn, "events", "trace_id")


def test_a_custom_event_is_a_system_event_of_its_own_type(dsn, events):
    """Its data is what was given; a wrong one stores nothing."""
    events.log_custom_event("price_changed", {"from": 1, "to": [2, None]})
    with pytest.raises(InvalidEventError, match=r"SystemEvent\.event_type=''"):
        events.log_custom_event("", {})
    with pytest.raises(InvalidEventError, match=r"SystemEvent\.data=7"):
        events.log_custom_event("x", 7)
    for type_, data in [(None, {}), ("x", None)]:
        with pytest.raises(InvalidEventError, match=f"of type={type_!r} and data={data!r} is not allowed; allowed are"):
            events.log_custom_event(type_, data)
    events.force_flush()

    assert [("system:event", "price_changed", {"from": 1, "to": [2, None]})] == rows(
        dsn, "events", "event_name, event_type, body"
    )


def test_it_queries_counts_and_says_how_it_is(dsn, events):
    """Of one category or of all, on the store's own ways."""
    for name in OCCASIONS:
        events.emit(name, a_payload(name))
    events.force_flush()

    assert set(OCCASIONS) == {event.event_name for event in events.query_events()}
    assert {"task:error"} == {event.event_name for event in events.query_events("task", status="error")}
    statistics = events.get_event_statistics()
    assert (12, 3) == (statistics.total_events, statistics.errors)
    health = events.get_health_status()
    assert (True, 12, 0, {}) == (health.is_healthy, health.exported, health.queue_depth, health.failed)


@pytest.mark.parametrize("wrong", [AsyncEventStore, EventQuery, dict])
def test_a_store_is_an_event_store(dsn, wrong):
    """What one for asyncio is told nobody would await: events were lost in silence."""
    with pytest.raises(
        ConfigurationError, match=rf"^store=<{wrong.__name__}> is not allowed; allowed is an EventStore$"
    ):
        EventIntegration(store=wrong(dsn=dsn))


def test_a_store_that_is_given_stays_open(dsn):
    """It is the caller's to close; two ways to say where are refused."""
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        with EventIntegration(store=store) as events:
            events.emit("task:started", {"task_id": "t1"})
        assert store.is_open
        assert ["t1"] == [event.task_id for event in store.query_task_events()]
        with pytest.raises(ConfigurationError, match="one of them"):
            EventIntegration(store=store, dsn=dsn)


def test_with_the_database_down_emit_raises_nothing(said, tmp_path):
    """All twelve go to the spool, and nothing is lost; initialize says what is wrong."""
    with EventIntegration(dsn=NOWHERE, health_monitoring=False, spool_dir=str(tmp_path)) as events:
        for name in OCCASIONS:
            events.emit(name, a_payload(name))

        assert not events.force_flush()
        health = events.get_health_status()
        assert (12, 0, {}) == (health.spool_depth, health.queue_depth, health.failed)
        with pytest.raises(DatabaseUnavailable, match="cannot reach"):
            events.initialize()
    assert not any("lost" in line for line in said)


def test_without_a_spool_what_could_not_be_stored_is_counted(said):
    """By its cause."""
    events = EventIntegration(dsn=NOWHERE, health_monitoring=False, spool_max_bytes=0, export_timeout_millis=300)
    for name in OCCASIONS:
        events.emit(name, a_payload(name))

    assert not events.force_flush(20_000)
    assert {"unreachable": 12} == events.get_health_status().failed
    events.close()
    assert any(re.match(r"log records were lost, \d+ so far: cannot reach", line) for line in said)


def test_an_event_waits_for_a_database_that_comes_late(server_dsn, tmp_path):
    """It lies in the spool until there is a database, and the tables are made then."""
    name = f"late_{uuid.uuid4().hex}"
    late = make_conninfo(server_dsn, dbname=name)
    events = EventIntegration(dsn=late, health_monitoring=False, spool_dir=str(tmp_path))
    events.emit("task:started", {"task_id": "t1"})
    assert not events.force_flush()

    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            assert events.force_flush()
            events.close()
            assert [("task:started",)] == rows(late, "task_events")
        finally:
            connection.execute(f'DROP DATABASE "{name}"')


def test_more_ends_than_can_be_looked_up_are_stored_without_a_duration(dsn, monkeypatch):
    """Too many that wait for their start are no reason to lose one."""
    goes_on = threading.Event()
    monkeypatch.setattr(EventIntegration, "_began", lambda self, *question: goes_on.wait() and None)
    with EventIntegration(dsn=dsn, health_monitoring=False, queue_size=100) as events:
        events._courier._capacity = 3
        for number in range(10):
            events.emit("task:completed", {"task_id": number})
        assert 3 == events._courier.depth
        goes_on.set()
    stored = rows(dsn, "task_events", "task_id, duration_ns")
    assert [(str(number), None) for number in range(10)] == sorted(stored)


def test_a_full_queue_is_counted(dsn):
    """The program is neither stopped nor told, but health knows."""
    options = {"health_monitoring": False, "queue_size": 5, "batch_size": 1, "export_timeout_millis": 25_000}
    with EventIntegration(dsn=dsn, **options) as events:
        with psycopg.connect(dsn) as blocker:
            blocker.execute("LOCK TABLE otel.task_events IN ACCESS EXCLUSIVE MODE")
            for number in range(10):
                events.emit("task:started", {"task_id": number})
            failed = events.get_health_status().failed
        events.force_flush()
        assert len(rows(dsn, "task_events")) == 10 - failed["queue_full"]
    assert 4 <= failed["queue_full"] <= 5


def test_events_after_the_telemetry_has_ended_are_counted(dsn, said):
    """A store that somebody else has closed takes no more: emit raises nothing, and health knows."""
    store = EventStore(dsn=dsn, health_monitoring=False)
    events = EventIntegration(store=store)
    events.emit("task:started", {"task_id": "1"})
    store.close()
    events.emit("task:completed", {"task_id": "1"})

    assert {"shut_down": 1} == events.get_health_status().failed
    assert ["events of the integration were lost: the event store is closed: make another"] == said
    events.close()
    assert [("task:started",)] == rows(dsn, "task_events")
