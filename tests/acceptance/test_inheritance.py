"""Calls of models that another library records count for the agent in whose block they are made, wherever they run."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor

from opentelemetry import trace

from instrumentation import agent, propagate, task
from otel_pg_exporter import configure

telemetry = configure(dsn=sys.argv[1])
library = trace.get_tracer("some.library")


def call(tokens):
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": tokens}
    library.start_span("chat m", attributes=attributes).end()


async def work(name, tokens):
    with agent(name, session_id=f"of {name}"):
        await asyncio.sleep(0)  # the other one begins
        call(tokens)
        await asyncio.to_thread(call, 10 * tokens)
        with ThreadPoolExecutor() as threads:
            list(threads.map(propagate(call), [100 * tokens]))
            list(threads.map(call, [5]))  # nothing says whose this is


async def main():
    with task("plan"):
        await asyncio.gather(work("one", 1), work("two", 2))
    call(7)


asyncio.run(main())
telemetry.shutdown()
"""


def test_each_agent_has_its_own_calls(dsn, otel_pg):
    """Two at once in asyncio, and in threads; a thread that was told nothing, and what comes after, is nobody's."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, dsn], capture_output=True, text=True, timeout=60, check=False)
    assert ("", 0) == (done.stderr, done.returncode)

    agents = [json.loads(line) for line in otel_pg("top", "agents", "--json").stdout.splitlines()]
    models = [json.loads(line) for line in otel_pg("top", "models", "--json").stdout.splitlines()]
    sessions = [
        json.loads(line) for line in otel_pg("ls", "--events", "--session", "of one", "--json").stdout.splitlines()
    ]

    assert {"one": (1, 111), "two": (1, 222)} == {row["name"]: (row["count"], row["input_tokens"]) for row in agents}
    assert [("m", 9, 111 + 222 + 5 + 5 + 7)] == [(row["name"], row["count"], row["input_tokens"]) for row in models]
    assert 4 == len(sessions)
