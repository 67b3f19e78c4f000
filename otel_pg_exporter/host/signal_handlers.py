"""What a signal handler of the program's raises in the middle of us, as a time limit does: it is for the program."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import CO_VARARGS
from types import FrameType

__all__ = ["is_interruption"]


def is_interruption(error: BaseException) -> bool:
    """Whether what is just handled is Ctrl-C, or was raised by a signal handler: `sys.exit` at SIGTERM, a time limit.

    A handler is given the frame that it interrupts, which is the one before its own. What else looks for the frame of
    its caller has to fetch it.
    """
    if isinstance(error, KeyboardInterrupt):
        return True
    trace = sys.exc_info()[2]
    while trace is not None and trace.tb_next is not None:
        interrupted, trace = trace.tb_frame, trace.tb_next
        if any(value is interrupted for value in _given(trace.tb_frame)):
            return True
    return False


def _given(frame: FrameType) -> Iterator[object]:
    """What a function was given, the items of `*args` too."""
    code, values = frame.f_code, frame.f_locals
    has_more = bool(code.co_flags & CO_VARARGS)
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + has_more]:
        value = values.get(name)
        if type(value) is tuple:
            yield from value
        else:
            yield value
