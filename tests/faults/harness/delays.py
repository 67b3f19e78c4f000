"""A machine that is busy with something else: how long it keeps a thread waiting, and what a program then leaves.

The product has limits of time, and what it does beyond them is right: a batch goes to the spool, and a line says so. A
test that is about something else makes room for that.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Any

from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.spool.folder import spool_path
from otel_pg_exporter.writing import delivery

__all__ = ["Stalls", "apart_from_delays", "bring_in"]

_TICK_SECONDS = 0.01
_LONG_SECONDS = 60.0
_DELAY = re.compile(
    r"(events are kept in \S+ until they can be stored|the event store is not healthy): "
    r".*(no time left|did not answer before the deadline|timeout)"
)


class Stalls:
    """While it is entered a thread does nothing but wait, and learns how long this process is kept from running."""

    def __init__(self) -> None:
        self.longest = 0.0
        """Seconds, of the longest time by which a wait was late."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Stalls:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _tick(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(_TICK_SECONDS):
            now = time.monotonic()
            self.longest, before = max(self.longest, now - before - _TICK_SECONDS), now
        self.longest = max(self.longest, time.monotonic() - before - _TICK_SECONDS)


def bring_in(dsn: str, **settings: Any) -> None:
    """Store what programs that have ended left in the spool: the time at their end may be enough for no more."""
    chosen = Settings.from_env(dsn=dsn, **settings)
    if not spool_path(chosen).exists():
        return
    database = Database(chosen)
    bringing = delivery.Delivery(database)
    assert bringing.replay_now(_LONG_SECONDS), bringing.last_error
    bringing.close(1)
    database.close()


def apart_from_delays(printed: str) -> str:
    """What a program printed, without lines which say that PostgreSQL did not answer in time."""
    return "".join(line for line in printed.splitlines(keepends=True) if not _DELAY.match(line))
