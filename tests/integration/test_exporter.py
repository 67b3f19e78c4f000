"""The exporters: one transaction for a batch, once and only once."""

from __future__ import annotations

import logging
import threading
import time
import uuid

import psycopg
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext

from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.encoding.batches import encode_batch
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.errors import DatabaseError
from otel_pg_exporter.exporter import PostgresSpanExporter
from otel_pg_exporter.host import diagnostics
from otel_pg_exporter.writing.sink import Sink

RESOURCE = Resource({"service.name": "test"})
KINDS = [{"otel_pg.category": category} for category in ("system", "task", "agent", "deployment")]


def spans(count, start=None, **attributes):
    now = time.time_ns() if start is None else start
    return [
        ReadableSpan(
            f"span {i}",
            SpanContext(uuid.uuid4().int, i + 1, False),
            resource=RESOURCE,
            attributes={**KINDS[i % 4], **attributes},
            start_time=now,
            end_time=now + i,
        )
        for i in range(count)
    ]


def batch_of(records, sequence=1):
    return encode_batch(records, RowEncoder().span, producer_id=uuid.uuid4(), sequence=sequence, signal="span")


def count(dsn, table):
    with psycopg.connect(dsn) as connection:
        return connection.execute(f"SELECT count(*) FROM otel.{table}").fetchone()[0]


def total(dsn):
    return sum(count(dsn, table) for table in ("events", "task_events", "agent_events", "deployment_events"))


def soon(seconds=60.0):
    return time.monotonic() + seconds


def test_a_batch_and_its_ledger_row_are_one_transaction(dsn):
    """Rows of all four tables and the ledger's row have the same transaction id."""
    exporter = PostgresSpanExporter(dsn)

    assert exporter.export(spans(8)) is SpanExportResult.SUCCESS

    with psycopg.connect(dsn) as connection:
        ids = connection.execute(
            "SELECT xmin::text FROM otel.events UNION SELECT xmin::text FROM otel.task_events UNION"
            " SELECT xmin::text FROM otel.agent_events UNION SELECT xmin::text FROM otel.deployment_events UNION"
            " SELECT xmin::text FROM otel.event_batches"
        ).fetchall()
        ledger = connection.execute(
            "SELECT stored, events, task_events, agent_events, deployment_events FROM otel.event_batches"
        ).fetchall()
    exporter.shutdown()
    assert len(ids) == 1
    assert ledger == [(8, 2, 2, 2, 2)]


def test_a_batch_that_is_sent_again_is_stored_once(dsn):
    """The same batch id stores nothing the second time, and the sender is told."""
    sink = Sink(Database(Settings(dsn=dsn)))
    batch = batch_of(spans(8))

    assert [sink.store(batch, {}, soon()) for _ in range(3)] == [True, False, False]

    sink.close()
    assert total(dsn) == 8
    assert count(dsn, "event_batches") == 1


def test_two_senders_of_one_batch_store_it_once(dsn):
    """Two connections that claim one batch at the same moment store it once between them."""
    batch = batch_of(spans(400))
    sinks = [Sink(Database(Settings(dsn=dsn))) for _ in range(4)]
    outcomes = []
    threads = [threading.Thread(target=lambda s=sink: outcomes.append(s.store(batch, {}, soon()))) for sink in sinks]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for sink in sinks:
        sink.close()
        sink.database.close()
    assert sorted(outcomes) == [False, False, False, True]
    assert total(dsn) == 400


def test_a_batch_that_fails_midway_stores_nothing(dsn):
    """When the last table refuses, the first table's rows and the ledger's row are gone too."""
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE otel.deployment_events ADD CONSTRAINT no CHECK (event_name = '')")
    sink = Sink(Database(Settings(dsn=dsn)))

    with pytest.raises(DatabaseError, match="23514"):
        sink.store(batch_of(spans(8)), {}, soon())

    sink.close()
    sink.database.close()
    assert total(dsn) + count(dsn, "event_batches") == 0


def test_the_connection_is_made_again_after_the_server_cut_it(dsn):
    """A backend that was terminated costs no record."""
    exporter = PostgresSpanExporter(dsn)
    exporter.export(spans(4))
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    assert exporter.export(spans(4)) is SpanExportResult.SUCCESS

    exporter.shutdown()
    assert total(dsn) == 8


def test_tables_that_were_dropped_are_made_again(dsn):
    """An exporter whose schema was dropped under it makes it anew and stores the batch."""
    exporter = PostgresSpanExporter(dsn)
    exporter.export(spans(4))
    with psycopg.connect(dsn) as connection:
        connection.execute("DROP SCHEMA otel CASCADE")

    assert exporter.export(spans(4)) is SpanExportResult.SUCCESS

    exporter.shutdown()
    assert total(dsn) == 4
    assert count(dsn, "resources") == 1


@pytest.mark.parametrize("moment", [0, -(10**18), 4_102_444_800_000_000_000], ids=["1970", "1938", "2100"])
def test_any_time_finds_a_partition(dsn, moment):
    """A clock that is far off costs no record."""
    exporter = PostgresSpanExporter(dsn)

    assert exporter.export(spans(4, start=moment) + spans(4)) is SpanExportResult.SUCCESS

    exporter.shutdown()
    assert total(dsn) == 8


AWAY = "host=127.0.0.1 port=9 user=x dbname=y"


def test_a_server_that_is_away_harms_nobody(heard):
    """Spans go to the spool within the time limit, and one line says where they are and why."""
    exporter = PostgresSpanExporter(AWAY, export_timeout_millis=300)
    begun = time.monotonic()

    results = {exporter.export(spans(3)) for _ in range(3)}

    assert {SpanExportResult.SUCCESS} == results
    assert exporter.counts == {"spooled": 9}
    assert time.monotonic() - begun < 15
    exporter.shutdown()
    (line,) = heard
    assert "events are kept in" in line
    assert "cannot reach host=127.0.0.1" in line


def test_a_folder_that_cannot_be_used_keeps_nothing(heard, tmp_path):
    """The line says so, and why the tables take nothing; none says that anything is kept there."""
    (tmp_path / "file").touch()
    exporter = PostgresSpanExporter(AWAY, export_timeout_millis=300, spool_dir=str(tmp_path / "file" / "spool"))

    results = {exporter.export(spans(3)) for _ in range(2)}

    assert {SpanExportResult.FAILURE} == results
    exporter.shutdown()
    assert not [line for line in heard if "are kept in" in line]
    for said in ("no spool in", "Set EVENT_SPOOL_DIR", "cannot reach host=127.0.0.1"):
        assert said in heard[0]
    assert heard[1].startswith("span records were lost, 3 so far: cannot reach host=127.0.0.1")


def test_without_a_spool_what_is_lost_is_counted(heard):
    """With the spool switched off export fails within its time limit and counts what it gave up."""
    exporter = PostgresSpanExporter(AWAY, export_timeout_millis=300, spool_max_bytes=0)

    results = {exporter.export(spans(3)) for _ in range(3)}

    assert {SpanExportResult.FAILURE} == results
    assert exporter.counts == {"dropped": 9}
    exporter.shutdown()
    (line,) = heard
    assert "cannot reach host=127.0.0.1" in line


def test_what_was_given_up_is_noted_in_the_ledger(dsn):
    """The next batch that is stored says how many records this producer lost before it."""
    exporter = PostgresSpanExporter(dsn)
    exporter.give_up(7, "a test")

    exporter.export(spans(4))

    exporter.shutdown()
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT dropped_before FROM otel.event_batches").fetchall() == [(7,)]


def test_a_wrong_setting_is_one_line_in_the_log_and_no_exception(heard):
    """A constructor with a bad setting does not raise; what it cannot store it counts."""
    exporter = PostgresSpanExporter("mysql://u:secret@h/db")

    assert exporter.export(spans(2)) is SpanExportResult.FAILURE

    assert exporter.counts == {"dropped": 2}
    assert "dsn='mysql://u:***@h/db' is not allowed" in heard[0]
    assert "secret" not in "".join(heard)


def test_a_record_that_cannot_be_encoded_does_not_keep_the_others_out(dsn, heard):
    """Something that is no span at all is rejected with its reason; the rest of its batch is stored."""
    exporter = PostgresSpanExporter(dsn)

    exporter.export([*spans(4), object()])

    exporter.shutdown()
    assert exporter.counts == {"stored": 4, "rejected": 1}
    assert "cannot be encoded" in heard[0]


def test_own_log_lines_reach_no_opentelemetry_handler():
    """A handler that exports log records never gets our own."""
    got = []

    class Exporting(logging.Handler):
        def emit(self, record):
            got.append(record)

    Exporting.__module__ = "opentelemetry.instrumentation.logging.handler"
    handler = Exporting()
    logging.getLogger().addHandler(handler)
    try:
        diagnostics.say(logging.ERROR, "a line of ours")
        logging.getLogger("host").error("a line of the host's")
    finally:
        logging.getLogger().removeHandler(handler)

    assert [record.getMessage() for record in got] == ["a line of the host's"]


def test_a_table_prefix_keeps_two_stores_apart(empty_dsn):
    """Two prefixes in one schema are two stores."""
    for prefix, number in (("a_", 4), ("b_", 8)):
        exporter = PostgresSpanExporter(empty_dsn, table_prefix=prefix, schema="pair")
        exporter.export(spans(number))
        assert exporter.last_error is None
        exporter.shutdown()

    with psycopg.connect(empty_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM pair.a_task_events").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM pair.b_task_events").fetchone() == (2,)


def test_what_ctrl_c_in_a_redact_costs_is_counted(dsn):
    """It is for the program: whoever exports gets it, and each record is known to be lost."""

    def leave(key, text):
        raise KeyboardInterrupt

    exporter = PostgresSpanExporter(dsn, redact=leave)
    with pytest.raises(KeyboardInterrupt):
        exporter.export(spans(3))

    assert {"dropped": 3} == exporter.counts
    exporter.shutdown()


@pytest.mark.parametrize("error", [ValueError, SystemExit, GeneratorExit])
def test_a_redact_that_raises_takes_the_text_out(dsn, error):
    """Whatever it raises: the records are stored without it."""

    def leave(key, text):
        raise error

    exporter = PostgresSpanExporter(dsn, redact=leave)
    exporter.export(spans(3))
    exporter.shutdown()

    assert {"stored": 3} == exporter.counts
    with psycopg.connect(dsn) as connection:
        names = connection.execute("SELECT DISTINCT event_name FROM otel.all_events").fetchall()
    assert [("[redacted]",)] == names
