"""Programs as a user would run them: the demo, the command line, and the README's example."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from harness.delays import apart_from_delays, bring_in
from psycopg.conninfo import make_conninfo

ROOT = Path(__file__).parents[2]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment}
    )
    done.stderr = apart_from_delays(done.stderr)
    return done


def otel_pg(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "otel_pg_exporter.cli", *arguments, **environment)


def test_the_demo_shows_what_it_stored(empty_dsn):
    """The demo prints the tree, the rows, the statistics and where the data lies."""
    done = run(sys.executable, str(ROOT / "examples" / "demo.py"), OTEL_EXPORTER_POSTGRES_DSN=empty_dsn)

    assert ("", 0) == (done.stderr, done.returncode)
    for part in (
        "CANCELLED",
        "ERROR  TimeoutError",
        "agent_events              8",
        "412 in, 58 out",
        "The data lies in",
    ):
        assert part in done.stdout
    with psycopg.connect(empty_dsn) as connection:
        secrets = connection.execute("SELECT count(*) FROM otel.agent_events t WHERE t::text LIKE '%sk-not-for%'")
        assert (0,) == secrets.fetchone()


def test_the_demo_runs_on_the_embedded_server(tmp_path):
    """With nothing configured the demo starts a server of its own, and stops it at its end."""
    done = run(sys.executable, str(ROOT / "examples" / "demo.py"), EVENT_DATA_DIR=str(tmp_path / "data"))

    assert ("", 0) == (done.stderr, done.returncode)
    assert str(tmp_path / "data") in done.stdout
    assert not (tmp_path / "data" / "postmaster.pid").exists()


def test_the_example_of_the_readme_runs(empty_dsn):
    """The first Python block of the README does what the README shows."""
    (program, *_) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)

    done = run(sys.executable, "-c", program, OTEL_EXPORTER_POSTGRES_DSN=empty_dsn)

    assert ("", 0) == (done.stderr, done.returncode)
    assert ["answer", "researcher", "search"] == re.findall(r"(?:─ )?(\w+) +(?:task|invoke|tool)", done.stdout)


def test_the_basic_example_shows_what_it_stored(empty_dsn):
    """One line for each event, and the statistics."""
    done = run(sys.executable, str(ROOT / "examples" / "basic_event_store.py"), OTEL_EXPORTER_POSTGRES_DSN=empty_dsn)

    assert ("", 0) == (done.stderr, done.returncode)
    assert [
        ["system", "user_action", "login", "completed"],
        ["task", "task_execution", "invoice sent", "completed"],
        ["agent", "agent_action", "looked up", "completed"],
        ["deployment", "deployment", "released", "error"],
    ] == [re.split(r" {2,}| (?=completed|error)", line) for line in done.stdout.splitlines()[:4]]
    assert "4 events, 1 of them errors\naverage duration 0.5 s\nhealthy\n" in done.stdout


def test_the_readmes_event_goes_with_the_callers_transaction(empty_dsn):
    """The README's block about the event store runs."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if "EventStore()" in block]
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("CREATE TABLE orders (id integer)")
    program = f"import psycopg\nfrom otel_pg_exporter import EventStore\ndsn = {empty_dsn!r}\n{block}"

    done = run(sys.executable, "-c", program, OTEL_EXPORTER_POSTGRES_DSN=empty_dsn)

    assert ("", 0) == (done.stderr, done.returncode)
    with psycopg.connect(empty_dsn) as connection:
        assert (7, "7") == connection.execute("SELECT id, task_id FROM orders, otel.task_events").fetchone()


def test_the_page_of_the_event_store_runs(empty_dsn):
    """Its Python blocks, one after the other, are a program that stores what it shows."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "event-store.md").read_text("utf-8"), re.DOTALL)

    done = run(sys.executable, "-c", "\n".join(blocks), OTEL_EXPORTER_POSTGRES_DSN=empty_dsn)

    assert ("", 0) == (done.stderr, done.returncode)
    assert len(blocks) == 6
    bring_in(empty_dsn)
    with psycopg.connect(empty_dsn) as connection:
        names = [name for (name,) in connection.execute("SELECT event_name FROM otel.task_events ORDER BY 1")]
        assert ["invoice sent", "order taken", "retried"] == names
        assert [(7,)] == connection.execute("SELECT id FROM orders").fetchall()


def test_the_page_of_the_event_store_names_every_field():
    """Its table and the shapes are the same."""
    from dataclasses import fields

    from otel_pg_exporter.events.shapes import SHAPES, EventShape

    page = (ROOT / "docs" / "event-store.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `?(\w+)`? \| (`event_name`.*|`.*) \|$", page, re.MULTILINE))
    common = {field.name for field in fields(EventShape)}
    assert common == set(re.findall(r"\w+", rows["all"]))
    for shape in SHAPES.values():
        assert {field.name for field in fields(shape)} - common == set(re.findall(r"\w+", rows[shape.__name__]))


def test_every_command_explains_itself():
    """Each command of the command line has a help text."""
    for command in ((), ("health",), ("migrate", "up"), ("show",), ("stats",), ("db", "psql")):
        done = otel_pg(*command, "--help")
        assert 0 == done.returncode
        assert len(done.stdout.splitlines()) > 3


def test_health_migrate_and_stats_work_together(empty_dsn):
    """A database goes from nothing to tables and back by commands."""
    environment = {"OTEL_EXPORTER_POSTGRES_DSN": empty_dsn}

    assert "0001 initial" in otel_pg("migrate", "status", **environment).stdout
    assert "applied 0001 initial" in otel_pg("migrate", "up", **environment).stdout
    assert json.loads(otel_pg("health", "--json", **environment).stdout)["is_healthy"]
    assert 0 == json.loads(otel_pg("stats", "--json", "--since", "24h", **environment).stdout)["count"]
    assert 1 == otel_pg("show", "ab" * 16, **environment).returncode
    assert "took back 0001" in otel_pg("migrate", "down", "--yes", **environment).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--dsn", "mysql://u:secret@h/d", "health"], 2, "dsn='mysql://u:***@h/d' is not allowed"),
        (["--table-prefix", "x;y", "health"], 2, "table_prefix='x;y' is not allowed"),
        (["--dsn", "host=127.0.0.1 port=9", "migrate", "up"], 1, "cannot reach host=127.0.0.1 port=9"),
        (["--dsn", "host=127.0.0.1 port=9", "stats"], 1, "cannot reach host=127.0.0.1 port=9"),
    ],
)
def test_an_error_is_one_line(arguments, code, said):
    """What is wrong is said in one line that names it, without a traceback; before wrong usage stands the right one."""
    done = otel_pg(*arguments)

    assert code == done.returncode
    *usage, line = done.stderr.splitlines()
    assert bool(usage) == (code == 2)
    assert said in line
    assert "secret" not in done.stderr + done.stdout


def test_missing_rights_name_the_command(empty_dsn):
    """A role that may not create a schema is told what to grant."""
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS beggar")
        connection.execute("CREATE ROLE beggar LOGIN")
    try:
        done = otel_pg("--dsn", make_conninfo(empty_dsn, user="beggar"), "migrate", "up")
    finally:
        with psycopg.connect(empty_dsn, autocommit=True) as connection:
            connection.execute("DROP ROLE beggar")

    assert 1 == done.returncode
    assert "GRANT CREATE ON DATABASE" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    ["ls", "errors", "deploys", "show last", "stats", "top", "ps", "export", "partitions list", "indexes list"],
)
def test_who_only_reads_makes_no_tables(empty_dsn, arguments):
    """The name of the schema may be a slip."""
    done = otel_pg("--dsn", empty_dsn, "--schema", "otle", *arguments.split())

    assert 1 == done.returncode
    assert "nothing is stored in schema 'otle'" in done.stderr
    with psycopg.connect(empty_dsn) as connection:
        assert (0,) == connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'otle'").fetchone()


def test_a_disk_without_room_is_one_line(empty_dsn):
    """No traceback, and exit code 1."""
    command = [sys.executable, "-m", "otel_pg_exporter.cli", "--dsn", empty_dsn, "health"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert (1, "Error: cannot write: No space left on device\n") == (done.returncode, done.stderr)


def test_a_query_that_nobody_closes_keeps_no_program_from_its_end(empty_dsn):
    """Its threads end before Python does, which from 3.13 on waits for each of them in vain, for 20 s in all."""
    program = """if True:
        import asyncio, atexit, threading

        @atexit.register
        def left():  # registered first, called last
            print([thread.name for thread in threading.enumerate() if thread.name.startswith("otel-pg-exporter")])

        from otel_pg_exporter import AsyncEventQuery, EventQuery

        query, awaited = EventQuery(), AsyncEventQuery()
        print(len(query.events()), len(asyncio.run(awaited.events())), "otel-pg" in str(threading.enumerate()))
    """
    done = run(sys.executable, "-c", program, OTEL_EXPORTER_POSTGRES_DSN=empty_dsn)

    assert ("", "0 0 True\n[]\n") == (done.stderr, done.stdout)


@pytest.mark.parametrize("use", ["query.counts()", "query.health().is_healthy", "asyncio.run(awaited.counts())"])
def test_an_embedded_server_that_a_query_has_started_ends_with_its_program(tmp_path, use):
    """Nobody closes the query, and no other program uses the server: it does not run on for ever."""
    program = f"""if True:
        import asyncio
        from otel_pg_exporter import AsyncEventQuery, EventQuery
        query, awaited = EventQuery(), AsyncEventQuery()
        print(bool({use}))
    """
    done = run(sys.executable, "-c", program, EVENT_DATA_DIR=str(tmp_path / "data"))

    assert ("", "True\n") == (done.stderr, done.stdout)
    assert not list(tmp_path.glob("data/**/postmaster.pid"))
