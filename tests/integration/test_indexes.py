"""Optional indexes are whole however they came about, and gone when they are dropped."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from harness.plans import names_of_indexes
from harness.rows import DAY, NOW

from otel_pg_exporter import migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.errors import AccessDenied, ConfigurationError, DatabaseError, DatabaseUnavailable
from otel_pg_exporter.schema import indexes, partitions
from otel_pg_exporter.sql_files import EVENT_TABLES


@pytest.fixture
def settings(dsn):
    return Settings(dsn=dsn)


def coverage(settings, kind):
    return {(each.is_on, each.partitions, each.indexed) for each in indexes.status(settings) if each.kind == kind}


@pytest.mark.parametrize("kind", indexes.KINDS)
def test_it_is_off_until_it_is_made_and_gone_when_it_is_dropped(rows, settings, kind):
    """All partitions have it, those that are made later too; making it again changes nothing."""
    assert {(False, 2, 0)} == coverage(settings, kind)
    told = []
    indexes.create(kind, settings, tell=told.append)
    tables = len(EVENT_TABLES) + (kind in ("text", "task"))  # the parts of long texts have one too, or tasks two
    assert 2 * tables == len(told)
    assert {(True, 2, 2)} == coverage(settings, kind)

    rows.make_partitions({DAY + 1})
    made = names_of_indexes(settings)
    assert {(True, 3, 3)} == coverage(settings, kind)
    indexes.create(kind, settings, tell=told.append)
    assert 2 * tables == len(told)
    assert 4 * tables == len(made) == len(names_of_indexes(settings))

    indexes.drop(kind, settings)
    indexes.drop(kind, settings)
    rows.make_partitions({DAY + 2})
    assert {(False, 4, 0)} == coverage(settings, kind)
    assert set() == names_of_indexes(settings)


def test_names_fit_under_the_longest_prefix(empty_dsn):
    """In a schema whose name has to be quoted; and taking the tables back takes them too."""
    settings = Settings(dsn=empty_dsn, schema="table", table_prefix="p" * 31)
    migrate.up(settings)
    database = Database(settings)
    partitions.ensure(database, {DAY, 0})
    database.close()

    for kind in indexes.KINDS:
        indexes.create(kind, settings)
        assert {(True, 2, 2)} == coverage(settings, kind)
    assert 3 * (5 * len(EVENT_TABLES) + 2) == len(names_of_indexes(settings))
    indexes.drop("attributes", settings)
    migrate.down(settings)
    assert set() == names_of_indexes(settings)


def test_partitions_come_and_go_while_it_is_made(rows, settings):
    """One that retention drops is passed over, one that a writer makes has it."""
    rows.make_partitions(range(DAY - 6, DAY))

    def meddle(done):
        if done == f"events_p{NOW - timedelta(days=6):%Y%m%d}":
            rows.connection.execute(f"DROP TABLE otel.events_p{NOW - timedelta(days=5):%Y%m%d}")
            rows.make_partitions({DAY + 1})

    indexes.create("attributes", settings, tell=meddle)

    assert {(True, 8, 8), (True, 7, 7)} == coverage(settings, "attributes")


@contextmanager
def in_thread(work, *arguments, beside):
    """Work that goes on meanwhile; whatever comes of that, what it may wait for ends before it is waited for."""
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(work, *arguments)
        finally:
            beside.rollback()


@pytest.fixture
def waiting(rows, dsn):
    """A transaction that has written into a partition, so that an index of it is not finished before it ends."""
    rows.add("events", 10, attributes='{"order": 1}')
    with psycopg.connect(dsn) as writer:
        writer.execute(f"DELETE FROM otel.events_p{NOW:%Y%m%d} WHERE batch_index = 1")
        yield writer


def until_builds(rows):
    """Until a session builds an index, and waits."""
    for _ in range(600):
        found = rows.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND query LIKE 'CREATE INDEX CONCURRENTLY%'"
        )
        if found:
            return [*found[0]]
        time.sleep(0.05)
    raise AssertionError("nobody builds")


def test_what_was_interrupted_is_gone_on_with(rows, settings, waiting):
    """It leaves a piece that no query uses and no writer minds; the next call takes that out and makes it whole."""
    with in_thread(indexes.create, "attributes", settings, beside=waiting) as making:
        (pid,) = until_builds(rows)
        rows.connection.execute("SELECT pg_cancel_backend(%s)", [pid])
        with pytest.raises(DatabaseError):
            making.result()
    assert [(1,)] == rows.fetch("SELECT count(*) FROM pg_index WHERE NOT indisvalid AND indisready IS NOT NULL"
                                f" AND indrelid = 'otel.events_p{NOW:%Y%m%d}'::regclass")  # fmt: skip
    assert (True, 2, 1) in coverage(settings, "attributes")
    waiting.rollback()

    rows.add("events", 5, attributes='{"order": 1}')
    indexes.create("attributes", settings)

    assert {(True, 2, 2)} == coverage(settings, "attributes")
    assert 3 * len(EVENT_TABLES) == len(names_of_indexes(settings))
    rows.connection.execute("SET enable_seqscan = off")
    assert [(15,)] == rows.fetch("""SELECT count(*) FROM otel.events WHERE attributes @> '{"order": 1}'""")


def test_what_was_interrupted_can_be_dropped(rows, settings, waiting):
    """The piece that was left goes too."""
    with in_thread(indexes.create, "attributes", settings, beside=waiting) as making:
        rows.connection.execute("SELECT pg_cancel_backend(%s)", until_builds(rows))
        with pytest.raises(DatabaseError):
            making.result()
    waiting.rollback()

    indexes.drop("attributes", settings)

    assert set() == names_of_indexes(settings)


def test_a_session_that_still_builds_for_a_process_that_has_died_is_waited_for(rows, dsn, settings, waiting):
    """Its work is kept."""
    name = f"events_p{NOW:%Y%m%d}_attr"

    def build():
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                f"CREATE INDEX CONCURRENTLY {name} ON otel.events_p{NOW:%Y%m%d} USING gin (attributes jsonb_path_ops)"
            )

    with in_thread(build, beside=waiting) as left:
        until_builds(rows)
        (oid,) = rows.fetch(f"SELECT 'otel.{name}'::regclass::oid")
        with in_thread(indexes.create, "attributes", settings, beside=waiting) as making:
            time.sleep(1.5)
            assert not making.done(), making.exception()
        left.result()
        making.result()

    assert {(True, 2, 2)} == coverage(settings, "attributes")
    assert [oid] == rows.fetch(f"SELECT 'otel.{name}'::regclass::oid")


def test_one_process_at_a_time_makes_them(rows, settings, waiting):
    """The other is told so at once."""
    with in_thread(indexes.create, "attributes", settings, beside=waiting) as making:
        until_builds(rows)
        for change in (indexes.create, indexes.drop):
            with pytest.raises(DatabaseUnavailable, match="another process"):
                change("text", settings)
        waiting.rollback()
        making.result()
    assert {(True, 2, 2)} == coverage(settings, "attributes")


def test_it_does_not_wait_for_itself(rows, settings):
    """Where transactions keep one snapshot by default, the one that keeps others out would be waited for for ever."""
    name = rows.connection.info.dbname
    rows.connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(indexes.create, "attributes", settings).result(60)
    assert {(True, 2, 2)} == coverage(settings, "attributes")


def test_only_the_owner_may(rows, dsn, server_dsn, settings):
    """Another role is told so; nothing has changed."""
    rows.connection.execute("DROP ROLE IF EXISTS only_reads")
    rows.connection.execute("CREATE ROLE only_reads LOGIN")
    rows.connection.execute("GRANT USAGE ON SCHEMA otel TO only_reads")
    rows.connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA otel TO only_reads")
    try:
        with pytest.raises(AccessDenied):
            indexes.create("attributes", Settings(dsn=f"{dsn} user=only_reads"))
        assert {(False, 2, 0)} == coverage(settings, "attributes")
    finally:
        rows.connection.execute("DROP OWNED BY only_reads")
        rows.connection.execute("DROP ROLE only_reads")


def test_an_unknown_kind_is_named_with_those_that_exist(settings):
    """Before anything is asked of the server."""
    for change in (indexes.create, indexes.drop):
        with pytest.raises(ConfigurationError, match=r"'body'.*attributes, text"):
            change("body", settings)
