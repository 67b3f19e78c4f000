"""How a block ended, as OpenTelemetry status, `error.type` and `exception` event."""

from __future__ import annotations

import functools
import traceback

from opentelemetry.trace import Span, StatusCode

from . import attributes as names
from .capture import settings
from .encoding import clean_text, name_text
from .guard import guarded, warn
from .signal_handlers import is_interruption

CANCELLED = "cancelled"
SUSPENDED = "suspended"
FAILURES = frozenset({"failure", "error", "timeout", "failed"})
"""Results that make an error of the block; `failed` is stored as `failure`."""
_RESULTS = ("success", "failure", "error", "timeout", "cancellation", "skip")
_EXITS = (("click.exceptions", "Exit"), ("typer.exceptions", "Exit"))
_MESSAGE_LIMIT = 4_096
_FRAMES = 100


def type_name(error: BaseException) -> str:
    """`module.Type`; built-in types without their module."""
    kind = type(error)
    module = kind.__module__
    return f"{module}.{kind.__qualname__}" if module and module != "builtins" else kind.__qualname__


def is_cancellation(error: BaseException) -> bool:
    """Whether the work was stopped from outside. By name, so that asyncio need not be imported."""
    if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
        return True
    for kind in type(error).__mro__:
        if kind.__name__ == "CancelledError" and kind.__module__ in {
            "asyncio.exceptions", "concurrent.futures", "concurrent.futures._base",
        }:  # fmt: skip
            return True
        if kind.__name__ == "Cancelled" and kind.__module__.startswith("trio"):
            return True
        if kind.__name__ == "GreenletExit" and kind.__module__.startswith("greenlet"):  # gevent's kill()
            return True
    return False


def is_success(error: BaseException) -> bool:
    """`sys.exit()` and `sys.exit(0)` are how a script says that it is done, as is `Exit` of click and Typer."""
    if isinstance(error, SystemExit):
        code: object = error.code
    elif (type(error).__module__, type(error).__name__) in _EXITS:
        code = getattr(error, "exit_code", None)
    else:
        return False
    return code is None or (isinstance(code, int) and int.__index__(code) == 0)


def message_of(error: BaseException) -> str:
    """The message, redacted and cut."""
    try:
        text = str(error)
    except BaseException as failure:
        if is_interruption(failure):
            raise
        text = "<no message: str() failed>"
    return clean_text(text, _MESSAGE_LIMIT)


def result_word(of: str, given: object) -> str:
    """The result as text. One that is none of `cicd.pipeline.result` is kept, and told in the log once."""
    word = name_text(given)
    if word not in _RESULTS:
        _tell_of_own_word(of, word)
    return word


@guarded(None)
@functools.lru_cache(maxsize=256)
def _tell_of_own_word(of: str, word: str) -> None:
    warn("%s(%.60r) is stored as a word of your own; OpenTelemetry's are %s", of, word, ", ".join(_RESULTS))


def record_error(span: Span, error: BaseException, *, escaped: bool) -> None:
    """Status ERROR, `error.type` and the `exception` event."""
    kind, message = type_name(error), message_of(error)
    span.set_attribute(names.ERROR_TYPE, kind)
    span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {message}")
    span.add_event(
        "exception",
        {
            "exception.type": kind,
            "exception.message": message,
            "exception.stacktrace": _stack_trace(error),
            "exception.escaped": str(escaped),
        },
    )


def record_cancellation(span: Span, reason: str, error_type: str | None) -> None:
    """Status ERROR `cancelled: reason`, and `otel_pg.status`: ERROR alone would say that it failed."""
    span.set_attribute(names.STATUS, CANCELLED)
    if error_type is not None:
        span.set_attribute(names.ERROR_TYPE, error_type)
    span.set_status(StatusCode.ERROR, f"{CANCELLED}: {reason}" if reason else CANCELLED)


def _stack_trace(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(type(error), error, error.__traceback__, limit=-_FRAMES)
    except BaseException as failure:
        if is_interruption(failure):
            raise
        lines = [f"{type_name(error)}: <no stack trace: it cannot be formatted>"]
    text = "".join(lines)
    limit = settings().max_length
    if len(text) <= limit:
        return clean_text(text, limit)
    # The end names the error and where it was raised, the beginning who called.
    head = clean_text(text[:limit], limit // 4)
    # Redacted with what comes before it, so that no secret is cut into something unknown.
    tail = clean_text(text[-2 * limit :], 2 * limit)[-(limit // 2) :]
    return f"{head}\n\n{tail}"
