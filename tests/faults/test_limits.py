"""Locks, limits for statements, a standby, bad rows: what is short or in the way costs no record."""

from __future__ import annotations

import os
import re
import subprocess
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from harness.cluster import Cluster
from harness.delays import Stalls
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanContext, TraceFlags
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from otel_pg_exporter import configure, doctor, grants, migrate
from otel_pg_exporter.cli import main
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database, failures
from otel_pg_exporter.embedded.binaries import find_binaries
from otel_pg_exporter.encoding.batches import Batch, encode_batch
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.schema import partitions
from otel_pg_exporter.upkeep.runner import Upkeep
from otel_pg_exporter.writing.delivery import Delivery
from otel_pg_exporter.writing.replay import Replay
from otel_pg_exporter.writing.sink import Sink

pytestmark = pytest.mark.usefixtures("patient")


def program(dsn: str, folder: Path, **settings: Any) -> Any:
    return configure(
        dsn=dsn, spool_dir=str(folder), batch_timeout_millis=50,
        tracer_provider=TracerProvider(shutdown_on_exit=False), **settings,
    )  # fmt: skip


def work(telemetry: Any, count: int) -> None:
    tracer = telemetry.tracer_provider.get_tracer("program")
    for number in range(count):
        tracer.start_span("work", attributes={"otel_pg.category": "task", "number": number}).end()


def stored(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        (row,) = connection.execute("SELECT count(DISTINCT span_id), count(*) FROM otel.task_events").fetchall()
    assert row[0] == row[1]
    return int(row[0])


def wait_until(is_so: Any, seconds: float = 30) -> None:
    give_up_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up_at, "it did not become so in time"
        time.sleep(0.05)


def test_a_lock_on_a_table_costs_nothing(dsn, tmp_path, heard):
    """While another session locks a table spans wait on disk; the message and doctor name what holds it."""
    telemetry = program(dsn, tmp_path)
    work(telemetry, 10)
    assert telemetry.force_flush()
    with psycopg.connect(dsn) as holder:
        holder.execute("LOCK TABLE otel.task_events IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()
        with Stalls() as stalls:
            work(telemetry, 10)
            longest = time.monotonic() - begun

        wait_until(lambda: telemetry.counts.get("spooled", 0) >= 10)
        wait_until(lambda: time.monotonic() - begun > 2.5)
        health = telemetry.query.health()
        found = doctor.examine(telemetry.settings)

        assert longest - stalls.longest < 1
        assert "pg_locks" in "".join(heard)
        assert "holds AccessExclusiveLock on" in health.error
        assert f"SELECT pg_terminate_backend({holder.info.backend_pid})" in str(found.obstacles[0])
        assert not found.is_complete
        holder.rollback()

    wait_until(lambda: stored(dsn) == 20)
    assert telemetry.force_flush()
    telemetry.shutdown()
    assert {"stored": 10, "spooled": 10, "replayed": 10} == telemetry.counts


@pytest.mark.parametrize(
    ("limit", "length"),
    [("statement_timeout", "10ms"), ("idle_in_transaction_session_timeout", "100ms"), ("lock_timeout", "10ms")],
)
def test_limits_of_the_role_do_not_hold_for_us(empty_dsn, tmp_path, limit, length):
    """With little time for everything the tables are made and 5,000 spans stored."""
    name = conninfo_to_dict(empty_dsn)["dbname"]
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET {limit} = '{length}'")
    telemetry = program(empty_dsn, tmp_path)

    work(telemetry, 5000)

    assert telemetry.force_flush(), telemetry.last_error
    telemetry.shutdown()
    assert 5000 == stored(make_conninfo(empty_dsn, options="-c statement_timeout=0"))
    assert not telemetry.counts.get("dropped")


def test_without_limits_of_our_own_a_short_statement_timeout_is_felt(dsn):
    """The counterpart: the same limit does end a statement that takes longer."""
    name = conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET statement_timeout = '10ms'")

    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(1)")


def test_a_writer_that_may_make_no_partitions_is_told_who_must(dsn, tmp_path, heard):
    """Its spans wait on disk; the owner's `otel-pg partitions create` is enough, and replay stores them at once."""
    role = f"writer_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA otel TO {role}")
        connection.execute(f"GRANT INSERT ON ALL TABLES IN SCHEMA otel TO {role}")
        connection.execute(f"GRANT SELECT ON otel.schema_migrations TO {role}")
    writing = make_conninfo(dsn, user=role)
    telemetry = program(writing, tmp_path, auto_migrate=False)

    work(telemetry, 10)
    wait_until(lambda: telemetry.counts.get("spooled", 0) == 10)
    health = telemetry.query.health()

    assert "otel-pg partitions create" in "".join(heard)
    assert "otel-pg partitions create" in health.error
    telemetry.shutdown()
    partitions.ahead(Database(Settings(dsn=dsn)), 1)
    delivery = Delivery(Database(Settings(dsn=writing, spool_dir=str(tmp_path), auto_migrate=False)))
    begun = time.monotonic()
    assert delivery.replay_now(20)
    print(f"replayed in {time.monotonic() - begun:.2f} s")
    delivery.close(1)
    assert 10 == stored(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_row_of_a_day_without_a_partition_keeps_no_other_back(dsn, tmp_path, heard, monkeypatch, is_broken):
    """A writer that may make none has a clock that said 1970: what was spooled behind that row is stored, and the row
    when the owner has run what the message says. A build that waits for the oldest stores nothing until then."""
    if is_broken:
        monkeypatch.setattr(Replay, "_passes_over", lambda *_: False)
    role = f"writer_{uuid.uuid4().hex[:8]}"
    owning = Database(Settings(dsn=dsn))
    partitions.ahead(owning, 1)
    grants.grant(owning, writers=[role], create=True)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {role} LOGIN")
    telemetry = program(make_conninfo(dsn, user=role), tmp_path, auto_migrate=False)

    tracer = telemetry.tracer_provider.get_tracer("program")
    tracer.start_span("work", attributes={"otel_pg.category": "task"}, start_time=10**9).end(10**9)
    assert not telemetry.force_flush(3_000)
    work(telemetry, 10)
    telemetry.force_flush(3_000)
    assert (0 if is_broken else 10) == stored(dsn)

    (command,) = {line.partition("run, every day: otel-pg ")[2] for line in heard if "may not make it" in line}
    assert "partitions create --day 1970-01-01" == command
    done = CliRunner().invoke(main, ["--dsn", dsn, *command.split()])
    assert 0 == done.exit_code, done.output
    wait_until(lambda: stored(dsn) == 11)
    telemetry.shutdown()
    owning.close()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_partitions_of_a_table_that_was_made_again_are_made_again(dsn, tmp_path):
    """What `otel-pg migrate show` prints makes a lost table anew, and the next batch its partition."""
    telemetry = program(dsn, tmp_path)
    work(telemetry, 5)
    assert telemetry.force_flush()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE otel.task_events CASCADE")
        work(telemetry, 5)
        wait_until(lambda: telemetry.counts.get("spooled", 0) == 5)

        psql = find_binaries() / "psql"  # which goes on after what is there already
        subprocess.run([psql, "-q", dsn], input=migrate.show(), text=True, capture_output=True, check=True)

    wait_until(lambda: stored(dsn) == 5)
    telemetry.shutdown()


def test_a_standby_is_named_and_its_promotion_is_enough(tmp_path):
    """A program that writes to a standby spools; when that is promoted all is stored."""
    with Cluster(tmp_path / "primary", {"fsync": "off", "wal_level": "replica"}) as primary:
        dsn = primary.database()
        migrate.up(Settings(dsn=dsn))
        partitions.ahead(Database(Settings(dsn=dsn)), 1)
        (tmp_path / "standby").mkdir(mode=0o700)
        copy = str(tmp_path / "standby" / "cluster")
        subprocess.run(
            [find_binaries() / "pg_basebackup", "-d", primary.conninfo, "-D", copy, "-X", "stream", "-c", "fast"],
            check=True, capture_output=True,
        )  # fmt: skip
        Path(copy, "standby.signal").touch()
        if os.geteuid() == 0:
            Path(copy).chmod(0o700)
        with Cluster(tmp_path / "standby", {"fsync": "off", "hot_standby": "on"}) as standby:
            there = make_conninfo(standby.conninfo, dbname=conninfo_to_dict(dsn)["dbname"])
            telemetry = program(there, tmp_path / "spool")
            work(telemetry, 10)
            wait_until(lambda: telemetry.counts.get("spooled", 0) == 10)

            health = telemetry.query.health()
            assert "target_session_attrs=read-write" in telemetry.last_error
            assert "standby: it takes no writes" in health.error

            with psycopg.connect(standby.conninfo, autocommit=True) as connection:
                connection.execute("SELECT pg_promote()")
            wait_until(lambda: stored(there) == 10)
            telemetry.shutdown()


BAD_ROW = "ALTER TABLE otel.task_events ADD CONSTRAINT no CHECK (attributes->>'number' <> '300')"


def test_one_bad_row_in_512_costs_20_statements_at_most(tmp_path, monkeypatch):
    """511 rows are stored and one is set aside with its reason; the server's own log counts the statements."""
    monkeypatch.setattr(Upkeep, "begin", lambda self: None)  # whose statements come at a moment of its own choice
    with Cluster(tmp_path / "server", {"fsync": "off"}) as cluster:
        dsn = cluster.database()
        migrate.up(Settings(dsn=dsn))
        telemetry = program(dsn, tmp_path / "spool", batch_size=512)
        work(telemetry, 1)
        assert telemetry.force_flush()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(BAD_ROW.encode())
            connection.execute("TRUNCATE otel.task_events")
        delivery = telemetry.delivery
        delivery.deliver(batch_of(1), 20)  # its resource is known from then on
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("TRUNCATE otel.task_events, otel.event_batches")
        batch = batch_of(512)
        with psycopg.connect(cluster.conninfo, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET log_statement = 'all'")
            connection.execute("SELECT pg_reload_conf()")
        log = tmp_path / "server" / "server.log"
        before, begun = log.stat().st_size, time.monotonic()

        fate = delivery.deliver(batch, 20)

        seconds = time.monotonic() - begun
        counted = statements(log.read_text()[before:])
        telemetry.shutdown()
        print(f"{counted} statements, {seconds * 1000:.0f} ms")
        assert ("stored", 511, 1) == (fate, stored(dsn), delivery.counts["dead"])
        assert 5 < counted <= 20
        with psycopg.connect(dsn) as connection:
            told = "SELECT stored, dead_before FROM otel.event_batches WHERE sequence = 7"
            rows = connection.execute(told).fetchall()
        assert [(511, 1)] == rows


def statements(log: str) -> int:
    """Statements that a server carried out, by its log; those of one message stand in one entry.

    After one that failed the rest of its message is not carried out: that is a COMMIT, and we send a ROLLBACK.
    """
    entries = re.split(r"^[\d-]+ [\d:.]+ \w+ \[\d+\] LOG:  statement: ", log, flags=re.MULTILINE)[1:]
    texts = [entry.partition("\n20")[0].strip() for entry in entries]
    return sum(len(re.findall(r"[^;\s][^;]*", text)) for text in texts) - sum(text == "ROLLBACK" for text in texts)


@pytest.mark.parametrize("bad", [1, 3, 40])
def test_any_number_of_bad_rows_costs_only_themselves(dsn, tmp_path, bad):
    """The good rows are stored under the batch's own id, so that a batch which comes again stores nothing."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        rule = f"CHECK ((attributes->>'number')::int NOT BETWEEN 100 AND {99 + bad})"
        connection.execute(f"ALTER TABLE otel.task_events ADD CONSTRAINT no {rule}")
    delivery = Delivery(Database(Settings(dsn=dsn, spool_dir=str(tmp_path))))

    batch = batch_of(200)
    again = replace(batch, rows={table: [*rows] for table, rows in batch.rows.items()})
    fates = [delivery.deliver(each, 20) for each in (batch, again)]

    delivery.close(1)
    delivery.database.close()
    assert 200 - bad == stored(dsn)
    assert ["stored", "duplicate"] == fates
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT stored, dead_before FROM otel.event_batches").fetchall()
    assert [(200 - bad, bad)] == rows


def test_a_server_that_does_not_say_which_row_is_asked_by_trials(dsn, tmp_path, monkeypatch):
    """The bad row of 512 is found in at most 10 trials, of which nothing is kept, and the others are one batch."""
    monkeypatch.setattr(failures, "_place", lambda context: None)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(BAD_ROW.encode())
    delivery = Delivery(Database(Settings(dsn=dsn, spool_dir=str(tmp_path))))
    attempts, trials = [], []
    attempt, takes = Sink._attempt, Sink._takes
    monkeypatch.setattr(Sink, "_attempt", lambda *given: attempts.append(1) or attempt(*given))
    monkeypatch.setattr(Sink, "_takes", lambda *given: trials.append(1) or takes(*given))

    assert "stored" == delivery.deliver(batch_of(512), 20)

    delivery.close(1)
    delivery.database.close()
    assert (511, 1) == (stored(dsn), delivery.counts["dead"])
    assert (3, 10) == (len(attempts), len(trials))  # the batch, once more to be sure, and without the row
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT stored, dead_before FROM otel.event_batches").fetchall()
    assert [(511, 1)] == rows


def batch_of(count: int) -> Batch:
    """Spans numbered from 0."""
    now = time.time_ns()
    spans = [
        ReadableSpan(
            "work",
            SpanContext(1, number + 1, False, TraceFlags(1)),
            resource=Resource({"service.name": "program"}),
            attributes={"otel_pg.category": "task", "number": number},
            start_time=now,
            end_time=now + number,
        )
        for number in range(count)
    ]
    return encode_batch(spans, RowEncoder().span, producer_id=uuid.UUID(int=7), sequence=7, signal="span")
