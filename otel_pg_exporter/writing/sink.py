"""Where batches go: the tables of a database, exactly once, within a time limit."""

from __future__ import annotations

import struct
import threading
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from time import monotonic, time

import orjson

from ..database import Copy, Database, Writer, limits
from ..encoding.batches import DAY_US, Batch
from ..encoding.remembered import Remembered
from ..encoding.sharing import CONTENTS
from ..encoding.sources import Source
from ..encoding.tables import SUMMARY
from ..errors import DatabaseError, DatabaseUnavailable, DataRefused, LedgerForgotten, SchemaMismatch
from ..host.pauses import between
from ..schema import migrate, obstacles
from ..schema.inventory import day
from ..schema.partitions import ensure
from ..schema.room import Room
from ..sql_files import bind, quote
from ..upkeep.retention import ledger_begin

__all__ = ["LOCK_NOT_AVAILABLE", "Sink"]

_MAX_SOURCES = 50_000
"""Some 7 MB of ids; what is forgotten is sent once more, and stored once all the same."""
_DAY_SECONDS = 86_400
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_LOOK_SECONDS, _SOUND_SECONDS = 2.0, 1.0
_LOCK_SECONDS = 2.0
"""Then a batch gives way to the next."""
_LEAST_PAUSE_OF_NOTIFICATIONS = 0.05
_NO_PARTITION = "23514"
LOCK_NOT_AVAILABLE = "55P03"
"""SQLSTATE of a batch that waited too long for what another session has locked."""


class Sink:
    """Stores batches; for one thread at a time, but for `hurry`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._writer = Writer(database)
        self._room = Room(database)
        self.is_ready = False
        """The tables are there, as far as is known."""
        self._days: set[int] = set()
        self._stored_sources = Remembered(_MAX_SOURCES)
        self._tables: bytes | None = None
        """Those that have them, as the writer tells."""
        self._notified_at = float("-inf")
        self._sound: tuple[uuid.UUID | None, float] = (None, 0.0)
        """A batch with a row that was refused, and how long the tables are trusted to be as they were just seen."""
        self._hurried = threading.Event()

    def store(self, batch: Batch, untold: Mapping[str, int], deadline: float, connections: int | None = None) -> bool:
        """Store a batch, trying again until the deadline (by `time.monotonic()`).

        A lost connection leaves open whether the batch was stored; the next attempt claims the same
        id and is told.

        Args:
            batch: the batch.
            untold: how many records its producer has lost, by fate, since it last told the ledger.
            deadline: when to give up.
            connections: how many may fail or get lost before it gives up; None: any number.

        Returns:
            False if it was stored by an earlier attempt.

        Raises:
            EventStoreError: it could not be stored in time, or not at all as things are.
        """
        pause = _FIRST_PAUSE
        if monotonic() >= deadline:
            raise DatabaseUnavailable(f"no time left to store the batch in {self.database.settings.target}")
        was_made_again, was_looked_into, telling, lost = False, False, None, 0
        while True:
            try:
                return self._attempt(batch, untold, deadline)
            except DatabaseError as error:
                if isinstance(error, DataRefused) and not was_looked_into:
                    was_looked_into = True
                    if batch.mend():
                        continue
                self.doubt(error)
                is_drift = isinstance(error, SchemaMismatch) and was_made_again
                if is_drift or not _worth_another_try(error):
                    if self._is_sound_for(batch):
                        raise
                    self._look_at_tables(error)
                    if not isinstance(error, DataRefused):
                        raise
                    # they may have been repaired after the refusal: only the next one is the fault of a row
                    self._sound = (batch.id, monotonic() + _SOUND_SECONDS)
                    continue
                if telling is None or telling.sqlstate != LOCK_NOT_AVAILABLE:
                    telling = error  # that the time ran out then says less than what was waited for
                lost += error.sqlstate is None
                if self._hurried.is_set() or lost == connections or monotonic() + pause >= deadline:
                    raise telling from telling.__cause__
                was_made_again = isinstance(error, SchemaMismatch)
            self._hurried.wait(between(0.5 * pause, pause))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _is_sound_for(self, batch: Batch) -> bool:
        batch_id, until = self._sound
        return batch_id == batch.id and monotonic() < until

    def refused_row(self, batch: Batch, error: DataRefused, deadline: float) -> tuple[str, int] | None:
        """Table and index of a row that the server refuses: as its error says, else as trials show.

        None if every row is taken, so that the refusal has another reason.

        Raises:
            EventStoreError: the server has gone, or the time is over.
        """
        name, line = error.place or ("", 0)
        table = name.removeprefix(self.database.names.prefix)
        if 1 <= line <= len(batch.rows.get(table, ())):
            return table, line - 1
        if self._takes(batch, deadline):
            return None
        taken, refused = 0, len(batch)
        while refused - taken > 1:
            middle = (taken + refused) // 2
            if self._takes(batch.beginning(middle), deadline):
                taken = middle
            else:
                refused = middle
        return batch.place(taken)

    def has_rows_of(self, batch: Batch, deadline: float) -> bool:
        """Whether rows are stored under the id of a batch, which itself may only tell of their loss: the ledger knows.

        Raises:
            EventStoreError: the server cannot be asked in time.
        """
        about = {"batch_id": batch.id, "time_us": batch.time_us}
        return bool(self.database.until(deadline).fetch(self.database.sql("batch_has_rows"), about))

    def doubt(self, error: DatabaseError) -> None:
        """After an error the tables may not be what they were: look again."""
        if isinstance(error, DataRefused):
            return
        self._stored_sources.clear()
        if error.sqlstate is None:
            return  # a lost connection; a partition that is missing afterwards is an error that says so
        self._days.clear()
        if isinstance(error, SchemaMismatch):
            self.is_ready = False

    def hurry(self) -> None:
        """No more pauses and second attempts: the program is about to end."""
        self._hurried.set()

    @property
    def is_connected(self) -> bool:
        """There is a connection, and the tables are there, as far as is known."""
        return self.is_ready and self._writer.is_connected

    def close(self) -> None:
        """Close the connection; the next batch would open it again."""
        self._writer.close()

    def prepare(self, batch: Batch, deadline: float) -> None:
        """See to it that all is there that the batch's rows need, whoever writes them: tables, partitions, and what the
        rows refer to.

        Raises:
            EventStoreError: it cannot be had.
        """
        self._make_ready(batch, deadline)
        self._store_sources(batch, deadline)

    def _make_ready(self, batch: Batch, deadline: float) -> None:
        if not self.is_ready:
            migrate.ensure(self.database.until(deadline))
            self.is_ready = True
        self._room.require(deadline)
        if not batch.days <= self._days:
            if batch.was_spooled:
                self._require_ledger(batch, deadline)
            ensure(self.database.until(deadline), batch.days)
            self._days |= batch.days

    def _require_ledger(self, batch: Batch, deadline: float) -> None:
        # an earlier attempt may have stored it, and retention have dropped what the ledger knew of that
        made_on = batch.time_us // DAY_US
        begin = ledger_begin(self.database.until(deadline), made_on)
        if begin is not None and made_on < begin:
            raise LedgerForgotten(
                f"a batch of {day(made_on)} waited for longer than the ledger remembers, which begins on {day(begin)}:"
                " whether it is stored already cannot be told"
            )

    def copies(self, batch: Batch) -> list[Copy]:
        """The batch's rows, by table, and what they come to."""
        summaries = batch.summaries()
        copies = self._row_copies(batch)
        return [*copies, Copy(self._copy("event_summaries", SUMMARY), summaries)] if summaries else copies

    def _row_copies(self, batch: Batch) -> list[Copy]:
        return [Copy(self._copy(table, batch.columns[table]), rows) for table, rows in batch.rows.items() if rows]

    def claim(self, batch: Batch, untold: Mapping[str, int]) -> str:
        """The statement that writes the batch into the ledger."""
        return bind(
            self.database.sql("claim_batch"),
            {
                "batch_id": str(batch.id),
                "time_us": batch.time_us,
                "producer_id": str(batch.producer_id),
                "sequence": batch.sequence,
                "signal": batch.signal,
                "stored": len(batch),
                "spooled": batch.was_spooled,
                "dropped_before": untold.get("dropped", 0) + batch.dropped,
                "dead_before": untold.get("dead", 0) + batch.dead,
                "first_us": batch.first_us,
                "last_us": batch.last_us,
                **{table: len(rows) for table, rows in batch.rows.items()},
            },
        )

    def _attempt(self, batch: Batch, untold: Mapping[str, int], deadline: float) -> bool:
        self._make_ready(batch, deadline)
        unsafe = self._store_sources(batch, deadline, is_followed=True)
        refers = any(source.table == CONTENTS for source in batch.sources.values())
        claim = f"{self._begin(deadline, has_texts=refers)};\n{self.claim(batch, untold)}"
        is_stored = self._writer.store(claim, self.copies(batch), deadline, self._notification())
        # by this COMMIT, or that of the attempt which stored the batch, the disk has what came before it in the log
        self._stored_sources.update(unsafe)
        before, self._tables = self._tables, self._writer.tables
        if before not in (None, self._tables):
            self._stored_sources.clear()
            self._store_sources(batch, deadline)
        return is_stored

    def _notification(self) -> str | None:
        """The statement that tells of the batch, unless one was told of a moment ago."""
        if not self.database.settings.notify or monotonic() - self._notified_at < _LEAST_PAUSE_OF_NOTIFICATIONS:
            return None
        self._notified_at = monotonic()
        return self.database.sql("notify")

    def _takes(self, beginning: Batch, deadline: float) -> bool:
        """Whether the server takes these rows; they are not kept."""
        if monotonic() >= deadline:
            raise DatabaseUnavailable(f"no time left to look for the row that {self.database.settings.target} refuses")
        copies = self._row_copies(beginning)
        statements = (self._begin(deadline), *(copy.statement for copy in copies), self.database.sql("end_trial"))
        try:
            self._writer.execute(";\n".join(statements), deadline, copies)
        except DataRefused:
            return False
        return True

    def _look_at_tables(self, error: DatabaseError) -> None:
        # a column of another type refuses every row, and that is no fault of the rows
        if error.sqlstate is None or not isinstance(error, DataRefused | SchemaMismatch):
            return
        names = self.database.names
        database = self.database.until(monotonic() + _LOOK_SECONDS)
        found = obstacles.drift(names, database.fetch(database.sql("columns"), obstacles.parameters(names)))
        if found:
            raise SchemaMismatch(f"in {self.database.settings.target} {found[0]}", sqlstate=error.sqlstate) from error

    def _begin(self, deadline: float, *, has_texts: bool = False) -> str:
        name = "begin_batch_with_texts" if has_texts else "begin_batch"
        return bind(self.database.sql(name), limits(deadline, _LOCK_SECONDS))

    def _copy(self, table: str, columns: Sequence[str]) -> str:
        return f"COPY {self.database.names.table(table)} ({_quoted(tuple(columns))}) FROM STDIN (FORMAT binary)"

    def _store_sources(self, batch: Batch, deadline: float, *, is_followed: bool = False) -> list[bytes]:
        """Store what the rows refer to, if it is not known to be there; gives the keys of what the disk may lack.

        Texts come often, so they wait for no disk if they are followed by a COMMIT of this connection that does.
        """
        # in a transaction of their own: a batch holds no lock on rows that other processes insert too,
        # and sorted, so that two processes never wait for each other
        last_day = max(batch.days, default=0)
        wanted = {_key(source, last_day): source for source in batch.sources.values()}
        today = int(time() // _DAY_SECONDS)
        new = sorted(
            key
            for key, source in wanted.items()
            if key not in self._stored_sources or _may_be_gone(source, last_day, today)
        )
        if not new:
            return new
        sources = [wanted[key] for key in new]
        shared = [source.row for source in sources if source.table == CONTENTS]
        is_unsafe = is_followed and bool(shared)
        begin = self._begin(deadline, has_texts=bool(shared))
        statements = [begin, *([self.database.sql("wait_for_no_disk")] if is_unsafe else [])]
        for source in sources:
            if source.table == CONTENTS:
                continue
            name = "insert_resource" if source.table == "resources" else "insert_scope"
            about = {**source.row, "id": source.id.hex(), "last_day": last_day}
            statements.append(bind(self.database.sql(name), about))
        if shared:
            contents = {"contents": orjson.dumps(shared).decode()}
            statements.append(bind(self.database.sql("insert_contents"), contents))
        self._writer.execute(";\n".join((*statements, "COMMIT")), deadline)
        self._tables = self._tables or self._writer.tables
        if is_unsafe:
            return new
        self._stored_sources.update(new)
        return []


def _key(source: Source, last_day: int) -> bytes:
    """By which it is remembered that a source is stored: a resource, that its rows of this day are told of."""
    return source.id + struct.pack(">q", last_day) if source.table == "resources" else source.id


def _may_be_gone(source: Source, last_day: int, today: int) -> bool:
    """Whether a source that was stored may have gone: a day that is over can be dropped, and made again by another
    program, of which ours hears nothing."""
    if source.table == CONTENTS:
        return bool(source.row["day"] < today)
    return source.table == "resources" and last_day < today


@lru_cache(maxsize=64)
def _quoted(columns: tuple[str, ...]) -> str:
    return ", ".join(map(quote, columns))


def _worth_another_try(error: DatabaseError) -> bool:
    if isinstance(error, DataRefused) or error.sqlstate == LOCK_NOT_AVAILABLE:  # which was waited for already
        return False
    return isinstance(error, DatabaseUnavailable | SchemaMismatch) or error.sqlstate == _NO_PARTITION
