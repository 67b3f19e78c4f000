"""`otel-pg doctor` accounts for everything: it is stored, it waits, it was given up, or it is named as missing."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from harness.cluster import Cluster
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanContext, TraceFlags

from otel_pg_exporter import EventStore, configure, doctor, migrate
from otel_pg_exporter.cli import main
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.encoding.batches import Batch, encode_batch, new_batch_id, notice
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.errors import EventStoreError
from otel_pg_exporter.schema import partitions
from otel_pg_exporter.spool import Spool
from otel_pg_exporter.spool.folder import spool_path
from otel_pg_exporter.writing.delivery import Delivery

PRODUCER = uuid.UUID(int=11)


def batch_of(count: int, sequence: int, size: int = 1) -> Batch:
    now = time.time_ns()
    spans = [
        ReadableSpan(
            "work",
            SpanContext(sequence, number, False, TraceFlags(1)),
            resource=Resource({}),
            attributes={"otel_pg.category": "task", "ballast": "x" * size},
            start_time=now,
            end_time=now,
        )
        for number in range(1, count + 1)
    ]
    return encode_batch(spans, RowEncoder().span, producer_id=PRODUCER, sequence=sequence, signal="span")


@pytest.fixture
def settings(dsn: str, tmp_path: Path) -> Settings:
    return Settings(dsn=dsn, spool_dir=str(tmp_path))


def deliver(settings: Settings, *batches: Batch) -> None:
    delivery = Delivery(Database(settings))
    for batch in batches:
        delivery.deliver(batch, 10)
    assert delivery.replay_now(60), delivery.last_error  # on a busy machine
    delivery.close(1)
    delivery.database.close()


def only(found: doctor.Diagnosis) -> doctor.Producer:
    (producer,) = found.producers
    return producer


def command(settings: Settings, *arguments: str) -> Any:
    return CliRunner().invoke(
        main, ["--dsn", str(settings.dsn), "doctor", *arguments], env={"EVENT_SPOOL_DIR": str(settings.spool_dir)}
    )


def test_when_all_is_stored_nothing_is_missing(settings):
    """Produced is stored, no gap, exit code 0."""
    deliver(settings, *(batch_of(3, number) for number in range(1, 5)))

    found = doctor.examine(settings)

    assert (12, 12, 0, ()) == (
        only(found).produced, only(found).stored, only(found).missing_batches, found.obstacles,
    )  # fmt: skip
    assert found.is_complete
    done = command(settings)
    assert (0, "complete") == (done.exit_code, done.output.splitlines()[-1])


def test_nothing_at_all_is_complete(settings):
    """Fresh tables are no fault; neither are those that are still to be made, but they are named."""
    assert doctor.examine(settings).is_complete


def test_tables_that_are_missing_are_named_with_the_fix(empty_dsn, tmp_path):
    """Doctor makes none."""
    found = doctor.examine(Settings(dsn=empty_dsn, spool_dir=str(tmp_path)))

    assert ["migration 0001 is not applied. Run: otel-pg migrate up"] == [*map(str, found.obstacles)]
    assert migrate.status(Settings(dsn=empty_dsn))[0].applied_at is None


def test_a_batch_that_is_nowhere_is_a_gap_between_two_times(settings):
    """Its number and the times of its neighbours are given, on the command line and as JSON, and exit code 1."""
    batches = {number: batch_of(2, number) for number in (1, 2, 5, 6, 8)}
    deliver(settings, *batches.values())

    (first, second) = only(doctor.examine(settings)).gaps
    done, as_json = command(settings), json.loads(command(settings, "--json").output)

    assert (3, 4, 7, 7) == (first.first, first.last, second.first, second.last)
    made = {number: batch.time_us / 1e6 for number, batch in batches.items()}
    assert (made[2], made[5], made[6], made[8]) == (
        first.after.timestamp(), first.before.timestamp(), second.after.timestamp(), second.before.timestamp(),
    )  # fmt: skip
    assert (1, "not complete") == (done.exit_code, done.output.splitlines()[-1])
    assert "batches 3 to 4 are missing, made between" in done.output
    assert "batch 7 is missing" in done.output
    assert (False, 3) == (as_json["is_complete"], as_json["totals"]["missing_batches"])
    assert first.after.isoformat() == as_json["producers"][0]["gaps"][0]["after"]


def test_a_first_batch_that_is_missing_is_a_gap(settings):
    """Numbers count from 1, so nothing has to come before it."""
    deliver(settings, batch_of(2, 2))

    (gap,) = only(doctor.examine(settings)).gaps

    assert (1, 1, None) == (gap.first, gap.last, gap.after)


def test_days_that_retention_took_are_not_missed(settings, dsn):
    """A producer whose first days were dropped with their partitions has no gap at its beginning."""
    deliver(settings, batch_of(2, 900), batch_of(2, 901))
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE otel.schema_migrations SET applied_at = applied_at - interval '90 days'")

    assert () == only(doctor.examine(settings)).gaps


def test_days_that_retention_took_are_not_missed_for_a_clock_that_was_wrong(settings, dsn):
    """Since then a program whose clock says 1970 has stored: its year is no day that the ledger has gone back to."""
    deliver(settings, batch_of(2, 900), batch_of(2, 901))
    database = Database(settings)
    partitions.ensure(database, {0})
    database.close()
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE otel.schema_migrations SET applied_at = applied_at - interval '90 days'")
        connection.execute(
            "INSERT INTO otel.pruned VALUES"
            " ('event_batches', 'event_batches_p', now() - interval '90 days', now(), 0, 0, 'age')"
        )

    assert () == only(doctor.examine(settings)).gaps


def test_what_waits_on_disk_is_no_gap(settings):
    """Batches in this machine's spool are counted as waiting, also beyond the last one that is stored."""
    deliver(settings, batch_of(2, 1), batch_of(2, 4))
    spool = Spool(settings)
    for number in (2, 6):
        spool.put(batch_of(5, number))
    spool.close()

    producer = only(doctor.examine(settings))

    assert (4, 10, 14) == (producer.stored, producer.spooled, producer.produced)
    assert [(3, 3), (5, 5)] == [(gap.first, gap.last) for gap in producer.gaps]


def test_what_is_stored_and_still_lies_in_the_spool_is_counted_once(settings):
    """A file that was not removed yet is no second copy."""
    batch = batch_of(5, 1)
    spool = Spool(settings)
    spool.put(batch)
    database = Database(settings)
    deliver(Settings(dsn=settings.dsn, spool_max_bytes=0), batch)
    spool.close()
    database.close()

    producer = only(doctor.examine(settings))

    assert (5, 0) == (producer.stored, producer.spooled)


def test_beside_a_gap_it_is_counted_once_too(settings):
    """A second look is for what went into the spool meanwhile, not for what is stored."""
    batch = batch_of(5, 1)
    spool = Spool(settings)
    spool.put(batch)
    deliver(Settings(dsn=settings.dsn, spool_max_bytes=0), batch, batch_of(2, 3))
    spool.close()

    producer = only(doctor.examine(settings))

    assert (7, 0, 7) == (producer.stored, producer.spooled, producer.produced)
    assert [(2, 2)] == [(gap.first, gap.last) for gap in producer.gaps]


def test_a_file_of_the_spool_that_cannot_be_read_is_named(settings):
    """What it holds may be stored nowhere else: with it nothing is complete, here and for `otel-pg spool status`."""
    deliver(settings, batch_of(2, 1))
    folder = spool_path(settings)
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "00000000000000000001-a.seg").write_bytes(b"no record")

    found = doctor.examine(settings)

    assert not found.is_complete
    assert "00000000000000000001-a.seg is not a file of the spool" in found.obstacles[0].what
    for asked in (["doctor"], ["spool", "status"]):
        done = CliRunner().invoke(
            main, ["--dsn", str(settings.dsn), *asked], env={"EVENT_SPOOL_DIR": settings.spool_dir}
        )
        assert (1, True) == (done.exit_code, "00000000000000000001-a.seg" in done.output)


def test_a_refused_row_is_counted_and_its_reason_given(settings, dsn):
    """It is part of what was produced, and not of what is stored."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE otel.task_events ADD CONSTRAINT no CHECK (span_id <> 2)")
    deliver(settings, batch_of(3, 1))

    found = doctor.examine(settings)

    assert (2, 1, 3, ()) == (only(found).stored, only(found).dead, only(found).produced, only(found).gaps)
    assert 1 == found.refused
    assert 'violates check constraint "no"' in found.reasons[0]
    assert not found.is_complete


def test_losses_are_told_by_the_next_process(settings, dsn):
    """A program that could neither store nor spool a batch, and ended: the next one tells the ledger how many."""
    away = Settings(dsn="host=127.0.0.1 port=9", spool_dir=str(settings.spool_dir), spool_max_bytes=1)
    delivery = Delivery(Database(away))
    with pytest.raises(EventStoreError):
        delivery.deliver(batch_of(7, 1), 0.5)
    delivery.drop(PRODUCER, "span", 4, "a test", "internal")
    folder = delivery.spool.folder
    delivery.close(1)
    heir = Spool(settings)
    heir.folder.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(heir.folder)  # as if the same database had come back

    before = only(doctor.examine(settings))
    deliver(settings, batch_of(2, 2))
    wait_until(lambda: doctor.examine(settings).totals["stored"] == 2 and not [*heir.folder.iterdir()], settings)
    after = only(doctor.examine(settings))

    assert (0, 11, 0) == (before.stored, before.dropped, before.missing_batches)
    assert (2, 11, 13, ()) == (after.stored, after.dropped, after.produced, after.gaps)


def wait_until(is_so: Any, settings: Settings) -> None:
    delivery = Delivery(Database(settings))
    assert delivery.replay_now(60), delivery.last_error
    delivery.close(1)
    delivery.database.close()
    assert is_so()


def test_without_the_notice_the_loss_is_a_gap(settings, monkeypatch):
    """The counterpart: a build that tells nobody of a lost batch is found out by its number."""
    monkeypatch.setattr(Delivery, "_tell", lambda *given: None)
    delivery = Delivery(Database(settings))
    delivery.deliver(batch_of(2, 1), 5)
    monkeypatch.setattr(Delivery, "_deliver", lambda *given: (_ for _ in ()).throw(EventStoreError("lost")))
    with pytest.raises(EventStoreError):
        delivery.deliver(batch_of(7, 2), 5)
    monkeypatch.undo()
    delivery.deliver(batch_of(2, 3), 5)
    delivery.close(1)

    (gap,) = only(doctor.examine(settings)).gaps

    assert (2, 2) == (gap.first, gap.last)


def test_a_real_outage_with_a_full_spool_is_accounted_for_to_the_record(dsn, tmp_path, server_dsn):
    """Each of 4,000 spans is stored or told as dropped, though the spool held only some, and the program has ended."""
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    limits = {"spool_dir": str(tmp_path), "spool_max_bytes": 600_000}
    telemetry = configure(
        dsn=dsn, batch_timeout_millis=20, batch_size=50, tracer_provider=TracerProvider(shutdown_on_exit=False),
        **limits,
    )  # fmt: skip
    tracer = telemetry.tracer_provider.get_tracer("program")
    for number in range(4000):
        if number == 500:
            telemetry.force_flush()
            outage(server_dsn, name, begins=True)
        tracer.start_span("work", attributes={"otel_pg.category": "task", "ballast": "x" * 500}).end()
    telemetry.shutdown()
    during = doctor.examine(telemetry.settings)
    outage(server_dsn, name, begins=False)
    settings = Settings(dsn=dsn, **limits)
    wait_until(lambda: True, settings)

    found = doctor.examine(settings)

    print(during.totals, found.totals)
    assert [] == [gap for producer in found.producers for gap in producer.gaps]
    assert 4000 == found.totals["produced"] == found.totals["stored"] + found.totals["dropped"]
    assert found.totals["dropped"] == telemetry.counts["dropped"] > 500
    assert found.totals["stored"] > 500
    assert not found.is_complete
    assert "not currently accepting connections" in during.obstacles[0].what
    with psycopg.connect(dsn) as connection:
        assert (found.totals["stored"],) == connection.execute("SELECT count(*) FROM otel.task_events").fetchone()


def outage(server_dsn: str, name: str, *, begins: bool) -> None:
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {not begins}".encode())
        if begins:
            connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


def test_an_event_that_its_program_rolled_back_is_no_gap(dsn, tmp_path):
    """What is stored at once, or in a transaction of the program's, is not numbered: the program was told."""
    settings = Settings(dsn=dsn, spool_dir=str(tmp_path))
    with EventStore(settings) as store, psycopg.connect(dsn) as connection:
        store.log_task_event(event_name="kept", wait=True)
        store.log_task_event(event_name="gone", connection=connection)
        connection.rollback()
        store.log_task_event(event_name="kept", wait=True)

    found = doctor.examine(settings)

    assert (2, 0, True) == (found.totals["stored"], found.totals["missing_batches"], found.is_complete)


def test_a_server_that_gambles_with_its_disk_is_not_power_safe(settings):
    """The server of the tests runs with fsync off: doctor names what makes a commit untrue."""
    found = doctor.examine(settings)

    assert (False, ("fsync=off", "full_page_writes=off")) == (found.is_power_safe, found.risks)
    assert "not power-safe: the server runs with fsync=off, full_page_writes=off" in command(settings).output


def test_a_server_that_keeps_what_it_confirms_is_power_safe(tmp_path):
    """With synchronous_commit off too: batches ask for more than that."""
    with Cluster(tmp_path / "server", {"synchronous_commit": "off"}) as cluster:
        dsn = cluster.database()
        migrate.up(Settings(dsn=dsn))

        assert doctor.examine(Settings(dsn=dsn)).is_power_safe


def test_a_notice_is_stored_once(settings, dsn):
    """A loss that is told twice is counted once: it has the id of its batch."""
    loss = batch_of(7, 1).loss()
    word = notice(new_batch_id(), PRODUCER, 0, "span", dropped=2, dead=1)

    deliver(settings, loss, loss, word)

    producer = only(doctor.examine(settings))
    assert (0, 9, 1, ()) == (producer.stored, producer.dropped, producer.dead, producer.gaps)


def test_a_batch_that_was_stored_after_all_is_not_counted_as_lost(settings):
    """The answer to its COMMIT was lost, and the program gave it up: the ledger knows better."""
    batch = batch_of(7, 1)

    deliver(settings, batch, batch.loss())

    assert (7, 0) == (only(doctor.examine(settings)).stored, only(doctor.examine(settings)).dropped)


def test_producers_of_long_ago_are_left_out_on_request(settings, dsn):
    """`--since` limits the answer to producers that stored something since then."""
    deliver(settings, batch_of(2, 1))

    assert "1 producer since" in command(settings, "--since", "1h").output
    time.sleep(1.1)
    assert "0 producers since" in command(settings, "--since", "1s").output
