"""Log records that are stored at once, past the queue: whoever asked waits, and is told what went wrong."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import Any

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ..database import Copy, Database, write_in, write_in_async
from ..encoding.batches import Batch, encode_batch
from ..encoding.rows import RowEncoder
from ..encoding.treatment import Treatment
from ..errors import DatabaseError, DatabaseUnavailable, InvalidEventError
from ..host import forks
from .sink import Sink

__all__ = ["Direct"]

_CONNECTIONS = 6
"""So many that fail mean that PostgreSQL is away: with their pauses about a second, longer than a usual restart."""
_CLOSE_SECONDS = 0.2
_UNCOUNTED = 0
"""Whoever logs an event here is told if it is not stored: a number that is missing would say no more."""


class Direct:
    """Stores single records; safe to share between threads. `on_stored` is called once there is something to look
    after."""

    def __init__(
        self,
        database: Database,
        resource: Resource,
        scope: InstrumentationScope,
        treatment: Treatment,
        on_stored: Callable[[], None],
    ) -> None:
        self._on_stored = on_stored
        self._database, self._resource, self._scope = database, resource, scope
        self._encoder = RowEncoder(treatment)
        # while a transaction of the program's is open, others may erase what its rows would refer to
        self._whole = RowEncoder(replace(treatment, shared_text_length=0))
        self._start_anew()
        forks.in_child(self._start_anew)

    def _start_anew(self) -> None:
        self._producer_id = uuid.uuid4()
        self._sink = Sink(self._database)
        self._lock = threading.Lock()
        self._doubts: list[DatabaseError] = []
        """What went wrong past the sink, and says that the tables may not be what it takes them for."""

    def store(self, record: LogRecord) -> None:
        """Store a record; it is committed when this returns.

        Raises:
            DatabaseError: it could not be stored: six connections failed, or `export_timeout_millis` were over.
        """
        deadline = self._deadline()
        with self._alone_until(deadline):
            self._sink.store(self._batch(record, self._encoder), {}, deadline, _CONNECTIONS)
        self._on_stored()

    def store_in(self, connection: Any, record: LogRecord) -> None:
        """Write a record in the transaction of a psycopg.Connection, which stays the caller's to end.

        Raises:
            DatabaseError: it could not be written; the transaction is as it was before.
        """
        claim, copies = self.prepare(record)
        try:
            write_in(connection, claim, copies, self._database.settings)
        except DatabaseError as error:
            self._doubts.append(error)
            raise

    async def write_async(self, connection: Any, claim: str, copies: Sequence[Copy]) -> None:
        """Write what `prepare` gave in the transaction of a psycopg.AsyncConnection."""
        try:
            await write_in_async(connection, claim, copies, self._database.settings)
        except DatabaseError as error:
            self._doubts.append(error)
            raise

    def prepare(self, record: LogRecord) -> tuple[str, list[Copy]]:
        """See to it that all is there that the record's row needs; gives the ledger's statement and the row."""
        deadline = self._deadline()
        with self._alone_until(deadline):
            batch = self._batch(record, self._whole)
            self._sink.prepare(batch, deadline)
            self._on_stored()
            return self._sink.claim(batch, {}), self._sink.copies(batch)

    def close(self) -> None:
        """Close the connection."""
        if self._lock.acquire(timeout=_CLOSE_SECONDS):  # else it hangs, and is left to who waits for it
            self._sink.close()
            self._lock.release()

    @contextmanager
    def _alone_until(self, deadline: float) -> Iterator[None]:
        """Have the connection; who waits for it has no more time than who has it at once."""
        if not self._lock.acquire(timeout=max(0.0, deadline - monotonic())):
            raise DatabaseUnavailable(f"others were storing in {self._database.settings.target} all of the time")
        try:
            while self._doubts:
                self._sink.doubt(self._doubts.pop())
            yield
        finally:
            self._lock.release()

    def _batch(self, record: LogRecord, encoder: RowEncoder) -> Batch:
        batch = encode_batch(
            [ReadableLogRecord(record, self._resource, self._scope)],
            encoder.log,
            producer_id=self._producer_id,
            sequence=_UNCOUNTED,
            signal="log",
        )
        for rejected in batch.rejected:
            raise InvalidEventError(f"the event cannot be encoded: {rejected.reason}")
        return batch

    def _deadline(self) -> float:
        return monotonic() + self._database.settings.export_timeout_millis / 1000
