"""Our configurator: what sets up OpenTelemetry's SDK in a program that is recorded from outside.

The exporter `postgres` is set up by `configure()`, with its own queue, durability and deadlines; the other
exporters that the environment names by the SDK. A program that calls `configure()` itself gets what is there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from logging.handlers import BufferingHandler
from typing import Any

from opentelemetry.sdk._configuration import _OTelSDKConfigurator
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider

from ..config import sdk_is_disabled
from ..host.aside import set_aside
from ..host.diagnostics import say
from ..id_generator import id_generator
from ..providers import configure
from .environment import NAME, is_asked_for
from .named_functions import capture_named

__all__ = ["Configurator", "has_configured"]

_EXPORTER = "postgres"
_SIGNALS = ("OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER")
_has_configured = False


def has_configured() -> bool:
    """Whether our configurator has run in this process."""
    return _has_configured


class Configurator(_OTelSDKConfigurator):
    """Registered as `otel_pg`. Raises nothing: what goes wrong is one line in the log, and the program runs."""

    def _configure(self, **options: Any) -> None:
        global _has_configured
        if sdk_is_disabled() or _has_configured:
            return
        if (other := _other_configurator()) is not None:
            other().configure(**options)
            return
        _has_configured = True
        handlers = [*logging.getLogger().handlers]
        _step("this program is not recorded", lambda: self._set_up(options))
        set_aside(handlers)
        _step("named functions are not recorded", capture_named)

    def _set_up(self, options: dict[str, Any]) -> None:
        if os.environ.get("OTEL_CONFIG_FILE"):
            with _without_what_it_raises("opentelemetry.configuration"):
                super()._configure()  # which takes all from the file
            return
        options = {"id_generator": id_generator(), **options}
        ours = [_EXPORTER in _names(variable) for variable in _SIGNALS]
        with _others_only():
            _step("other exporters are not set up", lambda: super(Configurator, self)._configure(**options))
        if any(ours):
            # what is not to be stored goes through a provider that nobody writes to
            spans, logs = ours
            configure(
                tracer_provider=None if spans else TracerProvider(shutdown_on_exit=False),
                logger_provider=None if logs else LoggerProvider(shutdown_on_exit=False),
            ).yield_to_later()


def _step(failure: str, step: Any) -> None:
    try:
        step()
    except Exception as error:
        say(logging.ERROR, f"{failure}: {type(error).__name__}: {' '.join(str(error).split())}")


def _other_configurator() -> Any:
    """The configurator that would be there without us, unless it is ours that was asked for."""
    if is_asked_for(os.environ):
        return None
    others = [found for found in entry_points(group="opentelemetry_configurator") if found.name != NAME]
    return others[0].load() if others else None


def _names(variable: str) -> list[str]:
    return [name for name in map(str.strip, os.environ.get(variable, "").split(",")) if name]


@contextmanager
def _without_what_it_raises(name: str) -> Iterator[None]:
    """Hold back the lines of a logger and those below it; they are lost if there is an exception, which says more."""
    logger, held = logging.getLogger(name), BufferingHandler(1_000)
    logger.addHandler(held)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = True
        logger.removeHandler(held)
    for record in held.buffer:
        logger.handle(record)


@contextmanager
def _others_only() -> Iterator[None]:
    """Take ours off the exporters that the environment names, for the SDK would set it up as it does others."""
    before = {variable: os.environ.get(variable) for variable in _SIGNALS}
    for variable in _SIGNALS:
        os.environ[variable] = ",".join(name for name in _names(variable) if name != _EXPORTER)
    try:
        yield
    finally:
        for variable, value in before.items():
            if value is None:
                del os.environ[variable]
            else:
                os.environ[variable] = value
