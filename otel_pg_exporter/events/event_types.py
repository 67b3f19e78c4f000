"""The twelve events of an integration: what each is called, what it holds, and what it begins or ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import Any

from ..errors import InvalidEventError, shown
from .shapes import SHAPES, EventShape

__all__ = ["OCCASIONS", "Occasion", "occasion"]

IDS: Mapping[str, str] = {"task": "task_id", "agent": "agent_id", "deployment": "deployment_id"}
"""Category → the field that says which task, agent or deployment it is."""


@dataclass(frozen=True)
class Occasion:
    """One of the events."""

    name: str
    category: str
    event_type: str | None
    """None: the payload says, else the category's default."""
    status: str | None
    """None: what the payload's errors and results say, else completed."""
    opens: bool = False
    """A duration begins."""
    carries: bool = False
    """It carries the duration since the start."""
    closes: bool = False
    """The start is over with it: the next duration needs another start."""
    action: str | None = None
    """The action of an agent's event that is none of its actions."""

    @property
    def required(self) -> tuple[str, ...]:
        """Keys that a payload must have."""
        return (IDS[self.category],) if self.category in IDS else ()

    @property
    def allowed(self) -> tuple[str, ...]:
        """Keys that a payload may have: the fields of the category's shape that the event itself leaves open."""
        fixed = {"event_name": self.name, "event_type": self.event_type, "status": self.status, "action": self.action}
        return tuple(each.name for each in fields(SHAPES[self.category]) if fixed.get(each.name) is None)

    def event(self, payload: Any) -> EventShape:
        """The event of a payload, checked; its time is now if the payload has none.

        Raises:
            InvalidEventError: the payload is no mapping, lacks a key, has one too many, or a value that is not
                allowed.
        """
        if not isinstance(payload, Mapping):
            raise InvalidEventError(f"payload={shown(payload)} of {self.name} is not allowed; allowed is a mapping")
        for key in self.required:
            if payload.get(key) in (None, ""):
                raise InvalidEventError(f"the payload of {self.name} lacks {key}: it is needed to know which it is")
        if unknown := [key for key in payload if key not in self.allowed]:
            raise InvalidEventError(
                f"the payload of {self.name} has no key {shown(unknown[0])}; it may have {', '.join(self.allowed)}"
            )
        given: dict[str, Any] = {"timestamp": datetime.now(timezone.utc), "event_name": self.name}
        given |= {name: getattr(self, name) for name in ("event_type", "status", "action") if getattr(self, name)}
        given |= {key: value for key, value in payload.items() if value is not None}
        return SHAPES[self.category](**given)


OCCASIONS: Mapping[str, Occasion] = {
    each.name: each
    for each in (
        Occasion("task:started", "task", "task_execution", "started", opens=True),
        Occasion("task:completed", "task", "task_execution", "completed", carries=True, closes=True),
        Occasion("task:error", "task", "task_execution", "error", carries=True, closes=True),
        Occasion("task:cancelled", "task", "task_execution", "cancelled", carries=True, closes=True),
        Occasion("agent:registered", "agent", "agent_lifecycle", "started", opens=True, action="create"),
        Occasion("agent:action", "agent", "agent_action", None),
        Occasion("agent:error", "agent", "agent_error", "error", carries=True),
        Occasion(
            "agent:unregistered", "agent", "agent_lifecycle", "completed", carries=True, closes=True, action="remove"
        ),
        Occasion("deployment:started", "deployment", "deployment", "started", opens=True),
        Occasion("deployment:completed", "deployment", "deployment", "completed", carries=True, closes=True),
        Occasion("deployment:error", "deployment", "deployment", "error", carries=True, closes=True),
        Occasion("system:event", "system", None, None),
    )
}
"""Name → event."""


def occasion(name: Any) -> Occasion:
    """The event of that name.

    Raises:
        InvalidEventError: there is none.
    """
    if not isinstance(name, str) or name not in OCCASIONS:
        raise InvalidEventError(f"event {shown(name)} is not known; known are: {', '.join(OCCASIONS)}")
    return OCCASIONS[name]
