"""Looks at the database again and again, in a thread of its own, and remembers what it found."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

from ..health import Health
from ..host import forks
from ..host.diagnostics import say

__all__ = ["Monitor"]

_FIRST_PAUSE = 1.0
_JOIN_SECONDS = 1.0


class Monitor:
    """A daemon thread that checks; each check replaces the connections that broke.

    Args:
        check: says how things are; must not raise.
        interval_seconds: from one look to the next; while something is wrong it is a second, doubled from
            one look to the next up to this.
    """

    def __init__(self, check: Callable[[], Health], interval_seconds: float) -> None:
        self.last: Health | None = None
        """What the last look found; None before the first."""
        self._check, self._interval = check, interval_seconds
        self._start_anew()
        forks.in_child(self._start_anew)
        self._thread = threading.Thread(target=self._run, name="otel-pg-health", daemon=True)

    def _start_anew(self) -> None:
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to look, if a thread can be had."""
        with suppress(RuntimeError):  # the interpreter is ending
            self._thread.start()

    def stop(self, seconds: float = inf) -> None:
        """End; a look that hangs is left to itself after the time, a second at most."""
        self.leave()
        if self._thread.is_alive():
            self._thread.join(min(seconds, _JOIN_SECONDS))

    def leave(self, seconds: float = 0) -> None:
        """End, without waiting for a look, of which nothing is said any more: what it looks at may be closed now."""
        self._stopped.set()

    @property
    def is_running(self) -> bool:
        """False once it has ended."""
        return self._thread.is_alive()

    def _run(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # looks are no events of the program's
        pause = _FIRST_PAUSE / 2
        while not self._stopped.is_set():
            found = self._check()
            self._report(found)
            self.last = found
            pause = _FIRST_PAUSE / 2 if found.is_healthy else min(pause * 2, self._interval)
            self._stopped.wait(self._interval if found.is_healthy else pause)

    def _report(self, found: Health) -> None:
        if self._stopped.is_set():
            return
        if not found.is_healthy:
            say(logging.WARNING, f"the event store is not healthy: {found.error}")
        elif self.last is not None and not self.last.is_healthy:
            say(logging.INFO, f"the event store is healthy again: {found.target}")
