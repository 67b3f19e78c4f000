"""A database for queries and migrations: where it is, and connections to it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout

from ..config import Settings
from ..embedded import EmbeddedServer
from ..errors import ConfigurationError, DatabaseUnavailable
from ..host import exits, forks
from ..sql_files import Names, query
from .connecting import Record, connect, limits, location
from .failures import translate
from .pools import Pool, configure, counts, pool_of, why_none

__all__ = ["USUAL", "Database", "Session", "opened"]

USUAL = "usual_settings"
"""The query that a transaction begins with."""
_CLOSE_SECONDS = 1.0


class Database:
    """One PostgreSQL database: how to reach it, and a small pool of connections for queries.

    Does nothing until it is first used; then starts the embedded server if no other is configured.
    Safe to share between threads. After a fork the child makes connections of its own.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.names = Names(settings.schema, settings.table_prefix)
        self._lock = threading.RLock()
        self._pool: Pool | None = None
        self._server: EmbeddedServer | None = None
        forks.in_child(self._leave_to_parent)

    def sql(self, name: str) -> str:
        """A named query of sql/queries with the names of this database's tables."""
        return query(name, self.names)

    @property
    def server(self) -> EmbeddedServer | None:
        """The embedded server, if that is what the settings ask for."""
        if self._server is None and self.settings.is_embedded:
            self._server = EmbeddedServer(self.settings.data_dir)
        return self._server

    @property
    def is_started(self) -> bool:
        """False where the embedded server would have to be started first, or has been left."""
        return self._server is not None or not self.settings.is_embedded

    @property
    def place(self) -> tuple[str | None, ...]:
        """Which tables these are; equal for two that are the same as far as the settings tell."""
        return (*location(self.settings), self.settings.schema, self.settings.table_prefix)

    def conninfo(self) -> str:
        """Connection string for libpq; starts the embedded server if there is no other.

        Raises:
            EmbeddedServerError: it cannot be started.
        """
        given = self.settings.conninfo
        if given is not None:
            return given
        with self._lock:
            server = self.server
            assert server is not None
            _in_use.add(self)
            return server.start()

    def reach(self) -> str:
        """The connection string, once a connection was made by it.

        Raises:
            DatabaseError: none can be had. It says what is wrong, where a pool would only time out.
        """
        conninfo = self.conninfo()
        connect(conninfo, self.settings).close()
        return conninfo

    @contextmanager
    def connection(self, beginning: str = USUAL) -> Iterator[psycopg.Connection[Record]]:
        """Lend a connection for one transaction: committed at the end, rolled back on an exception.

        Args:
            beginning: name of the query that it begins with.

        Raises:
            DatabaseError: PostgreSQL cannot be reached or refused a statement.
        """
        try:
            with self._opened().connection() as connection:
                connection.execute(self.sql(beginning).encode())
                yield connection
        except PoolTimeout:
            self.reach()  # raises what the pool keeps to itself
            raise DatabaseUnavailable(why_none(self._pool, self.settings)) from None
        except psycopg.Error as error:
            raise translate(error, self.settings) from error

    def until(self, deadline: float) -> Database:
        """The same database for a few statements that must not take longer: each transaction has a connection
        of its own, given up when the deadline (by `time.monotonic()`) passes. Until then no limit that the role
        has for statements counts."""
        return _HurriedDatabase(self, deadline)

    @contextmanager
    def session(self, deadline: float) -> Iterator[Session]:
        """A connection of its own for one transaction after the other, given up when the deadline (by
        `time.monotonic()`) passes.

        Raises:
            DatabaseError: PostgreSQL cannot be reached.
        """
        with closing(connect(self.conninfo(), self.settings, deadline)) as connection:
            configure(connection)
            yield Session(self, connection)

    def fetch(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Record]:
        """All rows of one statement, in a transaction of its own."""
        with self.connection() as connection:
            return connection.execute(sql.encode(), parameters).fetchall()

    def pool_counts(self) -> dict[str, int]:
        """Connections for queries: open, idle and at most, and callers that wait for one. Empty before first use."""
        return counts(self._pool)

    def close(self, seconds: float = 60.0) -> None:
        """Give back connections and leave the embedded server, which may take some seconds to stop.

        The next use opens them again. A thread that waits for a silent server is left to it after the time.
        """
        # an embedded server that is just being started is waited for: it has to be left
        if not self._lock.acquire(timeout=-1 if self.settings.is_embedded else max(0.0, seconds)):
            return
        try:
            pool, self._pool = self._pool, None
            server, self._server = self._server, None
        finally:
            self._lock.release()
        if pool is not None:
            pool.close(timeout=min(_CLOSE_SECONDS, seconds))
        if server is not None:
            server.close(seconds)

    def _leave_to_parent(self) -> None:
        self._lock = threading.RLock()
        pool, self._pool = self._pool, None
        forks.keep(pool)
        _in_use.discard(self)

    def _opened(self) -> Pool:
        forks.notice()
        with self._lock:
            if self._pool is None:
                self._pool = pool_of(self.reach(), self.settings)
                _in_use.add(self)
            return self._pool


class Session:
    """What `Database.session` lends."""

    def __init__(self, database: Database, connection: psycopg.Connection[Record]) -> None:
        self._database, self._connection = database, connection

    @contextmanager
    def transaction(self, lock_seconds: float, seconds: float) -> Iterator[psycopg.Connection[Record]]:
        """A transaction: committed at the end, rolled back on an exception.

        Args:
            lock_seconds: the longest that a statement waits for a lock.
            seconds: the longest that it takes, and that the server waits for the next.

        Raises:
            DatabaseError: PostgreSQL is gone or refused a statement.
        """
        try:
            with self._connection.transaction():
                settings = limits(monotonic() + seconds, lock_seconds)
                self._connection.execute(self._database.sql("limit_time").encode(), settings)
                yield self._connection
        except psycopg.Error as error:
            raise translate(error, self._database.settings) from error

    def alone(self, sql: str) -> None:
        """Run a statement that stands in no transaction. What limits it is what the role has for limits.

        Raises:
            DatabaseError: PostgreSQL is gone or refused it.
        """
        try:
            self._connection.execute(sql.encode())
        except psycopg.Error as error:
            raise translate(error, self._database.settings) from error


@contextmanager
def opened(where: Settings | Database | None = None, **overrides: Any) -> Iterator[Database]:
    """The database of a call: one that is given stays open, one for settings (default: the environment's) is closed.

    Args:
        where: the database, or settings.
        overrides: fields of `Settings`, in place of these.

    Raises:
        ConfigurationError: both were given, or a field has a value that is not allowed.
    """
    if isinstance(where, Database):
        if overrides:
            raise ConfigurationError(f"a database and {next(iter(overrides))}= are given; allowed is one of them")
        yield where
        return
    database = Database(Settings.given(where, **overrides))
    try:
        yield database
    finally:
        database.close()


class _HurriedDatabase(Database):
    def __init__(self, database: Database, deadline: float) -> None:
        super().__init__(database.settings)
        self._database, self._deadline = database, deadline

    def conninfo(self) -> str:
        return self._database.conninfo()

    def until(self, deadline: float) -> Database:
        return _HurriedDatabase(self._database, min(deadline, self._deadline))

    @contextmanager
    def connection(self, beginning: str = USUAL) -> Iterator[psycopg.Connection[Record]]:
        with closing(connect(self.conninfo(), self.settings, self._deadline)) as connection:
            try:
                configure(connection)
                with connection.transaction():
                    if beginning != USUAL:  # which is in limit_time
                        connection.execute(self.sql(beginning).encode())
                    connection.execute(self.sql("limit_time").encode(), limits(self._deadline))
                    yield connection
            except psycopg.Error as error:
                raise translate(error, self.settings) from error


_in_use: weakref.WeakSet[Database] = weakref.WeakSet()
"""Those with a pool, or the embedded server, that nobody may have closed."""


def _close_all(seconds: float) -> None:
    # a pool that is left to Python's own end waits there for threads that do not run any more, from 3.13 on for 20 s;
    # and a server that nobody leaves runs on
    ends_at = monotonic() + seconds
    for database in tuple(_in_use):
        database.close(max(0.0, ends_at - monotonic()))


def _nothing(seconds: float) -> None:
    """A database has nothing to store."""


exits.register(_close_all, _nothing)  # the first to register is the last to be called
