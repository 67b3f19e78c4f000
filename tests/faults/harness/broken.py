"""Builds with one thing wrong each: those that others ship. A judge that lets one of them pass judges nothing.

broken.blind_retry(monkeypatch.setattr)
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic, sleep
from typing import Any

from otel_pg_exporter.database import Database, writer
from otel_pg_exporter.encoding.batches import Batch, new_batch_id
from otel_pg_exporter.encoding.remembered import Remembered
from otel_pg_exporter.errors import DatabaseError, DataRefused, SpoolError
from otel_pg_exporter.processors.durable import _Intake
from otel_pg_exporter.spool import Journal, Spool, Waiting, journal
from otel_pg_exporter.spool.segment import Extent, Segment
from otel_pg_exporter.writing.delivery import Delivery
from otel_pg_exporter.writing.sink import Sink

__all__ = ["BUILDS", "reword"]

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

    def by_halves(self: Delivery, sink: Sink, batch: Batch, deadline: float, *_: Any, **__: Any) -> str:
        try:
            return "stored" if sink.store(batch, {}, deadline) else "duplicate"
        except DataRefused as error:
            if len(batch) == 1:
                self._refusals._set_aside(batch, error)
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
    for name in ("begin_batch", "begin_batch_with_texts"):
        reword(patch, name, lambda text: text.partition("SELECT set_config")[0] + "SELECT 1")


def retry_in_memory(patch: _Patch) -> None:
    """While the server is away records wait in memory."""

    def until_stored(self: Delivery, batch: Batch, deadline: float, held: Any) -> str:
        while True:
            with suppress(DatabaseError):
                return self._store(batch, monotonic() + 10, connections=1)
            sleep(0.5)

    patch(Delivery, "_deliver", until_stored)


def a_file_for_each_batch(patch: _Patch) -> None:
    """The spool begins a file for each batch, and keeps it open."""
    patch(Spool, "segment_bytes", 0)


def newest_first(patch: _Patch) -> None:
    """What has waited least is stored first."""

    def newest(self: Spool, passed_over: Any = ()) -> Waiting | None:
        self._take_over()
        with self._lock:
            waiting = [Waiting(batch_id, segment) for segment in self._segments for batch_id in segment.pending]
        return waiting[-1] if waiting else None

    patch(Spool, "oldest", newest)


def trust_the_disk(patch: _Patch) -> None:
    """Whether the disk has taken a batch is not looked at."""
    append = Segment.append

    def careless(self: Segment, data: bytes) -> int:
        try:
            return append(self, data)
        except OSError:
            return self.size

    patch(Segment, "append", careless)


def give_up_the_disk(patch: _Patch) -> None:
    """After its first error the disk is not written to any more."""
    append = Segment.append

    def once(self: Segment, data: bytes) -> int:
        try:
            return append(self, data)
        except OSError as error:
            patch(Segment, "append", _raising(error))
            raise

    patch(Segment, "append", once)


def let_errors_out(patch: _Patch) -> None:
    """The program learns of a full disk from `end()`."""
    append = Journal.append

    def frank(self: Journal, batch: Batch, row: Any) -> None:
        try:
            append(self, batch, row)
        except SpoolError as error:
            raise RuntimeError(str(error)) from error

    patch(Journal, "append", frank)
    patch(_Intake, "_take_safely", _Intake._take)


def wait_for_the_disk(patch: _Patch) -> None:
    """`end()` returns when the disk has taken the span, however long that takes."""
    append = Journal.append

    def patient(self: Journal, batch: Batch, row: Any) -> None:
        while True:
            with suppress(SpoolError):
                return append(self, batch, row)
            sleep(0.05)

    patch(Journal, "append", patient)


def take_a_full_disk_for_bad_rows(patch: _Patch) -> None:
    """Whatever the server says to a COPY is the fault of a row."""
    translate = writer.translate

    def refused(*given: Any) -> DatabaseError:
        error = translate(*given)
        return DataRefused(str(error), sqlstate=error.sqlstate) if error.sqlstate == "53100" else error

    patch(writer, "translate", refused)


def forget_predecessors(patch: _Patch) -> None:
    """What a program left in the spool is left there by the next."""
    patch(Spool, "_left_behind", lambda *_: [])


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


def remember_for_ever(patch: _Patch) -> None:
    """What the server was given once is taken to be there, whatever became of the server."""
    store = Sink._store_sources

    def remembered(self: Sink, *given: Any, **more: Any) -> list[bytes]:
        new = store(self, *given, **more)
        self._stored_sources.update(new)
        return new

    patch(Sink, "_store_sources", remembered)
    patch(Remembered, "clear", lambda self: None)


def no_folder_sync(patch: _Patch) -> None:
    """The disk is waited for, but not for the names of new files."""
    patch(journal, "sync_folder", lambda folder: None)


def erase_beside_writers(patch: _Patch) -> None:
    """Rows and texts are erased while others store rows that refer to these."""
    reword(patch, "shut_out_writers", lambda text: "SELECT 1")


def deaf_to_erasures(patch: _Patch) -> None:
    """Whoever stores is not told that something was erased."""
    for name in ("begin_batch", "begin_batch_with_texts"):
        reword(patch, name, lambda text: text.replace("pruned_erasures", "pruned"))


BUILDS: dict[str, Callable[[_Patch], None]] = {
    build.__name__: build
    for build in (
        *(drop_on_error, blind_retry, select_then_insert, store_by_halves, asynchronous_commit),
        *(lazy_writes, no_fdatasync, no_folder_sync, remember_for_ever),
        *(erase_beside_writers, deaf_to_erasures),
        *(retry_in_memory, a_file_for_each_batch, newest_first, forget_predecessors),
        *(trust_the_disk, give_up_the_disk, let_errors_out, wait_for_the_disk, take_a_full_disk_for_bad_rows),
    )
}


def reword(patch: _Patch, name: str, change: Callable[[str], str]) -> None:
    """A query with other words."""
    sql = Database.sql
    patch(Database, "sql", lambda self, asked: change(sql(self, asked)) if asked == name else sql(self, asked))


def _raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> None:
        raise error

    return fail


def _renamed(batch: Batch, identity: uuid.UUID) -> Batch:
    start, end = 38, 54  # where a row has the id of its batch
    renamed = {table: [row[:start] + identity.bytes + row[end:] for row in rows] for table, rows in batch.rows.items()}
    return replace(batch, id=identity, rows=renamed)
