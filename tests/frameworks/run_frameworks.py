"""Runs real frameworks without a network and writes what they emit, in the form of tests/fixtures/spans.

    python tests/frameworks/run_frameworks.py NAME FOLDER

NAME is pydantic_ai, langgraph, openai, celery, logfire or mlflow.

Each name in a process of its own: instrumentations patch globally.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

MEMORY = InMemorySpanExporter()
RESOURCE = Resource({"service.name": "frameworks"})
PACKAGES = ("pydantic-ai", "lang", "openai", "celery", "logfire", "mlflow", "openinference", "opentelemetry")


def provider() -> TracerProvider:
    """The global one, that keeps spans in memory."""
    made = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(MEMORY))
    trace.set_tracer_provider(made)
    return made


def pydantic_ai() -> None:
    """An agent with a tool, on a model that is none."""
    provider()
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel

    Agent.instrument_all()
    agent = Agent(TestModel(), name="weather_agent", system_prompt="You answer questions about the weather.")

    @agent.tool_plain
    def get_weather(city: str) -> str:
        return f"21 degrees in {city}"

    agent.run_sync("How warm is it in Berlin?")


def langgraph() -> None:
    """A graph that calls a chat model and a tool, through OpenInference."""
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.tools import tool
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode
    from openinference.instrumentation import using_session, using_user
    from openinference.instrumentation.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument(tracer_provider=provider())

    @tool
    def get_weather(city: str) -> str:
        """Weather of a city."""
        return f"21 degrees in {city}"

    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "input_token_details": {"cache_read": 4}}
    call = {"name": "get_weather", "args": {"city": "Berlin"}, "id": "call_1"}
    model = GenericFakeChatModel(
        messages=iter([AIMessage("", tool_calls=[call], usage_metadata=usage), AIMessage("21 degrees")])
    )
    graph = StateGraph(MessagesState)
    graph.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([get_weather]))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", lambda state: "tools" if state["messages"][-1].tool_calls else "__end__")
    graph.add_edge("tools", "agent")
    with using_session("session-1"), using_user("user-1"):
        graph.compile(name="weather_graph").invoke({"messages": [("user", "How warm is it in Berlin?")]})


class _Model(BaseHTTPRequestHandler):
    """As much of OpenAI's API as the client needs."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked["model"] == "gpt-none":
            self._answer(404, {"error": {"message": "no such model", "type": "invalid_request_error"}})
            return
        if self.path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
            usage = {"prompt_tokens": 5, "total_tokens": 5}
            self._answer(200, {"object": "list", "model": asked["model"], "data": data, "usage": usage})
            return
        usage = {
            "prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200,
            "prompt_tokens_details": {"cached_tokens": 400}, "completion_tokens_details": {"reasoning_tokens": 50},
        }  # fmt: skip
        message = {"role": "assistant", "content": "21 degrees"}
        self._answer(200, {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_760_000_000,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage,
        })  # fmt: skip

    def _answer(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


def openai() -> None:
    """The client, against a server on loopback, through OpenTelemetry's instrumentation for GenAI."""
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "span_only"
    made = provider()
    import openai as library
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=made)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = library.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none", max_retries=0)
    messages: Any = [{"role": "user", "content": "How warm is it in Berlin?"}]
    client.chat.completions.create(model="gpt-4o-mini", messages=messages)
    client.embeddings.create(model="text-embedding-3-small", input="Berlin")
    try:
        client.chat.completions.create(model="gpt-none", messages=messages)
    except library.NotFoundError:
        pass
    server.shutdown()


def celery() -> None:
    """Tasks of a worker in this process, over the broker in memory: success, retry, failure."""
    provider()
    from celery import Celery
    from celery.contrib.testing.worker import start_worker
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    CeleryInstrumentor().instrument()
    app = Celery("jobs", broker="memory://", backend="cache+memory://")
    app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)

    @app.task(name="jobs.add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="jobs.fail", bind=True, max_retries=1)
    def fail(self: Any) -> None:
        try:
            raise ValueError("no")
        except ValueError as error:
            raise self.retry(exc=error, countdown=0) from None

    with start_worker(app, perform_ping_check=False, pool="solo"):
        add.delay(1, 2).get(timeout=20)
        try:
            fail.delay().get(timeout=20)
        except ValueError:
            pass


def logfire() -> None:
    """Spans, a log and an error, to a processor beside Logfire's own, which sends nothing."""
    import logfire as library

    library.configure(
        send_to_logfire=False,
        console=False,
        service_name="frameworks",
        additional_span_processors=[SimpleSpanProcessor(MEMORY)],
    )
    with library.span("process order {order_id}", order_id=42, session_id="s"):
        library.warn("stock is low: {count}", count=2)
    try:
        with library.span("charge card"):
            raise ValueError("declined")
    except ValueError:
        pass


def mlflow() -> None:
    """An agent that calls a model and a tool, with MLflow's tracing and no server."""
    import mlflow as library
    from mlflow.entities import SpanType
    from mlflow.tracing.processor.otel import OtelSpanProcessor
    from mlflow.tracing.provider import provider as tracing

    # what MLflow itself puts before an OTLP exporter
    made = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    made.add_span_processor(OtelSpanProcessor(span_exporter=MEMORY, export_metrics=False))
    tracing.once.do_once(lambda: tracing.set(made))

    @library.trace(span_type=SpanType.TOOL)
    def get_weather(city: str) -> str:
        return f"21 degrees in {city}"

    @library.trace(span_type=SpanType.AGENT, name="weather_agent")
    def answer(question: str) -> str:
        with library.start_span("chat", span_type=SpanType.CHAT_MODEL) as call:
            call.set_inputs({"messages": [{"role": "user", "content": question}]})
            call.set_attribute("mlflow.llm.model", "claude-3-5-haiku-20241022")
            call.set_attribute("mlflow.llm.provider", "anthropic")
            tokens = {"input_tokens": 600, "output_tokens": 200, "total_tokens": 800, "cache_read_input_tokens": 400}
            call.set_attribute("mlflow.chat.tokenUsage", tokens)
            call.set_outputs({"role": "assistant", "content": "21 degrees"})
        return get_weather("Berlin")

    answer("How warm is it in Berlin?")
    made.force_flush()


RUNS: dict[str, Callable[[], None]] = {
    run.__name__: run for run in (pydantic_ai, langgraph, openai, celery, logfire, mlflow)
}


def emitted(name: str) -> dict[str, Any]:
    """What a framework emits, as JSON."""
    RUNS[name]()
    packages = {
        found.metadata["Name"]: found.version
        for found in distributions()
        if found.metadata["Name"].lower().startswith(PACKAGES)
    }
    meta = {
        "framework": name,
        "how": f"tests/frameworks/run_frameworks.py {name}",
        "packages": dict(sorted(packages.items())),
    }
    return {"meta": meta, "spans": [_span(span) for span in MEMORY.get_finished_spans()], "logs": []}


def _span(span: Any) -> dict[str, Any]:
    scope = span.instrumentation_scope
    return {
        "name": span.name,
        "kind": span.kind.name,
        "context": _context(span.context),
        "parent": span.parent and _context(span.parent),
        "start_time_unix_nano": span.start_time,
        "end_time_unix_nano": span.end_time,
        "status": {"code": span.status.status_code.name, "description": _anonymous(span.status.description)},
        "attributes": _value(dict(span.attributes)),
        "dropped_attributes": span.dropped_attributes,
        "events": [
            {
                "name": event.name,
                "time_unix_nano": event.timestamp,
                "attributes": _value(dict(event.attributes)),
                "dropped_attributes": getattr(event, "dropped_attributes", 0),
            }
            for event in span.events
        ],
        "dropped_events": span.dropped_events,
        "links": [
            {"context": _context(link.context), "attributes": _value(dict(link.attributes)), "dropped_attributes": 0}
            for link in span.links
        ],
        "dropped_links": span.dropped_links,
        "resource": {"service.name": "frameworks"},
        "resource_schema_url": span.resource.schema_url,
        "scope": {
            "name": scope.name,
            "version": scope.version,
            "schema_url": scope.schema_url,
            "attributes": _value(dict(scope.attributes or {})),
        },
    }


def _context(context: Any) -> dict[str, Any]:
    return {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "is_remote": context.is_remote,
        "trace_flags": int(context.trace_flags),
        "trace_state": context.trace_state.to_header(),
    }


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, str):
        return _anonymous(value)
    if isinstance(value, dict):
        return {key: _value(item) for key, item in value.items()}
    return [_value(item) for item in value] if isinstance(value, list | tuple) else value


def _anonymous(text: str | None) -> str | None:
    """Without the places and the host of this machine."""
    if text is None:
        return None
    for place in (str(Path(sys.prefix)), str(Path(__file__).parents[2]), str(Path.home())):
        if len(place) > 1 and place != "/root":
            text = text.replace(place, "/app")
    return text.replace(os.uname().nodename, "host-1")


if __name__ == "__main__":
    found = emitted(sys.argv[1])
    (Path(sys.argv[2]) / f"run_{sys.argv[1]}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    os._exit(0)  # exit handlers of some want a network
