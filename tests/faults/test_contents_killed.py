"""PostgreSQL is killed when it has long texts, and not yet the rows that refer to them: none is ever without its text.

The texts' own transaction waits for no disk. What makes that safe is the COMMIT of the batch, which comes later in the
log: nothing is taken to be there before it.
"""

from __future__ import annotations

import random
import time

import psycopg
import pytest
from harness import broken
from harness.cluster import Cluster
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from otel_pg_exporter import migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Writer
from otel_pg_exporter.exporter import PostgresSpanExporter

ROUNDS, SPANS = 6, 5
LATE = {"wal_writer_delay": "10s", "wal_buffers": "16MB"}
"""A server that waits long before it writes what nobody waits for."""


@pytest.fixture
def cluster(tmp_path):
    """A running server of the test's own."""
    with Cluster(tmp_path / "server", LATE) as made:
        yield made


def incomplete_after_kills(cluster, monkeypatch, seed):
    """Rows that lack a text, of all that were stored, after kills between texts and rows."""
    dsn = cluster.database()
    migrate.up(Settings(dsn=dsn))
    chosen, store, is_to_die = random.Random(seed), Writer.store, []

    def after_a_kill(self, *given):
        if is_to_die:
            is_to_die.clear()
            cluster.kill()
            cluster.start()
        return store(self, *given)

    monkeypatch.setattr(Writer, "store", after_a_kill)
    # without a spool a batch waits for the server for all that time
    exporter = PostgresSpanExporter(dsn, export_timeout_millis=25_000, spool_max_bytes=0)
    for first in range(0, ROUNDS * SPANS, SPANS):
        is_to_die.append(True)
        exporter.export([span_of(number, chosen) for number in range(first + 1, first + SPANS + 1)])
        assert exporter.last_error is None
    exporter.shutdown()
    with psycopg.connect(dsn) as connection:
        ((count, whole),) = connection.execute("SELECT count(*), count(input) FROM otel.tasks").fetchall()
    assert (cluster.kills, count) == (ROUNDS, ROUNDS * SPANS)
    return count - whole


def span_of(number, chosen):
    now = time.time_ns()  # texts of a day that is over are sent again anyway
    return ReadableSpan(
        "n", SpanContext(7, number, False, TraceFlags(1)), resource=Resource({}), start_time=now, end_time=now,
        attributes={"otel_pg.category": "task", "input.value": chosen.randbytes(5000).hex()},
    )  # fmt: skip


def test_no_row_is_without_its_text(cluster, monkeypatch, seed):
    """However often the server loses the texts that it said it had."""
    assert 0 == incomplete_after_kills(cluster, monkeypatch, seed)


def test_a_build_that_trusts_what_it_was_told_leaves_rows_without(cluster, monkeypatch, seed):
    """The counterpart: it does not send the texts again."""
    broken.BUILDS["remember_for_ever"](monkeypatch.setattr)

    assert incomplete_after_kills(cluster, monkeypatch, seed)
