"""Every event that is stored from now on, once each, in the order in which transactions committed.

Neither times nor sequences follow that order: a long transaction commits rows that are older than others
seen long before. So a tail compares snapshots, which say of each transaction whether it can be seen
(PostgreSQL's `txid_snapshot`): the batches of one poll are those that the previous snapshot did not see
and this one does. Within a poll they come by transaction, and the rows of a batch in their own order.
"""

from __future__ import annotations

import base64
import re
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson

from ..errors import QueryError, shown
from ..routing import CATEGORIES
from ..sql_files import EVENT_TABLES, Names, query
from .events import Event
from .filters import Page, build_page
from .questions import Question, Rows, whole

__all__ = ["AsyncTail", "Position", "Tail", "Tailed", "check", "poll"]

_SNAPSHOT = re.compile(r"(\d{1,19}):(\d{1,19}):(\d{1,19}(,\d{1,19})*)?")
_NOTHING_SEEN = "1:1:"
_MOST_BATCHES = 500
_MOST_ROWS = 5_000
_LONGEST_PAUSE = 86_400
"""Seconds. Longer ones a thread may not wait."""
_LAST = 1 << 31
_FIRST_ID = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two events."""

    seen: str | None
    """The snapshot up to which all was given; None before the first poll."""
    until: str | None = None
    """The snapshot up to which batches are being given; None between polls."""
    transaction_id: int = 0
    batch_id: UUID = _FIRST_ID
    index: int = -1
    """The last event that was given."""

    @classmethod
    def of(cls, cursor: str | None, *, from_start: bool = False) -> Position:
        """The place that a cursor names.

        Raises:
            QueryError: the cursor is not one that a tail gave.
        """
        if cursor is None:
            return cls(_NOTHING_SEEN if from_start else None)
        if from_start:
            raise QueryError("from_start and cursor were given; one of them says where to begin")
        try:
            seen, until, transaction_id, batch_id, index = orjson.loads(
                base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            )
            for snapshot in (seen, until):
                if snapshot is not None and not _is_snapshot(snapshot):
                    raise ValueError(snapshot)
            if type(transaction_id) is not int or type(index) is not int or not -1 <= index <= _LAST:
                raise ValueError(index)
            return cls(seen, until, transaction_id, UUID(batch_id), index)
        except (ValueError, TypeError, AttributeError):
            raise QueryError(f"cursor={shown(cursor)} is not one that a tail gave") from None

    @property
    def cursor(self) -> str:
        """The same as text, to be kept."""
        parts = [self.seen, self.until, self.transaction_id, str(self.batch_id), self.index]
        return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def _is_snapshot(text: str) -> bool:
    """PostgreSQL reads it: first and end of the transactions in question, and in order those of them that were open."""
    if not _SNAPSHOT.fullmatch(text):
        return False
    first, end, among = text.split(":")
    open_then = [int(one) for one in among.split(",") if one]
    steps = [int(first), *open_then, int(end) - bool(open_then)]
    return steps[0] > 0 and steps == sorted(steps)


@dataclass(frozen=True, slots=True)
class Tailed:
    """What one poll found."""

    events: list[tuple[Event, Position]]
    """Each with the place after it."""
    position: Position
    """The place after all of them."""
    is_whole: bool
    """They are all that can be seen now."""


def check(category: str | None, filters: Mapping[str, Any], poll_seconds: float) -> None:
    """Refuse what no poll could be asked, before the first.

    Raises:
        QueryError: a category or filter is not known or has a value that is not allowed, or the pause is none.
    """
    build_page(category, filters)
    is_number = isinstance(poll_seconds, int | float) and not isinstance(poll_seconds, bool)
    if not is_number or not 0 < poll_seconds <= _LONGEST_PAUSE:
        allowed = f"a number of seconds above 0, {_LONGEST_PAUSE:,} at most"
        raise QueryError(f"poll_seconds={shown(poll_seconds)} is not allowed; allowed is {allowed}")


def poll(names: Names, category: str | None, filters: Mapping[str, Any], position: Position) -> Question[Tailed]:
    """Some of the events after a position; a few thousand at once."""
    page = build_page(category, filters)
    is_new = position.until is None
    if is_new:
        (row,) = yield query("tail_now", names), {}
        if position.seen in (None, row["snapshot"]):
            return Tailed([], Position(row["snapshot"]), True)
        position = Position(position.seen, row["snapshot"])
    batches: Rows = yield (
        query("tail_batches", names),
        {
            "seen": position.seen,
            "until": position.until,
            "transaction_id": position.transaction_id,
            "batch_id": position.batch_id,
            "limit": _MOST_BATCHES,
        },
    )
    is_last = len(batches) < _MOST_BATCHES
    given = (position.transaction_id, position.batch_id) if position.index == _LAST else None
    batches = [batch for batch in batches if (batch["transaction_id"], batch["batch_id"]) != given]
    chosen = _a_few(batches)
    found = yield from _rows(names, page, chosen)
    found.sort(key=lambda one: one[1])
    begin = (position.transaction_id, position.batch_id, position.index)
    events = [
        (event, replace(position, transaction_id=at[0], batch_id=at[1], index=at[2]))
        for event, at in found
        if at > begin
    ]
    if is_last and len(chosen) == len(batches):
        return Tailed(events, Position(position.until), is_new)
    last = chosen[-1]
    after = replace(position, transaction_id=last["transaction_id"], batch_id=last["batch_id"], index=_LAST)
    return Tailed(events, after, False)


def _a_few(batches: Rows) -> Rows:
    """The first batches, up to a number of rows; one at least."""
    rows = 0
    for number, batch in enumerate(batches):
        rows += sum(batch[table] for table in EVENT_TABLES)
        if rows > _MOST_ROWS and number:
            return batches[:number]
    return batches


def _rows(names: Names, page: Page, batches: Rows) -> Question[list[tuple[Event, tuple[int, UUID, int]]]]:
    transactions = {batch["batch_id"]: batch["transaction_id"] for batch in batches}
    found = []
    for category in page.categories:
        table = CATEGORIES[category]
        with_rows = [batch for batch in batches if batch[table]]
        if not with_rows:
            continue
        sql = query("tail_rows", names).replace("{table}", names.table(table))
        rows = yield (
            sql.replace("{where}", page.where(names, category)),
            {
                **page.parameters,
                "batch_ids": [batch["batch_id"] for batch in with_rows],
                "first_time": min(batch["first_time"] for batch in with_rows),
                "last_time": max(batch["last_time"] for batch in with_rows),
            },
        )
        yield from whole(names, rows)
        for row in rows:
            at = (transactions[row["batch_id"]], row["batch_id"], row["batch_index"])
            found.append((Event.from_row(category, row), at))
    return found


class _Places:
    """What was fetched and not yet given, and where the tail stands."""

    def __init__(self, position: Position) -> None:
        self.fetched_to = self._given_to = position
        self.is_over = False
        self._ready: deque[tuple[Event, Position]] = deque()

    def take(self, found: Tailed) -> None:
        self._ready.extend(found.events)
        self.fetched_to = found.position
        if not self._ready:
            self._given_to = found.position

    def next(self) -> Event | None:
        if not self._ready:
            return None
        event, self._given_to = self._ready.popleft()
        if not self._ready:
            self._given_to = self.fetched_to
        return event

    @property
    def cursor(self) -> str:
        return self._given_to.cursor


class Tail(Iterator[Event]):
    """An iterator over events as they are committed.

    An error leaves it where it was: the next call tries again. Not for two threads at once, but for `stop`.

    Args:
        fetch: answers a poll.
        position: where to begin.
        follow: wait for more; else it ends with what can be seen now.
        wait: waits for a while, or until something may have been committed; given an event that ends it.
    """

    def __init__(
        self,
        fetch: Callable[[Position], Tailed],
        position: Position,
        *,
        follow: bool,
        wait: Callable[[threading.Event], None],
    ) -> None:
        self._fetch, self._follow, self._wait = fetch, follow, wait
        self._places = _Places(position)
        self._stopped = threading.Event()
        if position.seen is None:
            self._places.take(fetch(position))  # "from now on" begins now, not when the first event is asked for

    def __next__(self) -> Event:
        while not self._stopped.is_set():
            if (event := self._places.next()) is not None:
                return event
            if self._places.is_over:
                break
            found = self._fetch(self._places.fetched_to)
            self._places.take(found)
            self._places.is_over = found.is_whole and not self._follow
            if found.is_whole and not found.events and self._follow:
                self._wait(self._stopped)
        raise StopIteration

    @property
    def cursor(self) -> str:
        """The place after the last event that was given: for `cursor=`, also in another process."""
        return self._places.cursor

    def stop(self) -> None:
        """End the iteration, from any thread."""
        self._stopped.set()


class AsyncTail(AsyncIterator[Event]):
    """`Tail` for asyncio; to end it, leave the loop."""

    def __init__(
        self,
        fetch: Callable[[Position], Awaitable[Tailed]],
        position: Position,
        *,
        follow: bool,
        wait: Callable[[], Awaitable[None]],
    ) -> None:
        self._fetch, self._follow, self._wait = fetch, follow, wait
        self._places = _Places(position)

    async def __anext__(self) -> Event:
        if self._places.fetched_to.seen is None:
            self._places.take(await self._fetch(self._places.fetched_to))
        while (event := self._places.next()) is None:
            if self._places.is_over:
                raise StopAsyncIteration
            found = await self._fetch(self._places.fetched_to)
            self._places.take(found)
            self._places.is_over = found.is_whole and not self._follow
            if found.is_whole and not found.events and self._follow:
                await self._wait()
        return event

    @property
    def cursor(self) -> str:
        """As `Tail.cursor`."""
        return self._places.cursor
