"""`configure()`: OpenTelemetry's providers, processors and our exporters, put together.

    from otel_pg_exporter import configure

    telemetry = configure()              # the environment, else the embedded PostgreSQL
    ...
    telemetry.force_flush()
    telemetry.query.trace(trace_id)

A program that has set a TracerProvider or a LoggerProvider keeps it: our processor is added to it.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .config import Settings
from .database import Database
from .diagnostics import say
from .exporter import PostgresLogRecordExporter, PostgresSpanExporter
from .query import EventQuery

__all__ = ["Telemetry", "configure"]

_BATCH_SIZE, _DELAY_MILLIS, _QUEUE_SIZE = 2048, 200, 32_768
_EXIT_SECONDS = 5.0

_lock = threading.Lock()
_current: Telemetry | None = None


class Telemetry:
    """What `configure` has set up."""

    def __init__(self, settings: Settings, tracer_provider: Any, logger_provider: Any, resource: Resource | None) -> None:
        self.settings = settings
        """The settings in force."""
        self.database = Database(settings)
        """Shared by the exporters and `query`."""
        self.span_exporter = PostgresSpanExporter(database=self.database)
        self.log_exporter = PostgresLogRecordExporter(database=self.database)
        self._span_processor = BatchSpanProcessor(self.span_exporter, **_batching(settings, "BSP"))
        self._log_processor = BatchLogRecordProcessor(self.log_exporter, **_batching(settings, "BLRP"))
        self._is_shut_down = False
        self.tracer_provider = _join_tracing(tracer_provider, self._span_processor, resource)
        """The provider that creates spans: yours if one was set."""
        self.logger_provider = _join_logging(logger_provider, self._log_processor, resource)
        """The provider that takes log records: yours if one was set."""
        self._query: EventQuery | None = None
        atexit.register(self.shutdown)
