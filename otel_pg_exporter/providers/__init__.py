"""OpenTelemetry's providers, with our processors and exporters, set up by `configure()`."""

from .setup import Telemetry, apart, configure, configured

__all__ = ["Telemetry", "apart", "configure", "configured"]
