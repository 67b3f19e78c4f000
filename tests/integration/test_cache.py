"""Answers kept in a real Redis: never others than the tables would give, whatever writers or the Redis do."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
import redis as redis_py
from harness.delays import Stalls

from otel_pg_exporter import AsyncEventStore, EventQuery, EventStore, PostgresLogRecordExporter, PostgresSpanExporter
from otel_pg_exporter.async_query import AsyncEventQuery
from otel_pg_exporter.config import Settings
from otel_pg_exporter.reading import cache as cache_module
from otel_pg_exporter.reading import recall
from otel_pg_exporter.reading.events import EventPage
from otel_pg_exporter.reading.trace import Trace
from otel_pg_exporter.schema import indexes

pytestmark = pytest.mark.services
TTL = 60
SLOW_SECONDS = 4.0
"""Nobody waits for Redis for so long; most of it is for a PostgreSQL that the machine keeps from answering."""
BLIND = "SELECT 'x' AS tables, '1:1:' AS snapshot, false AS is_newer, %(snapshot)s::text AS given"
"""In place of the look at the ledger: whatever was kept is taken for true."""


class Redis:
    """A server of the test's own, without files, on a socket."""

    def __init__(self, socket_path: str, *options: str) -> None:
        self.url = f"unix://{socket_path}"
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", socket_path, "--save", "", *options],
            stdout=subprocess.DEVNULL,
        )
        self.client = redis_py.Redis.from_url(self.url)
        give_up_at = time.monotonic() + 30
        while True:
            try:
                self.client.ping()
                return
            except redis_py.RedisError:
                assert time.monotonic() < give_up_at, "redis-server does not start"
                time.sleep(0.02)

    def stop(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path) -> Iterator[Redis]:
    server = Redis(str(tmp_path / "redis.sock"))
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A busy machine may keep a good Redis waiting, and take long between two questions; tests of bad ones set their
    own time."""
    monkeypatch.setattr(cache_module, "_DEADLINE_SECONDS", 10.0)
    monkeypatch.setattr(cache_module, "_REST_SECONDS", 60.0)


@pytest.fixture
def store(dsn, redis):
    with EventStore(dsn=dsn, cache_url=redis.url, cache_ttl_seconds=TTL, health_monitoring=False) as store:
        yield store


@pytest.fixture
def plain(dsn):
    """A store that asks the tables each time."""
    with EventStore(dsn=dsn, health_monitoring=False) as plain:
        yield plain


def cache_counts(store: EventStore) -> dict[str, int]:
    return store.get_health_status().cache


def exactly(value: Any) -> Any:
    """What a value is, with the type of everything in it."""
    if isinstance(value, EventPage):
        return exactly([list(value), value.next_cursor, value._categories])
    if isinstance(value, Trace):
        return exactly([value.to_otlp_json(), str(value), value.roots])
    if is_dataclass(value):
        return type(value), [(each.name, exactly(getattr(value, each.name))) for each in fields(value)]
    if isinstance(value, dict):
        return type(value), [(exactly(key), exactly(inner)) for key, inner in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [exactly(inner) for inner in value]
    if isinstance(value, datetime):
        return datetime, repr(value)
    return type(value), repr(value)


QUESTIONS: dict[str, Callable[[Any], Any]] = {
    "all": lambda query: query.events(limit=1000),
    "system": lambda query: query.system_events(limit=1000),
    "task": lambda query: query.task_events(order_by="duration", order_direction="asc"),
    "agent": lambda query: query.agent_events(order_by="cost", limit=3),
    "deployment": lambda query: query.deployment_events(),
    "second page": lambda query: query.events(limit=5, cursor=query.events(limit=5).next_cursor),
    "offset": lambda query: query.agent_events(limit=2, offset=1),
    "filters": lambda query: query.events(
        status=["error", "completed"],
        start=datetime(2000, 1, 1, tzinfo=timezone.utc),
        attributes={},
        data={"deep": {}},
    ),
    "nothing": lambda query: query.events(name="nothing has this name"),
    "statistics": lambda query: query.statistics(),
    "statistics of agents": lambda query: query.statistics("agent", bucket=timedelta(days=7)),
    "statistics of nothing": lambda query: query.statistics(name="nothing has this name"),
    "counts": lambda query: query.counts(),
    "trace": lambda query: query.trace(next(each.trace_id for each in query.agent_events() if each.trace_id)),
}
ODD = {"deep": {"n": [float("nan"), float("inf"), -0.0, 2**70, 2**63, 1, 1.0, True, None, "\0\ud800"]}}


@pytest.fixture
def filled(dsn, redis, all_emitted):
    """Real spans and log records of many libraries, and values that JSON cannot hold."""
    spans, logs = PostgresSpanExporter(dsn=dsn), PostgresLogRecordExporter(dsn=dsn)
    for some_spans, some_logs in all_emitted:
        spans.export(some_spans)
        logs.export(some_logs)
    spans.shutdown()
    logs.shutdown()
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        store.log_task_event(event_name="odd", data=ODD, wait=True)
        store.log_agent_event(event_name="asked", agent_id="a", cost=0.5, input_tokens=2**62, wait=True)
    return {"dsn": dsn, "cache_url": redis.url, "cache_ttl_seconds": TTL}


def test_a_kept_answer_is_the_one_of_the_tables(filled):
    """Value for value and type for type; the second time nothing but the proof is asked of PostgreSQL."""
    with EventQuery(dsn=filled["dsn"]) as plain, EventQuery(**filled) as first, EventQuery(**filled) as second:
        expected = {name: exactly(ask(plain)) for name, ask in QUESTIONS.items()}
        for query in (first, second):
            for name, ask in QUESTIONS.items():
                assert expected[name] == exactly(ask(query)), name
        kept, found = first.health().cache, second.health().cache

    # two of the questions ask another one first
    assert {"misses": len(QUESTIONS) + 2} == kept
    assert {"hits": len(QUESTIONS) + 2} == found


def test_asyncio_keeps_and_finds_the_same(filled, redis):
    """What one has kept the other finds."""

    async def main():
        async with AsyncEventQuery(**filled) as query:
            found = [exactly(await query.events(limit=1000)), exactly(await query.statistics())]
            found += [exactly(await query.counts()), exactly(await query.task_events())]
            again = exactly(await query.task_events())
            return found, again, (await query.health()).cache

    with EventQuery(**filled) as query:
        expected = [exactly(query.events(limit=1000)), exactly(query.statistics())]
    found, again, counts = asyncio.run(main())

    assert expected == found[:2]
    assert found[3] == again
    assert {"hits": 3, "misses": 2} == counts

    async def store():
        async with AsyncEventStore(**filled, health_monitoring=False) as store:
            await store.query_task_events()
            return (await store.get_health_status()).cache

    assert {"hits": 1} == asyncio.run(store())


def test_questions_are_told_apart(filled):
    """By everything that they ask: no two have the same key."""
    asked = [
        {}, {"category": "task"}, {"limit": 99}, {"limit": 99, "order_direction": "asc"}, {"name": "a"}, {"name": "b"},
        {"name": ["a", "b"]}, {"data": {"a": None}}, {"data": {"a": float("nan")}}, {"data": {"a": 1}},
        {"data": {"a": True}}, {"attributes": {"a": 1}}, {"order_by": "duration"},
        {"category": "task", "offset": 1},
    ]  # fmt: skip
    with EventQuery(**filled) as query:
        for options in asked:
            query.events(**options)
        for bucket in (1, 2):
            query.statistics(bucket=timedelta(hours=bucket))
        query.statistics("task", bucket=timedelta(hours=1))
        query.counts()
        assert {"misses": len(asked) + 4} == query.health().cache


ALIKE: dict[str, list[dict[str, Any]]] = {
    **{name: [{name: "a"}, {name: "b"}, {name: ["a", "b"]}] for name in ("session", "user", "task", "agent", "name")},
    "attributes": [{"attributes": {"session.id": "a"}}, {"attributes": {"session.id": "b"}}, {"attributes": {}}],
    "text": [{"text": "a"}, {"text": "b"}, {"text": "-a"}],
    "order": [{"text": "a or b", "order_direction": direction} for direction in ("asc", "desc")],
    "limit": [{"user": ["a", "b"], "limit": limit} for limit in (1, 2)],
    "beside": [{"user": "a", "status": status} for status in ("completed", "error")],
}
"""Questions that differ in what one of them asks alone."""


@pytest.mark.parametrize("indexed", [(), ("text", "user")], ids=["plain", "indexed"])
@pytest.mark.parametrize("alike", ALIKE)
def test_a_question_is_never_given_the_answer_of_another(dsn, redis, alike, indexed):
    """Whatever they differ in, and with the optional indexes as well."""
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        for each in "ab":
            named = dict.fromkeys(("event_name", "user_id", "session_id", "task_id", "agent_id"), each)
            store.log_task_event(**named, data={"said": each}, wait=True)
    for index in indexed:
        indexes.create(index, Settings(dsn=dsn))
    with EventQuery(dsn=dsn) as plain, EventQuery(dsn=dsn, cache_url=redis.url) as kept:
        for ask in ("events", "task_events"):
            expected = [exactly(getattr(plain, ask)(**options)) for options in ALIKE[alike]]
            for _ in range(2):
                assert expected == [exactly(getattr(kept, ask)(**options)) for options in ALIKE[alike]]
        assert 2 * len(ALIKE[alike]) == kept.health().cache["hits"]


# --- newer batches ---


def commit_at_once(store, dsn):
    store.log_task_event(event_name="x", wait=True)


def commit_late(store, dsn, ask=lambda: None):
    """The transaction begins, and claims, before the answer is kept."""
    with psycopg.connect(dsn) as connection:
        store.log_task_event(event_name="x", connection=connection)
        ask()
        connection.commit()


def begin_early(store, dsn, ask=lambda: None):
    """The transaction has begun, and has an id, before the answer is kept; it claims afterwards."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT txid_current()")
        ask()
        store.log_task_event(event_name="x", connection=connection)
        connection.commit()


def overtaken(store, dsn, ask=lambda: None):
    """A younger transaction commits, the answer is kept, the older one commits."""
    with psycopg.connect(dsn) as older, psycopg.connect(dsn) as younger:
        store.log_task_event(event_name="older", connection=older)
        store.log_task_event(event_name="younger", connection=younger)
        younger.commit()
        ask()
        older.commit()


def in_a_savepoint(store, dsn, ask=lambda: None):
    """A batch in a subtransaction of a subtransaction."""
    with psycopg.connect(dsn) as connection, connection.transaction(), connection.transaction():
        ask()
        store.log_task_event(event_name="x", connection=connection)


def through_the_queue(store, dsn, ask=lambda: None):
    """As most events come."""
    ask()
    store.log_task_event(event_name="x")
    assert store.force_flush()


WRITES = [commit_late, begin_early, overtaken, in_a_savepoint, through_the_queue]


def is_up_to_date(store, plain, dsn, write) -> bool:
    asked = [store.query_task_events, store.get_event_statistics, store._query.counts]

    def ask():
        for each in asked:
            each()

    ask()
    write(store, dsn, ask)
    expected = [plain.query_task_events(), plain.get_event_statistics(), plain._query.counts()]
    return exactly(expected) == exactly([each() for each in asked])


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_what_was_committed_is_in_the_next_answer(store, plain, dsn, write):
    """However the writer's transaction lies to the moment at which the answer was kept."""
    assert is_up_to_date(store, plain, dsn, write)


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_without_the_look_at_the_ledger_an_answer_is_old(store, plain, dsn, write, monkeypatch):
    """The counterpart: a cache that only waits for its time to be over fails the test above."""
    monkeypatch.setattr(
        recall,
        "query",
        lambda name, names: "SELECT 'x' AS tables, '1:1:' AS snapshot, false AS is_newer, %(snapshot)s::text",
    )

    assert not is_up_to_date(store, plain, dsn, write)


@pytest.mark.parametrize("mark", ["max(committed_at)", "max(batch_id::text)"])
def test_simpler_marks_miss_a_late_commit(store, dsn, monkeypatch, mark):
    """The counterpart of the choice: neither time nor id of the newest batch tells of an older one that comes late."""
    sql = BLIND.replace("'x'", f"({mark})::text") + " FROM otel.event_batches"
    monkeypatch.setattr(recall, "query", lambda name, names: sql)
    with psycopg.connect(dsn) as older:
        store.log_task_event(event_name="older", connection=older)
        store.log_task_event(event_name="younger", wait=True)
        store.query_task_events()
        older.commit()

    assert ["younger"] == [event.event_name for event in store.query_task_events()]


def test_what_is_not_committed_drops_nothing(store, dsn):
    """A transaction that is open, or rolled back, and other tables' writers, leave the answer as it is."""
    store.log_task_event(event_name="x", wait=True)
    store.query_task_events()
    with psycopg.connect(dsn) as connection:
        store.log_task_event(event_name="never", connection=connection)
        store.query_task_events()
        connection.rollback()
        connection.execute("CREATE TABLE other AS SELECT 1")
        connection.commit()
    store.query_task_events()

    assert {"hits": 2, "misses": 1} == cache_counts(store)


def test_a_partition_that_was_dropped_is_noticed(store, plain, dsn):
    """Retention takes rows away, and the answer with them."""
    for day in (1, 2):
        store.log_task_event(event_name=f"{day}", timestamp=datetime.now(timezone.utc) - timedelta(days=day), wait=True)
    assert 2 == len(store.query_task_events())
    with psycopg.connect(dsn) as connection:
        name = f"task_events_p{datetime.now(timezone.utc) - timedelta(days=2):%Y%m%d}"
        connection.execute(f"DROP TABLE otel.{name}")

    assert ["1"] == [event.event_name for event in store.query_task_events()]


def test_what_the_ledger_does_not_know_is_old_for_the_time_to_live_at_most(store, dsn, redis, monkeypatch):
    """Rows that other hands delete are gone from the answer after that; the time counts from before the reading."""
    extended = recall._extended
    monkeypatch.setattr(recall, "_extended", lambda *rows: time.sleep(0.1) or extended(*rows))
    store.log_task_event(event_name="x", wait=True)
    before = time.monotonic()
    assert 1 == len(store.query_task_events())
    (key,) = redis.client.keys()
    left = redis.client.pttl(key) / 1000
    assert before + TTL - time.monotonic() - 0.001 <= left <= TTL - 0.1, "as long as asked for, less the reading"
    with psycopg.connect(dsn) as connection:
        connection.execute("DELETE FROM otel.task_events")
    assert 1 == len(store.query_task_events()), "it is kept"
    redis.client.pexpire(key, 1)
    while redis.client.exists(key):
        time.sleep(0.001)
    assert [] == list(store.query_task_events())


def test_other_tables_of_the_same_address_are_told_apart(store, redis, dsn):
    """A database that was made anew under its name gives its own answers."""
    store.log_task_event(event_name="x", wait=True)
    store.query_task_events()
    (key,) = redis.client.keys()
    kept = redis.client.get(key)
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER SCHEMA otel RENAME TO old")
    with EventStore(dsn=dsn, health_monitoring=False) as other:
        other.log_task_event(event_name="of the new tables", wait=True)
    redis.client.set(key, kept)

    with EventStore(dsn=dsn, cache_url=redis.url, cache_ttl_seconds=TTL, health_monitoring=False) as fresh:
        assert ["of the new tables"] == [event.event_name for event in fresh.query_task_events()]


def count_while_others_write(dsn, redis_url, turns: int) -> tuple[int, int]:
    """Answers that were wrong while four write, two of them in long transactions; and how many came from the cache."""
    wrong, stop = 0, threading.Event()
    with (
        EventStore(dsn=dsn, cache_url=redis_url, cache_ttl_seconds=TTL, health_monitoring=False) as store,
        EventStore(dsn=dsn, health_monitoring=False) as plain,
    ):

        def write(number: int) -> None:
            chance = random.Random(number)
            with psycopg.connect(dsn) as connection:
                while not stop.is_set():
                    if number % 2:
                        plain.log_task_event(event_name="x", wait=True)
                    else:
                        for _ in range(3):
                            plain.log_task_event(event_name="x", connection=connection)
                            time.sleep(chance.random() * 0.05)
                        connection.commit() if chance.random() < 0.7 else connection.rollback()
                    time.sleep(chance.random() * 0.1)

        writers = [threading.Thread(target=write, args=[number]) for number in range(4)]
        for writer in writers:
            writer.start()
        for _ in range(turns):
            before = plain.get_event_statistics("task").total_events
            found = store.get_event_statistics("task").total_events
            page = len(store.query_task_events(limit=10_000))
            after = plain.get_event_statistics("task").total_events
            wrong += not (before <= found <= page <= after)
        stop.set()
        for writer in writers:
            writer.join()
        plain.log_task_event(event_name="the last one", wait=True)
        for _ in range(3):
            wrong += plain.get_event_statistics("task").total_events != store.get_event_statistics("task").total_events
        return wrong, cache_counts(store)["hits"]


def test_answers_are_right_while_others_write(dsn, redis):
    """Each lies between what the tables said before and after it, and at the end is what they say."""
    wrong, hits = count_while_others_write(dsn, redis.url, 60)

    assert 0 == wrong
    assert hits >= 2, "at rest the answer is kept"


def test_without_the_look_at_the_ledger_they_are_wrong(dsn, redis, monkeypatch):
    """The counterpart under the same writers."""
    monkeypatch.setattr(
        recall,
        "query",
        lambda name, names: "SELECT 'x' AS tables, '1:1:' AS snapshot, false AS is_newer, %(snapshot)s::text",
    )
    wrong, _ = count_while_others_write(dsn, redis.url, 10)

    assert wrong


# --- a Redis that is no good ---


def ask_twice(dsn: str, url: str, **options: Any) -> tuple[list[int], float, dict[str, int]]:
    """Events found by two queries of a store with two events, the longest time of one, and the cache's counts."""
    with EventStore(dsn=dsn, cache_url=url, cache_ttl_seconds=TTL, health_monitoring=False, **options) as store:
        for name in ("a", "b"):
            store.log_task_event(event_name=name, wait=True)
        store.get_health_status()
        found, longest = [], 0.0
        for _ in range(2):
            begun = time.monotonic()
            found.append(len(store.query_task_events()))
            longest = max(longest, time.monotonic() - begun)
        return found, longest, cache_counts(store)


def test_a_redis_that_is_away_is_done_without(dsn, redis, heard):
    """Before the first use, and later; said once a minute, without its password."""
    assert ([2, 2], {"hits": 1, "misses": 1}) == ask_twice(dsn, redis.url)[::2]
    redis.stop()
    found, _, counts = ask_twice(dsn, redis.url)

    assert ([4, 4], {"failed": 1, "misses": 2}) == (found, counts)
    assert [6, 6] == ask_twice(dsn, "redis://user:s3cret@127.0.0.1:9/0")[0]
    assert 2 == sum("queries are answered without the cache" in line for line in heard)
    assert "s3cret" not in "".join(heard)


def test_a_redis_that_comes_back_is_used_again(dsn, tmp_path, monkeypatch):
    """After a rest, by the same store."""
    monkeypatch.setattr(cache_module, "_REST_SECONDS", 0.0)
    path = str(tmp_path / "redis.sock")
    with EventStore(dsn=dsn, cache_url=f"unix://{path}", cache_ttl_seconds=TTL, health_monitoring=False) as store:
        store.query_task_events()
        assert {"misses": 1, "failed": 2} == cache_counts(store)
        for _ in range(2):
            server = Redis(path)
            store.query_task_events()
            store.query_task_events()
            server.stop()
        assert {"misses": 3, "failed": 2, "hits": 2} == cache_counts(store)


def silent(connection: socket.socket) -> None:
    """Takes what comes, and answers nothing."""
    while connection.recv(65536):
        pass


def dripping(connection: socket.socket) -> None:
    """Answers with a large value, a byte at a time."""
    while b"GETRANGE" not in (asked := connection.recv(65536)):
        connection.sendall(b"+OK\r\n" * asked.count(b"CLIENT"))
    connection.sendall(b"$100000\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


@pytest.fixture(params=[silent, dripping], ids=lambda answer: answer.__name__)
def slow_url(request) -> Iterator[str]:
    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=[connection], daemon=True).start()

    def answer(connection: socket.socket) -> None:
        try:
            request.param(connection)
        except OSError:
            pass
        finally:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0?protocol=2"
        server.shutdown(socket.SHUT_RDWR)


def test_a_redis_that_is_slow_is_not_waited_for(dsn, slow_url, monkeypatch):
    """One query waits for the deadline, and the next not at all."""
    monkeypatch.setattr(cache_module, "_DEADLINE_SECONDS", 0.2)
    with Stalls() as stalls:
        found, longest, counts = ask_twice(dsn, slow_url)

    assert ([2, 2], {"failed": 1, "misses": 2}) == (found, counts)
    assert longest - stalls.longest < SLOW_SECONDS


def test_with_a_long_deadline_it_would_be(dsn, slow_url, monkeypatch):
    """The counterpart: it is the deadline that saves the query."""
    monkeypatch.setattr(cache_module, "_DEADLINE_SECONDS", SLOW_SECONDS + 1)

    assert ask_twice(dsn, slow_url)[1] > SLOW_SECONDS


def test_a_redis_that_is_full_is_done_without(dsn, tmp_path, heard):
    """It refuses to keep, and the answer is the tables'."""
    server = Redis(str(tmp_path / "full.sock"), "--maxmemory", "1", "--maxmemory-policy", "noeviction")
    try:
        found, _, counts = ask_twice(dsn, server.url)
    finally:
        server.stop()

    assert ([2, 2], {"failed": 1, "misses": 2}) == (found, counts)
    assert "OutOfMemoryError" in heard[0]


NAMED = b'["name",'


def dumped(kept: bytes, answers: list[bytes], snapshot: str | None = None) -> bytes:
    """What was kept with other answers of the same statement."""
    known = recall._load(kept)
    name = recall.orjson.dumps(known.answers[0][0])
    named = [answer.replace(b'"name"', name) for answer in answers]
    return recall._dump(known.tables, snapshot or known.snapshot, named)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept: b"",
        lambda kept: b"garbage",
        lambda kept: kept[:-1],
        lambda kept: kept[:40] + bytes((kept[40] ^ 1,)) + kept[41:],
        lambda kept: b"x" * (1 << 22),
        lambda kept: dumped(kept, []),
        lambda kept: dumped(kept, [b"7"]),
        lambda kept: dumped(kept, [NAMED + b'["no"],[[["such kind",1]]]]']),
        lambda kept: dumped(kept, [NAMED + b"[],[]]"], "no snapshot"),
        lambda kept: dumped(kept, [NAMED + b"[],[]]"], "9:1:5,3"),
    ],
)
def test_garbage_in_redis_is_not_believed(store, redis, spoil):
    """The tables are asked instead."""
    store.log_task_event(event_name="x", wait=True)
    store.query_task_events()
    (key,) = redis.client.keys()
    redis.client.set(key, spoil(redis.client.get(key)))

    assert ["x"] == [event.event_name for event in store.query_task_events()]
    assert cache_counts(store).get("hits", 0) == 0


def test_an_answer_is_given_to_its_own_statements_alone(store, redis):
    """Not to those of another question under whose key it lies."""
    for user in "ab":
        store.log_task_event(event_name=f"of {user}", user_id=user, wait=True)
    store.query_task_events(user_id="a")
    (of_a,) = redis.client.keys()
    store.query_task_events(user_id="b")
    (of_b,) = {*redis.client.keys()} - {of_a}
    redis.client.set(of_b, redis.client.get(of_a))

    assert ["of b"] == [event.event_name for event in store.query_task_events(user_id="b")]


def test_a_key_of_another_kind_is_no_error(store, redis):
    """Nor is anything else that the server refuses."""
    store.log_task_event(event_name="x", wait=True)
    store.query_task_events()
    (key,) = redis.client.keys()
    redis.client.delete(key)
    redis.client.lpush(key, "x")

    assert ["x"] == [event.event_name for event in store.query_task_events()]


def test_what_cannot_be_kept_is_answered_each_time(store, redis, monkeypatch):
    """A value that JSON does not give back as it was."""
    kept = recall._PLAIN
    monkeypatch.setattr(recall, "_PLAIN", tuple(each for each in kept if each is not str))
    store.log_task_event(event_name="x", wait=True)

    for _ in range(2):
        assert ["x"] == [event.event_name for event in store.query_task_events()]
    assert [] == redis.client.keys()


def test_large_answers_are_not_kept(store, redis):
    """More than 1 MiB is read from the tables each time."""
    store.log_task_event(event_name="x", data={"k": random.Random(1).randbytes(600_000).hex()}, wait=True)

    for _ in range(2):
        assert 1 == len(store.query_task_events())
    assert [] == redis.client.keys()
    assert {"misses": 2} == cache_counts(store)


def test_keys_say_nothing(dsn, redis):
    """Neither what was asked, nor where, nor by which password."""
    secret = psycopg.conninfo.make_conninfo(dsn, password="s3cret")
    with EventQuery(dsn=secret, cache_url=redis.url) as query:
        query.events(user="ada", data={"token": "t0ken"})
    (key,) = redis.client.keys()

    assert set(key.decode().removeprefix("otel-pg:")) <= set("0123456789abcdef")
    assert b"s3cret" not in redis.client.get(key)
    assert "s3cret" not in repr(EventStore(cache_url="redis://u:s3cret@h/0").settings)


def test_a_url_that_cannot_be_read_is_not_quoted(heard):
    """A password with # or / in it is taken for something else, and quoted by what cannot read that."""
    cache = cache_module.Cache("redis://:planted#ed@127.0.0.1:1/0")

    assert cache.get("key") is None
    assert heard
    assert all("planted" not in line and "%23" in line for line in map(str, heard))


def test_without_a_url_redis_is_not_imported(dsn):
    """Nothing of it costs who does not use it."""
    program = (
        "import sys; from otel_pg_exporter import EventQuery, EventStore\n"
        "with EventStore(health_monitoring=False) as store: store.get_event_statistics(); store.query_events()\n"
        "print('redis' in sys.modules)\n"
        "with EventQuery(cache_url='redis://127.0.0.1:9') as query: query.events()\n"
        "print('redis' in sys.modules)"
    )
    environment = {**os.environ, "OTEL_EXPORTER_POSTGRES_DSN": dsn}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert ("False\nTrue\n", 0) == (done.stdout, done.returncode)


def test_without_the_library_queries_are_answered(dsn, redis, monkeypatch, heard):
    """And the log says what is missing."""
    monkeypatch.setitem(sys.modules, "redis", None)

    assert [2, 2] == ask_twice(dsn, redis.url)[0]
    assert "this needs redis, which is not installed. Run: pip install 'otel-pg-exporter[cache]'" in heard[0]
