"""What our distro says to OpenTelemetry, where the environment does not say it itself."""

from __future__ import annotations

from collections.abc import MutableMapping

__all__ = ["CONFIGURATOR", "DISTRO", "NAME", "is_asked_for", "prepare"]

NAME = "otel_pg"
"""Name of our distro and of our configurator."""
DISTRO, CONFIGURATOR = "OTEL_PYTHON_DISTRO", "OTEL_PYTHON_CONFIGURATOR"
_EXPORTERS = {
    "OTEL_TRACES_EXPORTER": "postgres",
    "OTEL_LOGS_EXPORTER": "postgres",
    "OTEL_METRICS_EXPORTER": "none",
}
_ATTRIBUTES = "1024"
"""Attributes of a span. OpenTelemetry keeps 128 and drops the oldest: of a long conversation, who it was with."""
_SDK_BATCH = 512


def is_asked_for(environ: MutableMapping[str, str]) -> bool:
    """Whether the environment names our distro or our configurator."""
    return NAME in (environ.get(DISTRO), environ.get(CONFIGURATOR))


def prepare(environ: MutableMapping[str, str]) -> None:
    """Set what is not set yet. An empty variable is the same as none."""

    def default(name: str, value: str) -> None:
        if not environ.get(name):
            environ[name] = value

    default(CONFIGURATOR, NAME)
    for name, value in _EXPORTERS.items():
        default(name, value)
    if not environ.get("OTEL_ATTRIBUTE_COUNT_LIMIT"):
        default("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", _ATTRIBUTES)
    for family in ("OTEL_BSP", "OTEL_BLRP"):
        # for exporters beside ours: the SDK gives up altogether when a batch is larger than the queue
        queue, batch = environ.get(f"{family}_MAX_QUEUE_SIZE", ""), f"{family}_MAX_EXPORT_BATCH_SIZE"
        asked = environ.get(batch) or str(_SDK_BATCH)
        if queue.isdecimal() and asked.isdecimal() and 0 < int(queue) < int(asked):
            environ[batch] = queue
