"""An SDK of its own for every test: nothing global is set, so tests do not see each other's spans."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import _logs, trace
from opentelemetry.sdk import _logs as sdk_logs
from opentelemetry.sdk._logs import export as log_export
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from instrumentation import capture, guard, signals


class Recorded:
    """What reached the exporters."""

    def __init__(self, spans: InMemorySpanExporter, logs: Any, tracer: trace.Tracer) -> None:
        self._spans = spans
        self._logs = logs
        self.tracer = tracer
        """A tracer of somebody else, for spans that are not ours."""

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.spans
        return span

    def named(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.spans if span.name == name]
        return span

    @property
    def logs(self) -> list[Any]:
        return [data.log_record for data in self._logs.get_finished_logs()]

    @property
    def log(self) -> Any:
        (record,) = self.logs
        return record

    def everything(self) -> str:
        """All exported spans and log records as one text."""
        spans = [span.to_json() for span in self.spans]
        logs = [[str(log.body), str(dict(log.attributes or {})), str(log.event_name)] for log in self.logs]
        return "\n".join(spans) + json.dumps(logs, ensure_ascii=False)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    spans = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    in_memory = getattr(log_export, "InMemoryLogRecordExporter", None) or log_export.InMemoryLogExporter
    logs = in_memory()
    loggers = sdk_logs.LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(log_export.SimpleLogRecordProcessor(logs))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracers)
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: loggers)
    yield Recorded(spans, logs, tracers.get_tracer("somebody else"))
    assert trace.get_current_span() is trace.INVALID_SPAN, "the test left a span current"
    assert signals.tracer() is not None
    tracers.shutdown()
    loggers.shutdown()


@pytest.fixture(autouse=True)
def default_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in ("INPUTS", "OUTPUTS", "MAX_LENGTH"):
        monkeypatch.delenv(f"EVENT_CAPTURE_{variable}", raising=False)
    for variable in ("KEYS", "PATTERNS"):
        monkeypatch.delenv(f"EVENT_REDACT_{variable}", raising=False)
    capture.reload_settings()
    guard._last_report.clear()
    yield
    capture.reload_settings()


@pytest.fixture(autouse=True)
def no_complaints(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Neither OpenTelemetry ("Failed to detach context") nor we ourselves may complain, unless a test says so."""
    with caplog.at_level(logging.WARNING):
        yield
    if "complaints_expected" not in request.fixturenames:
        complaints = [record.getMessage() for record in caplog.get_records("call")]
        assert complaints == []


@pytest.fixture
def complaints_expected(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """For tests of what is logged."""
    return caplog
