"""One thing that happened at one moment, as a log record."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import get_current

from . import attributes as names
from . import scope, signals
from .capture import settings
from .encoding import clean_attributes, clean_text, json_text, name_text
from .guard import guarded, warn

if TYPE_CHECKING:
    from .blocks import Block
    from .recipe import Id

_CATEGORIES = ("task", "agent", "deployment", "system")
_STATUSES = ("started", "completed", "error", "cancelled", "suspended")


@guarded(None)
def event(
    name: str,
    *,
    body: object = None,
    severity: str | int | SeverityNumber = "info",
    category: str = "system",
    event_type: str | None = None,
    status: str | None = None,
    attributes: Mapping[str, object] | None = None,
    user_id: Id | None = None,
    session_id: Id | None = None,
    task_id: Id | None = None,
    agent_id: Id | None = None,
) -> None:
    """Send one log record named `name`, in the trace of the current span. Never raises.

    `severity` is `trace`, `debug`, `info`, `warn`, `error`, `fatal`, or OpenTelemetry's number (1 to 24).
    `category` (`task`, `agent`, `deployment`, `system`) picks the table; `status` is `started`, `completed`, `error`,
    `cancelled` or `suspended`. Another word is told in the log, once, and counts as if it were left out. What an
    open block says of task, agent, session and user holds here too. `body` may be text or anything that makes JSON;
    secrets are taken out. Events sent before a LoggerProvider is set are lost: that is how OpenTelemetry does it.
    """
    if category not in _CATEGORIES:
        _tell_of_misfit("category", repr(category), _CATEGORIES)
        category = "system"
    if status is not None and status not in _STATUSES:
        _tell_of_misfit("status", repr(status), _STATUSES)
        status = None
    if not signals.is_severity(severity):
        _tell_of_misfit("severity", repr(severity), (*signals.SEVERITIES, "1 to 24"))
        severity = "info"
    given = {
        names.STATUS: status,
        names.USER_ID: user_id,
        names.SESSION_ID: session_id,
        names.TASK_ID: task_id,
        names.AGENT_ID: agent_id,
    }
    send(
        name,
        scope.block_of(get_current()),
        category=category,
        event_type=event_type,
        attributes=attributes,
        body=body,
        severity=severity,
        known={key: name_text(value) for key, value in given.items() if value is not None},
    )


@guarded(None)
@functools.lru_cache(maxsize=256)
def _tell_of_misfit(argument: str, value: str, allowed: Collection[str]) -> None:
    warn("event(): %s=%.60s is left out; allowed are %s", argument, value, ", ".join(allowed))


def send(
    name: str,
    block: Block | None,
    *,
    category: str,
    event_type: str | None,
    attributes: Mapping[str, object] | None,
    body: object = None,
    severity: str | int | SeverityNumber = "info",
    known: Mapping[str, str] | None = None,
) -> None:
    """Send the record with what `block` hands down, in the block's context if it is not the current one."""
    name = name_text(name)
    if not signals.logs_enabled(name, severity):
        return
    cleaned = clean_attributes(attributes)
    if block is not None:
        cleaned = {**_handed_down(block, category), **cleaned}
    cleaned[names.CATEGORY] = name_text(category)
    if event_type is not None:
        cleaned[names.EVENT_TYPE] = name_text(event_type)
    cleaned.update(known or {})
    current = get_current()
    inside = current if block is None or scope.block_of(current) is block else block.context
    signals.emit(name, body=_body(body), severity=severity, attributes=cleaned, context=inside)


def _handed_down(block: Block, category: str) -> Mapping[str, Any]:
    given = block.handed_down
    if category != "task" or names.AGENT_NAME not in given:
        return given
    # of a task the name of an agent would be taken for its own
    rest = {key: value for key, value in given.items() if key != names.AGENT_NAME}
    return {names.AGENT_ID: given[names.AGENT_NAME], **rest}


def _body(body: object) -> object:
    """Text as text; anything else as what its bounded and redacted JSON text says."""
    if body is None or type(body) is str:
        return None if body is None else clean_text(body, settings().max_length)
    return json.loads(json_text(body))
