"""Conversations whose every turn sends the whole history: bytes on disk and CPU, with long texts stored once and not.

Sixty of 50 turns, each with a system prompt of 2,000 characters, schemas of eight tools (6,000), and messages of 300,
600 and 1,500 characters on average, in words of this project's documents. Target: at most 1/5 of the bytes.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_pg_exporter.exporter import PostgresSpanExporter

CONVERSATIONS, TURNS, AT_ONCE = 60, 50, 5
SIZES = (300, 600, 1500)
_DOCUMENTS = (Path(__file__).parents[1] / "docs").glob("*.md")
_WORDS = [
    word for path in sorted(_DOCUMENTS) for word in path.read_text("utf-8").split() if word.strip(".,;").isalpha()
]
_WORD = 6.5  # characters, with its space


def main(dsn: str) -> None:
    """Print the figures."""
    print(f"\nLong texts: {CONVERSATIONS} conversations of {TURNS} turns, each with all messages so far")
    for size in SIZES:
        conversations = [conversation(seed, size) for seed in range(CONVERSATIONS)]
        sent = sum(
            len(value)
            for spans in conversations
            for span in spans
            for value in (span.attributes or {}).values()
            if isinstance(value, str)
        )
        whole, shared = (store(dsn, f"bench_{name}_{size}", conversations, least) for name, least in MODES.items())
        print(
            f"  messages of {size:5,}: {sent / 1e6:5.1f} MB sent; in rows {whole[0] / 1e6:5.1f} MB on disk, stored"
            f" once {shared[0] / 1e6:4.1f} MB, 1/{whole[0] / shared[0]:.1f}; CPU of a turn"
            f" {shared[1] / CONVERSATIONS / TURNS * 1e3:.2f} ms, {shared[1] / whole[1]:.2f} x"
        )


MODES = {"whole": 0, "shared": 2048}
"""Way of storing → setting `shared_text_length`."""


def store(dsn: str, schema: str, conversations: Sequence[Sequence[ReadableSpan]], least: int) -> tuple[int, float]:
    """Bytes on disk with indexes, and seconds of CPU."""
    exporter = PostgresSpanExporter(dsn, schema=schema, shared_text_length=least)
    exporter.export(conversations[0][:1])
    seconds = 0.0
    for spans in conversations:
        for first in range(0, TURNS, AT_ONCE):
            begun = time.thread_time()
            exporter.export(spans[first : first + AT_ONCE])
            seconds += time.thread_time() - begun
    exporter.shutdown()
    assert exporter.last_error is None
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = 'r'"
            " AND c.relname ~ '^(agent_events|contents)_'",
            [schema],
        ).fetchone()
    assert row is not None
    return int(row[0]), seconds


def conversation(seed: int, size: int) -> Sequence[ReadableSpan]:
    """Its calls of a model, made through the SDK."""
    chosen = random.Random(seed)
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("bench")
    tools = json.dumps([_tool(chosen, number) for number in range(8)])
    history = [{"role": "system", "parts": [_text(chosen, 2000)]}]
    for turn in range(TURNS):
        history.append({"role": "user", "parts": [_text(chosen, chosen.uniform(0.3, 1.7) * size)]})
        answer = {"role": "assistant", "parts": [_text(chosen, chosen.uniform(0.3, 1.7) * size)]}
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-5",
            "gen_ai.agent.name": "travel agent",
            "gen_ai.input.messages": json.dumps(history),
            "gen_ai.output.messages": json.dumps([{**answer, "finish_reason": "stop"}]),
            "gen_ai.tool.definitions": tools,
            "gen_ai.usage.input_tokens": 100 * turn,
        }
        tracer.start_span("chat gpt-5", attributes=attributes).end()
        history.append(answer)
    return memory.get_finished_spans()


def _tool(chosen: random.Random, number: int) -> dict[str, object]:
    arguments = {f"argument_{n}": {"type": "string", "description": _words(chosen, 100)} for n in range(4)}
    return {
        "type": "function",
        "name": f"tool_{number}",
        "description": _words(chosen, 300),
        "parameters": {"type": "object", "properties": arguments},
    }


def _text(chosen: random.Random, size: float) -> dict[str, str]:
    return {"type": "text", "content": _words(chosen, size)}


def _words(chosen: random.Random, size: float) -> str:
    return " ".join(chosen.choices(_WORDS, k=max(1, round(size / _WORD))))
