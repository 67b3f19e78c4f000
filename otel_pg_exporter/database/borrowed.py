"""Writing in a transaction that is the program's own: it alone commits it or rolls it back.

Ours is a savepoint in it, so that a failure of ours leaves the program's rows as they were. On a connection
in autocommit mode that has no open transaction, the savepoint is a whole transaction. Savepoints nest, so of several
calls at once for one connection each waits for the one before.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import pq
from psycopg.rows import tuple_row

from ..config import Settings
from ..encoding.binary_copy import HEADER, TRAILER
from ..errors import DatabaseError, DatabaseUnavailable, InvalidEventError, shown
from .failures import translate
from .writer import Copy

__all__ = ["write_in", "write_in_async"]

_UTF8 = b"SET LOCAL client_encoding = 'UTF8'"
_OPEN = b"SELECT 1"
"""Any statement makes the driver begin the program's transaction, so that ours becomes a savepoint in it."""
_CANCELLED_SECONDS = 2.0
"""How long the end of a write is waited for that is cancelled: broken off, it leaves a connection of no use."""
_TURN = "_otel_pg_turn"
"""The attribute of a connection that is the lock of whoever writes in it."""


def write_in(connection: Any, statement: str, copies: Sequence[Copy], settings: Settings) -> None:
    """Run a statement and write rows.

    Args:
        connection: an open psycopg.Connection.
        statement: without parameters.
        copies: the rows.
        settings: for messages.

    Raises:
        InvalidEventError: the connection is not one.
        DatabaseError: nothing was written; the program's transaction goes on.
    """
    _check(connection, psycopg.Connection)
    with connection.__dict__.setdefault(_TURN, threading.RLock()):
        _write(connection, statement, copies, settings)


def _write(connection: Any, statement: str, copies: Sequence[Copy], settings: Settings) -> None:
    try:
        cursor = psycopg.Cursor(connection, row_factory=tuple_row)
        if _begins(connection):
            cursor.execute(_OPEN)
        with connection.transaction():
            restored = _own_encoding(connection)
            if restored:
                cursor.execute(_UTF8, prepare=False)
            cursor.execute(statement.encode(), prepare=False)
            for rows in copies:
                with cursor.copy(rows.statement.encode()) as copy:
                    copy.write(_data(rows))
            if restored:
                cursor.execute(restored, prepare=False)
    except psycopg.Error as error:
        raise _explained(error, connection, settings) from error


async def write_in_async(connection: Any, statement: str, copies: Sequence[Copy], settings: Settings) -> None:
    """As `write_in`, on a psycopg.AsyncConnection. What is cancelled may be written, in the program's transaction."""
    _check(connection, psycopg.AsyncConnection)
    async with connection.__dict__.setdefault(_TURN, asyncio.Lock()):
        await _to_its_end(_write_async(connection, statement, copies, settings))


async def _to_its_end(writing: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(writing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=_CANCELLED_SECONDS)
        if not task.cancel():
            _ = task.cancelled() or task.exception()  # which nobody else asks for
        raise


async def _write_async(connection: Any, statement: str, copies: Sequence[Copy], settings: Settings) -> None:
    try:
        cursor = psycopg.AsyncCursor(connection, row_factory=tuple_row)
        if _begins(connection):
            await cursor.execute(_OPEN)
        async with connection.transaction():
            restored = _own_encoding(connection)
            if restored:
                await cursor.execute(_UTF8, prepare=False)
            await cursor.execute(statement.encode(), prepare=False)
            for rows in copies:
                async with cursor.copy(rows.statement.encode()) as copy:
                    await copy.write(_data(rows))
            if restored:
                await cursor.execute(restored, prepare=False)
    except psycopg.Error as error:
        raise _explained(error, connection, settings) from error


def _check(connection: Any, kind: type[Any]) -> None:
    if not isinstance(connection, kind):
        name = f"psycopg.{kind.__name__}"
        raise InvalidEventError(f"connection={shown(connection)} is not allowed; allowed is an open {name}")
    if connection.closed:
        raise DatabaseUnavailable(f"connection={shown(connection)} is closed: nothing can be written in it")
    if connection.info.transaction_status == pq.TransactionStatus.INERROR:
        raise DatabaseError("the connection's transaction has failed before: roll it back first", sqlstate="25P02")


def _own_encoding(connection: Any) -> bytes | None:
    """The statement that gives the connection its own encoding back; None if that is what our bytes are in."""
    name: bytes = connection.pgconn.parameter_status(b"client_encoding") or b"UTF8"
    return None if name == b"UTF8" else b"SET LOCAL client_encoding = '" + name + b"'"


def _begins(connection: Any) -> bool:
    is_idle = connection.info.transaction_status == pq.TransactionStatus.IDLE
    return is_idle and not connection.autocommit


def _explained(error: psycopg.Error, connection: Any, settings: Settings) -> DatabaseError:
    if error.sqlstate is None and isinstance(error, psycopg.ProgrammingError | psycopg.NotSupportedError):
        # the driver's own refusal: in a pipeline, or in a two-phase transaction
        return DatabaseError(f"an event cannot be written on this connection as it is: {error}")
    if not connection.closed:  # it may be of another role than the settings', or lead to another database
        settings = replace(settings, dsn=connection.info.dsn)
    return translate(error, settings, "INSERT")


def _data(rows: Copy) -> bytes:
    return b"".join((HEADER, *rows.rows, TRAILER))
