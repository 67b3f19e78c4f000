"""The start of a program that is recorded from outside, by `otel-pg run`.

With opentelemetry-instrumentation installed its own start is used, as `opentelemetry-instrument` does, with
our distro: it starts the instrumentors too. Without it there are no instrumentors, and the rest is the same.
"""

from __future__ import annotations

import logging
import os
from importlib.metadata import entry_points

from ..config import sdk_is_disabled
from ..host.diagnostics import say
from .configurator import Configurator, has_configured
from .environment import CONFIGURATOR, DISTRO, NAME, prepare

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
        _replace_what_is_not_installed()
        initialize()


def _replace_what_is_not_installed() -> None:
    """OpenTelemetry would go on without a distro or a configurator that it does not find, and not say so."""
    for variable, group in ((DISTRO, "opentelemetry_distro"), (CONFIGURATOR, "opentelemetry_configurator")):
        asked = os.environ.get(variable) or NAME
        # to look for ours would take as long as a part of the start
        if asked != NAME and asked not in (installed := {found.name for found in entry_points(group=group)}):
            names = ", ".join(sorted(installed))
            say(logging.ERROR, f"{variable}={asked!r} is not installed: {NAME} is used; installed are {names}")
            os.environ[variable] = NAME
