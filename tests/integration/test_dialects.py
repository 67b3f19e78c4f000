"""What the columns say of records that real libraries emitted, whichever names these use."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from otel_pg_exporter.encoding.plain_rows import SpanEncoder
from otel_pg_exporter.encoding.readable import decode_row
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.encoding.tables import COLUMNS
from otel_pg_exporter.reading.wire_rows import read_row

SHOWN = (
    "event_type", "status", "action", "agent_name", "tool_name", "task_name", "model", "provider", "input_tokens",
    "output_tokens", "cache_read_tokens", "reasoning_tokens", "cost", "session_id", "user_id", "attempt", "queue",
    "error_type",
)  # fmt: skip


def rows_of(emitted: tuple[list[Any], list[Any]]) -> list[dict[str, Any]]:
    """The rows of records, as a query would give them."""
    spans, logs = emitted
    encoders = SpanEncoder(), RowEncoder()
    made = [encoders[0].span(span, bytes(16), 0) for span in spans] + [
        encoders[1].log(log, bytes(16), 0) for log in logs
    ]
    return [{"table": table, **decode_row(read_row(data, COLUMNS[table]))} for table, data, *_ in made]


def told(row: dict[str, Any]) -> dict[str, Any]:
    """What a row says, without what it does not."""
    return {column: row[column] for column in SHOWN if row.get(column) is not None}


def test_the_table_of_a_library(emitted, library, capsys):
    """Each distinct row, printed; each span of an LLM, a tool or an agent says which."""
    lines = {}
    for row in rows_of(emitted):
        says = told(row)
        lines.setdefault(f"  {row['table']:<14} {row['event_name'][:32]:<32} {says}", None)
        if row["table"] == "agent_events":
            named = {"llm": "provider", "embedding": "model", "tool": "tool_name", "invoke": "agent_name"}
            wanted = named.get(row["action"])
            is_fake = "langgraph" in library and wanted == "provider"  # a fake chat model has none
            assert is_fake or row["record"] == "log" or not wanted or row[wanted], row["event_name"]
    with capsys.disabled():
        print(f"\n{library}", *lines, sep="\n")


FACTS: dict[tuple[str, str], dict[str, Any]] = {
    ("pydantic_ai", "invoke_agent boss_agent"): {"action": "invoke", "agent_name": "boss_agent", "input_tokens": None},
    ("pydantic_ai", "execute_tool get_weather"): {"agent_name": "weather_agent", "input": {"city": "a"}},
    ("pydantic_ai", "execute_tool explode"): {"error_type": "RuntimeError", "status": "error"},
    ("run_pydantic_ai", "execute_tool get_weather"): {"output": "21 degrees in a", "input": {"city": "a"}},
    ("openai_genai", "chat gpt-fail"): {"status": "error", "error_type": "openai.BadRequestError"},
    ("run_openai", "chat gpt-4o-mini"): {"cost": 0.00024, "cache_read_tokens": 400, "reasoning_tokens": 50},
    ("run_openai", "chat gpt-none"): {"cost": None, "model": "gpt-none", "status": "error"},
    ("langgraph_openinference", "delete_everything"): {"error_message": "not allowed: /", "input": "/"},
    ("run_langgraph", "GenericFakeChatModel"): {"input_tokens": 10, "cache_read_tokens": 4, "user_id": "user-1"},
    ("traceloop", "openai.chat"): {"reasoning_tokens": 9, "session_id": "conv-1", "agent_name": "weather_agent"},
    ("traceloop", "support_workflow.workflow"): {"task_name": "support_workflow", "user_id": "user-9"},
    ("traceloop", "broken_tool.tool"): {"tool_name": "broken_tool", "error_message": "broken"},
    ("run_mlflow", "chat"): {"provider": "anthropic", "input_tokens": 600, "cost": 0.001312},
    ("run_mlflow", "get_weather"): {"tool_name": "get_weather", "input": {"city": "Berlin"}},
    ("logfire", "card declined: {reason}"): {"event_type": "log", "severity_number": 17, "status": "error"},
    ("logfire", "charge card"): {"event_type": "pending_span", "status": "started"},
    ("run_celery", "run/jobs.fail"): {"status": "error", "task_name": "jobs.fail", "queue": "celery"},
    ("run_celery", "apply_async/jobs.add"): {"table": "events"},
    ("system", "run/jobs.boom"): {"error_type": "KeyError", "task_name": "jobs.boom"},
}


@pytest.mark.parametrize(("library", "name"), FACTS, ids=[f"{library}: {name}" for library, name in FACTS])
def test_columns_hold_what_the_library_said(emitted, library, name):
    """The first row of that name."""
    row = next(row for row in rows_of(emitted) if row["event_name"] == name)

    assert FACTS[library, name] == {column: row.get(column) for column in FACTS[library, name]}


def span(attributes: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """The row of a span with these attributes."""
    context = SpanContext(1, 2, False, TraceFlags(1))
    usual = {"context": context, "resource": Resource({}), "start_time": 5, "end_time": 7}
    (row,) = rows_of(([ReadableSpan("n", attributes=attributes, **{**usual, **parts})], []))
    return row


def test_messages_that_are_spelled_out_become_a_list():
    """OpenInference and OpenLLMetry give each leaf an attribute of its own; input and output hold them whole."""
    row = span(
        {
            "openinference.span.kind": "LLM",
            "llm.input_messages.10.message.content": "last",
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.tool_calls.0.tool_call.function.name": "f",
            "llm.output_messages.0.message.content": "hi",
        }
    )

    first = {"message": {"role": "user", "tool_calls": [{"tool_call": {"function": {"name": "f"}}}]}}
    assert [first, {"message": {"content": "last"}}] == row["input"]
    assert [{"message": {"content": "hi"}}] == row["output"]
    older = span({"llm.request.type": "chat", "gen_ai.prompt.0.content": "q", "gen_ai.completion.0.content": "a"})
    assert ("llm", [{"content": "q"}], [{"content": "a"}]) == (older["action"], older["input"], older["output"])


@pytest.mark.parametrize(
    ("function", "action"),
    [
        ("completion", "llm"), ("acompletion", "llm"), ("atext_completion", "llm"), ("aresponses", "llm"),
        ("anthropic_messages", "llm"), ("aembedding", "embedding"), ("arerank", "rerank"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["llm.request.type", "gen_ai.operation.name"])
def test_litellm_names_its_functions(name, function, action):
    """Which stand where others name an operation; those for asyncio begin with an a."""
    row = span({name: function, "gen_ai.request.model": "gpt-5", "gen_ai.cost.total_cost": 0.25})

    assert ("agent_events", action, "gpt-5", 0.25) == (row["table"], row["action"], row["model"], row["cost"])


@pytest.mark.parametrize("kind", ["flow", "task"])
def test_prefects_runs_are_tasks(kind):
    """Prefect 3 makes spans by itself, named as it names the run."""
    row = span({"prefect.run.type": kind, "prefect.run.id": "01a2", "prefect.run.name": "n"})

    assert ("task_events", "task_execution", "01a2", "n") == (
        row["table"], row["event_type"], row["task_id"], row["task_name"],
    )  # fmt: skip


@pytest.mark.parametrize("function", ["chat.completions", "chat.streaming_completions", "text.completions"])
def test_semantic_kernel_names_its_functions(function):
    """Which are calls of models, and have a cost."""
    usage = {"gen_ai.request.model": "gpt-4o-mini", "gen_ai.usage.input_tokens": 1_000_000}
    row = span({"gen_ai.operation.name": function, **usage})

    assert ("agent_events", "llm", 0.15) == (row["table"], row["action"], row["cost"])


def test_a_call_before_there_were_operations():
    """GenAI conventions before 1.27 say the model, and have prompt and completion on events of the span."""
    usage = {"gen_ai.usage.prompt_tokens": 1_000_000, "gen_ai.usage.completion_tokens": 0}
    events = [
        Event("gen_ai.content.prompt", {"gen_ai.prompt": '[{"role": "user", "content": "q"}]'}, 7),
        Event("gen_ai.content.completion", {"gen_ai.completion": "a"}, 8),
    ]
    attributes = {"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o-mini", **usage}
    row = span(attributes, events=events)

    assert ("agent_events", "llm", 1_000_000, 0.15) == (
        row["table"], row["action"], row["input_tokens"], row["cost"],
    )  # fmt: skip
    assert ([{"role": "user", "content": "q"}], "a") == (row["input"], row["output"])
    assert ["gen_ai.content.prompt", "gen_ai.content.completion"] == [event["name"] for event in row["events"]]
    assert "mine" == span({**attributes, "input.value": "mine"}, events=events)["input"]


def test_messages_that_are_events_of_a_span():
    """As the GenAI conventions from 1.28 to 1.36 and Strands have them: a list of what was said, and one of answers."""
    events = [
        Event("gen_ai.system.message", {"content": "be kind"}, 1),
        Event("gen_ai.user.message", {"content": '[{"text": "hi"}]', "role": "user"}, 2),
        Event("gen_ai.tool.message", {"content": "21", "id": "t1"}, 3),
        Event("gen_ai.choice", {"message": "hello", "finish_reason": "stop"}, 4),
        Event("other", {"content": "x"}, 5),
        Event("gen_ai.user.message", None, 6),
    ]
    row = span({"gen_ai.operation.name": "chat"}, events=events)

    assert row["input"] == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": '[{"text": "hi"}]'},
        {"role": "tool", "content": "21", "id": "t1"},
    ]
    assert row["output"] == [{"message": "hello", "finish_reason": "stop"}]
    whole = Event("gen_ai.client.inference.operation.details", {"gen_ai.input.messages": '["all"]'}, 7)
    assert ["all"] == span({"gen_ai.operation.name": "chat"}, events=[*events, whole])["input"]


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        (
            {
                "langfuse.observation.type": "generation",
                "langfuse.observation.model.name": "gpt-4o-mini",
                "langfuse.observation.usage_details": '{"input": 1000000, "output": 5}',
                "langfuse.observation.input": '{"args": ["hi"]}',
                "langfuse.observation.output": "answer",
                "langfuse.observation.cost_details": '{"total": 0.5}',
            },
            {"action": "llm", "model": "gpt-4o-mini", "input_tokens": 1_000_000, "output_tokens": 5, "cost": 0.5},
        ),
        (
            {"langfuse.observation.type": "tool", "langfuse.observation.input": '{"args": ["B"]}'},
            {"action": "tool", "tool_name": "n", "input": {"args": ["B"]}},
        ),
        (
            {
                "gen_ai.request.model": "gemini-2.5-flash",
                "gcp.vertex.agent.llm_request": '{"contents": []}',
                "gcp.vertex.agent.session_id": "s",
            },
            {"action": "llm", "session_id": "s", "input": {"contents": []}},
        ),
    ],
    ids=["langfuse generation", "langfuse tool", "agent development kit"],
)
def test_langfuse_and_the_agent_development_kit(attributes, told):
    """What their spans say, as langfuse 5.0 and google-adk write it."""
    row = span(attributes)

    assert {"table": "agent_events", **told} == {column: row[column] for column in ("table", *told)}


def test_what_was_looked_for_and_found():
    """A retrieval, or a memory, is given a query and gives back documents or records."""
    found = {"gen_ai.retrieval.query.text": "q", "gen_ai.retrieval.documents": '[{"id": "1"}]'}
    kept = {"gen_ai.memory.query.text": "q", "gen_ai.memory.records": '[{"id": "1"}]'}

    for operation, attributes in (("retrieval", found), ("search_memory", kept)):
        row = span({"gen_ai.operation.name": operation, **attributes})
        assert (operation, "q", [{"id": "1"}]) == (row["action"], row["input"], row["output"])


def test_tokens_that_were_counted_as_floats():
    """A whole number is a count, whatever its type; another one is not."""
    usage = {"gen_ai.request.model": "gpt-4o-mini", "gen_ai.operation.name": "chat"}

    row = span({**usage, "gen_ai.usage.input_tokens": 1_000_000.0})
    assert (1_000_000, 0.15) == (row["input_tokens"], row["cost"])
    for wrong in (1.5, float("nan"), float("inf"), -1.0, 1e300, True, "7"):
        assert span({**usage, "gen_ai.usage.input_tokens": wrong})["input_tokens"] is None


def test_the_model_of_a_call_that_failed():
    """OpenInference learns `llm.model_name` from the answer; without one it says what the call asked for."""
    failed = {"openinference.span.kind": "LLM", "llm.invocation_parameters": '{"model": "gpt-5", "stream": true}'}

    assert "gpt-5" == span(failed)["model"]
    assert "gpt-5-2025" == span({**failed, "llm.model_name": "gpt-5-2025"})["model"]
    assert span({**failed, "llm.invocation_parameters": "{'model'"})["model"] is None


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"cicd.pipeline.name": "p", "cicd.pipeline.result": "success"}, {"status": "completed", "result": "success"}),
        ({"cicd.pipeline.name": "p", "cicd.pipeline.result": "timeout"}, {"status": "error", "pipeline": "p"}),
        ({"cicd.pipeline.run.id": "7", "cicd.pipeline.result": "cancellation"}, {"status": "cancelled"}),
        (
            {
                "cicd.pipeline.task.name": "t",
                "cicd.pipeline.task.type": "test",
                "cicd.pipeline.task.run.result": "failure",
            },
            {"status": "error", "test_result": "failure", "build_result": None},
        ),
        (
            {
                "deployment.id": "d",
                "deployment.status": "failed",
                "vcs.ref.head.revision": "4f2a",
                "vcs.change.id": "12",
            },
            {
                "status": "error",
                "result": "failure",
                "pipeline_run_id": "d",
                "commit_sha": "4f2a",
                "pull_request": "12",
            },
        ),
        ({"deployment.status": "succeeded"}, {"status": "completed", "result": "success"}),
        ({"deployment.status": ["succeeded"]}, {"result": None}),
        ({"deployment.name": "web", "vcs.repository.ref.name": "main"}, {"pipeline": "web", "branch": "main"}),
    ],
)
def test_pipelines_and_deployments(attributes, told):
    """CI/CD and deployment conventions, current names and older ones."""
    row = span(attributes)

    assert {"table": "deployment_events", **told} == {column: row[column] for column in ("table", *told)}


def test_a_roll_up_has_no_cost_of_its_own():
    """An agent's usage sums up that of the calls under it, which have their cost: the sum of the column is right."""
    usage = {"gen_ai.request.model": "gpt-4o-mini", "gen_ai.usage.input_tokens": 1_000_000}

    assert span({"gen_ai.operation.name": "invoke_agent", **usage})["cost"] is None
    assert 0.15 == span({"gen_ai.operation.name": "chat", **usage})["cost"]
    assert 7.5 == span({"gen_ai.operation.name": "chat", "gen_ai.usage.cost": 7.5, **usage})["cost"]


def test_a_record_of_a_call_has_no_cost_beside_its_span(emitted):
    """A log record repeats what its span says; one of them counts."""
    rows = rows_of(emitted)

    assert not [row for row in rows if row["record"] == "log" and row.get("cost") is not None]
