"""Events in a transaction of the caller's, and events that are waited for."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from otel_pg_exporter import AsyncEventStore, EventStore
from otel_pg_exporter.errors import AccessDenied, DatabaseError, DatabaseUnavailable, InvalidEventError, SchemaMismatch


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


def test_waiting_makes_it_visible_at_once(store, dsn):
    """Another connection sees it when the call returns."""
    for number in range(3):
        store.log_task_event(event_name=f"{number}", wait=True)
        assert [f"{n}" for n in range(number + 1)] == stored(dsn)


def test_waiting_raises_when_the_database_is_gone(server_dsn, dsn):
    """And what is not waited for goes to the spool, without an error."""
    store = EventStore(dsn=dsn, export_timeout_millis=300, health_monitoring=False)
    store.initialize()
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    with pytest.raises(DatabaseError, match="not currently accepting connections"):
        store.log_task_event(event_name="x", wait=True)
    store.log_task_event(event_name="x")
    assert not store.force_flush()
    assert 1 == store.get_health_status().spool_depth
    store.close()


def test_an_event_is_rolled_back_with_the_callers_rows(store, dsn, own):
    """Neither is there; after a commit both are."""
    for number, end in enumerate((own.rollback, own.commit)):
        own.execute("INSERT INTO orders VALUES (%s)", [number])
        store.log_task_event(event_name=f"{number}", connection=own)
        assert [] == stored(dsn)
        end()

    assert (["1"], [1]) == (stored(dsn), orders(dsn))


def test_an_event_that_comes_first_begins_the_callers_transaction(store, dsn, own):
    """It is not committed on its own: the program's rollback takes it back."""
    store.log_task_event(event_name="x", connection=own)
    own.execute("INSERT INTO orders VALUES (1)")
    own.rollback()

    assert ([], []) == (stored(dsn), orders(dsn))


def test_an_event_in_a_nested_block_goes_with_it(store, dsn, own):
    """In `with connection.transaction()` it is that block's."""
    with own.transaction():
        store.log_task_event(event_name="outer", connection=own)
        with own.transaction():
            store.log_task_event(event_name="inner", connection=own)
            raise psycopg.Rollback

    assert ["outer"] == stored(dsn)


def test_in_autocommit_mode_it_is_committed_at_once(store, dsn, own):
    """Ledger and row are one transaction; inside an open block it is the block's."""
    own.autocommit = True
    store.log_task_event(event_name="alone", connection=own)
    with own.transaction():
        store.log_task_event(event_name="in a block", connection=own)
        raise psycopg.Rollback

    assert ["alone"] == stored(dsn)
    ids = own.execute("SELECT xmin::text FROM otel.task_events UNION SELECT xmin::text FROM otel.event_batches")
    assert 1 == len(ids.fetchall())


def test_a_failure_of_ours_leaves_the_callers_transaction_alone(store, dsn, own):
    """The error is raised, and the program's rows can still be committed."""
    store.log_task_event(event_name="before", wait=True)
    own.execute("ALTER TABLE otel.task_events DROP COLUMN queue CASCADE")  # with the views that show it
    own.commit()
    own.execute("INSERT INTO orders VALUES (1)")
    with pytest.raises(SchemaMismatch, match="queue"):
        store.log_task_event(event_name="x", connection=own)
    own.commit()

    assert (["before"], [1]) == (stored(dsn), orders(dsn))


def test_a_transaction_that_has_failed_is_named(store, own):
    """The message says what to do."""
    with pytest.raises(psycopg.errors.UndefinedTable):
        own.execute("SELECT FROM nowhere")

    with pytest.raises(DatabaseError, match="roll it back first"):
        store.log_task_event(event_name="x", connection=own)


def test_an_error_names_what_the_connection_leads_to(store, dsn, server_dsn, own):
    """Its role and its database may be others than those of the store: a right that the store has helps nobody."""
    own.execute("CREATE ROLE clerk_of_orders LOGIN")
    own.commit()
    try:
        with psycopg.connect(dsn, user="clerk_of_orders") as theirs:
            with pytest.raises(AccessDenied, match=r'GRANT USAGE ON SCHEMA "otel" TO "clerk_of_orders"$'):
                store.log_task_event(event_name="x", connection=theirs)
            theirs.execute("SELECT 1")
    finally:
        own.execute("DROP ROLE clerk_of_orders")
        own.commit()
    with psycopg.connect(server_dsn) as elsewhere:
        name = elsewhere.info.dbname
        with pytest.raises(SchemaMismatch, match=rf"'otel' of .*dbname={name} .*Run: otel-pg migrate up"):
            store.log_task_event(event_name="x", connection=elsewhere)
    with pytest.raises(DatabaseUnavailable, match="is closed: nothing can be written in it"):
        store.log_task_event(event_name="x", connection=elsewhere)


@pytest.mark.parametrize("connection", ["a dsn", 7, object()])
def test_a_connection_is_a_connection(store, connection):
    """Anything else is refused by name."""
    with pytest.raises(InvalidEventError, match=r"allowed is an open psycopg\.Connection$"):
        store.log_task_event(event_name="x", connection=connection)


def test_a_partition_that_was_dropped_is_made_again(store, dsn, own):
    """After one failure the next event is stored: what the store knew of the tables is looked up again."""
    store.log_task_event(event_name="lost", connection=own)
    own.rollback()
    with psycopg.connect(dsn, autocommit=True) as owner:
        for (table,) in owner.execute("SELECT inhrelid::regclass::text FROM pg_inherits i JOIN pg_class c"
                                      " ON c.oid = inhrelid WHERE c.relkind = 'r'").fetchall():  # fmt: skip
            owner.execute(f"DROP TABLE {table}")

    with pytest.raises(DatabaseError, match="partition"):
        store.log_task_event(event_name="first", connection=own)
    store.log_task_event(event_name="second", connection=own)
    own.commit()

    assert ["second"] == stored(dsn)


def test_a_connection_that_cannot_copy_says_so(store, dsn, own):
    """In a pipeline the driver refuses, and the program's transaction goes on."""
    with own.pipeline(), pytest.raises(DatabaseError, match="as it is: COPY cannot be used in pipeline mode"):
        store.log_task_event(event_name="x", connection=own)
    own.execute("INSERT INTO orders VALUES (1)")
    own.commit()

    assert ([], [1]) == (stored(dsn), orders(dsn))


def test_waiting_for_the_callers_commit_is_refused(store, own):
    """It would wait for ever."""
    with pytest.raises(InvalidEventError, match="when that commits"):
        store.log_task_event(event_name="x", connection=own, wait=True)


def test_events_on_new_days_need_no_hand(store, own):
    """A partition is made for the caller's transaction too, while it holds rows of another."""
    for offset in (0, 40, 400):
        moment = datetime.now(timezone.utc) + timedelta(days=offset)
        store.log_task_event(event_name=f"{offset}", timestamp=moment, connection=own)
    own.commit()

    assert 3 == store.get_event_statistics().total_events
    assert 3 == len(store.get_event_statistics().events_by_day)


def test_threads_that_share_a_connection_take_turns(store, dsn):
    """Savepoints nest: what one says is stored is, and of what it is told it is not nothing is."""
    with psycopg.connect(dsn) as connection, ThreadPoolExecutor(10) as threads:
        logged = [
            threads.submit(store.log_task_event, event_name="shared", task_id=number, connection=connection)
            for number in range(50)
        ]
        ids = {each.result() for each in logged}

    assert ids == {event.event_id for event in store.query_task_events(event_name="shared", limit=100)}


def test_tasks_that_share_a_connection_take_turns(dsn):
    """The same in asyncio."""

    async def log():
        async with AsyncEventStore(dsn=dsn) as store, await psycopg.AsyncConnection.connect(dsn) as connection:
            calls = (store.log_task_event(event_name="s", task_id=n, connection=connection) for n in range(30))
            ids = await asyncio.gather(*calls)
            await connection.commit()
            return ids, await store.query_task_events(event_name="s", limit=100)

    ids, events = asyncio.run(log())

    assert {*ids} == {event.event_id for event in events}
    assert 30 == len(events)


def test_who_is_cancelled_keeps_the_connection(dsn):
    """A COPY that is broken off would leave it of no use, and the program's transaction with it."""

    async def log():
        async with AsyncEventStore(dsn=dsn) as store:
            await store.log_task_event(event_name="first", task_id=1, wait=True)
            cancelled = 0
            for step in range(60):
                async with await psycopg.AsyncConnection.connect(dsn) as connection:
                    call = store.log_task_event(event_name="c", task_id=step, connection=connection)
                    task = asyncio.ensure_future(call)
                    await asyncio.sleep(step * 5e-5)
                    task.cancel()
                    cancelled += isinstance((await asyncio.gather(task, return_exceptions=True))[0], BaseException)
                    assert (1,) == await (await connection.execute("SELECT 1")).fetchone()
            return cancelled

    assert asyncio.run(log())
