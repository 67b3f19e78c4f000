"""Reads back what is stored, from asyncio: the questions of `EventQuery`, awaited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

from .config import Settings, in_force
from .database import AsyncDatabase, Listener
from .errors import DatabaseError, DatabaseUnavailable
from .health import Health
from .query import EventQuery
from .reading import listing, questions
from .reading.cache import Cache
from .reading.events import EventPage
from .reading.recall import Recall
from .reading.runs import Run
from .reading.statistics import Statistics
from .reading.summaries import TracePage, Usage
from .reading.tail import AsyncTail, Position, check, poll
from .reading.trace import Trace
from .schema import migrate
from .sql_files import Names

__all__ = ["AsyncEventQuery"]

T = TypeVar("T")


class AsyncEventQuery:
    """`EventQuery` for one event loop at a time; arguments, answers and errors are the same."""

    def __init__(self, settings: Settings | None = None, **overrides: Any) -> None:
        self._settings = in_force.given(settings, **overrides)
        self._names = Names(self._settings.schema, self._settings.table_prefix)
        self._database = AsyncDatabase(self._settings)
        self._is_ready = False
        self._cache = Cache.of(self._settings)

    async def __aenter__(self) -> AsyncEventQuery:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back the connections."""
        if self._cache is not None:
            await asyncio.to_thread(self._cache.close)
        await self._database.close()

    async def events(self, category: str | None = None, **options: Any) -> EventPage:
        """As `EventQuery.events`."""
        return await self._page(category, options)

    async def system_events(self, **options: Any) -> EventPage:
        """As `EventQuery.system_events`."""
        return await self._page("system", options)

    async def task_events(self, **options: Any) -> EventPage:
        """As `EventQuery.task_events`."""
        return await self._page("task", options)

    async def agent_events(self, **options: Any) -> EventPage:
        """As `EventQuery.agent_events`."""
        return await self._page("agent", options)

    async def deployment_events(self, **options: Any) -> EventPage:
        """As `EventQuery.deployment_events`."""
        return await self._page("deployment", options)

    async def trace(self, trace_id: str | UUID) -> Trace:
        """As `EventQuery.trace`."""
        return await self._recall(lambda: questions.trace(self._names, trace_id), "trace", trace_id)

    async def trace_id(self, beginning: str) -> str:
        """As `EventQuery.trace_id`."""
        return await self._ask(listing.trace_beginning(self._names, beginning))

    async def traces(self, category: str | None = None, **options: Any) -> TracePage:
        """As `EventQuery.traces`."""
        return await self._recall(lambda: listing.traces(self._names, category, options), "traces", category, options)

    async def usage(self, kind: str, *, by: str = "count", limit: int = 100, **filters: Any) -> list[Usage]:
        """As `EventQuery.usage`."""
        return await self._recall(
            lambda: listing.usage(self._names, kind, by, limit, filters), "usage", kind, by, limit, filters
        )

    async def statistics(
        self,
        category: str | None = None,
        *,
        bucket: timedelta = timedelta(hours=1),
        exact: bool = False,
        **filters: Any,
    ) -> Statistics:
        """As `EventQuery.statistics`."""
        return await self._recall(
            lambda: questions.statistics(self._names, category, bucket, filters, exact),
            "statistics",
            category,
            bucket,
            exact,
            filters,
        )

    def tail(
        self,
        cursor: str | None = None,
        *,
        category: str | None = None,
        from_start: bool = False,
        follow: bool = True,
        poll_seconds: float = 1.0,
        listen: bool = False,
        **filters: Any,
    ) -> AsyncTail:
        """As `EventQuery.tail`, for `async for`; begins with the first event that is asked for."""
        check(category, filters, poll_seconds)
        listener = Listener(self._database.blocking) if listen else None

        async def wait() -> None:
            if listener is None:
                await asyncio.sleep(poll_seconds)
            else:
                await asyncio.to_thread(listener.wait, poll_seconds, threading.Event())

        return AsyncTail(
            lambda position: self._ask(poll(self._names, category, filters, position)),
            Position.of(cursor, from_start=from_start),
            follow=follow,
            wait=wait,
        )

    async def running(self, *, limit: int = 1000, **filters: Any) -> list[Run]:
        """As `EventQuery.running`."""
        return await self._ask(questions.running(self._names, limit, filters))

    async def lost(
        self, since: timedelta | datetime = timedelta(days=1), *, limit: int = 1000, **filters: Any
    ) -> list[Run]:
        """As `EventQuery.lost`."""
        return await self._ask(questions.lost(self._names, since, limit, filters))

    async def unfinished(self, trace_id: str | UUID, *, limit: int = 1000) -> list[Run]:
        """As `EventQuery.unfinished`."""
        return await self._ask(questions.unfinished(self._names, trace_id, limit))

    async def counts(self) -> dict[str, int]:
        """As `EventQuery.counts`."""
        return await self._recall(lambda: questions.counts(self._names), "counts")

    async def health(self) -> Health:
        """As `EventQuery.health`."""
        found = await asyncio.to_thread(EventQuery(database=self._database.blocking).health)
        return replace(found, cache=self.cache_counts())

    def cache_counts(self) -> dict[str, int]:
        """Queries by cache: hits, misses, failed. Empty without `cache_url`."""
        return dict(self._cache.counts) if self._cache else {}

    def pool_counts(self) -> dict[str, int]:
        """Connections for queries: open, idle and at most, and callers that wait for one. Empty before first use."""
        return self._database.pool_counts()

    async def _page(self, category: str | None, options: dict[str, Any]) -> EventPage:
        return await self._recall(lambda: questions.events(self._names, category, options), "events", category, options)

    async def _recall(self, ask: Callable[[], questions.Question[T]], *asked: Any) -> T:
        cache = self._cache
        if cache is None:
            return await self._ask(ask())
        recall = Recall(self._settings, ask, *asked)
        try:
            answer = await self._ask(recall.question(await asyncio.to_thread(cache.get, recall.key)))
        except DatabaseUnavailable:
            raise
        except DatabaseError:  # perhaps for what the cache has said
            return await self._ask(ask())
        cache.counts["hits" if recall.is_hit else "misses"] += 1
        if recall.fresh is not None:
            seconds = self._settings.cache_ttl_seconds - recall.age
            await asyncio.to_thread(cache.put, recall.key, recall.fresh, seconds)
        return answer

    async def _ask(self, question: questions.Question[T]) -> T:
        if not self._is_ready:
            await asyncio.to_thread(migrate.ensure, self._database.blocking)
            self._is_ready = True
        async with self._database.connection("same_moment") as connection:
            try:
                sql, parameters = next(question)
                while True:
                    rows = await (await connection.execute(sql.encode(), parameters)).fetchall()
                    sql, parameters = question.send(rows)
            except StopIteration as answer:
                result: T = answer.value
                return result
