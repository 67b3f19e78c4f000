"""The promise that nothing of ours raises into the host program: what goes wrong here is logged instead."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger("instrumentation")
_SILENCE_SECONDS = 60.0
_last_report: dict[str, float] = {}


def report(place: str, error: BaseException) -> None:
    """Log that recording failed at `place`, at most once a minute for each place. Never raises."""
    try:
        now = time.monotonic()
        if now - _last_report.get(place, -_SILENCE_SECONDS) < _SILENCE_SECONDS:
            return
        _last_report[place] = now
        # Only the type: the message may hold what redaction has not seen.
        _logger.warning("%s failed with %s; your code goes on, this record is incomplete", place, type(error))
    except Exception:
        pass  # near the recursion limit even logging fails


def guarded(default: R) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function return `default` instead of raising. Only KeyboardInterrupt passes: it is not ours."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                report(function.__qualname__, error)
                return default

        return call

    return decorate
