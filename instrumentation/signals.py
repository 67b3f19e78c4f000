"""Tracer and logger of the provider that is set now; the differences between API 1.39 and 1.45 live here."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs, trace

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from .encoding import AttributeValue

SCOPE = "instrumentation"
"""Name of the instrumentation scope of everything that this package records."""

_tracer: tuple[trace.TracerProvider | None, trace.Tracer] = (None, trace.NoOpTracer())
_logger: tuple[_logs.LoggerProvider | None, _logs.Logger] = (None, _logs.NoOpLogger(SCOPE))
_version: str | None = None

SEVERITIES = {
    "trace": 1, "debug": 5, "info": 9, "warn": 13, "warning": 13, "error": 17, "fatal": 21, "critical": 21,
}  # fmt: skip
_MAX_SEVERITY = 24


def tracer() -> trace.Tracer:
    """Tracer of the global provider. Asked at each call, so that a provider set late or replaced is used."""
    global _tracer
    provider = trace.get_tracer_provider()
    known, found = _tracer
    if known is not provider:
        found = provider.get_tracer(SCOPE, _distribution_version())
        _tracer = (provider, found)
    return found


def emit(
    name: str,
    *,
    body: Any,
    severity: str | int | _logs.SeverityNumber,
    attributes: dict[str, AttributeValue],
    context: Context | None,
) -> None:
    """Send one log record to the logger of the global provider."""
    number = _severity(severity)
    logger = _current_logger()
    now = time_ns()
    logger.emit(
        _logs.LogRecord(
            timestamp=now,
            observed_timestamp=now,
            context=context,
            severity_number=number,
            body=body,
            attributes=attributes,
            event_name=name,
        )
    )


def logs_enabled(name: str, severity: str | int | _logs.SeverityNumber) -> bool:
    """Whether anybody takes the record. Before API 1.45 nobody could be asked, and the answer is yes."""
    enabled = getattr(_current_logger(), "enabled", None)
    return enabled is None or bool(enabled(severity_number=_severity(severity), event_name=name))


def _current_logger() -> _logs.Logger:
    global _logger
    provider = _logs.get_logger_provider()
    known, found = _logger
    if known is not provider:
        found = provider.get_logger(SCOPE, _distribution_version())
        _logger = (provider, found)
    return found


def is_severity(severity: object) -> bool:
    """A word for a severity, or OpenTelemetry's number."""
    if isinstance(severity, str):
        return severity.lower() in SEVERITIES
    if isinstance(severity, _logs.SeverityNumber):
        severity = severity.value
    return type(severity) is int and 1 <= severity <= _MAX_SEVERITY


def _severity(severity: str | int | _logs.SeverityNumber) -> _logs.SeverityNumber:
    if not is_severity(severity):
        return _logs.SeverityNumber.INFO
    return _logs.SeverityNumber(SEVERITIES[severity.lower()] if isinstance(severity, str) else severity)


def _distribution_version() -> str:
    global _version
    if _version is None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            _version = version("otel-pg-exporter")
        except PackageNotFoundError:  # a copied folder
            _version = ""
    return _version
