"""The examples and the pages of the event integration and the configuration, as a user would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from harness.delays import apart_from_delays, bring_in

from otel_pg_exporter.events.event_types import OCCASIONS

ROOT = Path(__file__).parents[2]
TABLES = ("events", "task_events", "agent_events", "deployment_events")


def run(*command: str, dsn: str) -> str:
    """What a command prints, in a process of its own; a warning or an error fails."""
    environment = {**os.environ, "OTEL_EXPORTER_POSTGRES_DSN": dsn}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert ("", 0) == (apart_from_delays(done.stderr), done.returncode)
    return done.stdout


def example(name: str, dsn: str) -> str:
    return run(sys.executable, str(ROOT / "examples" / f"{name}.py"), dsn=dsn)


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text("utf-8")


def stored(dsn: str, schema: str = "otel") -> dict[tuple[str, str], int]:
    """(table, type) → rows."""
    bring_in(dsn, schema=schema)
    with psycopg.connect(dsn) as connection:
        return {
            (table, event_type): count
            for table in TABLES
            for event_type, count in connection.execute(
                f"SELECT event_type, count(*) FROM {schema}.{table} GROUP BY 1"
            ).fetchall()
        }


def test_the_integration_example_hears_and_stores(empty_dsn):
    """Three tasks, one of which fails; each end has a duration."""
    lines = example("event_integration", empty_dsn).splitlines()

    assert "heard: no coffee is left" == lines[0]
    assert ["task:started", "task:completed", "task:started", "task:error", "task:started", "task:completed"] == [
        line.split()[0] for line in lines[1:]
    ]
    assert [False, True] * 3 == [line.endswith(" ms") for line in lines[1:]]
    assert {
        ("events", "stock_counted"): 1,
        ("task_events", "task_execution"): 6,
        ("agent_events", "agent_lifecycle"): 2,
    } == stored(empty_dsn)


def test_the_decorators_example_shows_its_tree(empty_dsn):
    """The import, the generator, three lines of which one is wrong, and the coroutine."""
    shown = example("decorators", empty_dsn)

    assert 1 == shown.count("ERROR")
    assert 3 == shown.count("parse ")
    assert 6 == stored(empty_dsn)["task_events", "task_execution"]


def test_the_agents_example_counts_tokens(empty_dsn):
    """Three runs, three tool calls, two model calls; the failed tool fails its agent."""
    lines = example("agents", empty_dsn).splitlines()

    assert ["Lisbon: Take sunglasses.", "Oslo: Take a coat.", "Atlantis: nobody knows"] == lines[:3]
    assert "8 agent events, 2 errors" == lines[3]
    assert lines[4].endswith("0.0008 USD")


def test_the_deployments_example_names_what_broke(empty_dsn):
    """Staging went well, production did not."""
    lines = example("deployments", empty_dsn).splitlines()

    assert "production: the shop does not answer" == lines[0]
    assert [
        ["staging", "4f2a91c", "tests", "success", "completed"],
        ["production", "4f2a91c", "tests", "failure", "error"],
    ] == [line.split() for line in lines[1:]]


def test_all_examples_run_in_one_go(empty_dsn):
    """What is printed by table and type is what is there."""
    shown = example("run_all", empty_dsn)

    counted = {(a, b): int(n) for a, b, n in map(str.split, shown.partition("--- stored\n")[2].splitlines())}
    assert stored(empty_dsn) == counted
    assert set(TABLES) == {table for table, _ in counted}
    names = {path.stem for path in (ROOT / "examples").glob("*.py")} - {"run_all", "demo", "research_agent"}
    assert names == set(re.findall(r"^--- (\w+)\.py$", shown, re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "count", "schema"), [("event-integration", 4, "otel"), ("configuration", 2, "telemetry")]
)
def test_the_blocks_of_a_page_are_a_program(empty_dsn, name, count, schema):
    """One after the other they run, and store something."""
    blocks = re.findall(r"```python\n(.*?)```", page(name), re.DOTALL)

    run(sys.executable, "-c", "\n".join(blocks), dsn=empty_dsn)

    assert count == len(blocks)
    found = stored(empty_dsn, schema)
    assert found
    assert not [table for table, _ in found if table == "deployment_events"]


def test_the_blocks_of_the_event_stores_page_are_a_program(empty_dsn):
    """With its own transaction, paging, asyncio and health; each category has rows."""
    blocks = re.findall(r"```python\n(.*?)```", page("event-store"), re.DOTALL)

    shown = run(sys.executable, "-c", "\n".join(blocks), dsn=empty_dsn)

    assert 6 == len(blocks)
    assert set(TABLES) == {table for table, _ in stored(empty_dsn)}
    assert "<EventPage of 1>" == shown.splitlines()[-2]
    assert shown.splitlines()[-1].startswith("True None ")


def test_the_page_shows_the_twelve_events_as_they_are():
    """Its table and the code's are the same."""
    tables = {"system": "events"}
    expected = [
        [
            f"`{known.name}`",
            f"`{tables.get(known.category, f'{known.category}_events')}`",
            f"`{known.event_type}`" if known.event_type else "as given",
            known.status or "as given",
            "".join(f"`{key}`" for key in known.required),
            "begins" if known.opens else "as given" if not known.carries else "since the start"
            + ("" if known.closes else ", which goes on"),
        ]
        for known in OCCASIONS.values()
    ]  # fmt: skip

    rows = re.findall(r"^\| (`\w+:\w+`.*) \|$", page("event-integration"), re.MULTILINE)
    assert expected == [[cell.strip() for cell in row.split(" |")] for row in rows]
