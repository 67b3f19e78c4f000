"""A session that inserts again and again: how long others keep it waiting."""

from __future__ import annotations

import threading

import psycopg

__all__ = ["Inserting"]

_BEGIN_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_IS_BLOCKED = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"


class Inserting:
    """Runs a statement again and again while it is open, and knows for how long it waited for a lock at most.

    Another session asks the server for that: what a busy machine takes is not counted, neither of this process nor of
    the server's.

    Args:
        dsn: the database.
        statement: an INSERT.
        pause: seconds between two of them.
    """

    def __init__(self, dsn: str, statement: str, pause: float = 0.0) -> None:
        self.longest, self.count = 0.0, 0
        self._dsn, self._statement, self._pause = dsn, statement, pause
        self._pid = 0
        self._begun, self._stopped, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._run), threading.Thread(target=self._watch)]

    def __enter__(self) -> Inserting:
        for thread in self._threads:
            thread.start()
        assert self._begun.wait(_BEGIN_SECONDS), "nothing was inserted in time"
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        try:
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                self._pid = connection.info.backend_pid
                while not self._stopped.wait(self._pause):
                    connection.execute(self._statement.encode())
                    self.count += 1
                    self._begun.set()
        finally:
            self._ended.set()

    def _watch(self) -> None:
        looks, before = 0, -1
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._ended.wait(_LOOK_SECONDS):
                count = self.count
                row = connection.execute(_IS_BLOCKED, [self._pid]).fetchone()
                is_blocked = row is not None and bool(row[0])
                looks, before = (looks + 1 if count == before else 1) if is_blocked else 0, count
                self.longest = max(self.longest, looks * _LOOK_SECONDS)
