"""Whether there is room for new rows, where `EVENT_MAX_BYTES` has them refused."""

from __future__ import annotations

from math import inf
from time import monotonic

from ..database import Database
from ..errors import DatabaseError, StorageFull
from . import obstacles
from .inventory import total_bytes

__all__ = ["Room"]

_LOOK_SECONDS = 2.0
_FULL_SECONDS = 10.0
"""From one look to the next while there is no room: it may be made at any time."""


class Room:
    """Knows what the tables take, as of its last look; for one thread."""

    def __init__(self, database: Database) -> None:
        settings = database.settings
        self._database = database
        self._is_limited = settings.max_bytes > 0 and settings.max_bytes_policy == "refuse"
        self._interval = settings.retention_interval_seconds
        self._looks_at = -inf
        self._bytes = 0

    def require(self, deadline: float) -> None:
        """Look, if it is time to.

        Raises:
            StorageFull: there is no room.
            DatabaseError: the server cannot be reached.
        """
        if not self._is_limited:
            return
        if monotonic() >= self._looks_at:
            self._look(deadline)
        if full := obstacles.full(self._database.settings, self._bytes):
            raise StorageFull(f"{self._database.settings.target} takes no more: {full}")

    def _look(self, deadline: float) -> None:
        try:
            self._bytes = total_bytes(self._database.until(min(deadline, monotonic() + _LOOK_SECONDS)))
        except DatabaseError as error:
            if error.sqlstate is None:
                raise
            # a size that cannot be had for a lock is no reason not to store
        is_full = obstacles.full(self._database.settings, self._bytes) is not None
        self._looks_at = monotonic() + min(self._interval, _FULL_SECONDS if is_full else inf)
