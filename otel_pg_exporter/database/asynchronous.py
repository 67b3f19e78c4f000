"""A database for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg_pool import PoolTimeout

from ..config import Settings
from ..errors import DatabaseUnavailable
from .blocking import USUAL, Database
from .connecting import Record
from .failures import translate
from .pools import AsyncPool, async_pool_of, counts, why_none

__all__ = ["AsyncDatabase"]


class AsyncDatabase:
    """`Database` for asyncio; for one event loop at a time. In another one it makes connections anew."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._database = Database(settings)
        self._pool: AsyncPool | None = None
        self._lock = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def blocking(self) -> Database:
        """The database for calls in a thread."""
        return self._database

    @asynccontextmanager
    async def connection(self, beginning: str = USUAL) -> AsyncIterator[psycopg.AsyncConnection[Record]]:
        """As `Database.connection`."""
        try:
            pool = await self._opened()
            async with pool.connection() as connection:
                await connection.execute(self._database.sql(beginning).encode())
                yield connection
        except PoolTimeout:
            await asyncio.to_thread(self._database.reach)  # raises what the pool keeps to itself
            raise DatabaseUnavailable(why_none(self._pool, self.settings)) from None
        except psycopg.Error as error:
            raise translate(error, self.settings) from error

    def pool_counts(self) -> dict[str, int]:
        """As `Database.pool_counts`."""
        return counts(self._pool)

    async def close(self) -> None:
        """Give back connections and leave the embedded server."""
        self._enter_loop()
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close(timeout=1)
        await asyncio.to_thread(self._database.close)

    def _enter_loop(self) -> None:
        # asyncio.run() once more: what the pool has at work has ended with the loop before
        if self._loop is not (loop := asyncio.get_running_loop()):
            self._loop, self._pool, self._lock = loop, None, asyncio.Lock()

    async def _opened(self) -> AsyncPool:
        self._enter_loop()
        async with self._lock:
            if self._pool is None:
                conninfo = await asyncio.to_thread(self._database.reach)
                pool = async_pool_of(conninfo, self.settings)
                await pool.open()
                self._pool = pool  # not before: who is cancelled in the middle would leave one that is closed
            return self._pool
