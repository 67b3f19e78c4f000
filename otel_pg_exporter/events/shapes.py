"""What an event of each category may hold: checked when it is made, before anything is queued.

    TaskEvent(event_name="invoice sent", task_id="42", input={"order": 7}, duration_seconds=0.8)

A shape becomes the attributes that `routing` knows, so an event that is logged fills the same columns as
a span. `data` is for whatever has no field of its own; it becomes the log record's body, which jsonb
holds with all its levels, where an attribute would be flat or text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from math import isfinite
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias
from uuid import UUID

from ..errors import FAULTS, InvalidEventError, shown

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["SHAPES", "AgentEvent", "DeploymentEvent", "EventShape", "SystemEvent", "TaskEvent", "id_text"]

STATUSES = ("started", "completed", "error", "cancelled")
RESULTS = ("success", "failure", "error", "timeout", "cancellation", "skip")
"""Outcomes of a deployment and its steps, as in OpenTelemetry's CI/CD conventions."""

_OF_MODELS = (
    "model", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost",
)  # fmt: skip
_FAILED = frozenset({"failure", "error", "timeout"})
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_FIRST, _LAST = (datetime(year, 1, 1, tzinfo=timezone.utc) for year in (1678, 2262))  # 64 bits of nanoseconds
_MAX_SECONDS = 9_000_000_000
_MAX_DEPTH = 100
_I31, _I63 = (1 << 31) - 1, (1 << 63) - 1

_Check: TypeAlias = Callable[[Any], Any]
Id: TypeAlias = str | int | UUID
"""What an id may be given as; it is kept as its text."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return str.__str__(value)  # of a member of an enum str() is its name


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text of one character or more")
    return str.__str__(value)


def _integer(value: Any) -> int | None:
    """A whole number, numpy's too; None for anything else."""
    return None if isinstance(value, bool) or not isinstance(value, Integral) else int(value)


def id_text(value: Any) -> str:
    """The text that an id is stored as.

    Raises:
        ValueError: it is no text, whole number or UUID.
    """
    if isinstance(value, str):
        return str.__str__(value)
    found = value if isinstance(value, UUID) else _integer(value)
    if found is None:
        raise ValueError("a text, a whole number or a UUID")
    return str(found)


def _one_of(allowed: tuple[str, ...]) -> _Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError("one of " + ", ".join(allowed))
        return str.__str__(value)

    return check


def _whole(low: int, high: int) -> _Check:
    def check(value: Any) -> int:
        found = _integer(value)
        if found is None or not low <= found <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return found

    return check


def _number(high: float) -> _Check:
    def check(value: Any) -> float:
        is_number = not isinstance(value, bool) and isinstance(value, Real | Decimal)
        if not is_number or not isfinite(value) or not 0 <= value <= high:
            raise ValueError(f"a number from 0 to {high:g}")
        return float(value)

    return check


def _moment(value: Any) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None or not _FIRST <= value < _LAST:
        raise ValueError("a datetime with a time zone, of the years 1678 to 2261")
    return value


def _json(value: Any, depth: int = 0) -> Any:
    """A copy: what its maker does to the original later must not change an event that waits in a queue."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth == _MAX_DEPTH:
        raise ValueError(f"a value of at most {_MAX_DEPTH} levels, that does not contain itself")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("mappings whose keys are texts")
        return {key: _json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item, depth + 1) for item in value]
    raise ValueError(
        f"a JSON value (None, bool, int, float, str, list, tuple, mapping of text to these), not {type(value).__name__}"
    )


def _mapping(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError("a mapping of text to JSON values")
    return _json(value)


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000_000)


def _field(attribute: str | None, check: _Check = _text, *, default: Any = None, write: _Check | None = None) -> Any:
    return field(default=default, metadata={"attribute": attribute, "check": check, "write": write})


@dataclass(frozen=True, kw_only=True)
class EventShape:
    """What events of every category have. Trace and span are those of the current OpenTelemetry context.

    Raises:
        InvalidEventError: a field has a value that is not allowed.
    """

    category: ClassVar[str]
    """system, task, agent or deployment: picks the table."""

    event_name: str = field(metadata={"attribute": None, "check": _name, "write": None})
    """Which event: `login`, `invoice sent`."""
    event_type: str = _field("otel_pg.event_type", _name, default="event")
    """Group of the event."""
    status: str | None = _field("otel_pg.status", _one_of(STATUSES))
    """started, completed, error or cancelled; left out, it is what errors and results say."""
    timestamp: datetime | None = _field(None, _moment)
    """When it happened; default now."""
    duration_seconds: float | None = _field("otel_pg.duration_ns", _number(_MAX_SECONDS), write=_nanoseconds)
    """How long it took, seconds; kept to the nanosecond."""
    user_id: Id | None = _field("user.id", id_text)
    session_id: Id | None = _field("session.id", id_text)
    """Session or conversation."""
    error_type: str | None = _field("error.type")
    """Class of the exception, or an error code."""
    error_message: str | None = _field("exception.message")
    data: Mapping[str, Any] | None = _field(None, _mapping)
    """JSON values of any depth; what comes back equals what went in, but for tuples, that become lists."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            if value is None and each.default is not MISSING:
                value = each.default  # as if it were left out
            try:
                object.__setattr__(self, each.name, each.metadata["check"](value))
            except ValueError as error:
                raise InvalidEventError(
                    f"{type(self).__name__}.{each.name}={shown(value)} is not allowed; allowed is {error}"
                ) from None
            except FAULTS as error:  # raised by what looks at the program's own object
                raise InvalidEventError(
                    f"{type(self).__name__}.{each.name}={shown(value)} is not allowed: {type(error).__name__} when it"
                    " was looked at"
                ) from None
        if self.status is None:
            object.__setattr__(self, "status", self._status())

    def attributes(self) -> dict[str, Any]:
        """OpenTelemetry attributes, without those that have no value."""
        found: dict[str, Any] = {"otel_pg.category": self.category}
        for each in fields(self):
            key, value, write = each.metadata["attribute"], getattr(self, each.name), each.metadata["write"]
            if key is not None and value is not None:
                found[key] = write(value) if write else value
        return found

    @classmethod
    def of(cls, event: Any, given: Mapping[str, Any]) -> Self:
        """The event itself, or one made of the fields that were given instead.

        Raises:
            InvalidEventError: both, an event of another category, an unknown field, or a wrong value.
        """
        if event is not None:
            if given or not isinstance(event, cls):
                beside = f" with {next(iter(given))}=…" if given else ""
                wanted = f"{'an' if cls.__name__[0] in 'AEIOU' else 'a'} {cls.__name__}, or its fields"
                raise InvalidEventError(f"event={shown(event)}{beside} is not allowed; allowed is {wanted}")
            return event
        known = [each.name for each in fields(cls)]
        if unknown := [name for name in given if name not in known]:
            raise InvalidEventError(f"{cls.__name__} has no field {shown(unknown[0])}; it has {', '.join(known)}")
        if "event_name" not in given:
            raise InvalidEventError(f"{cls.__name__}.event_name is missing; needed is a text of one character or more")
        return cls(**given)

    @property
    def start_unix_nano(self) -> int | None:
        """The timestamp in nanoseconds since 1970; None if it was left out."""
        return None if self.timestamp is None else (self.timestamp - _EPOCH) // timedelta(microseconds=1) * 1000

    def _status(self) -> str:
        return "completed" if self.error_type is None and self.error_message is None else "error"


@dataclass(frozen=True, kw_only=True)
class SystemEvent(EventShape):
    """A user's action (login, logout), an operation, a configuration change, an error.

    Usual types are user_action, operation, configuration_change and error.
    """

    category: ClassVar[str] = "system"

    event_type: str = _field("otel_pg.event_type", _name, default="operation")
    target: str | None = _field("otel_pg.target")
    """What it was done to: a setting, a host, a file."""


@dataclass(frozen=True, kw_only=True)
class TaskEvent(EventShape):
    """Something in the life of a task: created, started, finished, failed; its input and output."""

    category: ClassVar[str] = "task"

    event_type: str = _field("otel_pg.event_type", _name, default="task_execution")
    task_id: Id | None = _field("otel_pg.task.id", id_text)
    task_name: str | None = _field("otel_pg.task.name")
    agent_id: Id | None = _field("gen_ai.agent.id", id_text)
    """The agent that works on it."""
    input: Any = _field("input.value", _json, write=_json_text)
    """What the task was given, a JSON value."""
    output: Any = _field("output.value", _json, write=_json_text)
    """What it gave back, a JSON value."""
    attempt: int | None = _field("otel_pg.task.attempt", _whole(1, _I31))
    """1 for the first."""
    queue: str | None = _field("otel_pg.task.queue")


@dataclass(frozen=True, kw_only=True)
class AgentEvent(EventShape):
    """Something that an agent did: registered, called a model or a tool, failed, recovered."""

    category: ClassVar[str] = "agent"

    event_type: str = _field("otel_pg.event_type", _name, default="agent_action")
    agent_id: Id | None = _field("gen_ai.agent.id", id_text)
    agent_name: str | None = _field("gen_ai.agent.name")
    task_id: Id | None = _field("otel_pg.task.id", id_text)
    """The task that it works on."""
    action: str | None = _field("otel_pg.action", _name)
    """What was done: create, invoke, llm, tool … Left out, it is tool if there is a tool's name, llm if there is a
    model, tokens or a cost, else invoke. Statistics take the tokens and cost of invoke for a sum of the others'."""
    tool_name: str | None = _field("gen_ai.tool.name")
    model: str | None = _field("gen_ai.request.model")
    provider: str | None = _field("gen_ai.provider.name")
    input_tokens: int | None = _field("gen_ai.usage.input_tokens", _whole(0, _I63))
    output_tokens: int | None = _field("gen_ai.usage.output_tokens", _whole(0, _I63))
    cache_read_tokens: int | None = _field("gen_ai.usage.cache_read.input_tokens", _whole(0, _I63))
    cache_write_tokens: int | None = _field("gen_ai.usage.cache_write.input_tokens", _whole(0, _I63))
    reasoning_tokens: int | None = _field("gen_ai.usage.reasoning.output_tokens", _whole(0, _I63))
    cost: float | None = _field("otel_pg.cost", _number(1e15))
    """US dollars."""
    input: Any = _field("input.value", _json, write=_json_text)
    """What the agent, model or tool was given, a JSON value."""
    output: Any = _field("output.value", _json, write=_json_text)
    """What it gave back, a JSON value."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.action is None:
            calls_model = any(getattr(self, name) is not None for name in _OF_MODELS)
            object.__setattr__(self, "action", "tool" if self.tool_name else "llm" if calls_model else "invoke")


@dataclass(frozen=True, kw_only=True)
class DeploymentEvent(EventShape):
    """Something in a deployment: its target, branch and pull request, build, tests and outcome."""

    category: ClassVar[str] = "deployment"

    event_type: str = _field("otel_pg.event_type", _name, default="deployment")
    deployment_id: Id | None = _field("deployment.id", id_text)
    """This deployment; stands for the run's id where that is left out."""
    pipeline: str | None = _field("cicd.pipeline.name")
    pipeline_run_id: Id | None = _field("cicd.pipeline.run.id", id_text)
    environment: str | None = _field("deployment.environment.name")
    """Target, such as production, staging or WSL2."""
    branch: str | None = _field("vcs.ref.head.name")
    commit_sha: str | None = _field("vcs.ref.head.revision")
    pull_request: Id | None = _field("vcs.change.id", id_text)
    build_result: str | None = _field("otel_pg.deployment.build", _one_of(RESULTS))
    """success, failure, error, timeout, cancellation or skip."""
    test_result: str | None = _field("otel_pg.deployment.tests", _one_of(RESULTS))
    """The same words."""
    result: str | None = _field("cicd.pipeline.result", _one_of(RESULTS))
    """The same words, of the deployment as a whole; says the status if that is left out."""

    def _status(self) -> str:
        if self.result == "cancellation":
            return "cancelled"
        return "error" if self.result in _FAILED else super()._status()


SHAPES: Mapping[str, type[EventShape]] = {
    shape.category: shape for shape in (SystemEvent, TaskEvent, AgentEvent, DeploymentEvent)
}
"""Category → shape."""
