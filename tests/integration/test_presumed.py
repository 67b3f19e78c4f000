"""Texts that PostgreSQL is the first to look into."""

from __future__ import annotations

import uuid

import psycopg
import pytest
from opentelemetry.sdk.trace import TracerProvider

from otel_pg_exporter.database import Writer
from otel_pg_exporter.encoding.batches import Batch, encode_batch
from otel_pg_exporter.encoding.plain_rows import SpanEncoder
from otel_pg_exporter.exporter import PostgresSpanExporter
from otel_pg_exporter.query import EventQuery
from otel_pg_exporter.reading.wire_rows import read_records

NO_JSON = "[\"it's\", 'no JSON']"
JSON = '{"order":  7, "order": 8}'
TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("tests")


def task(given_in, given_back="done", name="work"):
    """A span as the SDK makes it, since no other is encoded without a look."""
    attributes = {"otel_pg.category": "task", "input.value": given_in, "output.value": given_back}
    span = TRACER.start_span(name, attributes=attributes)
    span.end()
    return span._readable_span()


@pytest.fixture
def attempts(monkeypatch):
    """Batches that the server was sent, with what became of each."""
    made = []
    store = Writer.store

    def counted(self, *given):
        made.append("refused")
        granted = store(self, *given)
        made[-1] = "stored"
        return granted

    monkeypatch.setattr(Writer, "store", counted)
    return made


@pytest.fixture
def exporter(dsn):
    made = PostgresSpanExporter(dsn)
    yield made
    made.shutdown()


def inputs(dsn):
    with psycopg.connect(dsn) as connection:
        return [text for (text,) in connection.execute("SELECT input::text FROM otel.task_events")]


def given_in(dsn):
    """The attribute that the program set, as it is read back."""
    with EventQuery(dsn=dsn) as query:
        return {event.attributes["input.value"] for event in query.task_events()}


def refused_for_good(dsn, exporter):
    """Whether a text that is no JSON costs its row."""
    exporter.export([task(JSON), task(NO_JSON)])
    return exporter._pipeline._delivery.counts["dead"], len(inputs(dsn))


def test_a_text_that_only_seems_to_be_json_is_stored_as_the_text_that_it_is(dsn, exporter, attempts):
    """Its batch is refused once; then it is a JSON string, what stands beside it is as it was, both are read."""
    exporter.export([task(JSON), task(NO_JSON), task(NO_JSON, NO_JSON)])

    assert ["refused", "stored"] == attempts
    assert {"stored": 3} == exporter.counts
    assert sorted([JSON, '"[\\"it\'s\\", \'no JSON\']"', '"[\\"it\'s\\", \'no JSON\']"']) == sorted(inputs(dsn))
    assert {JSON, NO_JSON} == given_in(dsn)


def test_an_exporter_that_was_wrong_once_looks_first(exporter, attempts):
    """No later batch is refused for such a text."""
    exporter.export([task(NO_JSON)])
    exporter.export([task(JSON), task(NO_JSON)])

    assert ["refused", "stored", "stored"] == attempts


def test_without_a_second_look_the_row_would_be_lost(dsn, exporter, monkeypatch):
    """With it no row is set aside, without it one of two."""
    with monkeypatch.context() as broken:
        broken.setattr(Batch, "mend", lambda self: False)
        assert (1, 1) == refused_for_good(dsn, exporter)

    assert (1, 3) == refused_for_good(dsn, exporter)


def test_beside_a_row_that_is_refused_for_another_reason_it_is_stored(dsn, exporter):
    """That row alone is set aside."""
    exporter.export([task(JSON)])
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE otel.task_events ADD CONSTRAINT no CHECK (event_name <> 'refused')")
    exporter.export([task(JSON), task(JSON, name="refused"), task(NO_JSON)])

    assert 1 == exporter._pipeline._delivery.counts["dead"]
    assert {JSON, NO_JSON} == given_in(dsn)
    assert 3 == len(inputs(dsn))


def test_in_the_spool_too_it_is_what_it_was(dsn, tmp_path, outage):
    """A batch that waited on disk is looked into when the server refuses it."""
    exporter = PostgresSpanExporter(dsn, spool_dir=str(tmp_path))
    exporter.export([task(JSON)])
    outage.begin()
    exporter.export([task(NO_JSON)])
    assert 1 == exporter.counts["spooled"]

    outage.end()
    assert exporter._pipeline._delivery.replay_now(60)
    exporter.shutdown()

    assert {JSON, NO_JSON} == given_in(dsn)


def test_json_that_only_postgresql_reads_is_read_as_text(dsn, exporter):
    """A number beyond 64 bits' range stays the text that it was, and keeps nothing else from being read."""
    exporter.export([task('{"far": 1e999}'), task(JSON)])

    with EventQuery(dsn=dsn) as query:
        found = [event.input for event in query.task_events()]
    assert {"far": 1e999} not in found
    assert '{"far": 1e999}' in found
    assert {"order": 8} in found
    assert {'{"far": 1e999}', JSON} == given_in(dsn)


def test_on_its_way_it_is_read_as_the_text_that_it_is():
    """So what waits in the spool can be shown and exported before PostgreSQL has seen it."""
    encode = SpanEncoder(presumes=True).span
    batch = encode_batch([task(JSON), task(NO_JSON)], encode, producer_id=uuid.UUID(int=1), sequence=1, signal="span")

    assert [JSON, NO_JSON] == [record.attributes["input.value"] for record in read_records(batch)]
