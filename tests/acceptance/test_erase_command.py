"""`otel-pg erase`: what a user sees before and after; and docs/erasure.md, as it is run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psycopg
import pytest

from otel_pg_exporter import EventStore
from otel_pg_exporter.upkeep import erasure

PAGE = (Path(__file__).parents[2] / "docs" / "erasure.md").read_text("utf-8")


@pytest.fixture
def users(dsn):
    """One event of each of two users; the second's session is s-17."""
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        store.log_task_event(event_name="asked", user_id="ada", wait=True)
        store.log_system_event(event_name="asked", user_id="bob", session_id="s-17", wait=True)


def left(dsn):
    with psycopg.connect(dsn) as connection:
        return {user for (user,) in connection.execute("SELECT user_id FROM otel.all_events WHERE user_id IS NOT NULL")}


def test_it_says_what_goes_asks_and_erases(dsn, otel_pg, users):
    """Who says no, or looks, keeps all."""
    looked = otel_pg("erase", "--user", "ada", "--dry-run")
    refused = otel_pg("erase", "--user", "ada", stdin=b"n\n", code=1)
    kept = left(dsn)
    done = otel_pg("erase", "--user", "ada", stdin=b"y\n")

    assert "user ada: 1 row (task 1) of 0 traces, on 1 day\n" == looked.stdout == refused.stdout
    assert "Erase that for ever? [y/N]" in refused.stderr
    assert {"ada", "bob"} == kept
    assert done.stdout.endswith("erased 1 row, and 0 long texts that nothing else refers to\n")
    assert {"bob"} == left(dsn)
    assert "user ada: nothing is stored\n" in otel_pg("erase", "--user", "ada").stdout


def test_a_trace_is_named_as_elsewhere(dsn, otel_pg):
    """By the word last, or by its first digits; another is not found."""
    otel_pg("demo", "--yes")
    with psycopg.connect(dsn) as connection:
        ((trace_id,),) = connection.execute("SELECT DISTINCT trace_id FROM otel.agent_events").fetchall()
    named = otel_pg("erase", "--trace", trace_id.hex[:12], "--dry-run").stdout

    assert re.fullmatch(rf"trace {trace_id.hex}: \d+ rows \(task 1, agent \d+\) of 1 trace, on 1 day\n", named)
    assert named == otel_pg("erase", "--trace", "last", "--dry-run").stdout
    assert "erased" in otel_pg("erase", "--trace", "last", "--yes").stdout
    otel_pg("erase", "--trace", trace_id.hex[:12], "--yes", code=1)


def test_programs_get_a_line_of_json(dsn, otel_pg, users):
    """And are asked nothing, so they have to say that it is meant."""
    assert "--json asks nothing" in otel_pg("erase", "--session", "s-17", "--json", code=2).stderr

    done = json.loads(otel_pg("erase", "--session", "s-17", "--json", "--yes").stdout)

    assert {"traces": 0, "rows": {"system": 1}, "days": 1, "texts": 0, "left": 0} == done
    assert {"ada"} == left(dsn)


def test_what_could_not_be_erased_is_an_error(dsn, otel_pg, users, monkeypatch):
    """Somebody stores all the time."""
    monkeypatch.setattr(erasure, "_PAUSE_SECONDS", 0)
    with psycopg.connect(dsn) as connection:
        connection.execute("LOCK TABLE otel.pruned IN ACCESS SHARE MODE")
        failed = otel_pg("erase", "--user", "ada", "--yes", code=1)

    assert "1 rows are left: their tables are in use" in failed.stderr
    assert {"ada", "bob"} == left(dsn)


@pytest.mark.parametrize("given", [[], ["--user", "a", "--session", "b"]])
def test_one_of_them_has_to_be_named(otel_pg, given):
    """Before anything is looked for."""
    assert "give one of --trace, --session and --user" in otel_pg("erase", *given, code=2).stderr


def test_the_page_runs(dsn, otel_pg, users, monkeypatch, capsys):
    """Its commands, and its Python."""
    monkeypatch.setenv("OTEL_EXPORTER_POSTGRES_DSN", dsn)
    shell, python = re.findall(r"```(?:sh|python)\n(.*?)```", PAGE, re.DOTALL)
    otel_pg("demo", "--yes")

    for line in shell.splitlines():
        otel_pg(*line.partition("#")[0].split()[1:], stdin=b"y\n")
    exec(compile(python, "docs/erasure.md", "exec"), {})

    assert "{} 0 0\n" == capsys.readouterr().out
    assert set() == left(dsn) - {"demo"}
