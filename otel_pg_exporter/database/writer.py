"""The connection of an exporter: statements and COPY data in few waits, each with a deadline.

All statements of a transaction and its COPYs go out as one query string; the server stops at each COPY
for its data. One wait gets to the first COPY and one more past each table, where a wait for every
statement would be six and more. Each wait of an export thread can cost a busy program's switch interval
(5 ms) until the thread runs again: with few of them a queue does not overflow.
"""

from __future__ import annotations

import select
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from ..encoding.binary_copy import HEADER, TRAILER
from ..errors import DataRefused
from ..host import forks
from .blocking import Database
from .connecting import Record, connect
from .failures import translate

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

__all__ = ["Copy", "Writer"]

_CHUNK_BYTES = 1 << 18
"""At once, about: as many rows as usually have it."""
_TABLES = b"tables"


@dataclass(frozen=True, slots=True)
class Copy:
    """Rows for one table."""

    statement: str
    """COPY … FROM STDIN (FORMAT binary)"""
    rows: Sequence[bytes]
    """Rows in the binary format, without its header and trailer."""


class Writer:
    """One connection, made when it is first needed and made again after it broke.

    Not for two threads at once. Deadlines are times of `time.monotonic()`; when one passes, the
    connection is given up, for the server may be silent for ever.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: psycopg.Connection[Record] | None = None
        self.tables: bytes | None = None
        """Which tables the last transaction found, as `begin_batch` tells."""
        forks.in_child(self._leave_to_parent)

    def execute(self, statements: str, deadline: float, copies: Sequence[Copy] = ()) -> None:
        """Run statements as one transaction; their results are of no interest.

        Args:
            statements: what to run, with the statements of the copies among them.
            deadline: when to give up.
            copies: their rows, in order.

        Raises:
            DatabaseError: none of them was carried out, or, if the connection broke, perhaps all.
        """
        self._run(statements, copies, deadline)

    def store(self, claim: str, copies: Sequence[Copy], deadline: float, afterwards: str | None = None) -> bool:
        """Store rows in one transaction, if the claim to them is granted.

        Args:
            claim: statements from BEGIN to an INSERT … ON CONFLICT DO NOTHING. If that inserts
                no row, another attempt has stored the rows already.
            copies: the rows.
            deadline: when to give up.
            afterwards: a statement to carry out after the commit.

        Returns:
            False if another attempt has stored them.

        Raises:
            DatabaseError: nothing was stored, or, if the connection broke, perhaps all of it: the same
                claim, made again, tells.
        """
        statements = ";\n".join([claim, *(copy.statement for copy in copies), "COMMIT"])
        if afterwards is not None:
            statements += f";\n{afterwards}"
        return self._run(statements, copies, deadline)

    @property
    def is_connected(self) -> bool:
        """There is a connection, as far as is known."""
        return self._connection is not None

    def close(self) -> None:
        """Close the connection. The next use makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run(self, statements: str, copies: Sequence[Copy], deadline: float) -> bool:
        try:
            connection = self._opened(deadline)
            granted, self.tables = _converse(connection.pgconn, statements, copies, deadline)
            return granted
        except psycopg.Error as error:
            reason = translate(error, self._database.settings, "INSERT")
            if not isinstance(reason, DataRefused):
                self.close()  # what was repaired meanwhile may hold for new sessions only
            raise reason from error
        except TimeoutError as error:
            self.close()
            raise translate(psycopg.OperationalError(f"no answer in time: {error}"), self._database.settings) from None
        except BaseException:
            self.close()  # interrupted in the middle of a conversation: it cannot be taken up again
            raise

    def _leave_to_parent(self) -> None:
        connection, self._connection = self._connection, None
        forks.keep(connection)

    def _opened(self, deadline: float) -> psycopg.Connection[Record]:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._database.conninfo(), self._database.settings, deadline)
        return self._connection


def _converse(pgconn: PGconn, statements: str, copies: Sequence[Copy], deadline: float) -> tuple[bool, bytes | None]:
    """Send the statements, feed each COPY, read all results; True if the last INSERT inserted a row, and the tables."""
    pgconn.send_query(statements.encode())
    waiting = iter(copies)
    granted, failure, is_refused, tables = True, None, False, None
    for result in _results(pgconn, deadline):
        if result.status == pq.ExecStatus.COPY_IN:
            if granted:
                _feed(pgconn, next(waiting), deadline)
            else:
                pgconn.put_copy_end(b"stored before")
                is_refused = True
        elif result.status == pq.ExecStatus.FATAL_ERROR:
            failure = failure or result
        elif (tag := result.command_status) is not None and tag.startswith(b"INSERT"):
            granted = tag != b"INSERT 0 0"
        elif result.nfields and result.fname(result.nfields - 1) == _TABLES:
            tables = result.get_value(0, result.nfields - 1)
    if failure is not None:
        _roll_back(pgconn, deadline)
        if not is_refused:
            raise error_from_result(failure)
    return granted, tables


def _results(pgconn: PGconn, deadline: float) -> Iterator[PGresult]:
    while True:
        _flush(pgconn, deadline)
        while pgconn.is_busy():
            _wait(pgconn, deadline)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            return
        yield result


def _feed(pgconn: PGconn, copy: Copy, deadline: float) -> None:
    parts = [HEADER, *copy.rows, TRAILER]
    count = len(parts) * _CHUNK_BYTES // sum(map(len, parts)) + 1
    for place in range(0, len(parts), count):
        pgconn.put_copy_data(b"".join(parts[place : place + count]))
        _flush(pgconn, deadline)
    pgconn.put_copy_end()


def _flush(pgconn: PGconn, deadline: float) -> None:
    while pgconn.flush():
        _wait(pgconn, deadline, writing=True)
        pgconn.consume_input()  # the server may be unable to read before somebody reads what it says


def _roll_back(pgconn: PGconn, deadline: float) -> None:
    if pgconn.status == pq.ConnStatus.OK and pgconn.transaction_status != pq.TransactionStatus.IDLE:
        pgconn.send_query(b"ROLLBACK")
        for _ in _results(pgconn, deadline):
            pass


def _wait(pgconn: PGconn, deadline: float, writing: bool = False) -> None:
    remaining = deadline - monotonic()
    if remaining <= 0:
        raise TimeoutError("the server did not answer before the deadline")
    if hasattr(select, "poll"):  # select() cannot watch descriptors above 1,023
        poll = select.poll()
        poll.register(pgconn.socket, select.POLLIN | (select.POLLOUT if writing else 0))
        poll.poll(remaining * 1000)
    else:
        select.select([pgconn.socket], [pgconn.socket] if writing else [], [], remaining)
