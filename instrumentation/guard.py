"""The promise that nothing of ours raises into the host program: what goes wrong here is logged instead."""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from .signal_handlers import is_interruption

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger("instrumentation")
_LOST = "; your code goes on, what this call says is not recorded"
_SILENCE_SECONDS = 60.0
_MOST_REPORTS = 1_000
_last_report: dict[str, float] = {}


class LeftOut(ValueError):
    """A part of a call is not recorded, the rest is; the text is made of names and types alone, so it is told."""


def report(place: str, error: BaseException) -> None:
    """Log that recording failed at `place`, at most once a minute for each place. Never raises."""
    try:
        # Only the type: the message may hold what redaction has not seen.
        tell(f"{place} failed with {type(error).__name__}{_LOST}")
    except Exception:
        pass  # near the recursion limit even that fails


def _report_call(function: Callable[..., Any], args: Any, kwargs: Any, error: BaseException) -> None:
    """Log that a call failed: what is wrong with its arguments, else which it had. Tells names, and no values."""
    place = function.__qualname__
    if type(error) is LeftOut:
        tell(f"{place} left out {error}; your code goes on")
        return
    try:
        signature = inspect.signature(function)
        names = [name for name in signature.parameters if name != "self"]
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as misfit:  # made of names alone
            tell(f"{place} {misfit!s:.200}; it takes {', '.join(names)}{_LOST}")
            return
        place += f"({', '.join(f'{name}=…' for name in names if name in given)})"
    except Exception:
        pass  # the place alone is told: arguments may do anything when they are looked at
    report(place, error)


def tell(message: str) -> None:
    """Log a line, at most once a minute the same. Raises nothing, whatever the log's handlers do."""
    now = time.monotonic()
    if now - _last_report.get(message, -_SILENCE_SECONDS) < _SILENCE_SECONDS:
        return
    if len(_last_report) >= _MOST_REPORTS:
        _last_report.clear()
    _last_report[message] = now
    warn("%s", message)


def warn(message: str, *args: object) -> None:
    """Log a warning. Raises nothing, whatever the log's handlers do."""
    try:
        _logger.warning(message, *args)
    except Exception:
        pass


def guarded(default: R) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function return `default` instead of raising. Only interruptions pass: they are not ours."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except BaseException as error:
                if is_interruption(error):
                    raise
                _report_call(function, args, kwargs, error)
                return default

        return call

    return decorate


@guarded(None)
def tell_of_misfits(function: Callable[..., Any], more: Sequence[object], unknown: Mapping[str, object]) -> None:
    """Say what of a call is left out. Such a call may stand where nobody looks before it is run."""
    takes = list(inspect.signature(function).parameters.values())
    named = ", ".join(one.name for one in takes if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY))
    wrong = [*unknown, *(f"a positional <{type(one).__name__:.64}>" for one in more)]
    tell(f"{function.__name__}() left out {', '.join(wrong)!s:.200}; it takes {named}; your code goes on")


def lenient(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function leave out arguments that it does not take, and tell of them, instead of raising TypeError."""
    takes = inspect.signature(function).parameters
    most = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in takes.values())

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        unknown = {name: value for name, value in kwargs.items() if name not in takes}
        if unknown or len(args) > most:
            tell_of_misfits(function, args[most:], unknown)
        known = {name: value for name, value in kwargs.items() if name in takes}
        return function(*args[:most], **known)  # type: ignore[arg-type]

    return call
