"""What became of the records of a program, and what the ledger has still to be told of those that were lost."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..encoding.batches import Batch, new_batch_id, notice
from ..host.interruptions import undisturbed

__all__ = ["Account"]


class Account:
    """Counts, and debts to the ledger; for any number of threads."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """Rows by fate: stored, duplicate (stored before), spooled, replayed (stored from the spool), dropped,
        dead (set aside)."""
        self.failures: Counter[str] = Counter()
        """Rows that were lost or set aside, by cause: unreachable, access_denied, encoding, dead …"""
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a forked child: what was counted is the parent's."""
        self.counts.clear()
        self.failures.clear()
        self._lock = threading.RLock()
        self._owed: dict[uuid.UUID, Counter[str]] = {}
        """Producer → dropped and dead."""
        self._signals: dict[uuid.UUID, str] = {}
        self._telling: dict[uuid.UUID, Counter[str]] = {}
        """Batch → what is just being told beside it."""
        self._lost: dict[uuid.UUID, tuple[int, str]] = {}
        """Batch → how many rows were counted as dropped, and why, until the ledger has been told."""

    def count(self, fate: str, count: int, cause: str | None = None) -> None:
        """Count rows, and why, if they were lost."""
        with undisturbed(self._lock):
            self.counts[fate] += count
            if cause is not None:
                self.failures[cause] += count

    def lose(self, batch_id: uuid.UUID, count: int, cause: str) -> None:
        """Count the rows of a batch as dropped. Its COMMIT may have come through all the same, if the answer got lost:
        `settle` says which."""
        with undisturbed(self._lock):
            self.count("dropped", count, cause)
            self._lost[batch_id] = (count, cause)

    def settle(self, batch_id: uuid.UUID, is_stored: bool) -> None:
        """Whether the tables have the rows of a batch that may have been counted as dropped is known now."""
        with undisturbed(self._lock):
            count, cause = self._lost.pop(batch_id, (0, ""))
            if is_stored and count:
                self.count("dropped", -count, cause)

    def owe(self, producer_id: uuid.UUID, signal: str, untold: Mapping[str, int]) -> None:
        """Remember what is to be told of a producer: dropped, dead."""
        with undisturbed(self._lock):
            self._signals[producer_id] = signal
            self._owed.setdefault(producer_id, Counter()).update(untold)

    @contextmanager
    def told_beside(self, batch: Batch) -> Iterator[Counter[str]]:
        """What the ledger is to be told of the producer of a batch, with it: what is left in it is owed as before."""
        untold = self._taken(batch.producer_id)
        self._telling[batch.id] = untold
        try:
            yield untold
        finally:
            self._telling.pop(batch.id, None)
            if untold:
                self.owe(batch.producer_id, batch.signal, untold)

    def leave_to(self, batch: Batch) -> None:
        """Have a batch itself tell what is just being told beside it: it goes to the disk, and its attempt may hang."""
        telling = self._telling.get(batch.id, Counter())
        batch.dropped, batch.dead = batch.dropped + telling["dropped"], batch.dead + telling["dead"]

    def last_words(self) -> Iterator[Batch]:
        """What no batch of its producer has told, each as a batch without rows."""
        for producer_id in tuple(self._owed):
            counts = self._taken(producer_id)
            if any(counts.values()):
                signal = self._signals[producer_id]
                yield notice(new_batch_id(), producer_id, 0, signal, dropped=counts["dropped"], dead=counts["dead"])

    def _taken(self, producer_id: uuid.UUID) -> Counter[str]:
        # whoever takes it tells it, or gives it back
        with undisturbed(self._lock):
            return self._owed.pop(producer_id, Counter())
