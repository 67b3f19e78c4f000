"""What a process tells the database of its runs while they are open: who it is, what is open, and that it lives.

The telling is a lease that nobody has to end: runs are lost when it is not renewed for three heartbeats.
Rows are only ever inserted.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Sequence
from datetime import datetime, timezone
from math import inf
from time import monotonic
from typing import Any, NamedTuple

import orjson

from ..database import Database
from ..encoding.batches import DAY_US
from ..errors import DatabaseError
from ..schema import migrate, partitions

__all__ = ["Beat", "Lease"]

_NO_PARTITION = "23514"
_ROWS_AT_ONCE = 1_000
_KNOWN_SECONDS = 3600.0
"""Then it says anew who it is: retention forgets processes that have been silent for long."""


class Beat(NamedTuple):
    """A sign of life."""

    open_runs: int
    since_us: int
    """Start of the earliest, microseconds since 1970."""


class Lease:
    """The lease of this process, as it is since the last fork; for one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._process = {
            "process_id": uuid.uuid4(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": datetime.now(timezone.utc),
            "heartbeat_seconds": database.settings.heartbeat_seconds,
            "service_name": None,
        }
        self._known_until = -inf
        self._is_ready = False
        self._days: set[int] = set()

    def renew(
        self, opened: Sequence[dict[str, Any]], beat: Beat | None, service_name: str | None, deadline: float
    ) -> None:
        """Store rows of `open_spans` and a sign of life, in one transaction.

        Args:
            opened: the rows, as `open_row` makes them.
            beat: None if none is due.
            service_name: of the process, if that was found out.
            deadline: by `time.monotonic()`.

        Raises:
            EventStoreError: nothing was stored.
        """
        database = self._database.until(deadline)
        days = {row["time_us"] // DAY_US for row in opened}
        try:
            self._prepare(database, days)
            self._store(database, opened, beat, service_name)
        except DatabaseError as error:
            self._is_ready, self._known_until = False, -inf
            self._days.clear()
            if error.sqlstate != _NO_PARTITION:
                raise
            self._prepare(database, days)  # a new day, by the server's clock
            self._store(database, opened, beat, service_name)

    def _prepare(self, database: Database, days: set[int]) -> None:
        if not self._is_ready:
            migrate.ensure(database)
            self._is_ready = True
        if not self._days or not days <= self._days:
            (today,) = database.fetch(database.sql("server_day"))
            wanted = days | {today["day"]}
            partitions.ensure(database, wanted)
            self._days |= wanted

    def _store(
        self, database: Database, opened: Sequence[dict[str, Any]], beat: Beat | None, service_name: str | None
    ) -> None:
        process_id = self._process["process_id"]
        with database.connection() as connection:
            if is_introduced := monotonic() >= self._known_until:
                self._process["service_name"] = self._process["service_name"] or service_name
                connection.execute(database.sql("insert_process").encode(), self._process)
            for first in range(0, len(opened), _ROWS_AT_ONCE):
                rows = orjson.dumps(opened[first : first + _ROWS_AT_ONCE]).decode()
                parameters = {"process_id": process_id, "rows": rows}
                connection.execute(database.sql("insert_open_spans").encode(), parameters)
            if beat is not None:
                parameters = {"process_id": process_id, **beat._asdict()}
                connection.execute(database.sql("insert_heartbeat").encode(), parameters)
        if is_introduced:
            self._known_until = monotonic() + _KNOWN_SECONDS
