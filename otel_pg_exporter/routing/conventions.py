"""What the built-in conventions call what fills a column.

`SOURCES` names, for each column, the attributes that may fill it, first present wins, whichever convention they come
from: OpenTelemetry's GenAI, CI/CD and messaging conventions (current and older names), OpenInference, OpenLLMetry,
MLflow, Logfire, Langfuse, Google's Agent Development Kit, Celery, Prefect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

__all__ = ["AROUND", "EVENT_CONTENTS", "EVENT_MESSAGES", "SOURCES", "Sources", "column_sources"]

Sources: TypeAlias = Mapping[str, Mapping[str, Sequence[str]]]
"""Category → column → attributes that may fill it, first present wins.

`name#part` is one part of an attribute that holds JSON text, `name#` all of what the text stands for, and
`name.*` the list that attributes `name.0.…`, `name.1.…` spell out.
"""

_MESSAGES_IN = ("gen_ai.input.messages", "gen_ai.prompt.*", "llm.input_messages.*", "gen_ai.prompt")
_MESSAGES_OUT = ("gen_ai.output.messages", "gen_ai.completion.*", "llm.output_messages.*", "gen_ai.completion")
_ASSOCIATION = "traceloop.association.properties"
_ADK = "gcp.vertex.agent"  # Google's

AROUND: Mapping[str, str] = {
    "otel_pg.task.id": "otel_pg.around.task_id",
    "gen_ai.agent.id": "otel_pg.around.agent_id",
    "gen_ai.agent.name": "otel_pg.around.agent_name",
    "session.id": "otel_pg.around.session_id",
    "user.id": "otel_pg.around.user_id",
}
"""What a block of `instrumentation` says of itself → the same, said of a span of another library inside it."""

ANY_CATEGORY: Mapping[str, Sequence[str]] = {
    "agent_id": (
        "gen_ai.agent.id",
        "agent.id",
        "gen_ai.agent.name",
        "agent.name",
        "agent_name",
        "otel_pg.around.agent_id",
        "otel_pg.around.agent_name",
    ),
    "task_id": ("otel_pg.task.id", "otel_pg.around.task_id"),
    "session_id": (
        "session.id",
        "gen_ai.conversation.id",
        "gen_ai.session.id",
        f"{_ASSOCIATION}.session_id",
        f"{_ASSOCIATION}.chat_id",
        f"{_ASSOCIATION}.thread_id",
        f"{_ASSOCIATION}.conversation_id",
        f"{_ADK}.session_id",
        "otel_pg.around.session_id",
    ),
    "user_id": (
        "user.id",
        "enduser.id",
        "enduser.pseudo.id",
        f"{_ASSOCIATION}.user_id",
        "otel_pg.around.user_id",
    ),
    "error_type": ("error.type", "exception.type"),
    "error_message": ("exception.message", "celery.retry.reason"),
    "input": (
        "input.value",
        "gen_ai.tool.call.arguments",
        "tool_arguments",
        *_MESSAGES_IN,
        "gen_ai.retrieval.query.text",
        "gen_ai.memory.query.text",
        "traceloop.entity.input",
        "mlflow.spanInputs",
        "pydantic_ai.all_messages",
        "all_messages_events",
        "request_data",
        "langfuse.observation.input",
        *(f"{_ADK}.{name}" for name in ("llm_request", "tool_call_args")),
    ),
    "output": (
        "output.value",
        "gen_ai.tool.call.result",
        "tool_response",
        *_MESSAGES_OUT,
        "gen_ai.retrieval.documents",
        "gen_ai.memory.records",
        "traceloop.entity.output",
        "mlflow.spanOutputs",
        "final_result",
        "response_data",
        "langfuse.observation.output",
        *(f"{_ADK}.{name}" for name in ("llm_response", "tool_response")),
    ),
}

SOURCES: Sources = {
    "system": ANY_CATEGORY,
    "task": {
        **ANY_CATEGORY,
        "task_id": (
            "otel_pg.task.id",
            "celery.task_id",
            "prefect.run.id",
            "messaging.message.id",
            "messaging.message_id",
            "otel_pg.around.task_id",
        ),
        "task_name": (
            "otel_pg.task.name",
            "celery.task_name",
            "gen_ai.workflow.name",
            "traceloop.entity.name",
            "gen_ai.agent.name",
        ),
        "attempt": ("otel_pg.task.attempt", "celery.retries"),
        "queue": ("otel_pg.task.queue", "messaging.destination.name", "messaging.destination"),
    },
    "agent": {
        **ANY_CATEGORY,
        "agent_name": ("gen_ai.agent.name", "agent.name", "agent_name", "otel_pg.around.agent_name"),
        "tool_name": ("gen_ai.tool.name", "tool.name"),
        "model": (
            "gen_ai.response.model",
            "gen_ai.request.model",
            "llm.model_name",
            "embedding.model_name",
            "reranker.model_name",
            "mlflow.llm.model#",
            "model_name",
            "langfuse.observation.model.name",
            "llm.invocation_parameters#model",  # all that OpenInference says of a call that failed
        ),
        "provider": (
            "gen_ai.provider.name",
            "gen_ai.system",
            "llm.provider",
            "llm.system",
            "mlflow.llm.provider#",
        ),
        "input_tokens": (
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.prompt_tokens",
            "llm.usage.prompt_tokens",
            "llm.token_count.prompt",
            "mlflow.chat.tokenUsage#input_tokens",
            "langfuse.observation.usage_details#input",
        ),
        "output_tokens": (
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.completion_tokens",
            "llm.usage.completion_tokens",
            "llm.token_count.completion",
            "mlflow.chat.tokenUsage#output_tokens",
            "langfuse.observation.usage_details#output",
        ),
        "cache_read_tokens": (
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.details.cache_read_tokens",
            "llm.token_count.prompt_details.cache_read",
            "mlflow.chat.tokenUsage#cache_read_input_tokens",
        ),
        "cache_write_tokens": (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.details.cache_write_tokens",
            "llm.token_count.prompt_details.cache_write",
            "mlflow.chat.tokenUsage#cache_creation_input_tokens",
        ),
        "reasoning_tokens": (
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "gen_ai.usage.details.reasoning_tokens",
            "llm.token_count.completion_details.reasoning",
        ),
        "cost": (
            *("otel_pg.cost", "llm.cost.total", "gen_ai.usage.cost", "gen_ai.cost.total_cost", "operation.cost"),
            *("mlflow.llm.cost#total_cost", "langfuse.observation.cost_details#total"),
        ),
    },
    "deployment": {
        **ANY_CATEGORY,
        "environment": ("deployment.environment.name", "deployment.environment"),
        "branch": ("vcs.ref.head.name", "vcs.repository.ref.name"),
        "commit_sha": ("vcs.ref.head.revision", "vcs.repository.ref.revision"),
        "pull_request": ("vcs.change.id", "vcs.repository.change.id"),
        "pipeline": ("cicd.pipeline.name", "deployment.name"),
        "pipeline_run_id": ("cicd.pipeline.run.id", "deployment.id"),
        "result": ("cicd.pipeline.result", "cicd.pipeline.task.run.result", "deployment.status"),
        "build_result": ("otel_pg.deployment.build",),
        "test_result": ("otel_pg.deployment.tests",),
    },
}
"""What the built-in conventions call things."""


EVENT_CONTENTS: Mapping[str, str] = {
    "gen_ai.prompt": "input",
    "gen_ai.input.messages": "input",
    "gen_ai.completion": "output",
    "gen_ai.output.messages": "output",
}
"""Attribute of a span's event → column that it fills where no attribute of the span does: the GenAI conventions
before 1.28 have prompts and completions there, `gen_ai.content.prompt` and `gen_ai.content.completion`."""

EVENT_MESSAGES: Mapping[str, tuple[str, str | None]] = {
    **{f"gen_ai.{role}.message": ("input", role) for role in ("system", "user", "assistant", "tool")},
    "gen_ai.choice": ("output", None),
}
"""Name of a span's event that is a message → the column that lists them where nothing else fills it, and who speaks:
the GenAI conventions from 1.28 to 1.36."""


def column_sources(sources: Mapping[str, Sequence[str]], keys: Sequence[str]) -> dict[str, str]:
    """Column → the source that fills it, for a record with these attributes.

    Args:
        sources: those of the record's category.
        keys: the record's attributes.
    """
    present = frozenset(keys)
    chosen = {}
    for column, names in sources.items():
        for name in names:
            if _is_there(name, present):
                chosen[column] = name
                break
    return chosen


def _is_there(source: str, present: frozenset[str]) -> bool:
    if source.endswith(".*"):
        start = f"{source[:-1]}0."
        return any(type(key) is str and key.startswith(start) for key in present)
    return source.partition("#")[0] in present
