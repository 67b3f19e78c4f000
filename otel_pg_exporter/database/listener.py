"""Waits for exporters to say that they have stored something."""

from __future__ import annotations

import threading
from time import monotonic

import psycopg

from ..errors import EventStoreError
from ..host import forks
from .blocking import Database
from .connecting import Connection, connect

__all__ = ["Listener"]

_GLANCE_SECONDS = 0.2
"""How often it is seen that nobody waits any more."""


class Listener:
    """LISTENs on a connection of its own, made when it is first needed and again after it broke."""

    def __init__(self, database: Database) -> None:
        self._connection: Connection | None = None
        self._database = database
        forks.in_child(self._leave_to_parent)

    def wait(self, seconds: float, stopped: threading.Event) -> None:
        """Wait for a notification, for a time in seconds, or for an event; without a server, for the time.

        Not at all when it has only now begun to listen: what was stored before that nobody tells.
        """
        ends_at = monotonic() + seconds
        try:
            connection = self._connection
            if connection is None or connection.closed:
                self._open()
                return
            while (remaining := ends_at - monotonic()) > 0 and not stopped.is_set():
                for _ in connection.notifies(timeout=min(remaining, _GLANCE_SECONDS), stop_after=1):
                    return
        except (psycopg.Error, EventStoreError):  # whoever polls next says what is wrong
            self.close()
            stopped.wait(max(0.0, ends_at - monotonic()))

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        self.close()  # a tail is left behind in the middle of a loop; the driver would warn about its connection

    def _open(self) -> None:
        self._connection = connect(self._database.conninfo(), self._database.settings)
        self._connection.execute(self._database.sql("listen").encode())

    def _leave_to_parent(self) -> None:
        connection, self._connection = self._connection, None
        forks.keep(connection)
