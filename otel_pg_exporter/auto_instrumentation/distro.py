"""Our distro for `opentelemetry-instrument` and `otel-pg run`; needs opentelemetry-instrumentation (extra `auto`).

No other module imports opentelemetry.instrumentation.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import entry_points
from typing import Any

from opentelemetry.instrumentation import auto_instrumentation
from opentelemetry.instrumentation.dependencies import DependencyConflictError
from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]

from ..config import sdk_is_disabled
from ..host.aside import set_aside
from ..host.diagnostics import say
from .environment import DISTRO, NAME, is_asked_for, prepare

__all__ = ["Distro", "distro", "initialize"]

_LOADERS = (
    "opentelemetry.instrumentation.auto_instrumentation",
    "opentelemetry.instrumentation.auto_instrumentation._load",
)


def distro() -> Distro | None:
    """Our distro, if the environment names it or there is no other; None has OpenTelemetry go on to the next."""
    others = [found for found in entry_points(group="opentelemetry_distro") if found.name != NAME]
    return None if others and os.environ.get(DISTRO) != NAME else Distro()


def initialize() -> None:
    """Start distro, configurator and instrumentors, as `opentelemetry-instrument` does."""
    auto_instrumentation.initialize()


class Distro(BaseDistro):  # type: ignore[misc]  # ships no types
    """Registered as `otel_pg`: traces and logs go to PostgreSQL, metrics nowhere, unless the environment says so."""

    def _configure(self, **options: Any) -> None:
        if not sdk_is_disabled():
            prepare(os.environ)
        if is_asked_for(os.environ):
            for name in _LOADERS:
                logging.getLogger(name).addFilter(_OneLine())

    def load_instrumentor(self, entry_point: Any, **options: Any) -> None:
        """Start an instrumentor; one that fails does not keep the others from it, nor the program."""
        if sdk_is_disabled():
            return
        handlers = [*logging.getLogger().handlers]
        try:
            super().load_instrumentor(entry_point, **options)
            set_aside(handlers)
        except DependencyConflictError:
            raise  # OpenTelemetry tells of it, where it is a failure
        except (Exception, SystemExit) as error:
            if isinstance(error, ModuleNotFoundError) and not _lacks_a_part(error):
                raise  # the library is not there: no failure
            text = " ".join(str(error).split())
            say(logging.ERROR, f"instrumentor {entry_point.name} is not used: {type(error).__name__}: {text}")


def _lacks_a_part(error: ModuleNotFoundError) -> bool:
    """Whether the missing module belongs to a package that is there, of a version that does not fit."""
    package = sys.modules.get((error.name or "").rpartition(".")[0])
    return getattr(package, "__file__", None) is not None  # a folder that several packages share has none


class _OneLine(logging.Filter):
    """Makes one line of a failure that OpenTelemetry reports with two tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self._told: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """False for what is of no use."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            # that configurators other than the one that was asked for are left alone
            return not str(record.msg).startswith("Configuration of %s not loaded")
        if error is self._told:
            return False
        self._told = error
        record.msg, record.args = f"{record.getMessage()}: {type(error).__name__}: {error}", None
        record.exc_info = record.exc_text = None
        return True
