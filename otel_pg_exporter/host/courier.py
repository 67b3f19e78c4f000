"""A daemon thread that prepares what it is given, in order, hands it on, and ends within a time limit."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from .diagnostics import say
from .interruptions import undisturbed

__all__ = ["Courier"]

T = TypeVar("T")

_HANDING_SECONDS = 1.0
"""For the one item that is just being delivered at the end; a queue takes it in microseconds."""


class Courier(Generic[T]):
    """Takes items from any thread, prepares and delivers each in its own; the thread begins with the first.

    Args:
        prepare: what may take long; an item that is given back by `end` meanwhile is not delivered.
        deliver: called with what `prepare` returned, or the item as it is if that raised. What it raises is logged.
        capacity: items that may wait.
    """

    def __init__(self, prepare: Callable[[T], T], deliver: Callable[[T], None], capacity: int) -> None:
        self._prepare, self._deliver, self._capacity = prepare, deliver, capacity
        self._items: deque[T] = deque()
        self._is_delivering = False
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def depth(self) -> int:
        """Items that wait, with the one on its way."""
        return len(self._items) + self._is_delivering

    def put(self, item: T) -> bool:
        """Take an item; False if too many wait, the end has begun, or no thread can be had."""
        with undisturbed(self._changed):
            if self._ending.is_set() or len(self._items) >= self._capacity or not self._start():
                return False
            self._items.append(item)
            self._changed.notify_all()
        return True

    def drain(self, seconds: float) -> bool:
        """Wait until nothing waits; False if the time ran out."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.depth, seconds)

    def pause(self, seconds: float) -> bool:
        """For `prepare`: wait before another try; False, and at once, if the end has begun."""
        return not self._ending.wait(max(0.0, seconds))

    def end(self, seconds: float) -> list[T]:
        """Deliver what waits, as far as the time allows; gives back what is left, as it was put in."""
        self._ending.set()
        with self._changed:
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(seconds)
        with self._changed:
            left = list(self._items)
            self._items.clear()
            self._changed.wait_for(lambda: not self._is_delivering, _HANDING_SECONDS)
        return left

    def _start(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="otel-pg-integration", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        while (item := self._next()) is not None:
            prepared = self._prepared(item)
            try:
                if self._claim(item):
                    self._deliver(prepared)
            except Exception as error:  # the next one may fare better
                say(logging.ERROR, f"an event was lost: {type(error).__name__}: {error}")
            with undisturbed(self._changed):
                self._is_delivering = False
                self._changed.notify_all()

    def _prepared(self, item: T) -> T:
        try:
            return self._prepare(item)
        except Exception as error:  # better as it is than not at all
            say(logging.WARNING, f"a start was not looked up: {type(error).__name__}: {error}")
            return item

    def _next(self) -> T | None:
        """The oldest item, that still waits: `end` may give it back."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ending.is_set())
            return self._items[0] if self._items else None

    def _claim(self, item: T) -> bool:
        with undisturbed(self._changed):
            if not self._items or self._items[0] is not item:
                return False
            self._items.popleft()
            self._is_delivering = True
            return True
