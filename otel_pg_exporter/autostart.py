"""The start of a program that is recorded from outside, by `otel-pg run`.

With opentelemetry-instrumentation installed its own start is used, as `opentelemetry-instrument` does, with
our distro: it starts the instrumentors too. Without it there are no instrumentors, and the rest is the same.
"""

from __future__ import annotations

import os

from .config import sdk_is_disabled
from .configurator import Configurator, has_configured
from .environment import DISTRO, NAME, prepare

__all__ = ["start"]


def start() -> None:
    """Set up OpenTelemetry as the environment says; once is enough."""
    if sdk_is_disabled() or has_configured():
        return
    os.environ[DISTRO] = os.environ.get(DISTRO) or NAME
    try:
        from .distro import initialize
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry.instrumentation"):
            raise
        prepare(os.environ)
        Configurator().configure()
    else:
        initialize()
