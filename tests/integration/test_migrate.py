"""The tables: created, taken back, and created by many at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from otel_pg_exporter import migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.errors import AccessDenied, SchemaMismatch
from otel_pg_exporter.sql_files import TABLES
from otel_pg_exporter.tables import COLUMNS


def tables(dsn, schema="otel"):
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
    return {name for (name,) in rows}


def test_up_makes_every_table_and_down_leaves_none(empty_dsn):
    """Up, status and down agree; a second up has nothing to do."""
    settings = Settings(dsn=empty_dsn)

    assert [step.version for step in migrate.up(settings)] == [1]
    assert migrate.up(settings) == []
    assert all(step.applied_at for step in migrate.status(settings))
    assert set(TABLES) == tables(empty_dsn)
    assert [step.version for step in migrate.down(settings)] == [1]
    assert set() == tables(empty_dsn)
    assert not any(step.applied_at for step in migrate.status(settings))


def test_columns_are_those_that_rows_are_encoded_for(dsn):
    """Each event table has just the columns of tables.COLUMNS."""
    with psycopg.connect(dsn) as connection:
        for table, columns in COLUMNS.items():
            rows = connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = 'otel' AND table_name = %s",
                [table],
            ).fetchall()
            assert sorted(columns) == sorted(name for (name,) in rows)


def test_every_table_and_column_is_commented(dsn):
    """Nothing in the schema goes without a comment."""
    with psycopg.connect(dsn) as connection:
        silent = connection.execute(
            "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'otel'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " AND a.attnum > 0 AND c.relname <> 'schema_migrations'"
            " AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid) IS NULL)"
        ).fetchall()
    assert silent == []


def test_the_five_main_tables_are_partitioned_by_time_without_a_default(dsn):
    """Events and ledger are range-partitioned, and no partition catches the rest."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT c.relname, pg_get_partkeydef(c.oid), p.partdefid FROM pg_partitioned_table p"
            " JOIN pg_class c ON c.oid = p.partrelid WHERE c.relnamespace = 'otel'::regnamespace"
        ).fetchall()
    assert {*COLUMNS, "event_batches"} == {name for name, _, _ in rows}
    assert {('RANGE ("time")', 0)} == {(key, default) for _, key, default in rows}


def test_twenty_processes_migrate_at_once(empty_dsn):
    """Twenty processes that start together apply each step once, and none sees an error."""
    program = (
        "import sys; from otel_pg_exporter import migrate; from otel_pg_exporter.config import Settings;"
        " print(len(migrate.up(Settings(dsn=sys.argv[1]))))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, empty_dsn], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(20)
    ]
    outcomes = [process.communicate(timeout=60) for process in running]

    assert [error for _, error in outcomes] == [b""] * 20
    assert sorted(int(out) for out, _ in outcomes) == [0] * 19 + [1]


def test_sessions_that_looked_before_they_waited_see_what_was_done_meanwhile(empty_dsn):
    """Eight sessions that have all seen an empty database apply each step once between them."""
    databases = [Database(Settings(dsn=empty_dsn, pool_min_size=1, pool_max_size=2)) for _ in range(8)]
    ready = threading.Barrier(8)

    def look_then_migrate(database):
        assert not migrate.status(database)[0].applied_at
        ready.wait()
        return len(migrate.up(database))

    with ThreadPoolExecutor(8) as pool:
        applied = list(pool.map(look_then_migrate, databases))

    for database in databases:
        database.close()
    assert sum(applied) == 1


def test_a_step_that_fails_leaves_no_trace(empty_dsn, monkeypatch):
    """A step and its record are one transaction."""
    (step,) = migrate.migrations()
    broken = type(step)(step.version, step.name, step.up + "\nSELECT 1/0;", step.down)
    monkeypatch.setattr(migrate, "migrations", lambda: (broken,))

    with pytest.raises(Exception, match="22012"):
        migrate.up(Settings(dsn=empty_dsn))

    assert set() == tables(empty_dsn)


def test_a_role_without_rights_is_told_which(server_dsn, empty_dsn):
    """Missing rights are one error that names schema, role's right and the command."""
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS poor")
        connection.execute("CREATE ROLE poor LOGIN")
    try:
        with pytest.raises(AccessDenied, match="otel-pg migrate up"):
            migrate.up(Settings(dsn=psycopg.conninfo.make_conninfo(empty_dsn, user="poor")))
    finally:
        with psycopg.connect(empty_dsn, autocommit=True) as connection:
            connection.execute("DROP ROLE poor")


def test_without_auto_migrate_a_missing_table_is_named(empty_dsn):
    """Where creating tables is switched off, the error says what to run."""
    database = Database(Settings(dsn=empty_dsn, auto_migrate=False))
    with pytest.raises(SchemaMismatch, match="otel-pg migrate up"):
        migrate.ensure(database)
    database.close()
    assert set() == tables(empty_dsn)


def test_tables_of_a_newer_version_are_refused(dsn):
    """A schema that is ahead of this library is not touched."""
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO otel.schema_migrations (version, name) VALUES (9999, 'later')")

    with pytest.raises(SchemaMismatch, match="9999"):
        migrate.up(Settings(dsn=dsn))


def test_show_gives_the_sql_with_names_filled_in():
    """What `show` prints has schema and prefix quoted, and no placeholder left."""
    shown = migrate.show("telemetry", "my_")

    assert 'CREATE TABLE "telemetry"."my_agent_events"' in shown
    assert "{events}" not in shown
    assert "{index:" not in shown
