"""`task`, `agent`, `action` and `deployment`: four words for a block, each with what is worth knowing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

from opentelemetry.trace import SpanKind

from . import attributes as names
from .blocks import Block
from .guard import guarded, tell_of_misfits, warn
from .recipe import Recipe

if TYPE_CHECKING:
    from .recipe import Id

F = TypeVar("F", bound=Callable[..., Any])

_OPERATIONS = {"tool": "execute_tool", "llm": "chat", "retrieval": "retrieval", "embedding": "embeddings"}
_REMOTE = {"llm", "embedding"}
_LONGEST_SLIP, _ALIKE = 20, 0.8


@overload
def task(name: F, /) -> F: ...
@overload
def task(
    name: str | None = None,
    *,
    task_id: Id | None = None,
    attempt: int | None = None,
    queue: str | None = None,
    event_type: str = "task_execution",
    session_id: Id | None = None,
    user_id: Id | None = None,
    attributes: Mapping[str, object] | None = None,
    span_kind: SpanKind | None = None,
    capture_input: bool | None = None,
    capture_output: bool | None = None,
) -> Block: ...
def task(
    name: Any = None,
    *more: object,
    task_id: Id | None = None,
    attempt: int | None = None,
    queue: str | None = None,
    event_type: str = "task_execution",
    session_id: Id | None = None,
    user_id: Id | None = None,
    attributes: Mapping[str, object] | None = None,
    span_kind: SpanKind | None = None,
    capture_input: bool | None = None,
    capture_output: bool | None = None,
    **unknown: object,
) -> Any:
    """Record what a task runner, script or schedule does: `@task`, `@task("import")`, `with task("import"):`.

    `attempt` counts as the task runner counts. `capture_input` and `capture_output` say whether arguments and
    result are recorded; left out, the settings of the process hold. Inner blocks inherit the task's id, the
    session's and the user's.
    """
    if more or unknown:
        tell_of_misfits(task, more, unknown)
    return _made(
        name,
        category="task",
        event_type=event_type,
        named=(names.TASK_NAME,),
        known={
            names.TASK_ID: task_id,
            names.TASK_ATTEMPT: attempt,
            names.TASK_QUEUE: queue,
            names.SESSION_ID: session_id,
            names.USER_ID: user_id,
        },
        attributes=attributes,
        span_kind=span_kind,
        capture_input=capture_input,
        capture_output=capture_output,
    )


@overload
def agent(name: F, /) -> F: ...
@overload
def agent(
    name: str | None = None,
    *,
    agent_id: Id | None = None,
    session_id: Id | None = None,
    user_id: Id | None = None,
    model: str | None = None,
    provider: str | None = None,
    operation: str = "invoke_agent",
    event_type: str = "agent_action",
    attributes: Mapping[str, object] | None = None,
    span_kind: SpanKind | None = None,
    capture_input: bool | None = None,
    capture_output: bool | None = None,
) -> Block: ...
def agent(
    name: Any = None,
    *more: object,
    agent_id: Id | None = None,
    session_id: Id | None = None,
    user_id: Id | None = None,
    model: str | None = None,
    provider: str | None = None,
    operation: str = "invoke_agent",
    event_type: str = "agent_action",
    attributes: Mapping[str, object] | None = None,
    span_kind: SpanKind | None = None,
    capture_input: bool | None = None,
    capture_output: bool | None = None,
    **unknown: object,
) -> Any:
    """Record one invocation of an agent. What it does inside inherits its name, id, session and user.

    The span bears the plain name, not GenAI's `invoke_agent name`: what was named is what is seen.
    """
    if more or unknown:
        tell_of_misfits(agent, more, unknown)
    return _made(
        name,
        category="agent",
        event_type=event_type,
        named=(names.AGENT_NAME,),
        known={
            names.OPERATION: operation,
            names.AGENT_ID: agent_id,
            names.REQUEST_MODEL: model,
            names.PROVIDER: provider,
            names.SESSION_ID: session_id,
            names.USER_ID: user_id,
        },
        attributes=attributes,
        span_kind=span_kind,
        capture_input=capture_input,
        capture_output=capture_output,
    )


@overload
def action(name: F, /) -> F: ...
@overload
def action(
    name: str | None = None,
    *,
    kind: str = "tool",
    tool_call_id: str | None = None,
    model: str | None = None,
    provider: str | None = None,
    event_type: str = "agent_action",
    session_id: Id | None = None,
    user_id: Id | None = None,
    attributes: Mapping[str, object] | None = None,
    span_kind: SpanKind | None = None,
    capture_input: bool | None = None,
    capture_output: bool | None = None,
) -> Block: ...
def action(
    name: Any = None,
    *more: object,
    kind: str = "tool",
    tool_call_id: str | None = None,
    model: str | None = None,
    provider: str | None = None,
    event_type: str = "agent_action",
    session_id: Id | None = None,
    user_id: Id | None = None,
    attributes: Mapping[str, object] | None = None,
    span_kind: SpanKind | None = None,
    capture_input: bool | None = None,
    capture_output: bool | None = None,
    **unknown: object,
) -> Any:
    """Record one thing that an agent does: a call of a tool, of a model (`kind="llm"`), a search.

    `kind` is `tool`, `llm`, `retrieval`, `embedding`, or a word of your own. Calls of models and embeddings
    are CLIENT spans and the others INTERNAL, unless `span_kind` says so. A word that looks like a slip of one
    of the four is a line in the log.
    """
    if more or unknown:
        tell_of_misfits(action, more, unknown)
    word = kind if isinstance(kind, str) else ""
    if word not in _OPERATIONS and 0 < len(word) <= _LONGEST_SLIP:
        _tell_of_slip(word)
    return _made(
        name,
        category="agent",
        event_type=event_type,
        named=(names.TOOL_NAME,) if word == "tool" else (),
        known={
            names.OPERATION: _OPERATIONS.get(word),
            names.ACTION: kind,
            names.TOOL_CALL_ID: tool_call_id,
            names.REQUEST_MODEL: model,
            names.PROVIDER: provider,
            names.SESSION_ID: session_id,
            names.USER_ID: user_id,
        },
        attributes=attributes,
        span_kind=SpanKind.CLIENT if span_kind is None and word in _REMOTE else span_kind,
        capture_input=capture_input,
        capture_output=capture_output,
    )


@overload
def deployment(name: F, /) -> F: ...
@overload
def deployment(
    name: str | None = None,
    *,
    environment: str | None = None,
    branch: str | None = None,
    commit: str | None = None,
    pull_request: Id | None = None,
    pipeline: str | None = None,
    run_id: Id | None = None,
    event_type: str = "deployment",
    session_id: Id | None = None,
    user_id: Id | None = None,
    attributes: Mapping[str, object] | None = None,
    span_kind: SpanKind | None = None,
    capture_input: bool | None = None,
    capture_output: bool | None = None,
) -> Block: ...
def deployment(
    name: Any = None,
    *more: object,
    environment: str | None = None,
    branch: str | None = None,
    commit: str | None = None,
    pull_request: Id | None = None,
    pipeline: str | None = None,
    run_id: Id | None = None,
    event_type: str = "deployment",
    session_id: Id | None = None,
    user_id: Id | None = None,
    attributes: Mapping[str, object] | None = None,
    span_kind: SpanKind | None = None,
    capture_input: bool | None = None,
    capture_output: bool | None = None,
    **unknown: object,
) -> Any:
    """Record a deployment. When it is left, its result is `success`, `error` or `cancellation`, unless
    `.result()` said otherwise; `.build()` and `.tests()` record how these went.
    """
    if more or unknown:
        tell_of_misfits(deployment, more, unknown)
    return _made(
        name,
        category="deployment",
        event_type=event_type,
        named=(names.DEPLOYMENT_NAME,),
        known={
            names.ENVIRONMENT: environment,
            names.BRANCH: branch,
            names.COMMIT: commit,
            names.PULL_REQUEST: pull_request,
            names.PIPELINE: pipeline,
            names.PIPELINE_RUN_ID: run_id,
            names.SESSION_ID: session_id,
            names.USER_ID: user_id,
        },
        attributes=attributes,
        span_kind=span_kind,
        capture_input=capture_input,
        capture_output=capture_output,
    )


@guarded(None)
@functools.lru_cache(maxsize=256)
def _tell_of_slip(word: str) -> None:
    """Once for each word: `llmm` would be missing wherever calls of models are counted."""
    from difflib import get_close_matches  # of use for few programs

    for meant in get_close_matches(word.lower(), _OPERATIONS, 1, _ALIKE):
        warn("kind=%r of an action is taken for a word of your own; did you mean %r?", word, meant)


def _made(name: Any, **recipe: Any) -> Any:
    if callable(name) or hasattr(type(name), "__get__"):  # below a classmethod, a property, a singledispatchmethod
        return Block(Recipe(None, **recipe))(name)
    return Block(Recipe(name, **recipe))
