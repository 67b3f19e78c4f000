"""What comes in the middle of our own lines, in the same thread: a signal handler, a destructor, a handler of the log.

It may record something, and what that would wait for may be held by this very thread, or by one that waits for this
thread. So it is put off until the thread has given back what it holds.

What it raises, as a time limit does, is for the program.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from inspect import CO_VARARGS
from types import FrameType
from typing import Any

from . import forks

__all__ = ["is_interruption", "put_off", "undisturbed"]

_NOTHING = nullcontext()


class _ThisThread(threading.local):
    waiting: deque[tuple[Callable[..., object], Any]] | None = None
    """What is put off; None while the thread can be disturbed."""

    def begin_anew(self) -> None:
        """In a forked child: what its thread was in the middle of is the parent's."""
        self.waiting = None


_this_thread = _ThisThread()
forks.in_child(_this_thread.begin_anew)


@contextmanager
def undisturbed(lock: AbstractContextManager[object] = _NOTHING) -> Iterator[None]:
    """Hold a lock; what this thread puts off meanwhile is done when it has given back the first that it took."""
    if _this_thread.waiting is not None:
        with lock:
            yield
        return
    waiting = deque[tuple[Callable[..., object], Any]]()
    _this_thread.waiting = waiting
    try:
        with lock:
            yield
    finally:
        while True:
            while waiting:
                action, argument = waiting.popleft()
                action(argument)
            _this_thread.waiting = None
            if not waiting:  # else one came between the two lines above
                break
            _this_thread.waiting = waiting


def put_off(action: Callable[[Any], object], argument: Any) -> bool:
    """Have something done when this thread can be disturbed; False, and nothing is, if it can be now."""
    if _this_thread.waiting is None:
        return False
    _this_thread.waiting.append((action, argument))
    return True


def is_interruption(error: BaseException) -> bool:
    """Whether what is just handled is Ctrl-C, or was raised by a signal handler in the middle of us: it is for the
    program.

    A handler is given the frame that it interrupts, which is the one before its own; `instrumentation.guard` tells it
    by the same.
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
