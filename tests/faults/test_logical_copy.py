"""A copy by logical replication, as docs/scale.md says: it has what is stored, and loses what is erased."""

from __future__ import annotations

import re
import time
from pathlib import Path

import psycopg
import pytest
from harness.cluster import Cluster
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags
from psycopg.conninfo import conninfo_to_dict

from otel_pg_exporter import EventQuery, migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.exporter import PostgresSpanExporter
from otel_pg_exporter.schema import partitions
from otel_pg_exporter.upkeep.erasure import erase

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text("utf-8")
SECONDS = 30


def spans():
    """One for each trace, with texts that are stored apart: one that all have, and one of their own."""
    for number in range(1, 4):
        now = time.time_ns()
        yield ReadableSpan(
            "n", SpanContext(number, number, False, TraceFlags(1)), resource=Resource({}), start_time=now, end_time=now,
            attributes={
                "otel_pg.category": "task", "input.value": "common " * 1000, "output.value": f"{number} " * 2000,
            },
        )  # fmt: skip


def wait_until(holds):
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def count(dsn, table):
    with psycopg.connect(dsn) as connection:
        ((found,),) = connection.execute(f"SELECT count(*) FROM otel.{table}").fetchall()
    return found


def statements(dsn):
    """Those of the page, for the server that is copied."""
    publication, subscription = re.findall(r"^CREATE (?:PUB|SUB)[^;]*;", PAGE, re.MULTILINE)
    parts = conninfo_to_dict(dsn)
    return publication, re.sub(
        r"CONNECTION '[^']*'", f"CONNECTION '{psycopg.conninfo.make_conninfo(**parts)}'", subscription
    )


def test_a_copy_has_what_is_stored_and_loses_what_is_erased(tmp_path):
    """Rows, texts and statistics."""
    with (
        Cluster(tmp_path / "first", {"fsync": "off", "wal_level": "logical"}) as first,
        Cluster(tmp_path / "second", {"fsync": "off"}) as second,
    ):
        here, there = first.database(), second.database()
        with psycopg.connect(here) as connection:
            if connection.info.server_version < 130000:
                pytest.skip("the publication on the page is for PostgreSQL 13 and newer")
        for dsn in (here, there):
            migrate.up(dsn=dsn)
        partitions.ahead(Database(Settings(dsn=there)), 1)
        publication, subscription = statements(here)
        for dsn, statement in ((here, publication), (there, subscription)):
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(statement)
        exporter = PostgresSpanExporter(here)
        exporter.export([*spans()])
        exporter.shutdown()
        wait_until(lambda: count(there, "task_events") == 3)

        erase(dsn=here, trace_id=f"{1:032x}")
        wait_until(lambda: count(there, "task_events") == 2)

        for table in ("contents", "event_summaries", "event_batches"):  # each is first copied by itself
            wait_until(lambda table=table: count(there, table) == count(here, table))
        with EventQuery(dsn=here) as ours, EventQuery(dsn=there) as theirs:
            assert [event.to_dict() for event in ours.task_events()] == [
                event.to_dict() for event in theirs.task_events()
            ]
            assert 2 == theirs.statistics().count
        with psycopg.connect(there, autocommit=True) as connection:
            connection.execute("DROP SUBSCRIPTION events")
