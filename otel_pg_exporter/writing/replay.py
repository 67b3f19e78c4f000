"""The thread that brings the spool's batches into the tables, oldest first."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from time import monotonic

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value

from ..encoding.batches import Batch
from ..errors import BatchFailed, DatabaseError, DatabaseUnavailable, EventStoreError, PartitionMissing
from ..host.pauses import between
from ..spool import Spool, Waiting
from .sink import LOCK_NOT_AVAILABLE, Sink

__all__ = ["Replay", "time_to_send"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_LONGEST_PAUSE_FOR_PEOPLE = 10.0
"""Between attempts while somebody has to repair something: a password, a right, a table."""
_FIRST_ATTEMPT_SECONDS, _LONGEST_ATTEMPT_SECONDS = 10.0, 60.0
"""How long one may take. The next has twice the time: so one that needs a second for each answer gets there."""
_UNDER_WAY_SECONDS = 0.5
_SLOW_LINE_BYTES = 1_000_000
"""Each second."""


class Replay:
    """Drains a spool in the background; the thread ends when there is nothing left.

    Args:
        spool: what is to be stored.
        sink: a connection of its own, so that fresh batches do not wait behind old ones.
        store: stores a batch through the sink before a deadline, or raises EventStoreError.
    """

    def __init__(self, spool: Spool, sink: Sink, store: Callable[[Sink, Batch, float], None]) -> None:
        self._spool, self._sink, self._store = spool, sink, store
        self._state = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_stopped = False
        self._is_hurried = False
        self._attempt_seconds = _FIRST_ATTEMPT_SECONDS
        self._begun = self._failed = self._refused = 0
        """Attempts are counted: the last that has begun, that has failed, and that failed for what takes a person."""
        self._passed_over: set[uuid.UUID] = set()

    @property
    def is_running(self) -> bool:
        """Whether something waits to be stored."""
        return self._thread is not None

    def start(self) -> None:
        """Begin, unless it is running."""
        with self._state:
            if self._thread is not None or self._is_stopped:
                return
            self._thread = threading.Thread(target=self._run, name="otel-pg-replay", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is ending: the next process does it
                self._thread = None

    def wait_until_idle(self, seconds: float, or_failed: bool = False, or_refused: bool = False) -> bool:
        """Wait until nothing is left; False if the time ran out.

        With `or_failed`, an attempt is made now, and False is the answer as soon as one fails; with `or_refused`, as
        soon as one fails for what somebody has to repair.
        """
        with self._state:
            begun, failed, asked_at = self._begun, self._failed, monotonic()

            def is_away() -> bool:
                # one that was under way may have been refused before: the next tells, unless it has gone on for long
                return self._failed > begun or (self._failed > failed and monotonic() - asked_at > _UNDER_WAY_SECONDS)

            self._is_hurried = or_failed
            self._state.notify_all()
            self._state.wait_for(
                lambda: self._thread is None or (or_failed and is_away()) or (or_refused and self._refused > begun),
                seconds,
            )
            return self._thread is None

    def stop(self, seconds: float) -> None:
        """End soon; an attempt that hangs is left to itself after the time."""
        with self._state:
            self._is_stopped = True
            self._state.notify_all()
            self._sink.hurry()
        if self.wait_until_idle(seconds):
            self._sink.close()

    def _run(self) -> None:
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        pause = _FIRST_PAUSE
        try:
            while self._goes_on():
                try:
                    self._store_oldest()
                    pause = _FIRST_PAUSE
                except Exception as error:  # the thread must live as long as there is something to store
                    needs_people = isinstance(error, EventStoreError) and not isinstance(error, DatabaseUnavailable)
                    pause = min(pause * 2, _LONGEST_PAUSE_FOR_PEOPLE if needs_people else _LONGEST_PAUSE)
                    with self._state:
                        self._failed = self._begun
                        if needs_people:
                            self._refused = self._begun
                        self._state.notify_all()
                        self._state.wait_for(lambda: self._is_stopped or self._is_hurried, between(0.5 * pause, pause))
        finally:
            detach(token)
            with self._state:
                if self._thread is threading.current_thread():  # whatever ended it, the next batch starts another
                    self._thread = None

    def _goes_on(self) -> bool:
        with self._state:
            if not self._is_stopped and self._spool.oldest() is not None:
                self._begun += 1
                self._is_hurried = False
                return True
            self._thread = None
            self._state.notify_all()
            return False

    def _store_oldest(self) -> None:
        waiting = self._spool.oldest(self._passed_over)
        if waiting is None:
            self._passed_over.clear()
            waiting = self._spool.oldest()
        batch = self._loaded(waiting) if waiting else None
        if waiting and batch is not None:  # without rows it still tells of a loss
            deadline = monotonic() + time_to_send(batch, self._attempt_seconds)
            try:
                self._store(self._sink, batch, deadline)
            except DatabaseError as error:
                if self._passes_over(waiting, error):
                    return
                if isinstance(error, DatabaseUnavailable) and monotonic() > deadline - _LONGEST_PAUSE:
                    self._attempt_seconds = min(self._attempt_seconds * 2, _LONGEST_ATTEMPT_SECONDS)
                raise
            self._attempt_seconds = _FIRST_ATTEMPT_SECONDS
            self._spool.done(waiting)

    def _loaded(self, waiting: Waiting) -> Batch | None:
        try:
            return self._spool.load(waiting)
        except OSError:  # the disk cannot read it now: the others have their turn
            self._passed_over.add(waiting.id)
            raise

    def _passes_over(self, waiting: Waiting, error: DatabaseError) -> bool:
        """Whether the next batch may fare better.

        An earlier attempt whose connection has died on our side only may still hold the batch's row in the ledger; of
        a day for which there is no partition, because a clock was wrong, are few batches; and one with which something
        goes wrong that nobody thought of does not hold up the others.
        """
        if error.sqlstate != LOCK_NOT_AVAILABLE and not isinstance(error, PartitionMissing | BatchFailed):
            return False
        self._passed_over.add(waiting.id)
        return self._spool.oldest(self._passed_over) is not None


def time_to_send(batch: Batch, seconds: float) -> float:
    """Seconds to allow for a batch, if a small one gets `seconds`: a large one needs longer on a slow line."""
    return seconds + batch.size / _SLOW_LINE_BYTES
