"""Retention on a server: what is dropped, what stays, and what is told of it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider

from otel_pg_exporter import EventQuery, EventStore, configure, doctor, migrate, sql_files
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.events.shapes import SHAPES
from otel_pg_exporter.routing import CATEGORIES
from otel_pg_exporter.schema import partitions
from otel_pg_exporter.sql_files import PARTITIONED
from otel_pg_exporter.upkeep import retention, runner
from otel_pg_exporter.writing import lease

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def today() -> int:
    """Counted from 1970; of the test, for a run may go on over midnight."""
    return (datetime.now(timezone.utc) - EPOCH).days


def execute(dsn: str, *statements: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            done = connection.execute(statement.encode())
        return done.fetchall() if done.description else []


def make(dsn: str, *ages: int, **settings: Any) -> None:
    """Partitions for the days that are so many days ago."""
    database = Database(Settings(dsn=dsn, **settings))
    partitions.ensure(database, [today() - age for age in ages])
    database.close()


def ages(dsn: str, prefix: str = "") -> dict[str, set[int]]:
    """Table → how many days ago the days are of which it has a partition."""
    rows = execute(
        dsn,
        "SELECT p.relname, substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \\(''(.{10})')::date - '1970-01-01'"
        " FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE p.relkind = 'p'",
    )
    found: dict[str, set[int]] = {prefix + table: set() for table in PARTITIONED}
    for table, lower in rows:
        if table in found and lower is not None:  # it was dropped meanwhile
            found[table].add(today() - lower)
    return {table.removeprefix(prefix): lowers for table, lowers in found.items()}


def in_step(days: set[int]) -> dict[str, set[int]]:
    return dict.fromkeys(PARTITIONED, days)


def size(dsn: str) -> int:
    """What the tables take, asked in another way than the code does."""
    (row,) = execute(
        dsn,
        "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
        " WHERE relnamespace = 'otel'::regnamespace AND relkind = 'r'",
    )
    return int(row[0])


def wait_until(is_so: Any, seconds: float = 60) -> None:
    give_up_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up_at, "it did not become so in time"
        time.sleep(0.05)


def test_what_is_old_is_dropped_in_step_and_told(dsn):
    """A dry run says just what the run then drops, a table which and why; the ledger keeps its month."""
    make(dsn, 0, 15, 16, 40)
    execute(
        dsn,
        "INSERT INTO otel.heartbeats SELECT md5(n::text)::uuid, now() - interval '40 days', 1, now()"
        " FROM generate_series(1, 7) AS n",
    )
    partition = f"otel.heartbeats_p{EPOCH + timedelta(days=today() - 40):%Y%m%d}"
    live = f"SELECT pg_stat_get_live_tuples('{partition}'::regclass)"
    wait_until(lambda: [(7,)] == execute(dsn, live))  # the server counts after the connection is over
    before, settings = ages(dsn), Settings(dsn=dsn, retention_days=15)

    planned = retention.prune(settings, dry_run=True)

    assert before == ages(dsn)
    assert {("age", "due", True)} == {(due.reason, due.fate, bool(due.held.bytes)) for due in planned}
    done = retention.prune(settings)
    assert {"dropped"} == {due.fate for due in done}
    assert [due.held for due in planned] == [due.held for due in done]
    assert in_step({0, 15}) | {"event_batches": {0, 15, 16}} == ages(dsn)
    rows = execute(
        dsn,
        'SELECT partition, first_time, end_time - first_time, "rows", bytes > 0, reason FROM otel.pruned'
        " WHERE \"table\" = 'heartbeats' AND first_time < now() - interval '30 days'",
    )
    day = EPOCH + timedelta(days=today() - 40)
    assert [(f"heartbeats_p{day:%Y%m%d}", day, timedelta(days=1), 7, True, "age")] == rows
    assert len(done) == len(execute(dsn, "SELECT 1 FROM otel.pruned"))
    assert [] == retention.prune(settings)


def test_only_the_tables_of_this_prefix_are_touched(dsn):
    """Two sets of tables in one schema, one of them with retention."""
    migrate.up(Settings(dsn=dsn, table_prefix="app_"))
    make(dsn, 50)
    make(dsn, 50, table_prefix="app_")

    retention.prune(Settings(dsn=dsn, table_prefix="app_", retention_days=30))

    assert {50} == ages(dsn)["events"]
    assert set() == ages(dsn, "app_")["events"]


def test_at_the_limit_of_size_the_oldest_day_goes_and_never_today(dsn):
    """Until it fits; where nothing is left to drop doctor says so."""
    make(dsn, 0, 1, 50)

    retention.prune(Settings(dsn=dsn, max_bytes=size(dsn) - 1))
    assert in_step({0, 1}) == ages(dsn)

    found = retention.prune(Settings(dsn=dsn, max_bytes=1))
    assert in_step({0}) | {"event_batches": {0, 1}} == ages(dsn)
    assert {"size"} == {due.reason for due in found}
    assert [] == retention.prune(Settings(dsn=dsn, max_bytes=1))
    assert "no day is left to drop" in (doctor.examine(Settings(dsn=dsn, max_bytes=1)).retention or "")


def test_what_cannot_be_dropped_keeps_back_only_what_its_rows_need(dsn):
    """A view of somebody's depends on one partition: that is told, and stays, with the texts of its day."""
    make(dsn, 0, 49, 50)
    day = f"{EPOCH + timedelta(days=today() - 50):%Y%m%d}"
    execute(dsn, f"CREATE VIEW mine AS SELECT * FROM otel.agent_events_p{day}")

    found = retention.prune(Settings(dsn=dsn, retention_days=30))

    fates = {(due.held.table, today() - due.held.lower): due.fate for due in found}
    assert "failed" == fates.pop(("agent_events", 50))
    needed = {("contents", 50), ("event_summaries", 50), ("resource_days", 50), ("resource_days", 49)}
    assert needed == {each for each, fate in fates.items() if fate == "needed"}
    assert {"dropped"} == {fate for each, fate in fates.items() if each not in needed}
    kept = {table: {0, 50} for table in ("agent_events", "contents", "event_summaries")}
    assert in_step({0}) | kept | {"resource_days": {0, 49, 50}} == ages(dsn)


def test_what_is_left_though_it_should_be_gone_is_told_by_doctor(dsn):
    """A day late is early enough to say so; it stands in nobody's way."""
    make(dsn, 0, 31, 32)
    settings = Settings(dsn=dsn, retention_days=30)
    told = doctor.examine(settings)
    assert "retention is behind" in (told.retention or "")
    assert f"the oldest since {EPOCH + timedelta(days=today() - 32):%Y-%m-%d}" in (told.retention or "")
    assert told.is_complete
    retention.prune(settings)
    assert doctor.examine(settings).retention is None


def test_a_program_whose_clock_is_wrong_drops_nothing(dsn):
    """What is old is decided by the server's clock; the program believes that it is the year 2100."""
    make(dsn, 0, 50)
    program = (
        "import sys, datetime, time\n"
        "class Wrong(datetime.datetime):\n"
        "    @classmethod\n"
        "    def now(cls, tz=None): return cls(2100, 1, 1, tzinfo=tz)\n"
        "datetime.datetime = Wrong\n"
        "time.time, time.time_ns = (lambda: 4102444800.0), (lambda: 4102444800 * 10**9)\n"
        "from otel_pg_exporter import retention\n"
        "from otel_pg_exporter.config import Settings\n"
        "print(len(retention.prune(Settings(dsn=sys.argv[1], retention_days=100))))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, dsn], capture_output=True, text=True, check=True)

    assert "0\n" == done.stdout
    assert {0, 50} == ages(dsn)["events"]


def test_processes_go_with_their_last_sign_of_life(dsn):
    """One whose heartbeats were dropped; not one that has some left, nor one that has just begun."""
    make(dsn, 20, 50)
    silent, living, new = (str(uuid.uuid4()) for _ in range(3))
    for process_id, begun in ((silent, 50), (living, 50), (new, 0)):
        execute(
            dsn,
            f"INSERT INTO otel.processes VALUES ('{process_id}', 'h', 1, 's', now() - interval '{begun} days', 10)",
        )
    for process_id, beat in ((silent, 50), (living, 20)):
        execute(dsn, f"INSERT INTO otel.heartbeats VALUES ('{process_id}', now() - interval '{beat} days', 1, now())")

    retention.prune(Settings(dsn=dsn, retention_days=30))

    assert {living, new} == {str(row[0]) for row in execute(dsn, "SELECT process_id FROM otel.processes")}


def test_resources_go_with_the_last_day_of_their_rows(dsn):
    """One whose days were dropped; not one that was used since."""
    make(dsn, 20, 50)
    forgotten, used = (str(uuid.uuid4()) for _ in range(2))
    for resource_id, days in ((forgotten, [50]), (used, [50, 20])):
        execute(dsn, f"INSERT INTO otel.resources VALUES ('{resource_id}', 's', '{{}}', NULL, '')")
        for day in days:
            execute(dsn, f"INSERT INTO otel.resource_days VALUES ('{resource_id}', now() - interval '{day} days')")

    retention.prune(Settings(dsn=dsn, retention_days=30))

    assert [used] == [str(row[0]) for row in execute(dsn, "SELECT resource_id FROM otel.resources")]


def test_a_resource_is_kept_up_to_the_latest_row_that_refers_to_it(dsn, tmp_path):
    """Each day that it is used is told of, once; rows of a day far ahead keep it until that day is dropped."""
    provider = TracerProvider(shutdown_on_exit=False)
    telemetry = configure(dsn=dsn, spool_dir=str(tmp_path), tracer_provider=provider)
    for moment in (None, None, datetime(2100, 1, 2, 3, tzinfo=timezone.utc)):
        nanoseconds = None if moment is None else int(moment.timestamp()) * 10**9
        provider.get_tracer("tests").start_span("s", start_time=nanoseconds).end(nanoseconds)
        assert telemetry.force_flush()
    telemetry.shutdown()

    told = execute(dsn, "SELECT d.time FROM otel.resource_days d JOIN otel.resources USING (resource_id) ORDER BY 1")
    assert [(EPOCH + timedelta(days=today()),), (datetime(2100, 1, 2, tzinfo=timezone.utc),)] == told


def test_a_process_that_was_forgotten_says_anew_who_it_is(dsn, monkeypatch):
    """One that had no runs for longer than the retention is no nameless one afterwards."""
    monkeypatch.setattr(lease, "_KNOWN_SECONDS", 0.0)
    database = Database(Settings(dsn=dsn))
    living = lease.Lease(database)
    living.renew([], lease.Beat(1, 0), "shop", time.monotonic() + 20)
    execute(dsn, "DELETE FROM otel.processes")

    living.renew([], lease.Beat(1, 0), None, time.monotonic() + 20)

    database.close()
    assert [("shop",)] == execute(dsn, "SELECT service_name FROM otel.processes")


def test_it_runs_by_itself_where_it_is_configured(dsn, tmp_path, monkeypatch):
    """The first stored batch begins it, and makes tomorrow's partitions; without a limit, or switched off, nothing
    is dropped."""
    monkeypatch.setattr(runner, "_FIRST_SECONDS", 0.1)

    def store_one(**settings: Any) -> Any:
        telemetry = configure(
            Settings(dsn=dsn, spool_dir=str(tmp_path), runs=False, batch_timeout_millis=20, **settings),
            tracer_provider=TracerProvider(shutdown_on_exit=False),
            logger_provider=LoggerProvider(shutdown_on_exit=False),
        )
        telemetry.tracer_provider.get_tracer("test").start_span("work").end()
        assert telemetry.force_flush()
        return telemetry

    make(dsn, 0, 50)
    for given in ({}, {"retention_days": 30, "retention_automatic": False}):
        telemetry = store_one(**given)
        wait_until(lambda: ages(dsn)["events"] >= {-1})
        telemetry.shutdown()
        assert in_step({-1, 0, 50}) == ages(dsn)
        execute(dsn, *(f"DROP TABLE otel.{t}_p{EPOCH + timedelta(days=today() + 1):%Y%m%d}" for t in PARTITIONED))

    telemetry = store_one(retention_days=30)

    wait_until(lambda: in_step({-1, 0}) == ages(dsn))
    telemetry.shutdown()


def test_several_that_drop_at_once_do_it_once(dsn):
    """One finds the lock taken, or the partition gone; nothing is told twice."""
    make(dsn, 40, 41, 42)
    results: list[list[Any]] = []
    settings = Settings(dsn=dsn, retention_days=30)
    threads = [
        threading.Thread(target=lambda: results.append(retention.prune(settings, attempts=50))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = [due for result in results for due in result]
    dropped = [due.held.partition for due in found if due.fate == "dropped"]
    assert 3 * len(PARTITIONED) == len(dropped) == len(set(dropped))
    assert len(dropped) == len(execute(dsn, "SELECT 1 FROM otel.pruned"))
    assert {"dropped", "gone"} >= {due.fate for due in found}


def old_events(dsn: str, days: int) -> None:
    """Three events of each category, so many days ago."""
    noon = EPOCH + timedelta(days=today() - days, hours=12)
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        for shape in SHAPES.values():
            for _ in range(3):
                store.log(shape(event_name="old", timestamp=noon), wait=True)


def counted(dsn: str) -> dict[str, tuple[int, int]]:
    """Category → events of the last hundred days, as statistics count them, and as they are there."""
    with EventQuery(dsn=dsn) as query:
        found = query.statistics(start=datetime.now(timezone.utc) - timedelta(days=100)).events_by_category
        return {
            category: (found.get(category, 0), execute(dsn, f"SELECT count(*) FROM otel.{table}")[0][0])
            for category, table in CATEGORIES.items()
        }


def test_statistics_count_what_is_left(dsn):
    """Where one category is kept for a shorter time than others, and where all go at once."""
    old_events(dsn, 20)
    old_events(dsn, 45)
    assert dict.fromkeys(CATEGORIES, (6, 6)) == counted(dsn)

    retention.prune(Settings(dsn=dsn, retention_days=40, retention_agent_days=10))
    assert dict.fromkeys(CATEGORIES, (3, 3)) | {"agent": (0, 0)} == counted(dsn)

    retention.prune(Settings(dsn=dsn, retention_days=10))
    assert dict.fromkeys(CATEGORIES, (0, 0)) == counted(dsn)


def test_statistics_do_not_count_what_came_in_the_middle_of_a_drop(dsn, monkeypatch):
    """Rows that are committed when the summaries are gone already, and their partition is not."""
    old_events(dsn, 20)
    sql, late = Database.sql, [old_events]

    def coming_in_between(self, name):
        if name == "note_pruned" and late:
            late.pop()(dsn, 20)
        return sql(self, name)

    monkeypatch.setattr(Database, "sql", coming_in_between)
    retention.prune(Settings(dsn=dsn, retention_days=40, retention_agent_days=10))

    assert not late
    assert dict.fromkeys(CATEGORIES, (6, 6)) | {"agent": (0, 0)} == counted(dsn)


def test_statistics_count_what_was_made_again_while_somebody_was_about_to_drop_it(dsn, monkeypatch):
    """A program has looked, another drops the day in its place, and a third stores rows of it: of these none is
    forgotten."""
    old_events(dsn, 20)
    settings, others = Settings(dsn=dsn, retention_days=40, retention_agent_days=10), []
    drop = retention._Pruning.drop

    def come_too_late(self, due):
        if not others:
            others.append(retention.prune)
            assert {"dropped"} == {one.fate for one in retention.prune(settings)}
            old_events(dsn, 20)
        return drop(self, due)

    monkeypatch.setattr(retention._Pruning, "drop", come_too_late)

    assert {"gone"} == {one.fate for one in retention.prune(settings)}
    assert dict.fromkeys(CATEGORIES, (6, 6)) | {"agent": (3, 3)} == counted(dsn)


def test_statistics_that_nobody_told_of_a_drop_count_too_many(dsn, monkeypatch):
    """The counterpart: the summaries of one category stay."""
    old_events(dsn, 20)
    queries = {**sql_files._queries(), "forget_summaries": "SELECT %(category)s::text, %(lower)s::int, %(upper)s::int"}
    monkeypatch.setattr(sql_files, "_queries", lambda: queries)
    sql_files.query.cache_clear()

    retention.prune(Settings(dsn=dsn, retention_days=40, retention_agent_days=10))

    sql_files.query.cache_clear()
    assert (3, 0) == counted(dsn)["agent"]
