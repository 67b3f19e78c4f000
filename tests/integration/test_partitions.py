"""Partitions are there before they are needed, alike in all tables, for any time, whoever makes them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.encoding.batches import derived_batch_id, notice
from otel_pg_exporter.errors import DatabaseUnavailable
from otel_pg_exporter.schema import partitions
from otel_pg_exporter.sql_files import PARTITIONED
from otel_pg_exporter.upkeep import retention
from otel_pg_exporter.writing.lease import Beat, Lease
from otel_pg_exporter.writing.sink import Sink

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

GIVES_UP_MILLIS = partitions._LOCK_MILLIS
"""As it is in programs."""


def today() -> int:
    """Counted from 1970; of the test, for a run may go on over midnight."""
    return (datetime.now(timezone.utc) - EPOCH).days


def names(dsn: str) -> dict[str, set[str]]:
    """Table → the ends of the names of its partitions."""
    found: dict[str, set[str]] = {table: set() for table in PARTITIONED}
    with psycopg.connect(dsn) as connection:
        for table, name in connection.execute(
            "SELECT p.relname, c.relname FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent"
            " JOIN pg_class c ON c.oid = i.inhrelid WHERE p.relkind = 'p'"
        ):
            found[table].add(name.removeprefix(f"{table}_"))
    return found


def named(day: int) -> str:
    return f"p{EPOCH + timedelta(days=day):%Y%m%d}"


@pytest.fixture
def database(dsn):
    made = Database(Settings(dsn=dsn))
    yield made
    made.close()


def test_partitions_are_made_ahead_in_step(dsn, database):
    """Today and the days asked for, in every table that is partitioned; making them again does nothing."""
    partitions.ahead(database, 1)
    expected = {table: {named(today()), named(today() + 1)} for table in PARTITIONED}
    assert expected == names(dsn)
    partitions.ahead(database, 1)
    assert expected == names(dsn)
    partitions.ahead(database, 8)
    assert {table: {named(today() + day) for day in range(9)} for table in PARTITIONED} == names(dsn)


def test_a_clock_that_jumps_costs_a_few_tables_and_no_batch(dsn, database):
    """Each of these batches is stored once, and afterwards today has a day of its own as ever."""
    sink = Sink(database)
    now = today()
    days = [0, now, 47_482, now - 1, 47_482, now + 1, -1, now - 400, now + 366, now + 367, 10_957]
    for number, day in enumerate(days):
        batch = notice(
            derived_batch_id(day * 86_400_000, bytes([number] * 10)), derived_batch_id(0, b"producer__"), 1, "span"
        )
        batch.days.add(day)
        assert sink.store(batch, {}, time.monotonic() + 30)
    sink.close()

    found = names(dsn)
    assert 1 == len({frozenset(parts) for parts in found.values()}), "in step"
    assert {named(now), named(now - 1), named(now + 1), "y1970", "y1969", "y2100", "y2000"} <= found["events"]


def test_a_program_whose_clock_is_wrong_makes_no_year_of_the_servers_day(dsn, database, monkeypatch):
    """Which days are near is asked of the server: else all of this year would be one partition."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2100, 1, 1, tzinfo=tz)

    monkeypatch.setattr(partitions, "datetime", Wrong)
    lease = Lease(database)
    lease.renew([], Beat(1, 0), "shop", time.monotonic() + 30)

    assert {table: {named(today())} for table in PARTITIONED} == names(dsn)


def test_a_clock_that_is_ahead_takes_no_day_from_the_years_to_come(dsn, database):
    """A row of the end of the next year but one leaves all days of that year to be dropped one by one."""
    last = (datetime((EPOCH + timedelta(days=today())).year + 3, 1, 1, tzinfo=timezone.utc) - EPOCH).days - 1
    partitions.ensure(database, {last})
    partitions.ensure(database, {last - 30})

    assert {table: {named(last), named(last - 30)} for table in PARTITIONED} == names(dsn)


def test_a_partition_that_was_detached_keeps_its_name(dsn, database):
    """A row of its day that comes late is stored all the same, and the spool behind it does not wait for anybody."""
    day = today() - 9
    for end in ("", "_2", "_3"):
        partitions.ensure(database, {day})
        assert {named(day) + end} == names(dsn)["events"]
        with psycopg.connect(dsn) as connection:
            connection.execute(f"ALTER TABLE otel.events DETACH PARTITION otel.events_{named(day)}{end}")


MADE_BY_HAND = {
    "in another zone": ("'2031-05-02 00:00+05:45'", "'2031-05-04 00:00+05:45'"),
    "without a beginning": ("MINVALUE", "'2031-05-02 12:00+00'"),
    "without an end": ("'2031-05-02 12:00+00'", "MAXVALUE"),
    "from ever": ("'-infinity'", "'2031-05-03 00:00+00'"),
    "for ever": ("'2031-05-03 00:00+00'", "'infinity'"),
    "of some hours": ("'2031-05-02 12:00:00.000001+00'", "'2031-05-02 13:00+00'"),
    "of a month": ("'2031-05-01 00:00+00'", "'2031-06-01 00:00+00'"),
}


@pytest.mark.parametrize("bounds", MADE_BY_HAND.values(), ids=MADE_BY_HAND)
def test_what_a_partition_made_by_hand_leaves_of_a_day_is_made(dsn, bounds):
    """Rows of the days that it covers in part find a place, wherever they are; the table can be looked at as ever."""
    lower, upper = bounds
    moments = [datetime(2031, 5, 1, tzinfo=timezone.utc) + timedelta(minutes=minute) for minute in range(0, 5760, 15)]
    database = Database(Settings(dsn=dsn))
    with psycopg.connect(dsn) as connection:
        connection.execute(
            f"ALTER ROLE CURRENT_USER IN DATABASE {connection.info.dbname} SET timezone = 'Pacific/Apia'"
        )
        connection.execute(f"CREATE TABLE mine PARTITION OF otel.heartbeats FOR VALUES FROM ({lower}) TO ({upper})")
    for moment in moments[:: 24 * 4]:
        partitions.ensure(database, {(moment - EPOCH).days})
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO otel.heartbeats VALUES (md5(random()::text)::uuid, %s, 1, now())",
            [(each,) for each in moments],
        )
        count = connection.execute("SELECT count(*) FROM otel.heartbeats").fetchone()
    assert (len(moments),) == count
    assert {due.fate for due in retention.prune(Settings(dsn=dsn, retention_days=1))} <= {"dropped"}
    database.close()


@pytest.mark.parametrize("name", ["partition_bounds", "held_partitions"])
def test_the_bound_of_a_partition_is_asked_for_once(dsn, database, name):
    """It may be dropped between two answers: then it had a beginning and no end."""
    parameters = {"schema": "otel", "tables": list(PARTITIONED), "with_sizes": False}
    with psycopg.connect(dsn) as connection:
        plan = connection.execute(f"EXPLAIN (VERBOSE) {database.sql(name)}".encode(), parameters).fetchall()
    assert 1 == str(plan).count("pg_get_expr")


def test_many_that_make_the_same_day_make_it_once(dsn, database):
    """As at midnight, where nobody has made it before: all go on, none fails."""
    with ThreadPoolExecutor(8) as pool:
        for done in [
            pool.submit(partitions.ensure, database.until(time.monotonic() + 60), {today() + 5}) for _ in range(8)
        ]:
            done.result()

    assert {table: {named(today() + 5)} for table in PARTITIONED} == names(dsn)


def test_at_midnight_a_day_that_is_there_is_found_without_a_lock(dsn, database, monkeypatch):
    """Another process holds the lock for making partitions for as long as it likes: who needs none does not wait;
    who needs one gives up after two seconds, and so can go to the spool."""
    partitions.ahead(database, 1)
    with psycopg.connect(dsn) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [database.names.lock_key])
        monkeypatch.setattr(partitions, "_LOCK_MILLIS", 1)  # whoever waits at all fails
        partitions.ensure(database, {today(), today() + 1})

        monkeypatch.setattr(partitions, "_LOCK_MILLIS", GIVES_UP_MILLIS)
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable) as caught:
            partitions.ensure(database, {today() + 2})
        assert GIVES_UP_MILLIS / 1000 - 0.1 < time.monotonic() - begun < 30
        assert "55P03" == caught.value.sqlstate


def test_a_partition_takes_rows_as_its_table_does(dsn, database):
    """Indexes, defaults and checks are those of the table."""
    partitions.ensure(database, {today()})
    with psycopg.connect(dsn) as connection:
        (differing,) = connection.execute(
            "SELECT count(*) FROM pg_index x JOIN pg_class p ON p.oid = x.indrelid"
            " WHERE p.relnamespace = 'otel'::regnamespace AND p.relkind = 'p' AND NOT EXISTS ("
            "SELECT FROM pg_inherits i WHERE i.inhparent = x.indexrelid)"
        ).fetchone() or (None,)
    assert 0 == differing
