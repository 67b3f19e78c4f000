"""What comes in the middle of our own lines, in the same thread: a signal handler, a destructor, a handler of the log.

It may record something, and what that would wait for may be held by this very thread, or by one that waits for this
thread. So it is put off until the thread has given back what it holds.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from . import forks

__all__ = ["put_off", "undisturbed"]

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
