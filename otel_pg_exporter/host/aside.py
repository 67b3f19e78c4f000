"""Exporting what a program says by `logging`, without a handler among its own.

One at the root would keep Python from printing what no handler of the program's takes, and `logging.warning()` from
setting one up: such a program would be silent where it was not. And OpenTelemetry's raises what Python's handlers only
print, such as `logging.warning("%d", "x")`: such a program would end.
"""

from __future__ import annotations

import functools
import logging

from .diagnostics import warn

__all__ = ["set_aside"]


def set_aside(before: list[logging.Handler]) -> None:
    """Have OpenTelemetry's handlers that have come to the root since `before` called from beside it."""
    root = logging.getLogger()
    for handler in root.handlers:
        if handler not in before and type(handler).__module__.startswith("opentelemetry"):
            root.removeHandler(handler)
            _call_too(handler)


def _call_too(handler: logging.Handler) -> None:
    call_handlers = logging.Logger.callHandlers

    @functools.wraps(call_handlers)
    def call_all(self: logging.Logger, record: logging.LogRecord) -> None:
        try:
            call_handlers(self, record)
        finally:
            if record.levelno >= handler.level and _reaches_root(self):
                _call(handler, record)

    logging.Logger.callHandlers = call_all  # type: ignore[method-assign]


def _call(handler: logging.Handler, record: logging.LogRecord) -> None:
    try:
        handler.handle(record)
    except Exception as error:
        warn(f"a record of the log {record.name!r:.60} is not stored: {type(error).__name__} when it was made a text")


def _reaches_root(logger: logging.Logger) -> bool:
    while logger.parent is not None:
        if not logger.propagate:
            return False
        logger = logger.parent
    return True
