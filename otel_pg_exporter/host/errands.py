"""Work in a thread of its own, for somebody who waits for it.

What interrupts who waits, Ctrl-C or a time-out of gevent's, must not interrupt the work: a batch in the middle of it
would be lost. And the work may take longer than who waits has time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["run"]

T = TypeVar("T")


def run(work: Callable[[], T], seconds: float, name: str) -> T | None:
    """What the work returns; None if it takes longer, and goes on.

    Args:
        work: raises nothing.
        seconds: the longest to wait.
        name: the thread's.
    """
    done: list[T] = []
    thread = threading.Thread(target=lambda: done.append(work()), name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is ending
        return work()
    thread.join(min(max(0.0, seconds), threading.TIMEOUT_MAX))
    return done[0] if done else None
