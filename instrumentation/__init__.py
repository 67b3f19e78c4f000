"""Record tasks, agents, their actions, and deployments as OpenTelemetry spans and log records.

    from instrumentation import action, agent, current, deployment, event, task

    @task(queue="nightly")
    def import_orders(day: str) -> int:
        event("orders.found", attributes={"orders": 3})
        return 3

    @agent(model="gpt-5", session_id="s-1")
    async def support(question: str) -> str:
        with action("search", kind="retrieval") as search:
            search.output(["a", "b"])
        return "answer"

    with deployment("shop", environment="production", commit="4f2a91c") as deploy:
        deploy.tests("success")

`task`, `agent`, `action` and `deployment` are decorators (bare or with arguments) on sync, async, generator and
async-generator functions and methods, and `with` and `async with` blocks. They work with any OpenTelemetry
set-up and exporter, and do next to nothing without one. They raise nothing into the program.

`instrument(tasks=["myapp.jobs:*"])` records functions by name in code that is left as it is; it needs wrapt, and
refuses what is no pattern when the program starts.

Environment: `EVENT_CAPTURE_INPUTS` and `EVENT_CAPTURE_OUTPUTS` (true or false; default true),
`EVENT_CAPTURE_MAX_LENGTH` (characters; default 16384), `EVENT_REDACT_KEYS` (names, separated by commas),
`EVENT_REDACT_PATTERNS` (regular expressions, one a line or separated by `||`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .blocks import Block, current
    from .capture import CaptureSettings, configure_capture
    from .events import event
    from .kinds import action, agent, deployment, task
    from .patches import instrument, uninstrument
    from .scope import propagate
    from .suspension import resume

__all__ = [
    "task",
    "agent",
    "action",
    "deployment",
    "event",
    "current",
    "propagate",
    "resume",
    "configure_capture",
    "instrument",
    "uninstrument",
    "Block",
    "CaptureSettings",
]

_HOMES = {
    "task": "kinds",
    "agent": "kinds",
    "action": "kinds",
    "deployment": "kinds",
    "event": "events",
    "current": "blocks",
    "propagate": "scope",
    "resume": "suspension",
    "configure_capture": "capture",
    "instrument": "patches",
    "uninstrument": "patches",
    "Block": "blocks",
    "CaptureSettings": "capture",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
