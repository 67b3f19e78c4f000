"""The tables: created, taken back, and created by many at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from otel_pg_exporter import EventQuery, EventStore, grants, migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.encoding.tables import COLUMNS
from otel_pg_exporter.errors import AccessDenied, ConfigurationError, DatabaseError, SchemaMismatch
from otel_pg_exporter.schema import indexes
from otel_pg_exporter.sql_files import TABLES

VERSIONS = [step.version for step in migrate.migrations()]


def tables(dsn, schema="otel"):
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
    return {name for (name,) in rows}


def test_up_makes_every_table_and_down_leaves_none(empty_dsn):
    """Up, status and down agree; a second up has nothing to do."""
    settings = Settings(dsn=empty_dsn)

    assert VERSIONS == [step.version for step in migrate.up(settings)]
    assert migrate.up(settings) == []
    assert all(step.applied_at for step in migrate.status(settings))
    assert set(TABLES) == tables(empty_dsn)
    assert VERSIONS[::-1] == [step.version for step in migrate.down(settings)]
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


def test_every_table_view_column_and_function_is_commented(dsn):
    """Nothing in the schema goes without a comment."""
    with psycopg.connect(dsn) as connection:
        silent = connection.execute(
            "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'otel'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'c')"
            " AND NOT c.relispartition AND a.attnum > 0"
            " AND (col_description(c.oid, a.attnum) IS NULL"
            " OR coalesce(obj_description(c.oid, 'pg_class'), obj_description(c.reltype, 'pg_type')) IS NULL)"
            " UNION ALL SELECT proname, NULL FROM pg_proc WHERE pronamespace = 'otel'::regnamespace"
            " AND obj_description(oid, 'pg_proc') IS NULL"
        ).fetchall()
    assert silent == []


def test_what_grows_is_partitioned_by_time_without_a_default(dsn):
    """Events, ledger and what is told of runs are range-partitioned, and no partition catches the rest."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT c.relname, pg_get_partkeydef(c.oid), p.partdefid FROM pg_partitioned_table p"
            " JOIN pg_class c ON c.oid = p.partrelid WHERE c.relnamespace = 'otel'::regnamespace"
        ).fetchall()
    others = {"event_batches", "event_summaries", "contents", "resource_days", "open_spans", "heartbeats"}
    assert others | {*COLUMNS} == {name for name, _, _ in rows}
    assert {('RANGE ("time")', 0)} == {(key, default) for _, key, default in rows}


class Migrators:
    """Processes that migrate the same schema at the same moment, again and again."""

    _PROGRAM = """
import sys
from otel_pg_exporter import migrate, sql_files
from otel_pg_exporter.config import Settings
dsn, lock = sys.argv[1:]
if lock == "unlocked":
    sql_files._queries()["lock_schema"] = "SELECT %(key)s::text"
print("ready", flush=True)
for line in sys.stdin:
    direction, schema = line.split()
    try:
        print(len(getattr(migrate, direction)(Settings(dsn=dsn, schema=schema))), flush=True)
    except Exception as error:
        print(" ".join(f"{type(error).__name__}: {error}".split()), flush=True)
"""

    def __init__(self, dsn: str, count: int, lock: str = "locked") -> None:
        self._processes = [
            subprocess.Popen([sys.executable, "-c", self._PROGRAM, dsn, lock], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(count)
        ]  # fmt: skip
        assert {"ready"} == {self._answer(process) for process in self._processes}

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.communicate(timeout=60)

    def all(self, direction: str, schema: str) -> list[str]:
        """How many steps each applied or took back, or its error; sorted."""
        for process in self._processes:
            process.stdin.write(f"{direction} {schema}\n")
            process.stdin.flush()
        return sorted(map(self._answer, self._processes))

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> str:
        return process.stdout.readline().strip()


def test_twenty_processes_migrate_at_once_in_twenty_rounds(empty_dsn):
    """In each round each step is done by one of them, and taken back by one, and none sees an error."""
    with Migrators(empty_dsn, 20) as processes:
        for number in range(20):
            assert len(VERSIONS) == sum(map(int, processes.all("up", f"round_{number}")))
            assert set(TABLES) == tables(empty_dsn, f"round_{number}")
            assert len(VERSIONS) == sum(map(int, processes.all("down", f"round_{number}")))
            assert set() == tables(empty_dsn, f"round_{number}")


def test_without_the_lock_processes_get_in_each_others_way(empty_dsn):
    """That the rounds would notice: with the advisory lock taken out some process sees an error."""
    with Migrators(empty_dsn, 8, "unlocked") as processes:
        found = [answer for number in range(20) for answer in processes.all("up", f"round_{number}")]
        assert any(not answer.isdigit() for answer in found)


@pytest.mark.parametrize(("call", "other", "step"), [("down", "up", "_revert"), ("up", "down", "_apply")])
def test_steps_keep_their_order_whoever_comes_between_them(empty_dsn, monkeypatch, call, other, step):
    """Another process migrates the other way after two steps: no error, and no step without those before it."""
    one_step, steps = getattr(migrate, step), []

    def then_the_other(*arguments):
        steps.append(one_step(*arguments))
        if len(steps) == 2:
            monkeypatch.setattr(migrate, step, one_step)
            getattr(migrate, other)(dsn=empty_dsn)
        return steps[-1]

    if call == "down":
        migrate.up(dsn=empty_dsn)
    monkeypatch.setattr(migrate, step, then_the_other)
    getattr(migrate, call)(dsn=empty_dsn)

    applied = [step.applied_at is not None for step in migrate.status(dsn=empty_dsn)]
    assert sorted(applied, reverse=True) == applied
    migrate.up(dsn=empty_dsn)
    assert all(step.applied_at for step in migrate.status(dsn=empty_dsn))
    migrate.down(dsn=empty_dsn)
    assert not any(step.applied_at for step in migrate.status(dsn=empty_dsn))


@pytest.mark.parametrize(
    ("ending", "is_repeated"), [("", True), (";\nCOMMIT", False)], ids=["ours", "without a transaction"]
)
def test_a_process_killed_midway_leaves_the_step_to_the_next(empty_dsn, ending, is_repeated):
    """The one that waits for it does the whole step; were table and record no one transaction, it would fail."""
    program = (
        "import sys, time; from dataclasses import replace; from otel_pg_exporter import migrate\n"
        "from otel_pg_exporter.config import Settings; from otel_pg_exporter.database import Database\n"
        "class Stuck(Database):\n"
        "    def sql(self, name):\n"
        "        if name == 'record_migration': print('midway', flush=True); time.sleep(600)\n"
        "        return super().sql(name)\n"
        "steps = [replace(step, up=step.up + sys.argv[2]) for step in migrate.migrations()]\n"
        "migrate.migrations = lambda: steps\n"
        "migrate.up(Stuck(Settings(dsn=sys.argv[1])))"
    )
    killed = subprocess.Popen([sys.executable, "-c", program, empty_dsn, ending], stdout=subprocess.PIPE, text=True)
    with killed, ThreadPoolExecutor(1) as pool:
        assert "midway\n" == killed.stdout.readline()
        assert is_repeated == (tables(empty_dsn) == set())
        waiting = pool.submit(migrate.up, Settings(dsn=empty_dsn))
        if is_repeated:
            wait_for_a_lock(empty_dsn)
        killed.kill()
        if not is_repeated:
            with pytest.raises(DatabaseError, match="42P07"):
                waiting.result(60)
            return
        assert VERSIONS == [step.version for step in waiting.result(60)]
    assert set(TABLES) == tables(empty_dsn)
    assert all(step.applied_at for step in migrate.status(Settings(dsn=empty_dsn)))


def wait_for_a_lock(dsn):
    """Until some session waits for an advisory lock."""
    give_up_at = time.monotonic() + 60
    with psycopg.connect(dsn, autocommit=True) as connection:
        while not connection.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone():
            assert time.monotonic() < give_up_at, "nobody waits"
            time.sleep(0.02)


def test_up_down_and_up_again_with_data(empty_dsn):
    """Down takes the rows and partitions of its own prefix alone; the tables of the next up are empty and good."""
    settings = {
        prefix: Settings(dsn=empty_dsn, table_prefix=prefix, health_monitoring=False) for prefix in ("", "app_")
    }

    def store_one(prefix):
        with EventStore(settings[prefix]) as store:
            store.log_task_event(event_name="x", data={"prefix": prefix}, wait=True)

    for prefix in settings:
        store_one(prefix)
    before = tables(empty_dsn)

    migrate.down(settings["app_"])

    assert {name for name in before if not name.startswith("app_")} == tables(empty_dsn)
    assert not any(step.applied_at for step in migrate.status(settings["app_"]))
    assert VERSIONS == [step.version for step in migrate.up(settings["app_"])]
    assert {"": 1, "app_": 0} == {prefix: count_tasks(settings[prefix]) for prefix in settings}
    store_one("app_")
    assert {"": 1, "app_": 1} == {prefix: count_tasks(settings[prefix]) for prefix in settings}
    assert before == tables(empty_dsn)


def count_tasks(settings):
    with EventQuery(settings) as query:
        return query.counts()["task_events"]


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
    assert len(VERSIONS) == sum(applied)


def test_a_step_that_fails_leaves_no_trace(empty_dsn, monkeypatch):
    """A step and its record are one transaction."""
    step = migrate.migrations()[0]
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


def test_a_call_takes_fields_of_settings_as_all_others_do(empty_dsn):
    """As the error says to whom gives a connection string alone; with schema and prefix."""
    with pytest.raises(ConfigurationError, match="allowed are Settings, or by name dsn="):
        migrate.up(empty_dsn)
    with pytest.raises(ConfigurationError, match="did you mean 'schema'"):
        migrate.up(dsn=empty_dsn, shcema="own")
    assert 0 == len([step for step in migrate.status(dsn=empty_dsn, schema="own") if step.applied_at])

    made = migrate.up(dsn=empty_dsn, schema="own", table_prefix="my_")

    assert made == migrate.status(dsn=empty_dsn, schema="own", table_prefix="my_")
    assert not any(step.applied_at for step in migrate.status(dsn=empty_dsn, schema="own"))
    assert indexes.status(dsn=empty_dsn, schema="own", table_prefix="my_")
    assert VERSIONS[::-1] == [step.version for step in migrate.down(dsn=empty_dsn, schema="own", table_prefix="my_")]
    with pytest.raises(SchemaMismatch):
        grants.state(dsn=empty_dsn, schema="own")


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


def test_what_is_deleted_can_be_where_all_tables_are_published(dsn):
    """For logical replication: PostgreSQL wants the rows to have a name, also those of partitions."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        store.log_task_event(event_name="told", wait=True)

    with psycopg.connect(dsn) as connection:
        for table in (
            "task_events",
            "event_summaries",
            "tenant_readers",
            "tenancy",
            "processes",
            "resources",
            "schema_migrations",
        ):
            connection.execute(f"DELETE FROM otel.{table}".encode())


def test_partitions_of_before_can_lose_rows_too(dsn):
    """Those that an earlier version made."""
    migrate.down(dsn=dsn, to=4)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE otel.events_old PARTITION OF otel.events FOR VALUES FROM ('1999-01-01') TO ('1999-02-01')"
        )
        migrate.up(dsn=dsn)
        identities = connection.execute(
            "SELECT relreplident::text FROM pg_class WHERE relname ~ '^(agent_)?events(_old)?$' AND relkind <> 'i'"
        ).fetchall()

    assert [("f",)] * 3 == identities
