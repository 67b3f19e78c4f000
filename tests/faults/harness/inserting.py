"""A session that inserts again and again: how long others keep it waiting."""

from __future__ import annotations

import threading
import time

import psycopg

__all__ = ["Inserting"]

_BEGIN_SECONDS = 30.0


class Inserting:
    """Runs a statement again and again while it is open, and knows how long that took at most.

    Args:
        dsn: the database.
        statement: an INSERT.
        pause: seconds between two of them.
    """

    def __init__(self, dsn: str, statement: str, pause: float = 0.0) -> None:
        self.longest, self.count = 0.0, 0
        self._dsn, self._statement, self._pause = dsn, statement, pause
        self._begun, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Inserting:
        self._thread.start()
        assert self._begun.wait(_BEGIN_SECONDS), "nothing was inserted in time"
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._stopped.wait(self._pause):
                begun = time.monotonic()
                connection.execute(self._statement.encode())
                self.longest = max(self.longest, time.monotonic() - begun)
                self.count += 1
                self._begun.set()
