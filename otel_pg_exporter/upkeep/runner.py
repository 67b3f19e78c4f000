"""Looks after the tables while a program stores: tomorrow's partitions are made ahead, summaries of hours that are
over are merged, and what retention is to drop is dropped. Every program does it, none has to, and nothing of it is in
the way of a record."""

from __future__ import annotations

import threading
from datetime import date, datetime, timezone
from time import monotonic

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

from ..database import Database
from ..errors import AccessDenied, DatabaseUnavailable, EventStoreError
from ..host.diagnostics import say, warn
from ..host.pauses import between
from ..schema import partitions
from ..schema.inventory import readable_size
from ..schema.obstacles import PRUNE_FIX
from . import merging, retention
from .retention import Due, Policy

__all__ = ["Upkeep"]

_INFO = 20
_SECONDS = 10.0
_SOON_SECONDS = 1.0
_FIRST_SECONDS, _IDLE_SECONDS = 30.0, 3600.0
"""Without retention there is no hurry: tomorrow is far."""
_MERGE_SECONDS = 3600.0
"""To find hours that have many summaries takes reading those of two hours that have not been merged yet."""
_USED_LOOKS = 3
"""So often a table may be in use at a look, before that is worth a line."""


class Upkeep:
    """A daemon thread that begins with the first stored batch; of this process, since the last fork."""

    def __init__(self, database: Database) -> None:
        settings = database.settings
        self._database = database
        self._prunes = settings.retention_automatic and Policy.of(settings).is_set
        self._first = _SOON_SECONDS if self._prunes else _FIRST_SECONDS
        self._interval = float(settings.retention_interval_seconds) if self._prunes else _IDLE_SECONDS
        self._stopped = threading.Event()
        self._beginning = threading.Lock()
        self._thread: threading.Thread | None = None
        self._made_on: date | None = None
        self._is_denied, self._may_merge, self._was_away = False, True, False
        self._merges_at = 0.0
        self._looks_in_use = 0

    def begin(self) -> None:
        """Start, unless it has."""
        if self._thread is not None:
            return
        with self._beginning:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="otel-pg-upkeep", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is ending, or no thread can be had: the next batch tries again
                    self._thread = None

    def stop(self, seconds: float) -> None:
        """End; a statement that hangs is left to itself after the time."""
        self._stopped.set()
        with self._beginning:
            thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join(seconds)

    def _run(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        pause = between(0, self._first)  # programs that start together need not look together
        while not self._stopped.wait(pause):
            pause = between(0.8 * self._interval, 1.2 * self._interval)
            try:
                self._look()
                self._was_away = False
            except DatabaseUnavailable as error:
                if self._was_away:  # once is an outage, of which storing speaks
                    warn(f"partitions were not looked after: {error}", topic="upkeep")
                self._was_away = True
            except EventStoreError as error:
                warn(f"partitions were not looked after: {error}", topic="upkeep")
            except Exception as error:  # the thread must live as long as the program
                warn(f"partitions were not looked after: {type(error).__name__}: {error}", topic="upkeep")

    def _look(self) -> None:
        # at the end of a program the embedded server is left, and must not be started again by a look
        if self._database.is_started:
            self._make_ahead()
        if self._database.is_started and not self._stopped.is_set():
            self._merge()
        if self._prunes and self._database.is_started and not self._stopped.is_set():
            self._prune()

    def _make_ahead(self) -> None:
        today = datetime.now(timezone.utc).date()
        if today == self._made_on:
            return
        try:
            partitions.ahead(self._database, 1)
        except AccessDenied:
            pass  # who must do it, storing says when it is time
        self._made_on = today

    def _merge(self) -> None:
        if not self._may_merge or monotonic() < self._merges_at:
            return
        self._merges_at = monotonic() + between(0.8 * _MERGE_SECONDS, 1.2 * _MERGE_SECONDS)
        try:
            merging.merge(self._database)
        except AccessDenied:
            self._may_merge = False  # statistics are right without it, and the owner of the tables may

    def _prune(self) -> None:
        found = retention.prune(self._database, attempts=2, pause=self._stopped.wait)
        if not found and self._database.settings.max_bytes and (late := retention.behind(self._database, _SECONDS)):
            warn(f"retention: {late}", topic="max_bytes")
        for reason in ("age", "size"):
            self._tell([due for due in found if due.fate == "dropped" and due.reason == reason], reason)
        if not self._is_denied and any(due.fate == "denied" for due in found):
            self._is_denied = True
            warn(f"retention: the role may not drop partitions of {self._database.settings.target}. {PRUNE_FIX}")
        for due in found:
            if due.error:
                warn(f"retention: {due.held.partition} was not dropped: {due.error}", topic="not dropped")
        in_use = sorted({due.held.table for due in found if due.fate == "locked"})
        self._looks_in_use = self._looks_in_use + 1 if in_use else 0
        if self._looks_in_use >= _USED_LOOKS:
            warn(f"retention: {', '.join(in_use)} was in use at each of {self._looks_in_use} looks", topic="in use")

    def _tell(self, dropped: list[Due], reason: str) -> None:
        if not dropped:
            return
        size = readable_size(sum(due.held.bytes or 0 for due in dropped))
        named = ", ".join(due.held.partition for due in dropped[:3]) + (" …" if len(dropped) > 3 else "")
        if reason == "size":
            limit = self._database.settings.max_bytes
            warn(f"EVENT_MAX_BYTES={limit} was exceeded: dropped {size}, the oldest days: {named}", topic="max_bytes")
        else:
            say(_INFO, f"retention has dropped {len(dropped)} partitions: {named}", topic="retention")
