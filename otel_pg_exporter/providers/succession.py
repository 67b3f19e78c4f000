"""Providers that a program sets after ours take our place, and our processors join them.

OpenTelemetry lets the first provider stay and refuses the others. In a program that is recorded from outside
the first is ours, so without this the program's own exporters would get nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import _internal as logs
from opentelemetry.util._once import Once

from ..host.diagnostics import say

__all__ = ["yield_to_later"]

_GLOBALS = ((trace, "_TRACER_PROVIDER"), (logs, "_LOGGER_PROVIDER"))


def yield_to_later(ours: tuple[Any, ...], follow: Callable[[Any], None]) -> None:
    """Let the next provider of each kind that is set replace ours, if ours is set; `follow` is told which did.

    An OpenTelemetry that keeps them elsewhere refuses the next, as it always did.
    """
    for module, variable in _GLOBALS:
        provider = getattr(module, variable, None)
        if provider is not None and provider in ours and hasattr(module, f"{variable}_SET_ONCE"):
            setattr(module, f"{variable}_SET_ONCE", _OnceMore(module, variable, follow))


class _OnceMore(Once):
    """What OpenTelemetry asks whether a provider may be set."""

    def __init__(self, module: Any, variable: str, follow: Callable[[Any], None]) -> None:
        super().__init__()
        self._module, self._variable, self._follow = module, variable, follow

    def do_once(self, func: Callable[[], None]) -> bool:
        """Set it, if it is the first after ours; False if not."""
        if not super().do_once(func):
            return False
        provider = getattr(self._module, self._variable)
        try:
            self._follow(provider)
        except Exception as error:
            say(logging.ERROR, f"{type(provider).__name__} is not recorded: {type(error).__name__}: {error}")
        return True
