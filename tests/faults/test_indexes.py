"""Indexes are made and dropped beside programs that write: nobody waits for long, whoever else holds the tables."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest
from harness.inserting import Inserting
from harness.rows import NOW, Rows
from harness.workload import wait_until

from otel_pg_exporter import sql_files
from otel_pg_exporter.config import Settings
from otel_pg_exporter.schema import indexes

HOLDING_SECONDS, AT_LAST_SECONDS = 4.0, 60.0
LONGEST_WAIT_SECONDS = 2.0
"""A fifth of a second by the rules, and slack for a machine that is busy."""
PARTITION = f"otel.task_events_p{NOW:%Y%m%d}"
ROW = f"""INSERT INTO {{into}} (trace_id, span_id, batch_id, batch_index, "time", trace_flags, kind, status_code,
    resource_id, scope_id, record, event_type, event_name, status, input, attributes)
    VALUES ('{"0" * 31}1', 1, '{"0" * 32}', 1, '{NOW}', 1, 1, 0, '{"0" * 32}', '{"0" * 32}', 'span', 'x', 'beside',
    'completed', '"where is it"', '{{{{"order": 7}}}}')"""


def beside_a_writer(dsn: str, holding: str, work: Callable[[], object], is_broken: bool) -> Inserting:
    """Work while a session holds what a statement takes, and a program writes: for four seconds, or, beside a broken
    build, until the program has waited for too long."""
    with psycopg.connect(dsn) as holder, Inserting(dsn, ROW.format(into="otel.task_events"), pause=0.01) as writer:

        def let_go() -> None:
            seconds = AT_LAST_SECONDS if is_broken else HOLDING_SECONDS
            wait_until(lambda: writer.longest > LONGEST_WAIT_SECONDS, seconds)
            holder.rollback()

        holder.execute(holding.encode())
        letting_go = threading.Thread(target=let_go)
        letting_go.start()
        work()
        letting_go.join()
    return writer


@pytest.fixture
def settings(dsn: str):
    """Of a database with yesterday and today, and queries that are as they were when the test is over."""
    rows = Rows(dsn)
    rows.add("task_events", 500, input='"where is it"', attributes='{"order": 7}')
    rows.connection.close()
    yield Settings(dsn=dsn)
    sql_files.query.cache_clear()


@pytest.mark.parametrize("kind", indexes.KINDS)
@pytest.mark.parametrize("is_broken", [False, True])
def test_an_index_of_a_partition_keeps_no_writer_out(settings, monkeypatch, is_broken, kind):
    """A transaction has written into the partition and is not over: the build waits for it, and nobody for the build.
    A build by plain CREATE INDEX waits too, and all writers behind it."""
    if is_broken:
        plain = sql_files._queries()["create_partition_index"].replace(" CONCURRENTLY", "")
        queries = {**sql_files._queries(), "create_partition_index": plain}
        monkeypatch.setattr(sql_files, "_queries", lambda: queries)
        sql_files.query.cache_clear()

    holding = ROW.format(into=PARTITION)
    writer = beside_a_writer(settings.dsn, holding, lambda: indexes.create(kind, settings), is_broken)

    if is_broken:
        assert writer.longest > LONGEST_WAIT_SECONDS
        return
    assert writer.longest < LONGEST_WAIT_SECONDS
    assert all(
        each.is_on and each.partitions == each.indexed == 2 for each in indexes.status(settings) if each.kind == kind
    )
    with psycopg.connect(settings.dsn) as connection:
        connection.execute("SET enable_seqscan = off")
        found = connection.execute("""SELECT count(*) FROM otel.task_events WHERE attributes @> '{"order": 7}'""")
        assert (500 + writer.count,) == found.fetchone(), "what was written meanwhile is in it"


@pytest.mark.parametrize("change", [indexes.create, indexes.drop])
@pytest.mark.parametrize("is_broken", [False, True])
def test_what_takes_the_table_for_itself_gives_way(settings, monkeypatch, is_broken, change):
    """A transaction has written into the table and is not over: what begins and ends with an index waits for it for
    a fifth of a second, lets the others go first, and tries again. A build that waits as long as it takes keeps them
    out."""
    if change is indexes.drop:
        indexes.create("attributes", settings)
    if is_broken:
        monkeypatch.setattr(indexes, "_LOCK_SECONDS", 60.0)
        monkeypatch.setattr(indexes, "_SECONDS", 60.0)

    holding = ROW.format(into="otel.task_events")
    writer = beside_a_writer(settings.dsn, holding, lambda: change("attributes", settings), is_broken)

    assert is_broken == (writer.longest > LONGEST_WAIT_SECONDS), writer.longest
    assert {change is indexes.create} == {each.is_on for each in indexes.status(settings) if each.kind == "attributes"}


def test_a_table_that_is_always_in_use_is_said(settings, monkeypatch):
    """What is done stays; the next call goes on."""
    monkeypatch.setattr(indexes, "_ATTEMPTS", 2)
    with psycopg.connect(settings.dsn) as holder:
        holder.execute(ROW.format(into="otel.task_events").encode())
        with pytest.raises(indexes.DatabaseUnavailable, match="in use at each of 2 attempts"):
            indexes.create("attributes", settings)
    made = {each.table: each.is_on for each in indexes.status(settings) if each.kind == "attributes"}
    assert {"events": True, "task_events": False, "agent_events": False, "deployment_events": False} == made
    indexes.create("attributes", settings)
    assert all(each.is_on for each in indexes.status(settings) if each.kind == "attributes")
