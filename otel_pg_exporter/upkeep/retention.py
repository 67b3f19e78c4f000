"""Retention: what is old enough, or too much, goes by dropping whole partitions.

    from otel_pg_exporter import retention
    retention.prune(dry_run=True)        # as the environment says

No event is deleted row by row. A drop shuts readers and writers of its table out for a moment, so it waits for them
for a fifth of a second and no longer, each partition in a transaction of its own; what was in use is tried again.
One process at a time drops, and any may.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from ..config import Settings
from ..database import Database, Session, limits, opened
from ..errors import AccessDenied, DatabaseError, DatabaseUnavailable
from ..routing import CATEGORIES
from ..schema.inventory import Held, Inventory, day, readable_size, take
from ..schema.obstacles import PRUNE_FIX
from ..sql_files import PARTITIONED, quote

__all__ = ["IN_USE", "LEAST_LEDGER_DAYS", "Due", "Policy", "behind", "ledger_begin", "prune", "takes_turn"]

LEAST_LEDGER_DAYS = 30
"""The ledger is kept for so long at least, days: what comes from a spool is looked up there."""
_LEDGER_MARGIN_DAYS = 7
_LEDGER, _SUMMARIES, _CONTENTS, _RESOURCES = "event_batches", "event_summaries", "contents", "resource_days"
_OF_EVENTS = (_SUMMARIES, _CONTENTS, _RESOURCES)
"""What the rows of events refer to, and what counts them: of a day whose events are still there it is needed."""
_CATEGORIES = {table: category for category, table in CATEGORIES.items()}
_OVERRIDES = {
    "system": "retention_system_days",
    "task": "retention_task_days",
    "agent": "retention_agent_days",
    "deployment": "retention_deployment_days",
}
_LOCK_SECONDS, _DROP_SECONDS = 0.2, 1.0
"""So long, and no longer, writers may wait for a drop that waits for others; and for a drop in all."""
_LOOK_SECONDS = 10.0
_FORGET_SECONDS = 60.0
"""For rows, which hold nobody up."""
_PAUSE_SECONDS = 0.5
_ATTEMPTS = 3
_ROUND_SECONDS = 600.0
_RUNS = ("heartbeats", "open_spans")
_PROCESSES_AT_ONCE, _RESOURCES_AT_ONCE = 1_000, 200
_LATE_DAYS = 1
IN_USE = frozenset({"55P03", "57014", "40P01"})
"""SQLSTATE of what waited for others for too long."""


@dataclass(frozen=True)
class Due:
    """A partition that is to go, and what became of it."""

    held: Held
    reason: str
    """age or size"""
    fate: str = "due"
    """due, dropped, gone (somebody else dropped it), locked (in use each time), needed (by events that could not be
    dropped), denied (the role may not), failed."""
    error: str | None = None
    """Why it failed."""


@dataclass(frozen=True)
class Policy:
    """How long is kept what, and how much."""

    days: Mapping[str, int]
    """Table → days; 0 for ever."""
    max_bytes: int = 0
    """At which the oldest days go; 0 for no limit."""

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """What the settings say. What belongs to events of several categories is kept as long as any of them."""
        events = {}
        for category, name in _OVERRIDES.items():
            own = getattr(settings, name)
            events[CATEGORIES[category]] = settings.retention_days if own is None else own
        longest = 0 if 0 in events.values() else max(events.values())
        ledger = longest and max(longest + _LEDGER_MARGIN_DAYS, LEAST_LEDGER_DAYS)
        days = {**dict.fromkeys(PARTITIONED, longest), **events, _LEDGER: ledger}
        return cls(days, settings.max_bytes if settings.max_bytes_policy == "drop-oldest" else 0)

    @property
    def is_set(self) -> bool:
        """Something is to go some day."""
        return bool(self.max_bytes) or any(self.days.values())

    def due(self, inventory: Inventory, late_days: int = 0) -> list[Due]:
        """What is to go, the oldest first. A partition goes when its last row is old enough, and the last that may
        refer to it; of a table that is too large, all tables' oldest day, but never the day that is being written."""
        today = inventory.today - late_days
        ends = _ends(inventory.partitions)
        partitions = sorted(ends, key=lambda held: _turn(held, ends[held]))
        old = [Due(held, "age") for held in partitions if 0 < self.days[held.table] <= today - ends[held]]
        gone = {due.held for due in old}
        left = inventory.bytes - sum(due.held.bytes or 0 for due in old)
        kept = {held: ends[held] for held in partitions if held not in gone}
        return [*old, *self._surplus(inventory.today, kept, left)]

    def _surplus(self, today: int, partitions: Mapping[Held, int], left: int) -> Iterator[Due]:
        if not self.max_bytes:
            return
        dropping = 0  # the day up to which the tables go in step
        for held, end in partitions.items():
            least = LEAST_LEDGER_DAYS if held.table == _LEDGER else 0
            if end > today - least:
                continue
            if left <= self.max_bytes and end != dropping:
                return
            dropping = end
            left -= held.bytes or 0
            yield Due(held, "size")


def prune(
    where: Settings | Database | None = None,
    *,
    dry_run: bool = False,
    attempts: int = _ATTEMPTS,
    pause: Callable[[float], object] = time.sleep,
    **overrides: Any,
) -> list[Due]:
    """Drop what is to go by the settings; gives it with what became of it.

    Args:
        where: default the environment.
        dry_run: drop nothing; tell what would go, with its size.
        attempts: how often a partition is tried that is in use; then its table is left to the next time.
        pause: waits so many seconds between them.
        overrides: fields of `Settings`, in place of `where`.

    Raises:
        DatabaseError: the server cannot be reached, or refused a statement.
    """
    with opened(where, **overrides) as database:
        policy = Policy.of(database.settings)
        if not policy.is_set:
            return []
        with database.session(monotonic() + _ROUND_SECONDS) as session:
            with session.transaction(_LOOK_SECONDS, _LOOK_SECONDS) as connection:
                due = policy.due(take(database, connection, with_sizes=policy.max_bytes > 0))
                if due and not policy.max_bytes:  # sizes take a while, and matter only now
                    due = policy.due(take(database, connection, with_sizes=True))
            if dry_run or not due:
                return due
            return _Pruning(database, session, attempts, pause).drop(due)


def behind(database: Database, seconds: float) -> str | None:
    """What should be gone for a day or more, and what to do; None if nothing should.

    Raises:
        DatabaseError: the server does not say.
    """
    policy = Policy.of(database.settings)
    if not policy.is_set:
        return None
    with database.until(monotonic() + seconds).connection() as connection:
        found = take(database, connection, with_sizes=policy.max_bytes > 0)
    late = policy.due(found, _LATE_DAYS)
    if late:
        oldest = day(min(due.held.lower for due in late))
        return f"retention is behind: {len(late)} partitions should be gone, the oldest since {oldest}. {PRUNE_FIX}"
    if 0 < policy.max_bytes < found.bytes:
        return (
            f"the tables take {readable_size(found.bytes)}, more than EVENT_MAX_BYTES={policy.max_bytes}, and no day is"
            " left to drop. Raise it, or store less"
        )
    return None


def ledger_begin(database: Database, batch_day: int) -> int | None:
    """The first day of which the ledger has every batch; None if it does not matter for a batch of this day."""
    with database.connection() as connection:
        (server,) = connection.execute(database.sql("server_day").encode()).fetchall()
        if batch_day > server["day"] - LEAST_LEDGER_DAYS:
            return None
        (row,) = connection.execute(database.sql("ledger_begin").encode()).fetchall()
        begin: int | None = row["day"]
        return begin


def takes_turn(database: Database, connection: Any) -> bool:
    """Whether it is this process that takes rows out by the partition or the hour, to the end of the transaction: one
    at a time does."""
    key = {"key": f"{database.names.lock_key} retention"}
    (lock,) = connection.execute(database.sql("try_retention").encode(), key).fetchall()
    return bool(lock["is_ours"])


def _turn(held: Held, end: int) -> tuple[int, bool, bool, str, int]:
    """Oldest first; after the events what they refer to, and what counts them; the ledger last."""
    return end, held.table == _LEDGER, held.table in _OF_EVENTS, held.table, held.lower


def _ends(partitions: Iterable[Held]) -> dict[Held, int]:
    """Partition → the day after the last that its rows are of, or events that refer to them."""
    found = {held: held.upper for held in partitions}
    wide = [held for held in found if held.table in _CATEGORIES and held.upper - held.lower > 1]
    for held in found:
        if held.table in _OF_EVENTS:
            found[held] = max([held.upper, *(events.upper for events in wide if _refers(events, held))])
    return found


def _refers(events: Held, held: Held) -> bool:
    """Whether rows of that partition of events may refer to rows of this one, or be counted there."""
    is_behind = held.table == _RESOURCES or events.upper > held.lower  # a batch tells of the latest day of its rows
    return is_behind and events.lower < held.upper


class _NeededError(Exception):
    """Events that refer to a partition are there."""


class _Pruning:
    """One round of drops."""

    def __init__(self, database: Database, session: Session, attempts: int, pause: Callable[[float], object]) -> None:
        self._database, self._session = database, session
        self._attempts, self._pause = attempts, pause
        self._in_use: set[str] = set()

    def drop(self, due: list[Due]) -> list[Due]:
        """Drop partitions, in this order."""
        done = [self._try(one) for one in due]
        if any(one.fate == "dropped" and one.held.table in _RUNS for one in done):
            self._forget_processes()
        if any(one.fate == "dropped" and one.held.table == _RESOURCES for one in done):
            self._forget_resources()
        return done

    def _try(self, one: Due) -> Due:
        return self._insist(one) if one.held.is_ours else replace(one, fate="denied")

    def _insist(self, one: Due) -> Due:
        if one.held.table in self._in_use:  # each attempt holds writers up
            return replace(one, fate="locked")
        for attempt in range(self._attempts):
            if attempt:
                self._pause(_PAUSE_SECONDS)
            try:
                return replace(one, fate=self._drop(one))
            except _NeededError:
                return replace(one, fate="needed")
            except AccessDenied:
                return replace(one, fate="denied")
            except DatabaseUnavailable as error:
                if error.sqlstate not in IN_USE:
                    raise
            except DatabaseError as error:  # a view of somebody's depends on it: the others can go
                return replace(one, fate="failed", error=str(error))
        self._in_use.add(one.held.table)
        return replace(one, fate="locked")

    def _drop(self, one: Due) -> str:
        database, held = self._database, one.held
        names = database.names
        with self._session.transaction(_LOCK_SECONDS, _FORGET_SECONDS) as connection:
            self._require_turn(connection)
            self._require_unneeded(connection, held)
            about = {**vars(held), "reason": one.reason, "schema": names.schema}
            if not connection.execute(database.sql("note_pruned").encode(), about).fetchall():
                return "gone"  # and what is summed up there may be of another, that was made since
            self._forget_summaries(connection, held)
            hurried = limits(monotonic() + _DROP_SECONDS, _LOCK_SECONDS)
            connection.execute(database.sql("limit_time").encode(), hurried)
            # late: what follows holds everybody up who uses the table
            partition = f"{quote(names.schema)}.{quote(held.partition)}"
            connection.execute(database.sql("drop_partition").format(partition=partition).encode())
            # of rows that were committed since: the drop has waited for whoever wrote them
            self._forget_summaries(connection, held)
            # a writer of rows as old has made their partition before it stores here
            self._require_unneeded(connection, held)
        return "dropped"

    def _require_unneeded(self, connection: Any, held: Held) -> None:
        if held.table in _OF_EVENTS:
            there = take(self._database, connection, with_sizes=False, tables=_CATEGORIES).partitions
            if any(_refers(events, held) for events in there):
                raise _NeededError

    def _forget_summaries(self, connection: Any, held: Held) -> None:
        if category := _CATEGORIES.get(held.table):
            counted = {"category": category, "lower": held.lower, "upper": held.upper}
            connection.execute(self._database.sql("forget_summaries").encode(), counted)

    def _require_turn(self, connection: Any) -> None:
        if not takes_turn(self._database, connection):
            raise DatabaseUnavailable("another process is dropping partitions", sqlstate="55P03")

    def _forget_processes(self) -> None:
        try:
            while True:
                with self._session.transaction(_LOCK_SECONDS, _LOOK_SECONDS) as connection:
                    gone = connection.execute(self._database.sql("forget_processes").encode()).fetchall()
                if len(gone) < _PROCESSES_AT_ONCE:
                    return
        except (AccessDenied, DatabaseUnavailable):
            return  # the next round does it

    def _idle_resources(self) -> list[Any]:
        with self._session.transaction(_LOCK_SECONDS, _LOOK_SECONDS) as connection:
            return [row["resource_id"] for row in connection.execute(self._database.sql("idle_resources").encode())]

    def _forget_resources(self) -> None:
        try:
            while ids := self._idle_resources():
                for place in range(0, len(ids), _RESOURCES_AT_ONCE):
                    with self._session.transaction(_LOCK_SECONDS, _DROP_SECONDS) as connection:
                        connection.execute(self._database.sql("shut_out_resources").encode())
                        some = {"ids": ids[place : place + _RESOURCES_AT_ONCE]}
                        connection.execute(self._database.sql("forget_resources").encode(), some)
        except (AccessDenied, DatabaseUnavailable):
            return  # the next round does it
