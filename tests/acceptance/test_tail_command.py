"""`otel-pg tail` as it is typed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_pg_exporter import EventStore

PAGE = Path(__file__).parents[2] / "docs" / "tail.md"


@pytest.fixture
def store(dsn):
    with EventStore(dsn=dsn, health_monitoring=False) as opened:
        yield opened


def run(dsn, *arguments):
    command = [sys.executable, "-m", "otel_pg_exporter.cli", "--dsn", dsn, "tail", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_it_prints_what_is_there_and_goes_on_from_a_cursor(dsn, store):
    """A line for each event, harmless to the terminal; JSON with the cursor after it."""
    store.log_task_event(event_name="sent \x1b[31m", task_id="1", duration_seconds=0.5, wait=True)
    store.log_agent_event(event_name="looked", agent_id="a", error_type="Timeout", wait=True)

    plain, (first, second) = run(dsn), [json.loads(line) for line in run(dsn, "--json").stdout.splitlines()]

    assert "\x1b" not in plain.stdout
    assert re.search(r"task +completed +500\.0 ms sent .\[31m\n.* agent +error +looked Timeout\n", plain.stdout)
    assert ["sent \x1b[31m", "looked"] == [first["event_name"], second["event_name"]]
    assert "looked" in run(dsn, "--cursor", first["cursor"]).stdout
    assert "" == run(dsn, "--cursor", second["cursor"]).stdout
    assert "sent" not in run(dsn, "--category", "agent").stdout
    assert 1 == len(run(dsn, "--limit", "1").stdout.splitlines())


def test_following_it_prints_what_comes(dsn, store):
    """Until it is interrupted, which is no error of it."""
    command = [sys.executable, "-m", "otel_pg_exporter.cli", "--dsn", dsn, "tail", "-f", "--from-start", "--limit", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        store.log_system_event(event_name="first", wait=True)
        assert "first" in following.stdout.readline()
        time.sleep(0.5)
        store.log_system_event(event_name="second", wait=True)
        assert "second" in following.stdout.readline()
        assert 0 == following.wait(30)


def test_a_wrong_cursor_or_two_beginnings_are_wrong_usage(dsn, store):
    """With exit code 2."""
    store.log_system_event(event_name="first", wait=True)
    cursor = json.loads(run(dsn, "--json").stdout)["cursor"]

    wrong, both = run(dsn, "--cursor", "nonsense"), run(dsn, "-f", "--from-start", "--cursor", cursor)

    assert (2, 2) == (wrong.returncode, both.returncode)
    assert wrong.stderr.endswith("cursor='nonsense' is not one that a tail gave\n")
    assert "one of them says where to begin" in both.stderr


def test_the_page_runs(dsn, monkeypatch, capsys):
    """The example of docs/tail.md."""
    monkeypatch.setenv("OTEL_EXPORTER_POSTGRES_DSN", dsn)
    with EventStore(dsn=dsn, health_monitoring=False) as opened:
        opened.log_agent_event(event_name="looked", agent_id="a", error_message="no answer", wait=True)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)

    exec(compile(code, str(PAGE), "exec"), {})

    assert "looked no answer" in capsys.readouterr().out
