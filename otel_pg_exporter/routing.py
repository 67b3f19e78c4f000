"""Which table a record belongs to, and which attributes fill that table's columns.

Two tables of data. `RULES` looks at attributes that say a record's kind outright, in a fixed order;
the first rule that knows the value decides. `SOURCES` names, for each column, the attributes that may
fill it, first present wins, whichever convention they come from: OpenTelemetry's GenAI, CI/CD and
messaging conventions (current and older names), OpenInference, OpenLLMetry, MLflow, Logfire, Langfuse, Google's Agent
Development Kit, Celery, Prefect.

A name such as `gen_ai.agent.name` or `deployment.environment.name` never decides: both stand on
records of every kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

__all__ = [
    "CATEGORIES",
    "EVENT_CONTENTS",
    "EVENT_MESSAGES",
    "OUTCOMES",
    "RULES",
    "SOURCES",
    "STATUSES",
    "Route",
    "Rule",
    "Sources",
    "column_sources",
    "route",
]

Sources: TypeAlias = Mapping[str, Mapping[str, Sequence[str]]]
"""Category → column → attributes that may fill it, first present wins.

`name#part` is one part of an attribute that holds JSON text, `name#` all of what the text stands for, and
`name.*` the list that attributes `name.0.…`, `name.1.…` spell out.
"""

CATEGORIES: Mapping[str, str] = MappingProxyType(
    {"system": "events", "task": "task_events", "agent": "agent_events", "deployment": "deployment_events"}
)
"""Category → table."""

STATUSES = ("started", "completed", "error", "cancelled", "suspended")
"""What a rule may say that became of a record."""


@dataclass(frozen=True)
class Route:
    """Where a record goes and what it is called there."""

    category: str
    event_type: str
    action: str | None = None
    """Agent rows: what was done."""
    status: str | None = None
    """Set where the kind itself says it."""


@dataclass(frozen=True)
class Rule:
    """An attribute, and the route for each of its values."""

    attribute: str
    routes: Mapping[str, Route] = field(default_factory=dict)
    """Value → route; a value that is not here goes on to the next rule, unless there is a default."""
    default: Route | None = None
    root: Mapping[str, Route] = field(default_factory=dict)
    """As `routes`, for spans without a parent only; looked at first."""


SYSTEM = Route("system", "operation")
LOG = Route("system", "log")
EVENT = Route("system", "event")
TASK = Route("task", "task_execution")
DEPLOYMENT = Route("deployment", "deployment")


def _agent(action: str) -> Route:
    return Route("agent", "agent_action", action)


_MODEL_CALL = _agent("llm")
# LiteLLM says which of its functions was called, where the conventions have an operation
_LITELLM = {
    f"{prefix}{function}": called
    for function, called in {
        **dict.fromkeys(("completion", "text_completion", "responses", "anthropic_messages"), _MODEL_CALL),
        "embedding": _agent("embedding"),
        "rerank": _agent("rerank"),
    }.items()
    for prefix in ("", "a")
}
_SEMANTIC_KERNEL = {
    f"{medium}.{way}completions": _MODEL_CALL for medium in ("chat", "text") for way in ("", "streaming_")
}

RULES: tuple[Rule, ...] = (
    Rule(
        "otel_pg.category",
        {"task": TASK, "agent": _agent("invoke"), "deployment": DEPLOYMENT, "system": SYSTEM},
    ),
    Rule(
        "logfire.span_type",
        {"log": LOG, "pending_span": Route("system", "pending_span", status="started")},
    ),
    Rule(
        "gen_ai.operation.name",
        {
            "chat": _MODEL_CALL,
            "generate_content": _MODEL_CALL,
            "text_completion": _MODEL_CALL,
            "embeddings": _agent("embedding"),
            "retrieval": _agent("retrieval"),
            "rerank": _agent("rerank"),
            "execute_tool": _agent("tool"),
            "invoke_agent": _agent("invoke"),
            "create_agent": _agent("create"),
            "invoke_workflow": TASK,
            "plan": _agent("plan"),
            **_LITELLM,
            **_SEMANTIC_KERNEL,
        },
        default=_agent("other"),
    ),
    Rule(
        "openinference.span.kind",
        {
            "LLM": _MODEL_CALL,
            "AGENT": _agent("invoke"),
            "TOOL": _agent("tool"),
            "CHAIN": _agent("step"),
            "RETRIEVER": _agent("retrieval"),
            "EMBEDDING": _agent("embedding"),
            "RERANKER": _agent("rerank"),
            "GUARDRAIL": _agent("guardrail"),
            "EVALUATOR": _agent("evaluation"),
            "PROMPT": _agent("prompt"),
            "DECISION": _agent("decision"),
        },
        # every step of a chain is a CHAIN; only the outermost is the work that somebody asked for
        root={"CHAIN": TASK},
    ),
    Rule(
        "traceloop.span.kind",
        {"workflow": TASK, "task": TASK, "agent": _agent("invoke"), "tool": _agent("tool")},
    ),
    # instrumentations of OpenLLMetry before 0.50 say no more than this
    Rule(
        "llm.request.type",
        {"chat": _MODEL_CALL, **_LITELLM},
    ),
    Rule(
        "mlflow.spanType",
        {
            "LLM": _MODEL_CALL,
            "CHAT_MODEL": _MODEL_CALL,
            "AGENT": _agent("invoke"),
            "TOOL": _agent("tool"),
            "CHAIN": _agent("step"),
            "RETRIEVER": _agent("retrieval"),
            "EMBEDDING": _agent("embedding"),
            "RERANKER": _agent("rerank"),
            "PARSER": _agent("step"),
            "MEMORY": _agent("memory"),
            "GUARDRAIL": _agent("guardrail"),
            "EVALUATOR": _agent("evaluation"),
            "WORKFLOW": TASK,
            "TASK": TASK,
        },
        root={"CHAIN": TASK},
    ),
    Rule(
        "langfuse.observation.type",
        {
            "generation": _MODEL_CALL,
            "embedding": _agent("embedding"),
            "agent": _agent("invoke"),
            "tool": _agent("tool"),
            "chain": _agent("step"),
            "retriever": _agent("retrieval"),
            "guardrail": _agent("guardrail"),
            "evaluator": _agent("evaluation"),
        },
        root={"chain": TASK},
    ),
    # all that says so in the GenAI conventions before 1.27, which had no operation
    Rule("gen_ai.request.model", default=_MODEL_CALL),
    Rule("cicd.pipeline.name", default=DEPLOYMENT),
    Rule("cicd.pipeline.run.id", default=DEPLOYMENT),
    Rule("cicd.pipeline.task.name", default=DEPLOYMENT),
    Rule("cicd.pipeline.result", default=DEPLOYMENT),
    Rule("deployment.id", default=DEPLOYMENT),
    Rule("deployment.name", default=DEPLOYMENT),
    Rule("deployment.status", default=DEPLOYMENT),
    Rule("celery.action", {"run": TASK}),
    Rule("prefect.run.type", {"flow": TASK, "task": TASK}),
)
"""In order of precedence; a user's own rules may be put before them."""

_RESULTS = {"failure": "error", "error": "error", "timeout": "error", "cancellation": "cancelled"}
OUTCOMES: Mapping[str, Mapping[str, str]] = {
    "cicd.pipeline.result": _RESULTS,
    "cicd.pipeline.task.run.result": _RESULTS,
    "deployment.status": {"failed": "error"},
    "celery.state": {"FAILURE": "error", "RETRY": "error", "REVOKED": "cancelled"},
}
"""Attribute → value → status, for spans whose own status says nothing of it."""

CONSUMER = 5  # span kind as in OTLP
_LOG_EVENTS = {
    "gen_ai.evaluation.": _agent("evaluation"),
    "gen_ai.execute_tool.": _agent("tool"),
    "gen_ai.tool.": _agent("tool"),
    "gen_ai.": _MODEL_CALL,
}
MESSAGING = ("messaging.system", "messaging.operation.type", "messaging.operation")

_OWN_ACTION = "otel_pg.action"
_OWN_TYPE = "otel_pg.event_type"

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


def route(
    attributes: Mapping[str, Any],
    *,
    kind: int = 0,
    is_root: bool = False,
    event_name: str | None = None,
    rules: Sequence[Rule] = RULES,
) -> Route:
    """Decide where a record goes.

    Args:
        attributes: of the span or log record.
        kind: span kind as in OTLP (1 internal … 5 consumer); 0 for a log record.
        is_root: the span has no parent.
        event_name: of a log record.
        rules: in order of precedence.
    """
    found = None
    for rule in rules:
        value = attributes.get(rule.attribute)
        if value is None:
            continue
        value = value.strip('"') if isinstance(value, str) else str(value)  # MLflow's words are JSON text
        found = (rule.root.get(value) if is_root and rule.root else None) or rule.routes.get(value, rule.default)
        if found is not None:
            break
    if found is None:
        found = _without_attributes(attributes, kind, event_name)
    if _OWN_TYPE in attributes or _OWN_ACTION in attributes or found.action == "other":
        return _renamed(found, attributes)
    if kind == 0 and found is SYSTEM:
        return EVENT
    return found


def _without_attributes(attributes: Mapping[str, Any], kind: int, event_name: str | None) -> Route:
    if kind == CONSUMER and any(name in attributes for name in MESSAGING):
        return TASK
    if kind != 0:
        return SYSTEM
    if not event_name:
        return LOG
    for start, found in _LOG_EVENTS.items():
        if event_name.startswith(start):
            return found
    return EVENT


def _renamed(found: Route, attributes: Mapping[str, Any]) -> Route:
    action = found.action and attributes.get(_OWN_ACTION)
    if not action and found.action == "other":
        action = attributes.get("gen_ai.operation.name")
    event_type = attributes.get(_OWN_TYPE) or found.event_type
    return Route(found.category, str(event_type), str(action or found.action or "") or None, found.status)


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
