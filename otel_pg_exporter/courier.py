"""A daemon thread that hands on what it is given, in order, and ends within a time limit."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

from .diagnostics import say

__all__ = ["Courier"]

T = TypeVar("T")


class Courier(Generic[T]):
    """Takes items from any thread and delivers each in its own; the thread begins with the first.

    Args:
        deliver: called with each item; what it raises is logged.
        finish: called once, after the last.
        capacity: items that may wait.
    """

    def __init__(self, deliver: Callable[[T], None], finish: Callable[[], None], capacity: int) -> None:
        self._deliver, self._finish, self._capacity = deliver, finish, capacity
        self._items: deque[T] = deque()
        self._is_busy = False
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._ends_at = float("inf")
        self._thread: threading.Thread | None = None

    @property
    def depth(self) -> int:
        """Items that wait, with the one on its way."""
        return len(self._items) + self._is_busy

    @property
    def is_ending(self) -> bool:
        """True once `end` was called: nothing is taken any more."""
        return self._ending.is_set()

    def put(self, item: T) -> bool:
        """Take an item; False if too many wait or the end has begun."""
        with self._changed:
            if self._ending.is_set() or len(self._items) >= self._capacity:
                return False
            self._items.append(item)
            self._start()
            self._changed.notify_all()
        return True

    def drain(self, seconds: float) -> bool:
        """Wait until nothing waits; False if the time ran out."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.depth, seconds)

    def pause(self, seconds: float) -> bool:
        """For `deliver`: wait before another try; False, and at once, if the end has begun."""
        return not self._ending.wait(max(0.0, seconds))

    def end(self, seconds: float) -> int:
        """Deliver what waits and finish, as far as the time allows; gives how many items are left."""
        self._ends_at = monotonic() + seconds
        self._ending.set()
        with self._changed:
            self._start()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return self.depth

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="otel-pg-integration", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            try:
                self._deliver(item)
            except Exception as error:  # the next one may fare better
                say(logging.ERROR, f"an event was not stored: {type(error).__name__}: {error}")
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()
        try:
            self._finish()
        except Exception as error:  # nobody is left to be told
            say(logging.ERROR, f"the event integration did not close: {type(error).__name__}: {error}")

    def _next(self) -> T | None:
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ending.is_set())
            if not self._items or monotonic() >= self._ends_at:
                return None
            self._is_busy = True
            return self._items.popleft()
