"""A tail gives every event once, in the order of commits, whatever writers do."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from itertools import islice

import psycopg
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

from otel_pg_exporter import AsyncEventQuery, EventQuery, EventStore, Settings
from otel_pg_exporter.database import Database, Listener, write_in
from otel_pg_exporter.encoding.batches import encode_batch
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.errors import DatabaseUnavailable, QueryError
from otel_pg_exporter.reading.tail import Position
from otel_pg_exporter.writing.sink import Sink

RESOURCE, SCOPE = Resource({"service.name": "s"}), InstrumentationScope("i")


def batch_of(numbers, category="task", sequence=1):
    """One span for each number, which is its span id."""
    now = time.time_ns()
    spans = [
        ReadableSpan(
            name=f"n{number}",
            context=SpanContext(7, number, False, TraceFlags(1)),
            resource=RESOURCE,
            instrumentation_scope=SCOPE,
            attributes={"otel_pg.category": category},
            start_time=now,
            end_time=now + number,
        )
        for number in numbers
    ]
    return encode_batch(spans, RowEncoder().span, producer_id=uuid.uuid4(), sequence=sequence, signal="span")


@pytest.fixture
def sink(dsn):
    made = Sink(Database(Settings(dsn=dsn)))
    yield made
    made.close()
    made.database.close()


@pytest.fixture
def query(dsn):
    with EventQuery(dsn=dsn) as made:
        yield made


def store(sink, numbers, category="task"):
    sink.store(batch_of(numbers, category), {}, time.monotonic() + 30)


def names(tail):
    return [event.event_name for event in tail]


def test_from_the_start_and_from_now(query, sink):
    """A tail begins where it is told to: with the oldest event, or with what is committed after it was made."""
    store(sink, [1, 2])
    later = query.tail(follow=False)
    store(sink, [3, 4], "agent")

    assert ["n3", "n4"] == names(later)
    assert ["n1", "n2", "n3", "n4"] == names(query.tail(from_start=True, follow=False))


def test_a_cursor_goes_on_in_the_middle_of_a_batch(query, sink):
    """At whatever event the cursor was read, the next tail gives the rest, once."""
    for first in range(1, 40, 4):
        store(sink, range(first, first + 4), random.choice(["task", "agent", "system", "deployment"]))
    whole = names(query.tail(from_start=True, follow=False))

    for taken in range(len(whole)):
        tail = query.tail(from_start=True, follow=False)
        first = [next(tail).event_name for _ in range(taken)]
        assert whole == first + names(query.tail(tail.cursor if taken else None, from_start=not taken, follow=False))
    assert [] == names(query.tail(tail_to_the_end(query).cursor, follow=False))


def test_a_tail_that_does_not_follow_ends_with_what_can_be_seen_now(query, sink):
    """Also if it goes on with an old snapshot, of which something was left."""
    store(sink, [1, 2])
    tail = query.tail(from_start=True)
    next(tail)
    store(sink, [3])

    assert ["n2", "n3"] == names(query.tail(tail.cursor, follow=False))


def tail_to_the_end(query):
    tail = query.tail(from_start=True, follow=False)
    names(tail)
    return tail


def test_filters_choose_and_the_cursor_passes_what_they_left_out(query, sink):
    """A tail with filters gives what they select; its cursor stands after the others too."""
    store(sink, [1, 2], "task")
    store(sink, [3], "agent")

    tail = query.tail(from_start=True, follow=False, category="agent")

    assert ["n3"] == names(tail)
    assert [] == names(query.tail(tail.cursor, follow=False))
    assert ["n2"] == names(query.tail(from_start=True, follow=False, name="n2"))


def test_many_small_batches_come_in_several_polls(query, sink, monkeypatch):
    """More batches, and more rows, than one poll fetches: nothing is left out at the seams."""
    monkeypatch.setattr("otel_pg_exporter.reading.tail._MOST_BATCHES", 3)
    monkeypatch.setattr("otel_pg_exporter.reading.tail._MOST_ROWS", 10)
    for first in range(1, 61, 6):
        store(sink, range(first, first + 6))

    assert [f"n{number}" for number in range(1, 61)] == names(query.tail(from_start=True, follow=False))


class Writer(threading.Thread):
    """Commits batches late, in an order of its own: some by an exporter, some in transactions that stay open."""

    def __init__(self, dsn, seed, per_writer, longest_seconds):
        super().__init__()
        self._dsn, self._random, self._longest = dsn, random.Random(seed), longest_seconds
        self._numbers = iter(range(seed * per_writer + 1, (seed + 1) * per_writer + 1))

    def run(self):
        sink = Sink(Database(Settings(dsn=self._dsn)))
        with psycopg.connect(self._dsn) as connection:
            while numbers := list(islice(self._numbers, self._random.randint(1, 600))):
                batch = batch_of(numbers)
                if self._random.random() < 0.5:
                    sink.store(batch, {}, time.monotonic() + 60)
                else:
                    sink.prepare(batch, time.monotonic() + 60)
                    write_in(connection, sink.claim(batch, {}), sink.copies(batch), Settings(dsn=self._dsn))
                    time.sleep(self._random.random() * self._longest)
                    connection.commit()
        sink.close()
        sink.database.close()


def test_eight_writers_with_long_transactions(dsn, query):
    """100,000 events of eight writers: each is given once, also over a restart of the tail in the middle."""
    writers = [Writer(dsn, seed, 12_500, 0.2) for seed in range(8)]
    naive = Naive(query)
    cursor, seen = query.tail(poll_seconds=0.02).cursor, []
    for writer in writers:
        writer.start()
    is_going_on = True
    while is_going_on:
        is_going_on = any(writer.is_alive() for writer in writers)
        tail = query.tail(cursor, follow=False)  # a new one each time, that goes on where the last was cut off
        seen += [event.span_id for event in (islice(tail, 7_000) if is_going_on else tail)]
        cursor = tail.cursor
        naive.look()

    stored = {f"{row['span_id']:016x}" for row in query._database.fetch("SELECT span_id FROM otel.task_events")}
    assert {f"{number:016x}" for number in range(1, 100_001)} == stored
    assert stored == set(seen)
    assert 100_000 == len(seen)
    assert len(naive.seen) < 100_000, "the writers were too tame to show anything"


class Naive:
    """The broken twin: goes on after the newest commit time that it saw."""

    def __init__(self, query):
        self._query, self._after = query, None
        self.seen = set()

    def look(self):
        after = self._after
        sql = (
            "SELECT batch_id, committed_at FROM otel.event_batches"
            " WHERE %(after)s::timestamptz IS NULL OR committed_at > %(after)s"
        )
        batches = self._query._database.fetch(sql, {"after": after})
        if batches:
            self._after = max(batch["committed_at"] for batch in batches)
        ids = [batch["batch_id"] for batch in batches]
        rows = self._query._database.fetch(
            "SELECT span_id FROM otel.task_events WHERE batch_id = ANY(%(ids)s)", {"ids": ids}
        )
        self.seen |= {row["span_id"] for row in rows}


def test_what_was_rolled_back_is_never_given(dsn, query):
    """Events of a transaction that was rolled back do not exist; those around it come."""
    tail = query.tail(follow=False)
    with EventStore(dsn=dsn, health_monitoring=False) as events, psycopg.connect(dsn) as connection:
        events.log_system_event(event_name="kept", connection=connection)
        connection.commit()
        events.log_system_event(event_name="taken back", connection=connection)
        connection.rollback()

    assert ["kept"] == names(tail)


def test_an_outage_leaves_the_tail_where_it_was(outage, sink, query):
    """An error comes out of next(); the call after it goes on without a gap."""
    tail = query.tail()
    store(sink, [1])
    assert "n1" == next(tail).event_name
    outage.begin()
    with pytest.raises(DatabaseUnavailable):
        next(tail)
    outage.end()
    store(sink, [2])

    assert "n2" == next(tail).event_name


def test_a_listening_tail_hears_at_once(dsn, query, sink):
    """With EVENT_NOTIFY the tail need not wait for its next poll; without, it polls all the same."""
    store(sink, [1])
    telling = Sink(Database(Settings(dsn=dsn, notify=True)))  # which has told nothing a moment ago
    tail = query.tail(poll_seconds=300, listen=True)
    heard = []
    reader = threading.Thread(target=lambda: heard.append(next(tail).event_name))
    reader.start()
    sent = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^LISTEN'"
    with psycopg.connect(dsn, autocommit=True) as connection:
        while not connection.execute(sent).fetchone()[0]:
            time.sleep(0.02)

    store(telling, [2])

    reader.join(40)
    tail.stop()
    telling.close()
    telling.database.close()
    assert ["n2"] == heard


def test_what_is_stored_before_a_tail_listens_is_not_missed(dsn, query, sink, monkeypatch):
    """Nobody is told of it by the server: it is looked for once more."""
    heard = []
    wait = Listener.wait

    def slowly(self, seconds, stopped):
        if not heard:
            heard.append("the poll before it found nothing")
            store(sink, [1])
        wait(self, seconds, stopped)

    monkeypatch.setattr(Listener, "wait", slowly)
    tail = query.tail(poll_seconds=300, listen=True)
    reader = threading.Thread(target=lambda: heard.append(next(tail).event_name))
    reader.start()
    reader.join(40)
    tail.stop()

    assert ["n1"] == heard[1:]


def test_stop_ends_a_tail_that_waits(query):
    """From another thread, whether it polls or listens."""
    for listen in (False, True):
        tail, waits = query.tail(poll_seconds=300, listen=listen), threading.Event()
        wait = tail._wait
        tail._wait = lambda stopped, wait=wait, waits=waits: (waits.set(), wait(stopped))
        reader = threading.Thread(target=lambda tail=tail: list(tail))
        reader.start()
        assert waits.wait(60)
        tail.stop()
        reader.join(20)
        assert not reader.is_alive()


def test_the_async_tail_gives_the_same(dsn, sink, query):
    """All of it, also what comes while it waits."""
    store(sink, [1, 2])

    async def main():
        async with AsyncEventQuery(dsn=dsn) as asynchronous:
            assert ["n1", "n2"] == [
                event.event_name async for event in asynchronous.tail(from_start=True, follow=False)
            ]
            tail = asynchronous.tail(tail_to_the_end(query).cursor, poll_seconds=0.05)
            waiting = asyncio.ensure_future(anext(tail))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(store, sink, [3])
            return (await asyncio.wait_for(waiting, 20)).event_name, tail.cursor

    name, cursor = asyncio.run(main())

    assert "n3" == name
    assert [] == names(query.tail(cursor, follow=False))


NO_SNAPSHOTS = ["1:1;drop", "0:0:", "9:1:", "5:10:7,6", "5:10:4", "5:10:10", "10:10:10"]


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "AAAA", "bnVsbA", Position("1:1:", index=-9).cursor]
    + [Position(text).cursor for text in NO_SNAPSHOTS]
    + [Position("1:1:", text).cursor for text in NO_SNAPSHOTS],
)
def test_a_cursor_that_is_none_is_refused(query, cursor):
    """With an error that says so, and before anything is sent."""
    with pytest.raises(QueryError, match="is not one that a tail gave"):
        query.tail(cursor)


@pytest.mark.parametrize("snapshot", ["1:1:", "5:10:", "5:10:5,9", "5:10:7"])
def test_a_snapshot_that_postgres_gives_is_taken(query, snapshot):
    """Whichever transactions were open then."""
    assert [] == names(query.tail(Position(snapshot).cursor, follow=False))


@pytest.mark.parametrize("pause", [0, -1, float("nan"), float("inf"), 1e12, True, "1"])
def test_a_pause_that_no_thread_makes_is_refused(query, pause):
    """By its name, when the tail is asked for: the longest were an OverflowError, once there was nothing to give."""
    with pytest.raises(QueryError, match=f"poll_seconds={pause!r} is not allowed; allowed is a number of seconds"):
        query.tail(poll_seconds=pause)


def test_bad_arguments_are_refused(query):
    """Two places to begin, an unknown filter or category, wherever it begins, before anything is sent."""
    with pytest.raises(QueryError, match="one of them says where to begin"):
        query.tail(Position("1:1:").cursor, from_start=True)
    asynchronous = AsyncEventQuery(dsn="dbname=nowhere")
    for ask in (query.tail, asynchronous.tail):
        for begin in ({"from_start": True}, {"cursor": Position("1:1:").cursor}, {}):
            with pytest.raises(QueryError, match="unknown filter 'colour'"):
                ask(**begin, colour="red")
            with pytest.raises(QueryError, match="category='red' is not allowed"):
                ask(**begin, category="red")
