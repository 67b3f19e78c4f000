"""Builds with one thing wrong each: those that others ship. A judge that lets one of them pass judges nothing.

broken.blind_retry(monkeypatch.setattr)
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any

from otel_pg_exporter.batches import Batch, new_batch_id
from otel_pg_exporter.database import Database
from otel_pg_exporter.delivery import Delivery
from otel_pg_exporter.errors import DatabaseError, DataRefused
from otel_pg_exporter.sink import Sink
from otel_pg_exporter.spool import journal
from otel_pg_exporter.spool.segment import Extent, Segment

__all__ = [
    "BUILDS",
    "asynchronous_commit",
    "blind_retry",
    "drop_on_error",
    "lazy_writes",
    "no_fdatasync",
    "no_folder_sync",
    "select_then_insert",
    "store_by_halves",
]

_Patch = Callable[[Any, str, Any], None]


def drop_on_error(patch: _Patch) -> None:
    """A batch gets one attempt, as from most exporters; nobody is told."""
    prepared = Sink._attempt

    def deliver(self: Delivery, batch: Batch, seconds: float, held: Any = None) -> str:
        try:
            prepared(self._sink, batch, {}, monotonic() + seconds)
        except DatabaseError:
            pass
        return "stored"

    patch(Delivery, "deliver", deliver)


def blind_retry(patch: _Patch) -> None:
    """A batch that is sent again is a new batch."""
    attempt = Sink._attempt

    def with_a_new_id(self: Sink, batch: Batch, *rest: Any) -> bool:
        return attempt(self, _renamed(batch, new_batch_id()), *rest)

    patch(Sink, "_attempt", with_a_new_id)


def select_then_insert(patch: _Patch) -> None:
    """Whether a batch is stored is looked up, and then it is inserted. Needs a ledger without its primary key."""
    claim = Sink.claim

    def looked_up(self: Sink, batch: Batch, *rest: Any) -> str:
        ledger = self.database.names.table("event_batches")
        absent = f"WHERE NOT EXISTS (SELECT FROM {ledger} WHERE batch_id = '{batch.id}')"
        text = claim(self, batch, *rest)
        return re.sub(r"VALUES \((.*)\) ON CONFLICT DO NOTHING", rf"SELECT \1 {absent}", text, flags=re.DOTALL)

    patch(Sink, "claim", looked_up)


def store_by_halves(patch: _Patch) -> None:
    """A batch with a row that is refused is halved until that row is alone, and each part is a batch of its own."""

    def by_halves(self: Delivery, sink: Sink, batch: Batch, deadline: float) -> str:
        try:
            return "stored" if sink.store(batch, {}, deadline) else "duplicate"
        except DataRefused as error:
            if len(batch) == 1:
                self._set_aside(batch, error)
                return "stored"
        middle = len(batch) // 2
        for first, end in ((0, middle), (middle, len(batch))):
            rows = [(table, row) for table, rows in batch.rows.items() for row in rows][first:end]
            part = replace(batch, rows={name: [row for table, row in rows if table == name] for name in batch.rows})
            identity = uuid.uuid5(batch.id, f"{first} {end}").int & (1 << 80) - 1
            by_halves(self, sink, _renamed(part, uuid.UUID(int=batch.id.int >> 80 << 80 | identity)), deadline)
        return "stored"

    patch(Delivery, "_send", by_halves)


def asynchronous_commit(patch: _Patch) -> None:
    """The server may say "committed" before its disk has the rows."""
    sql = Database.sql

    def lenient(self: Database, name: str) -> str:
        text = sql(self, name)
        return text.partition("SELECT set_config")[0] + "SELECT 1" if name == "begin_batch" else text

    patch(Database, "sql", lenient)


def lazy_writes(patch: _Patch) -> None:
    """What is appended to a file of the spool stays in the process until there is enough of it."""
    append, read = Segment.append, Segment.read
    waiting: dict[Segment, bytearray] = {}

    def write_out(segment: Segment) -> None:
        data = waiting.pop(segment, b"")
        segment.size -= len(data)
        append(segment, bytes(data))

    def lazily(self: Segment, data: bytes) -> int:
        start = self.size
        waiting.setdefault(self, bytearray()).extend(data)
        self.size += len(data)
        if len(waiting[self]) > 1 << 16:
            write_out(self)
        return start

    def read_all(self: Segment, extent: Extent) -> bytes:
        write_out(self)
        return read(self, extent)

    patch(Segment, "append", lazily)
    patch(Segment, "read", read_all)


def no_fdatasync(patch: _Patch) -> None:
    """The disk is not waited for."""
    patch(Segment, "sync", lambda self: None)


def no_folder_sync(patch: _Patch) -> None:
    """The disk is waited for, but not for the names of new files."""
    patch(journal, "sync_folder", lambda folder: None)


BUILDS: dict[str, Callable[[_Patch], None]] = {
    build.__name__: build
    for build in (
        drop_on_error, blind_retry, select_then_insert, store_by_halves, asynchronous_commit, lazy_writes,
        no_fdatasync, no_folder_sync,
    )
}  # fmt: skip


def _renamed(batch: Batch, identity: uuid.UUID) -> Batch:
    start, end = 38, 54  # where a row has the id of its batch
    renamed = {table: [row[:start] + identity.bytes + row[end:] for row in rows] for table, rows in batch.rows.items()}
    return replace(batch, id=identity, rows=renamed)
