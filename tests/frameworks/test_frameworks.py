"""Frameworks as they are installed now say what the columns need: each is run, offline, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otel_pg_exporter.routing import route
from otel_pg_exporter.routing.conventions import SOURCES, column_sources

pytestmark = pytest.mark.frameworks

SCRIPT = Path(__file__).with_name("run_frameworks.py")
KINDS = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}

# Framework → category and action → columns that some span of it fills.
WANTED: dict[str, dict[tuple[str, str | None], set[str]]] = {
    "pydantic_ai": {
        ("agent", "invoke"): {"agent_name", "output"},
        ("agent", "llm"): {"model", "provider", "input_tokens", "output_tokens", "input", "output"},
        ("agent", "tool"): {"tool_name", "input", "output"},
    },
    "langgraph": {
        ("task", None): {"session_id", "user_id", "input", "output"},
        ("agent", "llm"): {"input_tokens", "output_tokens", "cache_read_tokens"},
        ("agent", "tool"): {"tool_name", "input"},
    },
    "openai": {
        ("agent", "llm"): {"model", "provider", "input_tokens", "cache_read_tokens", "reasoning_tokens", "error_type"},
        ("agent", "embedding"): {"model", "input_tokens"},
    },
    "celery": {("task", None): {"task_name", "task_id", "queue", "attempt"}, ("system", None): set()},
    "logfire": {("system", None): set()},
    "mlflow": {
        ("agent", "llm"): {"model", "provider", "input_tokens", "output_tokens", "cache_read_tokens"},
        ("agent", "tool"): {"input", "output"},
        ("agent", "invoke"): {"input", "output"},
    },
}


@pytest.fixture(params=WANTED)
def emitted(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, list[dict[str, Any]]]:
    """A framework, and the spans that it emits."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "MLFLOW_"))}
    subprocess.run([sys.executable, SCRIPT, request.param, tmp_path], check=True, timeout=120, env=environ)
    return request.param, json.loads((tmp_path / f"run_{request.param}.json").read_text("utf-8"))["spans"]


def test_a_framework_fills_the_columns(emitted):
    """Each kind of span is there, goes to its table, and some span of the kind fills each column."""
    name, spans = emitted
    filled: dict[tuple[str, str | None], set[str]] = {}
    for span in spans:
        attributes = span["attributes"]
        routed = route(attributes, kind=KINDS[span["kind"]], is_root=span["parent"] is None)
        columns = column_sources(SOURCES[routed.category], tuple(attributes))
        filled.setdefault((routed.category, routed.action), set()).update(columns)

    assert {kind: wanted - filled.get(kind, {"nothing of this kind"}) for kind, wanted in WANTED[name].items()} == {
        kind: set() for kind in WANTED[name]
    }
    assert set(WANTED[name]) <= set(filled)
