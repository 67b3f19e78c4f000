"""A program says what happens by name; a listener hears it, and PostgreSQL keeps it.

python examples/event_integration.py     # OTEL_EXPORTER_POSTGRES_DSN, else the embedded PostgreSQL
"""

from __future__ import annotations

import uuid

from otel_pg_exporter import EventIntegration

ORDERS = {"tea": 3, "coffee": 0, "sugar": 7}


def pack(what: str) -> int:
    """Pack an order; there may be none."""
    if not ORDERS[what]:
        raise LookupError(f"no {what} is left")
    return ORDERS[what]


def work_off(events: EventIntegration) -> None:
    """Each order is a task, with a beginning and one of several ends."""
    for what in ORDERS:
        task_id = f"{what}-{uuid.uuid4().hex[:8]}"
        events.emit("task:started", {"task_id": task_id, "task_name": "pack", "input": what, "queue": "orders"})
        try:
            packed = pack(what)
        except LookupError as error:
            failed = {"error_type": type(error).__name__, "error_message": str(error)}
            events.emit("task:error", {"task_id": task_id, "task_name": "pack", **failed})
        else:
            events.emit("task:completed", {"task_id": task_id, "task_name": "pack", "output": packed})


def main() -> None:
    """Work, listen, and look at what was stored."""
    with EventIntegration() as events:
        events.on("task:error", lambda payload: print(f"heard: {payload['error_message']}"))
        events.emit("agent:registered", {"agent_id": "packer-1", "agent_name": "packer"})
        work_off(events)
        events.log_custom_event("stock_counted", {"left": ORDERS})
        events.emit("agent:unregistered", {"agent_id": "packer-1"})
        events.force_flush()

        for event in reversed(events.query_events("task", event_type="task_execution", limit=6)):
            took = "" if event.duration is None else f"{event.duration.total_seconds() * 1000:.1f} ms"
            print(f"{event.event_name:<16} {event.status:<10} {took}".rstrip())


if __name__ == "__main__":
    main()
