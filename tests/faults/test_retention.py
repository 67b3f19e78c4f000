"""Partitions are made and dropped beside programs that write and sessions that read: nobody waits for long, nothing is
stored twice, and what may not be done is said."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from harness.inserting import Inserting
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from psycopg.conninfo import make_conninfo

from otel_pg_exporter import EventStore, configure, doctor, grants, sql_files
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.encoding.batches import Batch, derived_batch_id, encode_batch
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.errors import DatabaseUnavailable, LedgerForgotten, StorageFull
from otel_pg_exporter.query import EventQuery
from otel_pg_exporter.schema import partitions, room
from otel_pg_exporter.upkeep import retention
from otel_pg_exporter.upkeep.runner import Upkeep
from otel_pg_exporter.writing import sink
from otel_pg_exporter.writing.delivery import Delivery
from otel_pg_exporter.writing.sink import Sink

AT_LAST_SECONDS = 60.0
WAITING = [("otel.resources",)]
BEAT = "INSERT INTO otel.heartbeats SELECT md5(random()::text)::uuid, now(), 1, now()"
LONGEST_WAIT_SECONDS = 2.0
"""A fifth of a second by the rules, and slack for a machine that is busy."""


def today() -> int:
    """Counted from 1970."""
    return (datetime.now(timezone.utc) - datetime(1970, 1, 1, tzinfo=timezone.utc)).days


def execute(dsn: str, *statements: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            done = connection.execute(statement.encode())
        return done.fetchall() if done.description else []


def make(dsn: str, *ages: int) -> None:
    database = Database(Settings(dsn=dsn))
    partitions.ensure(database, [today() - age for age in ages])
    database.close()


def name_of(dsn: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])


def days_of(dsn: str, table: str) -> int:
    (row,) = execute(dsn, f"SELECT count(*) FROM pg_inherits WHERE inhparent = 'otel.{table}'::regclass")
    return int(row[0])


def wait_until(is_so: Callable[[], bool], seconds: float = 30) -> None:
    give_up_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up_at, "it did not become so in time"
        time.sleep(0.05)


def beside_a_reader_and_a_writer(dsn: str, work: Callable[[], Any]) -> tuple[float, Any]:
    """How long the writer waited at most while work was done and a session read from the same table, and what came
    of the work. The session reads until the work is done, or the writer has waited for too long."""
    is_done = threading.Event()
    with Inserting(dsn, BEAT) as writer, psycopg.connect(dsn) as reader:

        def end_reading() -> None:
            give_up_at = time.monotonic() + AT_LAST_SECONDS
            while not is_done.wait(0.02) and writer.longest <= LONGEST_WAIT_SECONDS and time.monotonic() < give_up_at:
                pass
            reader.rollback()

        reader.execute("SELECT count(*) FROM otel.heartbeats")
        thread = threading.Thread(target=end_reading)
        thread.start()
        found = work()
        is_done.set()
        thread.join()
    return writer.longest, found


@pytest.mark.parametrize("is_broken", [False, True])
def test_dropping_holds_writers_up_for_a_moment_only(dsn, monkeypatch, is_broken):
    """A session reads for long from a table whose partition is to go: the drop gives up, says so, and does it when
    the session has ended. A build that waits as long as it takes keeps all writers out for as long."""
    make(dsn, 0, 50)
    if is_broken:
        monkeypatch.setattr(retention, "_LOCK_SECONDS", 60.0)
        monkeypatch.setattr(retention, "_DROP_SECONDS", 60.0)
    settings = Settings(dsn=dsn, retention_days=30)

    longest, found = beside_a_reader_and_a_writer(dsn, lambda: retention.prune(settings))

    fates = {due.held.table: due.fate for due in found}
    assert "dropped" == fates["events"], "a table that nobody reads"
    if is_broken:
        assert longest > LONGEST_WAIT_SECONDS
        return
    assert longest < LONGEST_WAIT_SECONDS
    assert "locked" == fates["heartbeats"]
    assert 2 == days_of(dsn, "heartbeats")
    assert {"dropped"} == {due.fate for due in retention.prune(settings)}
    assert 1 == days_of(dsn, "heartbeats")


@pytest.mark.parametrize("is_broken", [False, True])
def test_making_holds_nobody_up(dsn, monkeypatch, is_broken):
    """A partition is made while others read and write: neither waits. A build that makes it a part of its table at
    once has to wait for them, and they for it."""
    make(dsn, 0)
    if is_broken:
        partition_of = "CREATE TABLE {partition} PARTITION OF {parent} FOR VALUES FROM ({lower}) TO ({upper})"
        queries = {**sql_files._queries(), "create_partition": partition_of, "attach_partition": "SELECT 1"}
        monkeypatch.setattr(sql_files, "_queries", lambda: queries)
        sql_files.query.cache_clear()
        monkeypatch.setattr(partitions, "_LOCK_MILLIS", 60_000)
    database = Database(Settings(dsn=dsn))

    def work() -> float:
        begun = time.monotonic()
        partitions.ensure(database, {today() + 1})
        return time.monotonic() - begun

    longest, seconds = beside_a_reader_and_a_writer(dsn, work)

    database.close()
    sql_files.query.cache_clear()
    assert 2 == days_of(dsn, "heartbeats")
    if is_broken:
        assert longest > LONGEST_WAIT_SECONDS
        assert seconds > LONGEST_WAIT_SECONDS
    else:
        assert longest < LONGEST_WAIT_SECONDS
        assert seconds < AT_LAST_SECONDS


@pytest.mark.parametrize("is_broken", [False, True])
def test_what_rows_refer_to_stays_as_long_as_they_do(dsn, monkeypatch, is_broken):
    """Somebody reads from a table whose partition is to go: the texts and resources of its rows stay, and what counts
    them, until it has gone too. A build that takes each partition alone leaves rows without them."""
    if is_broken:
        monkeypatch.setattr(retention, "_OF_EVENTS", ())
    old = datetime.fromtimestamp((today() - 50) * 86_400 + 7, timezone.utc)
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        store.log_agent_event(event_name="long ago", input="x y " * 1000, timestamp=old, wait=True)
    execute(dsn, "UPDATE otel.resource_days SET time = time - interval '50 days'")
    settings = Settings(dsn=dsn, retention_days=30)

    with psycopg.connect(dsn) as reader, EventQuery(dsn=dsn) as query:
        reader.execute("SELECT count(*) FROM otel.agent_events")
        fates = {due.held.table: due.fate for due in retention.prune(settings, attempts=1)}
        (event,) = query.agent_events()
        counts = (
            query.statistics(start=old.replace(second=0), end=old + timedelta(hours=2)).count,
            len(execute(dsn, "TABLE otel.resources")),
        )

    assert ("locked", "dropped") == (fates["agent_events"], fates["task_events"])
    assert (is_broken, (0, 0) if is_broken else (1, 1)) == (event.input is None, counts)
    assert {"dropped"} == {due.fate for due in retention.prune(settings)}
    assert [] == execute(dsn, "TABLE otel.resources")


@pytest.mark.parametrize("is_broken", [False, True])
def test_rows_that_come_while_their_day_is_dropped_are_whole(dsn, monkeypatch, is_broken):
    """The day of the tasks has just gone when a program stores one of that day more: the texts and resources that it
    refers to stay, and what counts it, until the next look. A build that knows only of what it has left itself takes
    them away."""
    if is_broken:
        monkeypatch.setattr(retention._Pruning, "_require_unneeded", lambda *_: None)
    old = datetime.fromtimestamp((today() - 50) * 86_400 + 7, timezone.utc)

    def store_one() -> None:
        with EventStore(dsn=dsn, health_monitoring=False) as store:
            store.log_task_event(event_name="late", input="x y " * 1000, timestamp=old, wait=True)

    def come_late(self: Any, one: Any) -> Any:
        done = drop(self, one)
        if one.held.table == "task_events":
            store_one()
        return done

    drop = retention._Pruning._drop
    store_one()
    execute(
        dsn, "UPDATE otel.resource_days SET time = time - interval '50 days' WHERE time > now() - interval '9 days'"
    )
    settings = Settings(dsn=dsn, retention_days=30)
    with monkeypatch.context() as patch:
        patch.setattr(retention._Pruning, "_drop", come_late)
        fates = {due.held.table: due.fate for due in retention.prune(settings)}

    with EventQuery(dsn=dsn) as query:
        (event,) = query.task_events()
        count = query.statistics(start=old.replace(second=0), end=old + timedelta(hours=2)).count
    kept = ("contents", "event_summaries", "resource_days")
    assert dict.fromkeys(kept, "dropped" if is_broken else "needed").items() <= fates.items()
    assert (is_broken, 0 if is_broken else 1) == (event.input is None, count)
    assert {"dropped"} == {due.fate for due in retention.prune(settings)}


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_day_that_was_dropped_and_made_again_has_all_that_its_rows_refer_to(dsn, monkeypatch, is_broken):
    """A program has stored a text yesterday, the day was dropped for its size, and another program stores a row of it
    once more: the first does not rely on what it stored before. A build that does leaves a row without its text."""
    if is_broken:
        monkeypatch.setattr(sink, "_may_be_gone", lambda *_: False)
    yesterday = datetime.fromtimestamp((today() - 1) * 86_400 + 7, timezone.utc)
    text = "x y " * 1000

    with EventStore(dsn=dsn, health_monitoring=False) as first, EventStore(dsn=dsn, health_monitoring=False) as second:
        for each in (first, second):
            each.log_task_event(event_name="before", timestamp=yesterday, wait=True)
        first.log_task_event(event_name="before", input=text, timestamp=yesterday, wait=True)
        assert {"dropped"} == {due.fate for due in retention.prune(Settings(dsn=dsn, max_bytes=1))}
        second.log_task_event(event_name="after", timestamp=yesterday, wait=True)
        first.log_task_event(event_name="after", input=text, timestamp=yesterday, wait=True)

    found = execute(dsn, "SELECT input #>> '{}' FROM otel.all_events WHERE event_name = 'after' ORDER BY 1 NULLS LAST")
    whole = [(None,)] if is_broken else [(text,)]
    assert sorted([*whole, (None,)], key=str) == sorted(found, key=str)


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
@pytest.mark.parametrize("is_broken", [False, True])
def test_a_resource_that_is_used_again_at_this_moment_stays(dsn, monkeypatch, is_broken, isolation):
    """It was idle for as long as rows are kept, and a writer is about to refer to it: whoever takes out idle resources
    waits for the writer, and leaves it to the next round. A build that shuts nobody out takes it away."""
    make(dsn, 0)
    execute(
        dsn, f"ALTER ROLE CURRENT_USER IN DATABASE {name_of(dsn)} SET default_transaction_isolation = '{isolation}'"
    )
    if is_broken:
        queries = {**sql_files._queries(), "shut_out_resources": "SELECT 1"}
        monkeypatch.setattr(sql_files, "_queries", lambda: queries)
        sql_files.query.cache_clear()
    database, resource_id = Database(Settings(dsn=dsn)), str(uuid.uuid4())
    execute(dsn, f"INSERT INTO otel.resources VALUES ('{resource_id}', 's', '{{}}', NULL, '')")
    statement = sql_files.bind(
        database.sql("insert_resource"),
        {
            "id": resource_id, "last_day": today(), "service_name": "s", "attributes": "{}", "attribute_order": None,
            "schema_url": "", "fixups": None,
        },
    )  # fmt: skip

    with database.session(time.monotonic() + 60) as session:
        remover = retention._Pruning(database, session, 1, time.sleep)
        with psycopg.connect(dsn) as writer:
            writer.execute(statement.encode())
            remover._forget_resources()
        remover._forget_resources()

    database.close()
    sql_files.query.cache_clear()
    assert [(int(not is_broken),)] == execute(dsn, "SELECT count(*) FROM otel.resources")


def test_a_resource_that_is_just_taken_out_is_stored_anew(dsn, tmp_path):
    """A program was idle for as long as rows are kept, and stores again while its resource is taken out."""
    make(dsn, 0)
    provider = TracerProvider(shutdown_on_exit=False)
    telemetry = configure(dsn=dsn, spool_dir=str(tmp_path), tracer_provider=provider)
    provider.get_tracer("tests").start_span("first").end()
    assert telemetry.force_flush()
    execute(dsn, "DELETE FROM otel.resource_days")
    with psycopg.connect(dsn) as remover:
        remover.execute("LOCK TABLE otel.resources IN SHARE ROW EXCLUSIVE MODE")
        remover.execute("DELETE FROM otel.resources")
        tomorrow = time.time_ns() + 86_400 * 10**9
        provider.get_tracer("tests").start_span("second", start_time=tomorrow).end(tomorrow)
        wait_until(lambda: WAITING == execute(dsn, "SELECT relation::regclass::text FROM pg_locks WHERE NOT granted"))
    assert telemetry.force_flush()
    telemetry.shutdown()

    assert [(2,)] == execute(dsn, "SELECT count(*) FROM otel.events e JOIN otel.resources r USING (resource_id)")


def test_a_writer_whose_partition_cannot_be_made_gives_up_in_time(dsn):
    """Its table is locked: it says which lock it waited for, after two seconds and not at the end of its patience."""
    make(dsn, 0)
    database = Database(Settings(dsn=dsn))
    with psycopg.connect(dsn) as other:
        other.execute("LOCK TABLE otel.agent_events IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable) as caught:
            partitions.ensure(database.until(time.monotonic() + 30), {today() + 1})
    assert time.monotonic() - begun < 10
    assert "55P03" == caught.value.sqlstate
    database.close()


@pytest.fixture
def program(dsn, tmp_path) -> Iterator[Callable[..., Any]]:
    """Starts what `configure` sets up, apart from the program's own providers; shut down at the end."""
    made: list[Any] = []

    def start(**given: Any) -> Any:
        settings = {"dsn": dsn, "spool_dir": str(tmp_path), "runs": False, "batch_timeout_millis": 20, **given}
        made.append(
            configure(
                Settings(**settings),
                tracer_provider=TracerProvider(shutdown_on_exit=False),
                logger_provider=LoggerProvider(shutdown_on_exit=False),
            )
        )
        return made[-1]

    yield start
    for telemetry in made:
        telemetry.shutdown()


def store_one(telemetry: Any) -> None:
    telemetry.tracer_provider.get_tracer("test").start_span("work").end()


def test_a_writer_that_may_not_drop_says_so_once(dsn, program, heard):
    """Its events are stored all the same, and what it names is what the owner has to run."""
    make(dsn, -1, 0, 50)
    role = f"writer_{uuid.uuid4().hex[:8]}"
    execute(dsn, f"CREATE ROLE {role} LOGIN")
    try:
        grants.grant(Settings(dsn=dsn), writers=[role])
        telemetry = program(
            dsn=make_conninfo(dsn, user=role), retention_days=30, retention_interval_seconds=1, auto_migrate=False
        )
        store_one(telemetry)
        assert telemetry.force_flush()
        wait_until(lambda: any("may not drop" in line for line in heard))
        time.sleep(2)
        telemetry.shutdown()
    finally:
        execute(dsn, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    (line,) = [line for line in heard if "may not drop" in line]
    assert "As the owner of the tables run, every day: otel-pg partitions prune" in line
    assert 3 == days_of(dsn, "events")
    assert [(1,)] == execute(dsn, "SELECT count(*) FROM otel.events")


@pytest.mark.usefixtures("patient")
def test_new_rows_that_are_refused_wait_until_there_is_room(dsn, program, heard, monkeypatch):
    """One line says why and what to do, health and doctor too; nothing is dropped, nothing lost."""
    monkeypatch.setattr(room, "_FULL_SECONDS", 0.2)
    make(dsn, 0, 50)
    (size,) = execute(
        dsn,
        "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class"
        " WHERE relnamespace = 'otel'::regnamespace AND relkind = 'r'",
    )
    limit: dict[str, Any] = {"max_bytes": size[0] - 1, "max_bytes_policy": "refuse"}
    telemetry = program(**limit)
    for _ in range(3):
        store_one(telemetry)
    assert not telemetry.force_flush(3000)

    assert [(0,)] == execute(dsn, "SELECT count(*) FROM otel.events")
    assert 3 == telemetry.counts["spooled"]
    (line,) = [line for line in heard if "are kept in" in line]
    assert "EVENT_MAX_BYTES" in line
    assert "otel-pg partitions prune --days 30" in line
    with EventQuery(Settings(dsn=dsn, **limit)) as query:
        health = query.health()
    assert not health.is_healthy
    assert "new rows refused" in (health.error or "")
    assert (health.bytes, health.max_bytes) == (size[0], limit["max_bytes"])
    assert "new rows refused" in str(doctor.examine(Settings(dsn=dsn, **limit)).obstacles[0])
    assert 2 == days_of(dsn, "events")

    retention.prune(Settings(dsn=dsn, retention_days=30))

    wait_until(lambda: telemetry.counts.get("replayed", 0) == 3)
    assert [(3,)] == execute(dsn, "SELECT count(*) FROM otel.events")


def test_a_limit_that_one_day_exceeds_is_said(dsn, program, heard):
    """Today is never dropped: rows are stored all the same, and a line says that nothing is left to drop."""
    make(dsn, -1, 0)
    telemetry = program(max_bytes=1, retention_interval_seconds=1)
    store_one(telemetry)
    assert telemetry.force_flush()
    wait_until(lambda: any("no day is left to drop" in line for line in heard))
    assert [(1,)] == execute(dsn, "SELECT count(*) FROM otel.events")


def test_without_a_spool_what_is_refused_is_lost_and_counted(dsn):
    """By its cause; whoever waits for the answer is told."""
    make(dsn, 0)
    delivery = Delivery(Database(Settings(dsn=dsn, max_bytes=1, max_bytes_policy="refuse", spool_max_bytes=0)))
    with pytest.raises(StorageFull, match="EVENT_MAX_BYTES=1"):
        delivery.deliver(spans(1), 5)
    assert {"storage_full": 1} == {cause: count for cause, count in delivery.failures.items() if count}
    delivery.close(1)


def spans(count: int, days_ago: int = 0) -> Batch:
    """A batch that was made so many days ago, of spans of then."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    moment = time.time_ns() - days_ago * 86_400 * 10**9
    records = []
    for _ in range(count):
        span = tracer.start_span("work", start_time=moment)
        span.end(moment + 1000)
        records.append(span)
    batch_id = derived_batch_id(moment // 10**6, uuid.uuid4().bytes)
    return encode_batch(
        records, RowEncoder().span, producer_id=uuid.uuid4(), sequence=1, signal="span", batch_id=batch_id
    )


def store(database: Database, batch: Batch) -> bool:
    """As the replay does."""
    sink = Sink(database)
    try:
        return sink.store(replace(batch, was_spooled=True), {}, time.monotonic() + 30)
    finally:
        sink.close()


@pytest.mark.parametrize("is_broken", [False, True])
def test_what_waited_for_longer_than_the_ledger_remembers_is_not_stored_twice(dsn, monkeypatch, is_broken):
    """Its commit was not heard of, its file lay about for a hundred days, and retention took what the ledger knew. A
    build that does not look stores its rows once more; that of three weeks ago is stored by either."""
    if is_broken:
        monkeypatch.setattr(Sink, "_require_ledger", lambda *_: None)
    database = Database(Settings(dsn=dsn))
    batch, younger = spans(3, days_ago=100), spans(2, days_ago=20)
    assert store(database, batch)
    assert not store(database, batch), "the ledger knows it"
    execute(dsn, "CREATE TABLE kept AS SELECT span_id FROM otel.events")
    retention.prune(Settings(dsn=dsn, retention_days=30))

    if is_broken:
        assert store(database, batch)
    else:
        with pytest.raises(LedgerForgotten, match="longer than the ledger remembers"):
            store(database, batch)
    assert store(database, younger)
    (again,) = execute(dsn, "SELECT count(*) FROM kept JOIN otel.events USING (span_id)")
    assert (3 if is_broken else 0) == again[0]
    database.close()


def test_where_nothing_was_dropped_an_old_spool_is_stored(dsn):
    """A machine that was away for longer than any retention, and a database that never knew one."""
    database = Database(Settings(dsn=dsn))
    assert store(database, spans(3, days_ago=400))
    assert [(3,)] == execute(dsn, "SELECT count(*) FROM otel.events")
    database.close()


def test_the_replay_sets_aside_what_is_too_old_and_goes_on(dsn, tmp_path, heard):
    """Counted as dead, kept with its reason; what lies behind it is stored."""
    make(dsn, 0, 100)
    retention.prune(Settings(dsn=dsn, retention_days=30))
    delivery = Delivery(Database(Settings(dsn=dsn, spool_dir=str(tmp_path))))
    assert delivery.spool is not None
    delivery.spool.put(spans(3, days_ago=100))
    delivery.spool.put(spans(2))

    assert delivery.replay_now(30)

    assert {"dead": 3, "replayed": 2} == {name: count for name, count in delivery.counts.items() if count}
    delivery.close(2)
    (found,) = tmp_path.rglob("*.dead")
    assert b"longer than the ledger remembers" in found.read_bytes()
    assert any(line.startswith("3 rows cannot be stored") for line in heard)
    assert [(2,)] == execute(dsn, "SELECT count(*) FROM otel.events")


def test_a_look_starts_no_embedded_server(tmp_path, heard):
    """Only who stores does: a program that has left its server at its end would leave it running else."""
    database = Database(Settings(data_dir=str(tmp_path / "data"), retention_days=1))
    upkeep = Upkeep(database)
    upkeep.begin()
    time.sleep(1.5)
    upkeep.stop(5)
    assert not (tmp_path / "data").exists()
    assert [] == heard


def test_the_thread_outlives_its_server_and_ends_with_the_program(heard, monkeypatch):
    """While the server is away it tries again, says so from the second time on, and is no reason to wait at the end."""
    dsn = "host=127.0.0.1 port=9 user=x dbname=y"
    upkeep = Upkeep(Database(Settings(dsn=dsn, retention_days=1, retention_interval_seconds=1)))
    looks, look = [], upkeep._look

    def counted():
        looks.append(len(heard))
        look()

    monkeypatch.setattr(upkeep, "_look", counted)
    upkeep.begin()
    wait_until(lambda: any("not looked after" in line for line in heard))
    assert [0, 0] == looks[:2]
    upkeep.stop(5)
    assert upkeep._thread is not None
    assert not upkeep._thread.is_alive()
