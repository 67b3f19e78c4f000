"""An OpenTelemetry-native event store in plain PostgreSQL.

    from otel_pg_exporter import configure

    telemetry = configure()
    ...
    print(telemetry.query.trace(trace_id))

Names are loaded when they are first used: `import otel_pg_exporter` alone loads neither SDK nor driver.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import errors
    from .async_query import AsyncEventQuery
    from .async_store import AsyncEventStore
    from .config import Settings
    from .event_config import create_event_config, get_event_config
    from .events.shapes import AgentEvent, DeploymentEvent, SystemEvent, TaskEvent
    from .exporter import PostgresLogRecordExporter, PostgresSpanExporter
    from .id_generator import TimeOrderedIdGenerator
    from .integration import EventIntegration
    from .providers import Telemetry, configure
    from .query import EventQuery
    from .reading.runs import Run
    from .reading.trace import Trace
    from .schema import grants, indexes, migrate
    from .store import EventStore
    from .upkeep import erasure, retention

    __version__: str

__all__ = [
    "configure",
    "Telemetry",
    "Settings",
    "PostgresSpanExporter",
    "PostgresLogRecordExporter",
    "TimeOrderedIdGenerator",
    "EventQuery",
    "AsyncEventQuery",
    "Trace",
    "Run",
    "EventStore",
    "AsyncEventStore",
    "EventIntegration",
    "create_event_config",
    "get_event_config",
    "SystemEvent",
    "TaskEvent",
    "AgentEvent",
    "DeploymentEvent",
    "migrate",
    "grants",
    "indexes",
    "retention",
    "erasure",
    "errors",
    "__version__",
]

_HOMES = {
    "configure": "providers",
    "Telemetry": "providers",
    "Settings": "config",
    "PostgresSpanExporter": "exporter",
    "PostgresLogRecordExporter": "exporter",
    "TimeOrderedIdGenerator": "id_generator",
    "EventQuery": "query",
    "AsyncEventQuery": "async_query",
    "Trace": "reading.trace",
    "Run": "reading.runs",
    "EventStore": "store",
    "AsyncEventStore": "async_store",
    "EventIntegration": "integration",
    "create_event_config": "event_config",
    "get_event_config": "event_config",
    "SystemEvent": "events.shapes",
    "TaskEvent": "events.shapes",
    "AgentEvent": "events.shapes",
    "DeploymentEvent": "events.shapes",
}
_MODULES = {
    "migrate": "schema.migrate",
    "grants": "schema.grants",
    "indexes": "schema.indexes",
    "retention": "upkeep.retention",
    "erasure": "upkeep.erasure",
    "errors": "errors",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f".{_MODULES[name]}", __name__)
    if name in _HOMES:
        found: object = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = found
        return found
    if name == "__version__":
        from importlib.metadata import version

        return version("otel-pg-exporter")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
