"""`otel-pg ps` as it is typed, and work that goes on in another process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from harness.delays import bring_in

from otel_pg_exporter import EventQuery

PAGE = Path(__file__).parents[2] / "docs" / "runs.md"

HOLD = """
import sys, time
from instrumentation import agent
from otel_pg_exporter import configure
configure(dsn=sys.argv[1], heartbeat_seconds=1)
with agent("ada \\x1b[31m"): time.sleep(600)
"""
ASK = """
import sys
from instrumentation import action, agent, current, task
from otel_pg_exporter import configure
telemetry = configure(dsn=sys.argv[1])

@agent("ada", session_id="s1")
def ada():
    with action("look up"): pass
    with action("approval", kind="approval") as approval:
        return approval.suspend()

with task("refund", task_id="42"):
    token = ada()
open(sys.argv[2], "w").write(token)
"""
GO_ON = """
import sys
from instrumentation import action, resume
from otel_pg_exporter import configure
telemetry = configure(dsn=sys.argv[1])
with resume(open(sys.argv[2]).read() + "\\n"), action("pay"): pass
"""


def ps(dsn, *arguments):
    command = [sys.executable, "-m", "otel_pg_exporter.cli", "--dsn", dsn, "ps", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done


def lines(dsn, *arguments, wanted):
    """The answer as JSON, as soon as it has so many lines."""
    deadline = time.monotonic() + 60
    while len(found := ps(dsn, "--json", *arguments).stdout.splitlines()) != wanted and time.monotonic() < deadline:
        pass
    assert wanted == len(found)
    return [json.loads(line) for line in found]


def test_it_lists_what_runs_and_what_died(dsn):
    """A table that steers no terminal, lines of JSON, and after a kill -9 the same under --lost."""
    with subprocess.Popen([sys.executable, "-c", HOLD, dsn]) as process:
        try:
            (run,) = lines(dsn, wanted=1)
            # which is lost for a moment where the machine keeps it from giving a sign of life
            deadline = time.monotonic() + 60
            while not (table := ps(dsn).stdout) and time.monotonic() < deadline:
                pass
        finally:
            process.kill()
    (lost,) = lines(dsn, "--lost", "--since", "1h", wanted=1)

    assert ("started", "lost") == (run["status"], lost["status"])
    assert ("ada \x1b[31m", "agent", process.pid) == (run["event_name"], run["category"], run["pid"])
    assert run["trace_id"] == lost["trace_id"]
    assert "\x1b" not in table
    for shown in ("ada", "agent", "running", str(process.pid), run["trace_id"]):
        assert shown in table
    assert "lost" in ps(dsn, "--lost").stdout
    command = [sys.executable, "-m", "otel_pg_exporter.cli", "--dsn", dsn, "show", lost["trace_id"][:12]]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert shown.startswith(f"trace {lost['trace_id']}\n\nnot ended:\n")
    assert re.search(r"ada \S+ +agent +lost", shown)
    assert "" == ps(dsn, "--json").stdout
    with EventQuery(dsn=dsn) as query:
        assert ["lost"] == [run.status for run in query.unfinished(lost["trace_id"])]


TWO = """
import sys, time
from instrumentation import task
from otel_pg_exporter import configure
configure(dsn=sys.argv[1], heartbeat_seconds=1)
with task("first"), task("second"): time.sleep(600)
"""


def test_a_list_that_its_limit_ends_says_so(dsn):
    """On stderr, so that the lines of JSON stay as they are; not where all that runs is listed."""
    with subprocess.Popen([sys.executable, "-c", TWO, dsn]) as process:
        try:
            lines(dsn, wanted=2)
            deadline = time.monotonic() + 60
            while len((some := ps(dsn, "--json", "--limit", "1")).stdout.splitlines()) != 1:
                assert time.monotonic() < deadline
            every = ps(dsn, "--json", "--limit", "3")
        finally:
            process.kill()

    assert "there may be more than these 1: --limit 10000 lists more\n" == some.stderr
    assert "" == every.stderr


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--since", "1h"], "--lost"), (["--lost", "--since", "1y"], "1y"), (["--limit", "0"], "0")]
)
def test_what_it_does_not_understand_is_said(arguments, said):
    """Exit code 2 and the reason, without a database."""
    done = ps("host=127.0.0.1 port=1", *arguments)
    assert 2 == done.returncode
    assert said in done.stderr


def test_one_trace_over_pause_and_restart(dsn, tmp_path):
    """Work that is suspended in one process and resumed in another is one tree with one root, joined by a link."""
    for program in (ASK, GO_ON):
        subprocess.run([sys.executable, "-c", program, dsn, tmp_path / "token"], check=True, timeout=120)
    bring_in(dsn)

    with EventQuery(dsn=dsn) as query:
        (root,) = query.task_events(name="refund")
        trace = query.trace(root.trace_id)
    with psycopg.connect(dsn) as connection:
        (producers,) = connection.execute("SELECT count(DISTINCT producer_id) FROM otel.event_batches").fetchone()

    found = [(depth, node.name, node.status) for depth, node in trace.walk()]
    assert [
        (0, "refund", "completed"),
        (1, "ada", "completed"),
        (2, "look up", "completed"),
        (2, "approval", "suspended"),
        (3, "approval", "completed"),
        (4, "pay", "completed"),
    ] == found
    assert 2 == producers
    *_, suspended, resumed, pay = [node.row for _, node in trace.walk()]
    (link,) = resumed["links"]
    assert (root.trace_id, f"{suspended['span_id'] & (1 << 64) - 1:016x}") == (link["trace_id"], link["span_id"])
    assert resumed["parent_is_remote"]
    for row in (suspended, resumed, pay):
        assert ("42", "ada", "s1") == (row["task_id"], row["agent_name"], row["session_id"])
    assert ("approval", "approval") == (suspended["action"], resumed["action"])


def test_the_pages_programs_run(dsn):
    """Each piece of Python on docs/runs.md does what it says: refund is one trace of two blocks."""
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    text = "from otel_pg_exporter import configure\nconfigure()\n" + "\n".join(programs)

    environment = {**os.environ, "OTEL_EXPORTER_POSTGRES_DSN": dsn}
    subprocess.run([sys.executable, "-c", text], check=True, timeout=120, env=environment)
    bring_in(dsn)

    with EventQuery(dsn=dsn) as query:
        suspended, resumed = query.task_events(name="refund", order_direction="asc")
    assert ("suspended", "completed") == (suspended.status, resumed.status)
    assert (suspended.trace_id, suspended.span_id) == (resumed.trace_id, resumed.parent_span_id)
    assert ("42", True) == (resumed.task_id, resumed.attributes["approved"])
