"""When something began: what this process remembers, and what the database has of other processes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

from ..errors import EventStoreError
from ..host.diagnostics import say
from ..host.interruptions import undisturbed

__all__ = ["WINDOW", "OwnStarts", "StoredStarts"]

WINDOW = timedelta(days=7)
"""How long before an end a start in another process is looked for."""

_CAPACITY = 100_000
_REST_SECONDS = 1.0


@dataclass(frozen=True)
class _Start:
    at: datetime
    tick: float | None
    """By `time.monotonic()`; None if the event came with a time of its own."""


class OwnStarts:
    """What began in this process and has not ended. Holds the newest 100,000."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: dict[tuple[str, str], _Start] = {}

    def note(self, category: str, its_id: str, at: datetime, is_now: bool) -> None:
        """Something began; if it had begun before, it begins anew."""
        with undisturbed(self._lock):
            self._open.pop((category, its_id), None)
            self._open[category, its_id] = _Start(at, monotonic() if is_now else None)
            if len(self._open) > _CAPACITY:
                self._open.pop(next(iter(self._open)), None)

    def adopt(self, other: OwnStarts) -> None:
        """Take over what another remembers, without its lock."""
        self._open = dict(other._open)

    def seconds(self, category: str, its_id: str, at: datetime, is_now: bool, *, closes: bool) -> float | None:
        """How long ago it began; None if that is not known here, or lies after `at`."""
        with undisturbed(self._lock):
            take = self._open.pop if closes else self._open.get
            start = take((category, its_id), None)
        if start is None:
            return None
        if is_now and start.tick is not None:
            return monotonic() - start.tick  # no clock that is set meanwhile can spoil it
        return _between(start.at, at)


class StoredStarts:
    """Asks the database, for a limited time; for one thread.

    Args:
        ask: when something began, by its category, its id, and the first and last moment to look at.
        limit_seconds: the time for one answer.
    """

    def __init__(self, ask: Callable[[str, str, datetime, datetime], datetime | None], limit_seconds: float) -> None:
        self._ask, self._limit = ask, limit_seconds
        self._asking: threading.Thread | None = None
        self._rests_until = 0.0

    @property
    def is_away(self) -> bool:
        """The database could not be asked just now, or is still silent: another question would be in vain."""
        # a server that is silent keeps one thread of ours, not one for each event
        return monotonic() < self._rests_until or (self._asking is not None and self._asking.is_alive())

    def seconds(self, category: str, its_id: str, at: datetime) -> float | None:
        """How long before `at` it began; None if the database does not know, or does not answer in time."""
        if self.is_away:
            return None
        found: list[datetime] = []

        def ask() -> None:
            attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # a look is no event of the program's
            try:
                if (began := self._ask(category, its_id, at - WINDOW, at)) is not None:
                    found.append(began)
            except EventStoreError:  # what is wrong is said where the event itself waits to be stored
                self._rests_until = monotonic() + _REST_SECONDS
            except Exception as error:  # of a thread's traceback nobody in the program knows what to think
                say(logging.WARNING, f"a start was not looked up: {type(error).__name__}: {error}")

        self._asking = threading.Thread(target=ask, name="otel-pg-start", daemon=True)
        try:
            self._asking.start()
        except RuntimeError:  # the interpreter is ending
            return None
        self._asking.join(self._limit)
        return _between(found[0], at) if found else None


def _between(start: datetime, end: datetime) -> float | None:
    seconds = (end - start).total_seconds()
    return seconds if seconds >= 0 else None
