"""SQL as a contract: names and types stay, the page is what the database says, and each function is right."""

from __future__ import annotations

import importlib.util
import re
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from harness.rows import NOW, TRACE

from otel_pg_exporter import EventStore, migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.sql_files import FUNCTIONS, READING, WHOLE, WORDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sql.md").read_text("utf-8")

_spec = importlib.util.spec_from_file_location("sql_page", ROOT / "docs" / "sql_page.py")
sql_page = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sql_page)


def snapshot(version: int) -> list[str]:
    """What that version of the contract promises, as it was written down when it was made."""
    return (ROOT / "tests" / "fixtures" / "contract" / f"version_{version}.txt").read_text("utf-8").splitlines()


def broken_promises(connection: psycopg.Connection[Any]) -> tuple[list[str], list[str]]:
    """What is in the snapshot of the database's version and not in the database, and the other way round."""
    contract = sql_page.Contract(connection)
    promised, there = snapshot(contract.version), contract.facts()
    return [fact for fact in promised if fact not in there], [fact for fact in there if fact not in promised]


def test_names_and_types_are_those_that_were_promised(dsn):
    """Of each view, function and type. What is new is added to tests/fixtures/contract by hand; what is missing there
    was promised, and goes only with a new version."""
    with psycopg.connect(dsn) as connection:
        missing, new = broken_promises(connection)

    assert ([], []) == (missing, new)


@pytest.mark.parametrize(
    ("change", "promise"),
    [
        ("ALTER TABLE otel.llm_usage RENAME COLUMN cost TO price", "view llm_usage.cost double precision"),
        ("DROP FUNCTION otel.subtree_totals", "function subtree_totals("),
        ("ALTER TYPE otel.trace_node DROP ATTRIBUTE depth", "type trace_node.depth integer"),
        ("DROP VIEW otel.errors CASCADE", "view errors.trace_id uuid"),
    ],
)
def test_a_promise_that_is_broken_is_noticed(dsn, change, promise):
    """A renamed column, a dropped function, an attribute less, a view less."""
    with psycopg.connect(dsn) as connection:
        connection.execute(change.encode())
        missing, _ = broken_promises(connection)

    assert any(fact.startswith(promise) for fact in missing)


def test_the_page_is_what_the_database_says(dsn):
    """docs/sql.md from its marker on; `make docs` writes it."""
    with psycopg.connect(dsn) as connection:
        contract = sql_page.Contract(connection)

    assert f"\n{contract.page()}" == PAGE.partition(sql_page.MARKER)[2]
    assert f"version {contract.version}" in PAGE


def test_every_function_is_safe_for_a_reader(dsn):
    """None changes anything, or looks for names where a reader could put some; those that run as another give no more
    than the text whose ids they are given."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT proname, provolatile, prosecdef, 'search_path=pg_catalog, pg_temp' = ANY(proconfig),"
            " has_function_privilege('pg_monitor', oid, 'EXECUTE') FROM pg_proc"
            " WHERE pronamespace = 'otel'::regnamespace"
        ).fetchall()

    assert {*FUNCTIONS, *READING} == {name for name, *_ in rows}
    assert {"i", "s"} == {volatility for _, volatility, *_ in rows}
    assert all(is_safe for *_, is_safe, _ in rows)
    assert {*WHOLE} == {name for name, _, runs_as_another, *_ in rows if runs_as_another}
    assert {*WORDS} == {name for name, *_, everybody_may in rows if everybody_may}


def test_the_queries_of_the_page_run(rows):
    """Each piece of SQL above the marker gives rows, of data that has something of all that they ask for."""
    early = NOW - timedelta(hours=4)
    rows.add("events", 9, status="error", time=early, trace_id=uuid.uuid4(), error_type="Timeout")
    rows.add("deployment_events", time=early - timedelta(minutes=5), pipeline="shop", trace_id=uuid.uuid4())
    rows.add("task_events", span_id=1, task_id="1", queue="q", status="error", error_type="E", duration_ns=7)
    rows.add("agent_events", span_id=2, parent_span_id=1, action="llm", model="m", input_tokens=1, cost=0.1)
    rows.add("agent_events", span_id=3, parent_span_id=1, action="tool", tool_name="t", duration_ns=8)
    rows.connection.execute("CREATE TABLE orders (id integer, customer text); INSERT INTO orders VALUES (1, 'ada')")
    rows.connection.execute(
        "INSERT INTO otel.open_spans (trace_id, span_id, time, start_unix_nano, process_id, category, event_type,"
        " event_name, attributes) VALUES (%s, 9, %s, 1, %s, 'task', 'x', 'hangs', '{}')",
        [TRACE, NOW, TRACE],
    )
    queries = re.findall(r"```sql\n(.*?)```", PAGE.partition(sql_page.MARKER)[0], re.DOTALL)

    asked = [query for query in queries if query.startswith(("SELECT", "WITH"))]
    assert 8 <= len(asked)
    assert [] == [query for query in asked if not rows.fetch(query)]


def test_the_query_of_the_readme_runs(rows):
    """The last piece of SQL of the README."""
    rows.add("agent_events", action="llm", model="m", input_tokens=1, cost=0.1)
    for query in re.findall(r"```sql\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL):
        rows.fetch(query)


def fetch(connection, statement):
    return connection.execute(statement.encode()).fetchall()


def test_the_step_goes_and_comes_back_and_events_stay(empty_dsn):
    """Down to the tables alone and up again, with rows in them."""
    settings = Settings(dsn=empty_dsn, health_monitoring=False)
    catalogue = (
        "SELECT c.relname, a.attname, col_description(c.oid, a.attnum) FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'otel'::regnamespace AND a.attnum > 0"
        " AND NOT a.attisdropped AND c.relkind IN ('p', 'r', 'v', 'c') AND NOT c.relispartition"
        " ORDER BY c.relname, a.attnum"
    )
    migrate.up(settings, to=1)
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        before = fetch(connection, catalogue)
        migrate.up(settings)
        with EventStore(settings) as store:
            store.log_task_event(event_name="kept", data={"a": 1}, wait=True)
        after = fetch(connection, catalogue)
        migrate.down(settings, to=1)
        assert before == fetch(connection, catalogue)
        functions = fetch(connection, "SELECT proname FROM pg_proc WHERE pronamespace = 'otel'::regnamespace")
        assert {*READING} - {"contents_say"} == {name for (name,) in functions}
        migrate.up(settings)
        assert after == fetch(connection, catalogue)
        assert [("kept",)] == fetch(connection, "SELECT event_name FROM otel.tasks")
