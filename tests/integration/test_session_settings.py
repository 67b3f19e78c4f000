"""What is set for a database or a role, or in the environment, changes neither what is stored nor what is read."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from opentelemetry.sdk.trace import TracerProvider
from psycopg.conninfo import conninfo_to_dict

from otel_pg_exporter import EventQuery, EventStore, configure, doctor, migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import AsyncDatabase, Database
from otel_pg_exporter.database.connecting import connect
from otel_pg_exporter.errors import DatabaseUnavailable
from otel_pg_exporter.upkeep import retention

NAME = "naïve ü"
ODD = {
    "DateStyle": "German",
    "client_encoding": "LATIN1",
    "default_transaction_isolation": "serializable",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "extra_float_digits": "0",
    "TimeZone": "Asia/Kathmandu",
    "IntervalStyle": "sql_standard",
    "search_path": "pg_catalog",
}


def set_for(dsn: str, name: str, value: str) -> None:
    database = conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE \"{database}\" SET {name} = '{value}'".encode())


def store(dsn: str, folder: str, *names: str) -> dict[str, int]:
    """A program that stores a span of each name."""
    provider = TracerProvider(shutdown_on_exit=False)
    telemetry = configure(dsn=dsn, spool_dir=folder, tracer_provider=provider)
    for number, name in enumerate(names):
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.usage.cost": (number + 1) / 3, "input.value": NAME * 900}
        provider.get_tracer("tests").start_span(name, attributes=attributes).end()
    telemetry.force_flush()
    counts = telemetry.counts
    telemetry.shutdown()
    return {fate: count for fate, count in counts.items() if count}


@pytest.mark.parametrize(("name", "value"), ODD.items())
def test_a_setting_of_the_database_changes_nothing(empty_dsn, tmp_path, name, value):
    """The tables are made, used by a second program, read, and looked after; a bad row is set aside alone."""
    set_for(empty_dsn, name, value)

    assert {"stored": 3} == store(empty_dsn, str(tmp_path), NAME, NAME, NAME)
    with psycopg.connect(empty_dsn, client_encoding="utf8", autocommit=True) as connection:
        connection.execute("ALTER TABLE otel.agent_events ADD CHECK (event_name <> 'bad')")
    assert {"stored": 3, "dead": 1} == store(empty_dsn, str(tmp_path), NAME, "bad", NAME, NAME)

    settings = Settings(dsn=empty_dsn, retention_days=3650)
    with EventQuery(settings) as query:
        found = query.agent_events(name=NAME)
        assert {NAME * 900} == {event.input for event in found}
        pages, cursor = [], None
        while len(pages) < 7 and (cursor or not pages):
            page = query.agent_events(order_by="cost", limit=1, cursor=cursor)
            pages += page
            cursor = page.next_cursor
        assert sorted(event.span_id for event in found) == sorted(event.span_id for event in pages)
        assert 6 == query.statistics().count
        health = query.health()
        assert health.is_healthy
    assert [] == retention.prune(settings)
    diagnosis = doctor.examine(settings)
    assert () == diagnosis.obstacles
    times = [health.last_batch_at, *(step.applied_at for step in migrate.status(settings))]
    times += [producer.last_time for producer in diagnosis.producers]
    assert {timedelta()} == {time.utcoffset() for time in times}


def test_no_limit_for_transactions_cuts_a_batch_off(dsn, tmp_path):
    """PostgreSQL 17 and newer can have one for all that a transaction does; ours have limits of their own."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        if connection.info.server_version >= 170000:
            set_for(dsn, "transaction_timeout", "800ms")
        connection.execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(1); RETURN NEW; END$$"
        )
        connection.execute(
            "CREATE TRIGGER slow BEFORE INSERT ON otel.agent_events FOR EACH STATEMENT EXECUTE FUNCTION wait()"
        )

    assert {"stored": 1} == store(dsn, str(tmp_path), NAME)


def test_the_name_in_pg_stat_activity_is_the_users_if_there_is_one(dsn, monkeypatch):
    """By which a DBA tells programs apart: that of the DSN, else PGAPPNAME, else our own."""

    def found(conninfo: str) -> str:
        with closing(connect(conninfo, Settings(dsn=conninfo))) as connection:
            return connection.execute("SHOW application_name").fetchone()["application_name"]

    assert "otel-pg-exporter" == found(dsn)
    assert "billing" == found(f"{dsn} application_name=billing")
    monkeypatch.setenv("PGAPPNAME", "orders")
    assert "orders" == found(dsn)


def test_a_user_without_a_home_stores_and_reads(dsn, tmp_path, monkeypatch):
    """As in a container that runs under a number of its own, without HOME: psycopg has .pgpass there by default."""

    def home(self=None):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)

    assert {"stored": 1} == store(dsn, str(tmp_path), NAME)
    with EventQuery(dsn=dsn) as query:
        assert 1 == len(query.agent_events(name=NAME))


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_programs_that_start_together_make_the_tables_together(empty_dsn, isolation):
    """Whoever waited for another sees what that one has made."""
    set_for(empty_dsn, "default_transaction_isolation", isolation)
    failed: list[Exception] = []

    def start(number: int) -> None:
        try:
            with EventStore(dsn=empty_dsn, health_monitoring=False, export_timeout_millis=25_000) as events:
                events.log_system_event(event_name=f"started {number}", wait=True)
        except Exception as error:
            failed.append(error)

    programs = [threading.Thread(target=start, args=(number,)) for number in range(6)]
    for program in programs:
        program.start()
    for program in programs:
        program.join()

    assert [] == failed
    with EventQuery(dsn=empty_dsn) as query:
        assert 6 == len(query.system_events())


def test_a_connection_of_another_encoding_is_left_as_it_was(dsn):
    """An event in a transaction of the program's: its text is right, and so is what the program writes after it."""
    with (
        EventStore(dsn=dsn, health_monitoring=False) as events,
        psycopg.connect(dsn, client_encoding="LATIN1") as connection,
    ):
        connection.execute("CREATE TABLE orders (name text)")
        events.log_task_event(event_name=NAME, output=[NAME], connection=connection)
        connection.execute("INSERT INTO orders VALUES (%s)", [NAME])
        assert "iso8859-1" == connection.info.encoding

    with psycopg.connect(dsn, client_encoding="utf8") as connection:
        assert [(NAME,)] == connection.execute("SELECT name FROM orders").fetchall()
        assert [(NAME, [NAME])] == connection.execute("SELECT event_name, output FROM otel.task_events").fetchall()


@pytest.mark.parametrize(
    "where", ["host=a..b.invalid", f"host={'a' * 70}.invalid", "host=127.0.0.1 port=1 password='\udce9'"]
)
def test_a_server_that_cannot_be_named_is_one_that_is_away(tmp_path, where):
    """The driver has errors of its own for it: records wait in the spool, and nothing raises into the program."""
    assert {"spooled": 1} == store(where + " dbname=x user=x", str(tmp_path), NAME)
    with EventQuery(dsn=where + " dbname=x user=x") as query, pytest.raises(DatabaseUnavailable, match="cannot reach"):
        query.events()


def test_no_error_at_all_costs_a_batch(dsn, tmp_path, monkeypatch):
    """One that nobody thought of: the batch waits in the spool for a version that knows better."""

    def fail(*given: object) -> None:
        raise TypeError("nobody thought of it")

    with monkeypatch.context() as patched:
        patched.setattr("otel_pg_exporter.writing.sink.Sink.copies", fail)
        assert {"spooled": 1} == store(dsn, str(tmp_path), NAME)

    assert {"replayed": 1, "stored": 1} == store(dsn, str(tmp_path), NAME)


def test_environment_of_libpq_changes_no_text(dsn, tmp_path, monkeypatch):
    """PGCLIENTENCODING and PGDATESTYLE."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGDATESTYLE", "Postgres, DMY")

    assert {"stored": 1} == store(dsn, str(tmp_path), NAME)
    with EventQuery(dsn=dsn) as query:
        assert [NAME] == [event.event_name for event in query.events(name=NAME)]


def test_no_statement_is_compiled(dsn):
    """Where PostgreSQL can (`jit`), statistics from the events of 90 days took 19 s instead of 3."""
    set_for(dsn, "jit", "on")
    settings = Settings(dsn=dsn)

    async def when_awaited() -> object:
        async with AsyncDatabase(settings).connection() as connection:
            return await (await connection.execute("SHOW jit")).fetchone()

    with closing(Database(settings)) as database:
        with database.connection() as connection:
            assert {"jit": "off"} == connection.execute("SHOW jit").fetchone()
        with database.connection("same_moment") as connection:
            assert {"jit": "off"} == connection.execute("SHOW jit").fetchone()
    assert {"jit": "off"} == asyncio.run(when_awaited())
