"""A small agent program that needs nothing but OpenTelemetry's API, so that there is something to look at."""

from __future__ import annotations

import time
from typing import Any

from opentelemetry.trace import Status, StatusCode, Tracer

__all__ = ["SERVICE", "record"]

SERVICE = "otel-pg-demo"
"""Its service.name."""
_OPERATION, _AGENT, _TOOL = "gen_ai.operation.name", "gen_ai.agent.name", "gen_ai.tool.name"


def record(tracer: Tracer) -> str:
    """Deploy something, then do a task with an agent, its model and its tools; gives the task's trace id."""
    _deploy(tracer)
    with tracer.start_as_current_span(
        "plan a trip", attributes={"otel_pg.category": "task", "otel_pg.task.name": "plan a trip"}
    ) as task:
        with tracer.start_as_current_span(
            "invoke_agent guide", attributes={_OPERATION: "invoke_agent", _AGENT: "guide"}
        ):
            _think(tracer, 512, 48, 0.03)
            for topic in ("trains", "hotels", "museums"):
                with tracer.start_as_current_span(
                    "execute_tool search", attributes={**_tool("search"), "gen_ai.tool.call.arguments": topic}
                ):
                    time.sleep(0.012)
            _book(tracer)
            _think(tracer, 1890, 164, 0.045)
        return f"{task.get_span_context().trace_id:032x}"


def _deploy(tracer: Tracer) -> None:
    attributes: dict[str, Any] = {
        "deployment.id": "demo-1",
        "deployment.name": "guide",
        "cicd.pipeline.result": "success",
        "deployment.environment.name": "staging",
        "vcs.ref.head.name": "main",
        "vcs.ref.head.revision": "4f2a91c",
    }
    with tracer.start_as_current_span("deploy guide", attributes=attributes):
        time.sleep(0.005)


def _think(tracer: Tracer, tokens_in: int, tokens_out: int, seconds: float) -> None:
    attributes: dict[str, Any] = {
        _OPERATION: "chat",
        _AGENT: "guide",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.usage.input_tokens": tokens_in,
        "gen_ai.usage.output_tokens": tokens_out,
    }
    with tracer.start_as_current_span("chat gpt-5", attributes=attributes):
        time.sleep(seconds)


def _book(tracer: Tracer) -> None:
    with tracer.start_as_current_span("execute_tool book", attributes=_tool("book")) as failed:
        time.sleep(0.008)
        failed.record_exception(TimeoutError("the booking service did not answer"))
        failed.set_status(Status(StatusCode.ERROR, "the booking service did not answer"))
    with tracer.start_as_current_span("execute_tool book", attributes=_tool("book")):
        time.sleep(0.01)


def _tool(name: str) -> dict[str, Any]:
    return {_OPERATION: "execute_tool", _AGENT: "guide", _TOOL: name}
