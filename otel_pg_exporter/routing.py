"""Which table a record belongs to, and which attributes fill that table's columns.

Two tables of data. `RULES` looks at attributes that say a record's kind outright, in a fixed order;
the first rule that knows the value decides. `SOURCES` names, for each column, the attributes that may
fill it, first present wins, whichever convention they come from: OpenTelemetry's GenAI, CI/CD and
messaging conventions (current and older names), OpenInference, OpenLLMetry, MLflow, Celery.

A name such as `gen_ai.agent.name` or `deployment.environment.name` never decides: both stand on
records of every kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

__all__ = ["CATEGORIES", "RULES", "SOURCES", "Route", "Rule", "column_sources", "route"]

CATEGORIES: Mapping[str, str] = MappingProxyType(
    {"system": "events", "task": "task_events", "agent": "agent_events", "deployment": "deployment_events"}
)
"""Category → table."""


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
            "execute_tool": _agent("tool"),
            "invoke_agent": _agent("invoke"),
            "create_agent": _agent("create"),
            "invoke_workflow": TASK,
            "plan": _agent("plan"),
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
    Rule("cicd.pipeline.name", default=DEPLOYMENT),
    Rule("cicd.pipeline.run.id", default=DEPLOYMENT),
    Rule("cicd.pipeline.task.name", default=DEPLOYMENT),
    Rule("cicd.pipeline.result", default=DEPLOYMENT),
    Rule("deployment.id", default=DEPLOYMENT),
    Rule("deployment.name", default=DEPLOYMENT),
    Rule("deployment.status", default=DEPLOYMENT),
    Rule("celery.action", {"run": TASK}),
)
"""In order of precedence; a user's own rules may be put before them."""

CONSUMER = 5  # span kind as in OTLP
MESSAGING = ("messaging.system", "messaging.operation.type", "messaging.operation")

_OWN_ACTION = "otel_pg.action"
_OWN_TYPE = "otel_pg.event_type"

ANY_CATEGORY: Mapping[str, Sequence[str]] = {
    "agent_id": ("gen_ai.agent.id", "agent.id", "gen_ai.agent.name", "agent.name", "agent_name"),
    "task_id": ("otel_pg.task.id",),
    "session_id": (
        "session.id",
        "gen_ai.conversation.id",
        "traceloop.association.properties.session_id",
        "traceloop.association.properties.chat_id",
    ),
    "user_id": ("user.id", "enduser.id", "enduser.pseudo.id", "traceloop.association.properties.user_id"),
    "error_type": ("error.type", "exception.type"),
    "error_message": ("exception.message",),
    "input": (
        "input.value",
        "gen_ai.tool.call.arguments",
        "gen_ai.input.messages",
        "traceloop.entity.input",
        "mlflow.spanInputs",
        "pydantic_ai.all_messages",
    ),
    "output": (
        "output.value",
        "gen_ai.tool.call.result",
        "gen_ai.output.messages",
        "traceloop.entity.output",
        "mlflow.spanOutputs",
        "final_result",
    ),
}

SOURCES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "system": ANY_CATEGORY,
    "task": {
        **ANY_CATEGORY,
        "task_id": ("otel_pg.task.id", "celery.task_id", "messaging.message.id", "messaging.message_id"),
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
        "agent_name": ("gen_ai.agent.name", "agent.name", "agent_name"),
        "tool_name": ("gen_ai.tool.name", "tool.name"),
        "model": (
            "gen_ai.response.model",
            "gen_ai.request.model",
            "llm.model_name",
            "embedding.model_name",
            "mlflow.llm.model",
        ),
        "provider": (
            "gen_ai.provider.name",
            "gen_ai.system",
            "llm.provider",
            "llm.system",
            "mlflow.llm.provider",
        ),
        "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
        "output_tokens": (
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.completion_tokens",
            "llm.token_count.completion",
        ),
        "cache_read_tokens": (
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "llm.token_count.prompt_details.cache_read",
        ),
        "cache_write_tokens": (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "llm.token_count.prompt_details.cache_write",
        ),
        "reasoning_tokens": (
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "llm.token_count.completion_details.reasoning",
        ),
        "cost": ("otel_pg.cost", "llm.cost.total", "gen_ai.usage.cost", "operation.cost"),
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
"""Category → column → attributes that may fill it, first present wins."""


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
        if not isinstance(value, str):
            value = str(value)
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
    return _MODEL_CALL if event_name.startswith("gen_ai.") else EVENT


def _renamed(found: Route, attributes: Mapping[str, Any]) -> Route:
    action = found.action and attributes.get(_OWN_ACTION)
    if not action and found.action == "other":
        action = attributes["gen_ai.operation.name"]
    event_type = attributes.get(_OWN_TYPE) or found.event_type
    return Route(found.category, str(event_type), str(action or found.action or "") or None, found.status)


@lru_cache(maxsize=4096)
def column_sources(category: str, keys: tuple[str, ...]) -> dict[str, str]:
    """Column → the attribute that fills it, for a record with these attributes."""
    present = frozenset(keys)
    chosen = {}
    for column, names in SOURCES[category].items():
        for name in names:
            if name in present:
                chosen[column] = name
                break
    return chosen
