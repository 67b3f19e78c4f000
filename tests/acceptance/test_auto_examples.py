"""examples/auto: programs that know nothing of us, started as their README says."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from harness.delays import apart_from_delays, bring_in

FOLDER = Path(__file__).parents[2] / "examples" / "auto"
COMMANDS = re.findall(r"^(otel-pg run .*?)(?: &)?$", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE)


def command(part: str) -> list[str]:
    """The README's command that has this in it."""
    (found,) = [each for each in COMMANDS if part in each]
    return shlex.split(found)


def surroundings(dsn: str, **environment: str) -> dict[str, str]:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return {**os.environ, "PATH": path, "OTEL_EXPORTER_POSTGRES_DSN": dsn, **environment}


def test_the_programs_know_nothing_of_us():
    """No file imports OpenTelemetry, capture or storage."""
    for path in FOLDER.rglob("*.py"):
        assert not re.search(r"opentelemetry|otel_pg|instrumentation", path.read_text("utf-8"))


def test_the_agent_is_stored_as_a_tree(dsn):
    """Agent, tools and model calls, each with what went in and out."""
    done = subprocess.run(
        command("main.py"), cwd=FOLDER, env=surroundings(dsn), capture_output=True, text=True, timeout=120, check=False
    )

    said = (done.returncode, apart_from_delays(done.stderr), done.stdout)
    assert (0, "", "Your teapot arrives in 2 days.\n") == said
    bring_in(dsn)
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("""
            SELECT child.event_name, child.action, parent.event_name, child.service_name, child.output
              FROM otel.agent_events AS child
              LEFT JOIN otel.agent_events AS parent ON child.parent_span_id = parent.span_id
             ORDER BY child.start_unix_nano
        """).fetchall()
    agent = "Helpdesk.answer"
    assert [
        (agent, "invoke", None, "helpdesk", "Your teapot arrives in 2 days."),
        ("complete", "tool", agent, "helpdesk", "call 7"),
        ("find_order", "tool", agent, "helpdesk", {"number": 7, "article": "teapot"}),
        ("days_until", "tool", agent, "helpdesk", 2),
        ("complete", "tool", agent, "helpdesk", "Your teapot arrives in 2 days."),
    ] == rows


@pytest.fixture
def shop(dsn: str, tmp_path: Path) -> Iterator[int]:
    """The worker and the web side; gives the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = surroundings(dsn, SHOP_QUEUE=str(tmp_path / "queue"), FLASK_RUN_PORT=str(port))
    with ExitStack() as stack:
        for part in ("celery", "flask"):
            log = stack.enter_context(open(tmp_path / f"{part}.log", "wb"))
            process = stack.enter_context(
                subprocess.Popen(command(part), cwd=FOLDER, env=environment, stdout=log, stderr=log)
            )
            stack.callback(process.send_signal, signal.SIGINT if part == "flask" else signal.SIGTERM)
        yield port


def post(port: int, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(f"POST {path} HTTP/1.0\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_an_order_is_one_trace_over_two_processes(dsn, shop):
    """The request, the message, the worker's task, and in it the function that pyproject.toml names."""
    deadline = time.monotonic() + 90
    while True:
        try:
            assert b"ordered" in post(shop, "/orders/7")
            break
        except OSError:
            assert time.monotonic() < deadline, "flask did not start"
            time.sleep(0.2)
    wanted = {
        ("web", "POST /orders/<int:number>", "events"),
        ("web", "apply_async/shop.tasks.send_invoice", "events"),
        ("worker", "run/shop.tasks.send_invoice", "task_events"),
        ("worker", "reserve", "task_events"),
    }
    query = " UNION ALL ".join(
        f"SELECT service_name, event_name, '{table}', trace_id FROM otel.{table} WHERE event_type <> 'capture'"
        for table in ("events", "task_events")
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        while True:
            rows = connection.execute(query).fetchall()
            if wanted <= {row[:3] for row in rows}:
                break
            assert time.monotonic() < deadline, rows
            time.sleep(0.2)

    assert 1 == len({row[3] for row in rows if row[:3] in wanted})
