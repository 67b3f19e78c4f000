"""Small pools of connections for queries: how they are made, and what they tell.

A connection that broke while it was idle is replaced before a query gets it, so that the first query after a server's
restart does not fail: one empty round trip for each query. All others that are idle are replaced with it, for what
ended one has ended them too, and the driver takes a second, two, four … for each that it finds out about.
"""

from __future__ import annotations

import logging
import weakref
from typing import Any, TypeAlias

import orjson
import psycopg
from psycopg.types.json import set_json_loads
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from ..config import Settings
from .connecting import Record, options

__all__ = ["AsyncPool", "Pool", "async_pool_of", "configure", "counts", "pool_of", "why_none"]

Pool: TypeAlias = ConnectionPool[psycopg.Connection[Record]]
AsyncPool: TypeAlias = AsyncConnectionPool[psycopg.AsyncConnection[Record]]

_NAME = "otel-pg-exporter"
# whoever waited for a lock sees what was there when it got it
_ISOLATION = psycopg.IsolationLevel.READ_COMMITTED


def pool_of(conninfo: str, settings: Settings) -> Pool:
    """A pool that is open."""

    def check(connection: psycopg.Connection[Record]) -> None:
        try:
            ConnectionPool.check_connection(connection)
        except psycopg.Error:
            if (pool := mine()) is not None:
                getattr(pool, "drain", pool.check)()
            raise

    made: Pool = ConnectionPool(
        conninfo,
        connection_class=_Pooled,
        **_pool_options(settings),
        configure=configure,
        check=check,
        open=False,
    )
    mine = weakref.ref(made)
    made.open()
    return made


def async_pool_of(conninfo: str, settings: Settings) -> AsyncPool:
    """A pool that has to be opened yet."""

    async def check(connection: psycopg.AsyncConnection[Record]) -> None:
        try:
            await AsyncConnectionPool.check_connection(connection)
        except psycopg.Error:
            if (pool := mine()) is not None:
                await getattr(pool, "drain", pool.check)()
            raise

    made: AsyncPool = AsyncConnectionPool(
        conninfo,
        connection_class=_AsyncPooled,
        **_pool_options(settings),
        configure=_configure_async,
        check=check,
        open=False,
    )
    mine = weakref.ref(made)
    return made


def why_none(pool: Pool | AsyncPool | None, settings: Settings) -> str:
    """Why a query got no connection in time, though the server answers."""
    if pool is not None and pool.get_stats().get("pool_size", 0) < settings.pool_max_size:
        return f"{settings.target} was away until a moment ago"
    return f"no free connection to {settings.target}: raise EVENT_POOL_MAX"


def _pool_options(settings: Settings) -> dict[str, Any]:
    return {
        "kwargs": {**options(settings), "autocommit": False},
        "min_size": settings.pool_min_size,
        "max_size": settings.pool_max_size,
        "timeout": settings.connect_timeout_seconds + 1,
        "name": _NAME,
    }


class _Pooled(psycopg.Connection[Record]):
    """One of our pools', as its repr says, which the driver logs."""


class _AsyncPooled(psycopg.AsyncConnection[Record]):
    """The same for asyncio."""


class _Quiet(logging.Filter):
    """Keeps back the driver's warnings of our pools and their connections: whoever asks is told by an error."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False for these; those of the program's own pools pass."""
        if record.levelno < logging.WARNING:
            return True
        message = record.getMessage()
        return repr(_NAME) not in message and __name__ not in message


logging.getLogger("psycopg.pool").addFilter(_Quiet())


def counts(pool: Pool | AsyncPool | None) -> dict[str, int]:
    """Connections: open, idle and at most, and callers that wait for one; empty without a pool."""
    if pool is None:
        return {}
    found = pool.get_stats()
    return {
        "open": found.get("pool_size", 0),
        "idle": found.get("pool_available", 0),
        "most": found.get("pool_max", 0),
        "waiting": found.get("requests_waiting", 0),
    }


def configure(connection: psycopg.Connection[Record]) -> None:
    """Have a connection read and isolate as all of ours do."""
    connection.isolation_level = _ISOLATION
    _read_json(connection)


async def _configure_async(connection: psycopg.AsyncConnection[Record]) -> None:
    await connection.set_isolation_level(_ISOLATION)
    _read_json(connection)


def _read_json(connection: psycopg.Connection[Record] | psycopg.AsyncConnection[Record]) -> None:
    set_json_loads(orjson.loads, connection)
    connection.adapters.register_loader("json", TextLoader)  # columns of this type keep the text as it was
