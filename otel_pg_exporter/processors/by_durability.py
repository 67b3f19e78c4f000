"""The processor that a program's records go through: a queue in memory, or the disk first, as `durability` says."""

from __future__ import annotations

import logging
import os
from typing import Any

from ..config import Settings
from ..encoding.treatment import Treatment
from ..exporter import PostgresLogRecordExporter, PostgresSpanExporter
from ..host.diagnostics import say
from ..writing.delivery import Delivery
from .durable import DurableLogRecordProcessor, DurableSpanProcessor
from .queues import LogQueue, SpanQueue

__all__ = ["log_processor", "span_processor"]

_DEFAULTS = {"batch_size": 2048, "batch_timeout_millis": 200, "queue_size": 65_536}
_SDK_VARIABLES = {
    "batch_size": "MAX_EXPORT_BATCH_SIZE",
    "batch_timeout_millis": "SCHEDULE_DELAY",
    "queue_size": "MAX_QUEUE_SIZE",
}


def span_processor(settings: Settings, delivery: Delivery, treatment: Treatment) -> Any:
    """For spans, with an exporter of its own over the delivery."""
    if settings.durability == "memory":
        exporter = PostgresSpanExporter(delivery=delivery, treatment=treatment)
        return SpanQueue(exporter, **_batching(settings, "BSP"))
    return DurableSpanProcessor(delivery, treatment, **_durable_batching(settings, "BSP"))


def log_processor(settings: Settings, delivery: Delivery, treatment: Treatment) -> Any:
    """The same for log records."""
    if settings.durability == "memory":
        exporter = PostgresLogRecordExporter(delivery=delivery, treatment=treatment)
        return LogQueue(exporter, **_batching(settings, "BLRP"))
    return DurableLogRecordProcessor(delivery, treatment, **_durable_batching(settings, "BLRP"))


def _durable_batching(settings: Settings, family: str) -> dict[str, Any]:
    sizes = _batching(settings, family)
    return {
        "batch_size": sizes.pop("max_export_batch_size"),
        "delay_millis": sizes.pop("schedule_delay_millis"),
        **sizes,
    }


def _batching(settings: Settings, family: str) -> dict[str, Any]:
    """Sizes and delay for a batch processor: ours, else the SDK's own variables, else our defaults."""
    values = {name: getattr(settings, name) or _from_sdk(name, family) for name in _DEFAULTS}
    return {
        # the SDK refuses a batch that is larger than the queue
        "max_export_batch_size": min(values["batch_size"], values["queue_size"]),
        "schedule_delay_millis": values["batch_timeout_millis"],
        "max_queue_size": values["queue_size"],
        "max_queue_bytes": settings.queue_max_bytes,
    }


def _from_sdk(name: str, family: str) -> int:
    variable = f"OTEL_{family}_{_SDK_VARIABLES[name]}"
    text = os.environ.get(variable, "")
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if text:
        say(logging.WARNING, f"{variable}={text!r} is not a positive whole number: {_DEFAULTS[name]} is used")
    return _DEFAULTS[name]
