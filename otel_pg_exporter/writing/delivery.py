"""Where batches go: into the tables, or onto disk until the tables can have them.

While PostgreSQL is away nothing waits for it: after one failure batches go straight to the spool, and a
thread of its own brings them back in order.
"""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress
from datetime import datetime, timezone
from math import inf
from time import monotonic, sleep

from ..database import Database
from ..encoding.batches import Batch
from ..errors import (
    AccessDenied,
    DatabaseUnavailable,
    EmbeddedServerError,
    EventStoreError,
    PartitionMissing,
    SchemaMismatch,
    SpoolError,
    StorageFull,
    UnsupportedServer,
    UntrustedServer,
)
from ..host import forks
from ..host.diagnostics import warn
from ..spool import Spool, Waiting
from ..upkeep.runner import Upkeep
from .account import Account
from .refusals import Refusals
from .replay import Replay, time_to_send
from .sink import Sink

__all__ = ["Delivery"]

_CAUSES = {
    DatabaseUnavailable: "unreachable",
    AccessDenied: "access_denied",
    PartitionMissing: "access_denied",
    UntrustedServer: "untrusted_server",
    SchemaMismatch: "schema_mismatch",
    StorageFull: "storage_full",
    UnsupportedServer: "unsupported_server",
    EmbeddedServerError: "embedded_server",
}
_CONNECTIONS = 2
"""So many that fail, one right after the other, mean that PostgreSQL is away."""
_PATIENCE_SECONDS = 2.0
_FIRST_PATIENCE_SECONDS = 3.0  # the tables may have to be made
_BLOCKED_SECONDS = 15.0
"""How long batches then go to the spool at once, unless the replay gets through before; each time that the replay finds
PostgreSQL away, or slow, begins it anew."""
_LEAST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
"""Between looks for room on the disk."""
_HANGING_SECONDS = 1.5
"""At the end of a program an attempt that takes longer is not waited for: what is behind it goes to the spool."""
_CONNECT_SECONDS = 1.5
"""libpq waits for 2 s at least: so an end in 4.5 s takes no more than 5."""
_UPKEEP_SECONDS = 0.2
"""At the end of a program a drop that is under way is not waited for any longer: the server ends it."""


class Delivery:
    """Brings batches of one program to one database; for any number of threads."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._account = Account()
        self.counts, self.failures = self._account.counts, self._account.failures
        self.last_success_at: datetime | None = None
        """When something was last stored, UTC."""
        self.last_error: str | None = None
        """Why the tables could last not be reached; None if they could."""
        limited = database.settings.spool_max_bytes > 0
        self.spool = Spool(database.settings, self._note_loss) if limited else None
        """None if it is switched off."""
        self._start_anew()
        forks.in_child(self._start_anew)

    def _start_anew(self) -> None:
        self._account.begin_anew()
        self.last_error = self.last_success_at = None
        self._lock = threading.Lock()
        self._sink = Sink(self.database)
        self._under_way: dict[uuid.UUID, Batch] = {}
        """Batches that are nowhere but in memory."""
        self._refusals = Refusals(self._account, self.spool)
        self._blocked_until = -inf
        self.ends_at = inf
        """When the program's time for everything is over, by `time.monotonic()`."""
        self._begun_at = -inf
        """When the batch that has the connection got it."""
        self._upkeep = Upkeep(self.database)
        self._replay = Replay(self.spool, Sink(self.database), self._replay_one) if self.spool else None

    def deliver(self, batch: Batch, seconds: float, held: Waiting | None = None) -> str:
        """Store a batch, or spool it; gives its fate: stored, duplicate or spooled.

        Args:
            batch: the batch.
            seconds: how long it may take.
            held: where it lies in the spool already.

        Raises:
            EventStoreError: neither could be done in time: the batch is lost, and counted.
        """
        self._look_for_leftovers()
        self._start_embedded()
        deadline = min(monotonic() + seconds, self.ends_at)
        if held is None:
            self._under_way[batch.id] = batch
        try:
            fate = self._deliver(batch, deadline, held)
            if held and self.spool and fate != "spooled":
                self.spool.done(held)
            if held or self._is_ours(batch):
                self._account.count(fate, len(batch))
        except EventStoreError as error:
            self._refusals.forget(batch)
            if held or self._is_ours(batch):
                self._lose(batch, str(error), _CAUSES.get(type(error), "refused"))
            raise
        except BaseException as error:
            # Ctrl-C, or a time-out of gevent's, in a thread of the program's
            if held is None and not isinstance(error, Exception):
                self._keep_interrupted(batch, f"{type(error).__name__} while they were being stored")
            raise
        finally:
            self._under_way.pop(batch.id, None)
        return fate

    def _is_ours(self, batch: Batch) -> bool:
        """Whether its fate is still to be decided here: the end of the program may have done so meanwhile."""
        return self._under_way.pop(batch.id, None) is not None

    def recall(self, held: Waiting) -> Batch | None:
        """A batch that lies in the spool already; None if it is stored when its turn comes, or is damaged."""
        if self.spool is None:
            return None
        if self._is_blocked:
            self._leave(self.spool, held)
            return None
        batch = self.spool.load(held)
        if batch is not None:
            batch.was_spooled = False
        return batch

    def give_up(self, batch: Batch, reason: str) -> None:
        """Count a batch as lost; the ledger is told."""
        self._lose(batch, reason, "queue_full")

    def drop(self, producer_id: uuid.UUID, signal: str, count: int, reason: str, cause: str) -> None:
        """Count records that were lost before they were a batch; the producer's next batch tells the ledger."""
        self._count_loss(count, reason, cause)
        self._account.owe(producer_id, signal, {"dropped": count})

    def look_after_tables(self) -> None:
        """Begin, if that has not begun, to make partitions ahead and to drop what is old."""
        self._upkeep.begin()

    def replay_now(self, seconds: float, or_refused: bool = False) -> bool:
        """Store what waits in the spool; False if some of it is left, or what stands in the way takes a person."""
        if self._replay is None:
            return True
        self._replay.start()
        return self._replay.wait_until_idle(seconds, or_refused=or_refused)

    def wait_until_empty(self, seconds: float) -> bool:
        """Wait for the spool to be empty; False if it is not in time, or PostgreSQL is away."""
        return self._replay is None or self._replay.wait_until_idle(seconds, or_failed=True)

    @property
    def is_hanging(self) -> bool:
        """The batch that has the connection takes longer than others should wait at the end of a program."""
        return self._lock.locked() and monotonic() - self._begun_at > _HANGING_SECONDS

    def end_within(self, seconds: float) -> None:
        """From now on the time for everything is limited: the program is about to end."""
        self.ends_at = min(self.ends_at, monotonic() + seconds)
        self._sink.hurry()

    def close(self, seconds: float) -> None:
        """Close connections and files. What the spool holds is left to the next process."""
        ends_at = monotonic() + max(0.0, seconds)
        self.end_within(seconds)
        self._upkeep.stop(min(_UPKEEP_SECONDS, max(0.0, seconds)))
        # the last attempt gets what is left of the time, unless it hangs already
        if self._lock.acquire(timeout=0.0 if self._is_blocked else max(0.0, seconds)):
            self._lock.release()
        self._leave_word(max(0.0, ends_at - monotonic()))
        if self._replay is not None:
            self._replay.stop(max(0.0, ends_at - monotonic()))
        if self._lock.acquire(timeout=0):
            self._sink.close()
            self._lock.release()
        self._keep_what_hangs()
        if self.spool is not None:
            self.spool.close()

    def _keep_what_hangs(self) -> None:
        for batch in tuple(self._under_way.values()):
            self._keep_interrupted(batch, "the program ended while they were being stored")

    def _keep_interrupted(self, batch: Batch, reason: str) -> None:
        # if an attempt gets through after all, the ledger will tell whoever replays its batch
        if not self._is_ours(batch):
            return
        self._account.leave_to(batch)
        try:
            if self.spool is not None:
                self.spool.put(batch)
                self._account.count("spooled", len(batch))
                self._left_to_replay()
                return
        except SpoolError as error:
            reason = f"{reason}: {error}"
            self._hand_over(batch.loss(), error)
        self._count_loss(len(batch), reason, "unreachable")
        warn(f"records may be lost: {reason}", topic="end")

    def _count_loss(self, count: int, reason: str, cause: str) -> None:
        self._account.count("dropped", count, cause)
        self.last_error = reason

    def _note_loss(self, batch_id: uuid.UUID, count: int, reason: str) -> None:
        self._account.lose(batch_id, count, "spool_full")
        self.last_error = reason

    def _lose(self, batch: Batch, reason: str, cause: str) -> None:
        self._account.lose(batch.id, len(batch), cause)
        self.last_error = reason
        self._tell(batch.loss())

    def _tell(self, loss: Batch) -> None:
        """Have the ledger told of a loss, in this process or the next."""
        try:
            if self.spool is not None:
                self.spool.put_notice(loss)
                if self._replay is not None:
                    self._replay.start()
                return
        except SpoolError:
            pass
        self._account.settle(loss.id, is_stored=False)  # the next batch tells, and nobody asks for this one
        self._account.owe(loss.producer_id, loss.signal, {"dropped": loss.dropped})

    def _leave_word(self, seconds: float) -> None:
        # what no batch of its producer has told by now, none will
        for word in self._account.last_words():
            try:
                if self._is_blocked:
                    raise DatabaseUnavailable("PostgreSQL is away")
                self._store(word, monotonic() + seconds)
            except EventStoreError as error:
                self._hand_over(word, error)

    def _hand_over(self, word: Batch, error: EventStoreError) -> None:
        try:
            if self.spool is not None:
                self.spool.put_notice(word)
        except SpoolError as full:
            warn(f"the ledger is not told of {word.dropped} lost records: {error}; {full}", topic="untold")

    def _deliver(self, batch: Batch, deadline: float, held: Waiting | None) -> str:
        if self.spool is None:
            return self._store(batch, deadline)
        told = None
        if not self._is_blocked and self._can_try:
            try:
                until = monotonic() + self._patience(batch, deadline)
                return self._store(batch, until, unless_blocked=True, connections=_CONNECTIONS)
            except EventStoreError as error:
                self._block(error)
                told = error
        try:
            fate = self._keep(self.spool, batch) if held is None else self._leave(self.spool, held)
        except SpoolError as full:
            why = f": {told}" if told else ""
            warn(f"{full}; batches wait in memory{why}", topic="spool full")
            return self._wait_in_memory(self.spool, batch, deadline, told)
        if told is not None:
            self._say_where(told)
        return fate

    def _wait_in_memory(self, spool: Spool, batch: Batch, deadline: float, told: EventStoreError | None = None) -> str:
        """Neither the tables nor the disk takes it now: whichever does so first gets it.

        What the last attempt was `told` is raised at the end: that the time ran out after it says less.
        """
        pause = _LEAST_PAUSE
        while told is None or monotonic() < min(deadline, self.ends_at):
            try:
                return self._store(batch, min(deadline, monotonic() + _PATIENCE_SECONDS), connections=1)
            except EventStoreError as error:
                told = error
            with suppress(SpoolError):
                return self._keep(spool, batch)
            if min(deadline, self.ends_at) - monotonic() <= pause:
                break
            sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise told

    def _patience(self, batch: Batch, deadline: float) -> float:
        """How many seconds a batch tries the tables before it goes to the spool."""
        seconds = _PATIENCE_SECONDS if self._sink.is_ready else _FIRST_PATIENCE_SECONDS
        share = 0.7 if self.ends_at == inf else 0.5  # the last batches of a program must leave each other time
        return min(time_to_send(batch, seconds), (deadline - monotonic()) * share)

    @property
    def _can_try(self) -> bool:
        """There is a connection, or the time for one: near the end of a program a silent server would outlast it."""
        return self._sink.is_connected or self.ends_at - monotonic() >= _CONNECT_SECONDS

    @property
    def _is_blocked(self) -> bool:
        return monotonic() < self._blocked_until

    def _keep(self, spool: Spool, batch: Batch) -> str:
        if batch.id in self._under_way:  # else the end of the program has kept it, and closed the spool
            spool.put(batch)
        return self._left_to_replay()

    def _leave(self, spool: Spool, held: Waiting) -> str:
        spool.release(held)
        return self._left_to_replay()

    def _left_to_replay(self) -> str:
        if self._replay is not None:
            self._replay.start()
        return "spooled"

    def _block(self, error: EventStoreError) -> None:
        self.last_error = str(error)
        self._blocked_until = monotonic() + _BLOCKED_SECONDS

    def _say_where(self, error: EventStoreError) -> None:
        folder = self.spool.folder if self.spool else None
        warn(f"events are kept in {folder} until they can be stored: {error}", topic=f"spooling {error.cause}")

    def _store(
        self, batch: Batch, deadline: float, *, unless_blocked: bool = False, connections: int | None = None
    ) -> str:
        patience = deadline - monotonic()
        if unless_blocked and self.ends_at < inf:
            patience = min(patience, self._begun_at + _HANGING_SECONDS - monotonic())
        if not self._lock.acquire(timeout=max(0.0, patience)):
            raise DatabaseUnavailable(f"no time left to store a batch in {self.database.settings.target}")
        self._begun_at = monotonic()
        try:
            if unless_blocked and self._is_blocked:  # the batch that had the lock found out
                raise DatabaseUnavailable(self.last_error or "PostgreSQL is away")
            fate = self._send(self._sink, batch, deadline, connections)
        finally:
            self._lock.release()
        self.last_error = None
        return fate

    def _send(self, sink: Sink, batch: Batch, deadline: float, connections: int | None = None) -> str:
        fate = self._refusals.store(sink, batch, deadline, self.ends_at, connections)
        if fate != "dead":
            self.last_success_at = datetime.now(timezone.utc)
            self.look_after_tables()
        return fate

    def _replay_one(self, sink: Sink, batch: Batch, deadline: float) -> None:
        begun = monotonic()
        try:
            fate = self._send(sink, batch, deadline, connections=1)
            # a batch may have been given up while it was stored; and before, if the answer to its COMMIT got lost
            is_stored = len(batch) > 0 or (fate == "duplicate" and sink.has_rows_of(batch, deadline))
        except EventStoreError as error:
            self.last_error = str(error)
            if isinstance(error, DatabaseUnavailable) and error.sqlstate is None:
                self._block(error)  # no batch of the program has to find out by itself
                self._say_where(error)
            else:
                warn(f"events wait in the spool: {error}", topic=f"spooling {error.cause}")
            raise
        if fate != "dead":  # which is counted already
            self._account.count("replayed" if fate == "stored" else fate, len(batch))
        self._account.settle(batch.id, is_stored)
        self.last_error = None
        is_slow = monotonic() - begun > time_to_send(batch, _PATIENCE_SECONDS)
        self._blocked_until = monotonic() + _BLOCKED_SECONDS if is_slow else -inf

    def _start_embedded(self) -> None:
        # its first start takes seconds that are not the batch's
        if not self._sink.is_ready and self.database.settings.is_embedded:
            with suppress(EventStoreError):  # which comes again when the batch is stored
                self.database.conninfo()

    def _look_for_leftovers(self) -> None:
        if self._replay is not None and not self._replay.is_running and self.spool and self.spool.oldest():
            self._replay.start()
