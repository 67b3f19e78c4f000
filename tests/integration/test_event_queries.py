"""Every key of the event store's queries, in every category, against a search by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_pg_exporter import EventQuery, EventStore, PostgresSpanExporter
from otel_pg_exporter.events.shapes import SHAPES, EventShape

FIRST = datetime(2026, 11, 20, 22, tzinfo=timezone.utc)
COUNT = 120


def make_events() -> list[EventShape]:
    chance = random.Random("queries")
    events = []
    for number in range(COUNT):
        category = list(SHAPES)[number % 4]
        own: dict[str, Any] = {}
        if category in {"task", "agent"}:
            own = {"task_id": chance.choice(["t1", "t2"]), "agent_id": chance.choice(["a1", "a2"])}
        events.append(
            SHAPES[category](
                event_name=chance.choice(["one", "two"]),
                event_type=chance.choice(["created", "finished"]),
                status=chance.choice(["started", "completed", "error", "cancelled"]),
                user_id=chance.choice(["ada", "bob", None]),
                session_id=chance.choice(["s1", "s2"]),
                duration_seconds=chance.choice([None, *range(50)]),
                timestamp=FIRST + timedelta(hours=number % 50, microseconds=number),
                data={"number": number, "deep": {"odd": bool(number % 2)}},
                **own,
            )
        )
    return events


EVENTS = make_events()
NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
KEYS: list[tuple[dict[str, Any], Callable[[Any], bool]]] = [
    ({}, lambda event: True),
    ({"event_type": "created"}, lambda event: event.event_type == "created"),
    ({"event_name": ["one", "none"]}, lambda event: event.event_name == "one"),
    ({"user_id": "ada"}, lambda event: event.user_id == "ada"),
    ({"session_id": "s2"}, lambda event: event.session_id == "s2"),
    ({"status": ["error", "cancelled"]}, lambda event: event.status in {"error", "cancelled"}),
    ({"data": {"deep": {"odd": True}}}, lambda event: event.data["deep"]["odd"]),
    ({"agent_id": "a1"}, lambda event: getattr(event, "agent_id", None) == "a1"),
    ({"task_id": "t2"}, lambda event: getattr(event, "task_id", None) == "t2"),
    ({"start_date": NOON}, lambda event: event.timestamp >= NOON),
    ({"end_date": NOON}, lambda event: event.timestamp < NOON),
    ({"start_date": date(2026, 11, 21), "end_date": date(2026, 11, 21)}, lambda event: event.timestamp.day == 21),
    ({"start_date": date(2026, 11, 21), "end_date": date.max}, lambda event: event.timestamp.day >= 21),
    (
        {"event_type": "finished", "status": "completed", "user_id": "bob", "start_date": NOON},
        lambda event: (
            (event.event_type, event.status, event.user_id) == ("finished", "completed", "bob")
            and event.timestamp >= NOON
        ),
    ),
]
ORDERS = {"time": lambda event: event.timestamp, "duration": lambda event: event.duration_seconds}


@pytest.fixture(scope="module")
def store(server_dsn):
    """A store of this module alone, with all the events."""
    with EventStore(dsn=server_dsn, schema="queries", health_monitoring=False) as store:
        for event in EVENTS:
            store.log(event)
        assert store.force_flush()
        yield store


def numbers(events: Any) -> list[int]:
    return [event.body["number"] for event in events]


@pytest.mark.parametrize("category", SHAPES)
@pytest.mark.parametrize(
    ("options", "is_wanted"), KEYS, ids=lambda value: ",".join(value) if isinstance(value, dict) else ""
)
def test_a_key_selects_what_a_search_by_hand_finds(store, category, options, is_wanted):
    """The newest first; in statistics the same key counts the same events."""
    query = getattr(store, f"query_{category}_events")
    expected = [event for event in EVENTS if event.category == category and is_wanted(event)]
    expected.sort(key=lambda event: event.timestamp, reverse=True)

    assert [event.data["number"] for event in expected] == numbers(query(**options, limit=COUNT))
    assert len(expected) == store.get_event_statistics(category, **options).total_events


@pytest.mark.parametrize("category", SHAPES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_orders_pages_and_limits_are_those_of_a_sorted_list(store, category, order, direction):
    """Events without a value come last in both directions; offset and cursor cut the same list."""
    query = getattr(store, f"query_{category}_events")
    ordered = {"order_by": order, "order_direction": direction}
    key = ORDERS[order]
    found = query(**ordered, limit=COUNT)
    mine = {event.data["number"]: event for event in EVENTS if event.category == category}
    values = [key(mine[number]) for number in numbers(found)]
    present = [value for value in values if value is not None]

    assert sorted(mine) == sorted(numbers(found))
    assert sorted(present, reverse=direction == "desc") + [None] * (len(values) - len(present)) == values
    assert numbers(found)[:7] == numbers(query(**ordered, limit=7))
    assert numbers(found)[:7] == numbers(query(order_by=order, order_direction=direction.upper(), limit=7))
    assert numbers(found)[5:12] == numbers(query(**ordered, limit=7, offset=5))
    second = query(**ordered, limit=7, cursor=query(**ordered, limit=7).next_cursor)
    assert numbers(found)[7:14] == numbers(second)


NO_FILTERS = {"error_message", "timestamp", "duration_seconds", "data", "input", "output", "attempt", "cost"}
CLOSED = {"status": "error", **dict.fromkeys(["build_result", "test_result", "result"], "timeout")}


@pytest.mark.parametrize("category", SHAPES)
def test_what_a_field_was_logged_with_finds_its_event(dsn, category):
    """As the page says: filters have the names of the fields, and take the same, ids as numbers too."""
    names = {field.name for field in fields(SHAPES[category]) if not field.name.endswith("_tokens")} - NO_FILTERS
    logged = {name: CLOSED.get(name, f"any {name}") for name in names}
    logged |= {name: number for number, name in enumerate(sorted(names), 1000) if name.endswith(("_id", "_request"))}
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        log, query = getattr(store, f"log_{category}_event"), getattr(store, f"query_{category}_events")
        log(event_name="another", wait=True)
        event_id = log(**logged, wait=True)

        for name, value in logged.items():
            (found,) = query(**{name: value})
            assert event_id == found.event_id, name
            stated = {"target": found.target, "deployment_id": found.deployment_id}
            assert str(value) == {**found.to_dict(), **stated}[name], name


def test_all_categories_together_are_the_four_of_them(store):
    """`query_events` without a category, page by page."""
    seen, cursor = [], None
    while True:
        page = store.query_events(limit=50, cursor=cursor)
        seen += numbers(page)
        if (cursor := page.next_cursor) is None:
            break

    expected = sorted(EVENTS, key=lambda event: event.timestamp, reverse=True)
    assert [event.data["number"] for event in expected] == seen


def test_what_a_library_has_set_is_read_as_a_text_too(dsn):
    """Spans of others may have a deployment whose id is a number; they were not logged by a store."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(PostgresSpanExporter(dsn=dsn)))
    provider.get_tracer("ci").start_span("d", attributes={"deployment.id": 7}).end()
    provider.shutdown()
    with EventQuery(dsn=dsn) as query:
        (event,) = query.deployment_events(deployment_id=7)

    assert ("7", None, None) == (event.deployment_id, event.event_id, event.target)
