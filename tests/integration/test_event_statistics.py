"""Statistics of the event store are those of a count by hand, also while others write; percentiles are within 2 %."""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from datetime import datetime, timedelta, timezone
from queue import Empty, Queue

import psycopg
import pytest

from otel_pg_exporter import EventStore
from otel_pg_exporter.events.shapes import SHAPES, EventShape

FIRST = datetime(2026, 11, 20, 22, tzinfo=timezone.utc)


def make_events(count: int, seed: str, **fields: object) -> list[EventShape]:
    """Events of all categories over three days, some with a duration."""
    chance = random.Random(seed)
    events = []
    for _ in range(count):
        category = chance.choice(list(SHAPES))
        own = {"agent_id": chance.choice(["a1", "a2", None])} if category in {"agent", "task"} else {}
        events.append(
            SHAPES[category](
                event_name=chance.choice(["one", "two"]),
                event_type=chance.choice(["created", "finished"]),
                status=chance.choice(["started", "completed", "error", "cancelled"]),
                duration_seconds=chance.choice([None, 0, 0.001, 1.5, 2.000000001, 7]),
                timestamp=FIRST + timedelta(hours=chance.randrange(50)),
                **own,
                **fields,
            )
        )
    return events


def percentile(values: list[float], share: float) -> float:
    """As percentile_cont: between two neighbours in proportion."""
    place = (len(values) - 1) * share
    low, high = values[math.floor(place)], values[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def by_hand(events: list[EventShape]) -> dict[str, object]:
    """What the statistics should say."""
    durations = sorted(event.duration_seconds for event in events if event.duration_seconds is not None)
    agents = (getattr(event, "agent_id", None) for event in events)
    return {
        "total_events": len(events),
        "errors": sum(event.status == "error" for event in events),
        "events_by_category": Counter(event.category for event in events),
        "events_by_type": Counter(event.event_type for event in events),
        "events_by_status": Counter(event.status for event in events),
        "events_by_agent": Counter(agent for agent in agents if agent is not None),
        "events_by_day": Counter(event.timestamp.date() for event in events),
        "average_duration": pytest.approx(sum(durations) / len(durations)) if durations else None,
        "duration_percentiles": {
            percent: pytest.approx(percentile(durations, percent / 100), rel=0.02)
            for percent in (50, 95, 99)
            if durations
        },
    }


def said(statistics, expected):
    return {name: getattr(statistics, name) for name in expected}


@pytest.mark.parametrize("category", [None, *SHAPES])
def test_statistics_are_those_of_a_count_by_hand(dsn, category):
    """Totals, types, states, agents, days, average and percentiles; of all and of one category."""
    events = make_events(200, seed="quiet")
    with EventStore(dsn=dsn) as store:
        for event in events:
            store.log(event)
        assert store.force_flush()
        statistics = store.get_event_statistics(category)

    expected = by_hand([event for event in events if category in (None, event.category)])
    assert expected == said(statistics, expected)


def test_statistics_of_nothing_are_zero(dsn):
    """No average, no percentiles, no days."""
    with EventStore(dsn=dsn) as store:
        statistics = store.get_event_statistics(event_name="nothing has this name")

    expected = by_hand([])
    assert expected == said(statistics, expected)


def test_statistics_are_exact_while_four_others_write(dsn):
    """What a writer has finished is counted exactly, and every answer is of one moment."""
    finished: Queue[tuple[str, list[EventShape]]] = Queue()
    everything: list[EventShape] = []
    with EventStore(dsn=dsn) as store:

        def write(number: int) -> None:
            with psycopg.connect(dsn) as connection:
                for turn in range(6):
                    session = f"writer {number} turn {turn}"
                    events = make_events(25, seed=session, session_id=session)
                    for event in events:
                        # two writers commit each event, two all of a turn together
                        store.log(event, wait=True) if number % 2 else store.log(event, connection=connection)
                    connection.commit()
                    finished.put((session, events))

        writers = [threading.Thread(target=write, args=[number]) for number in range(4)]
        for writer in writers:
            writer.start()
        compared = 0
        while compared < 24:
            whole = store.get_event_statistics()
            for part in ("category", "type", "status", "day"):
                assert whole.total_events == sum(getattr(whole, f"events_by_{part}").values()), part
            try:
                session, events = finished.get(timeout=0.01)
            except Empty:
                assert any(writer.is_alive() for writer in writers) or not finished.empty()
                continue
            expected = by_hand(events)
            assert expected == said(store.get_event_statistics(session_id=session), expected)
            everything += events
            compared += 1
        for writer in writers:
            writer.join()
        expected = by_hand(everything)
        assert expected == said(store.get_event_statistics(), expected)
    assert 600 == len(everything)
