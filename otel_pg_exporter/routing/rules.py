"""Which table a record belongs to.

`RULES` looks at attributes that say a record's kind outright, in a fixed order; the first rule that knows the value
decides. A name such as `gen_ai.agent.name` or `deployment.environment.name` never decides: both stand on records of
every kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = [
    "CATEGORIES",
    "OUTCOMES",
    "RULES",
    "STATUSES",
    "Route",
    "Rule",
    "route",
]

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
