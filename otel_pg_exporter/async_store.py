"""The event store for asyncio: what `EventStore` does, awaited."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any

from .async_query import AsyncEventQuery
from .config import Settings
from .events.shapes import AgentEvent, DeploymentEvent, EventShape, SystemEvent, TaskEvent
from .health import Health
from .reading.events import EventPage
from .reading.statistics import Statistics
from .store import CLOSE_MILLIS, EventStore, check_alone, log_record, query_options

__all__ = ["AsyncEventStore"]


class AsyncEventStore:
    """`EventStore` for one event loop at a time; arguments, answers and errors are the same.

    What blocks runs in a thread; `connection=` takes a psycopg.AsyncConnection.
    """

    def __init__(self, settings: Settings | None = None, **overrides: Any) -> None:
        self._store = EventStore(settings, **overrides)
        self.settings = self._store.settings
        """The settings in force."""
        self._query = AsyncEventQuery(self.settings)

    async def __aenter__(self) -> AsyncEventStore:
        await self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def initialize(self) -> None:
        """As `EventStore.initialize`."""
        await asyncio.to_thread(self._store.initialize)

    async def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """As `EventStore.force_flush`."""
        return await asyncio.to_thread(self._store.force_flush, timeout_millis)

    async def close(self, timeout_millis: int = CLOSE_MILLIS) -> None:
        """As `EventStore.close`."""
        await asyncio.to_thread(self._store.close, timeout_millis)
        await self._query.close()

    async def log(self, event: EventShape, /, *, connection: Any = None, wait: bool = False) -> str:
        """As `EventStore.log`."""
        await self._opened()
        if connection is None:
            return await asyncio.to_thread(self._store.log, event, wait=True) if wait else self._store.log(event)
        check_alone(wait)
        event_id, record = log_record(event)
        direct = self._store.direct
        await direct.write_async(connection, *await asyncio.to_thread(direct.prepare, record))
        return event_id

    async def log_system_event(
        self, event: SystemEvent | None = None, /, *, connection: Any = None, wait: bool = False, **fields: Any
    ) -> str:
        """As `EventStore.log_system_event`."""
        return await self.log(SystemEvent.of(event, fields), connection=connection, wait=wait)

    async def log_task_event(
        self, event: TaskEvent | None = None, /, *, connection: Any = None, wait: bool = False, **fields: Any
    ) -> str:
        """As `EventStore.log_task_event`."""
        return await self.log(TaskEvent.of(event, fields), connection=connection, wait=wait)

    async def log_agent_event(
        self, event: AgentEvent | None = None, /, *, connection: Any = None, wait: bool = False, **fields: Any
    ) -> str:
        """As `EventStore.log_agent_event`."""
        return await self.log(AgentEvent.of(event, fields), connection=connection, wait=wait)

    async def log_deployment_event(
        self, event: DeploymentEvent | None = None, /, *, connection: Any = None, wait: bool = False, **fields: Any
    ) -> str:
        """As `EventStore.log_deployment_event`."""
        return await self.log(DeploymentEvent.of(event, fields), connection=connection, wait=wait)

    async def query_system_events(self, **options: Any) -> EventPage:
        """As `EventStore.query_system_events`."""
        await self._opened()
        return await self._query.system_events(**query_options(options))

    async def query_events(self, category: str | None = None, **options: Any) -> EventPage:
        """As `EventStore.query_events`."""
        await self._opened()
        return await self._query.events(category, **query_options(options))

    async def query_task_events(self, **options: Any) -> EventPage:
        """As `EventStore.query_task_events`."""
        await self._opened()
        return await self._query.task_events(**query_options(options))

    async def query_agent_events(self, **options: Any) -> EventPage:
        """As `EventStore.query_agent_events`."""
        await self._opened()
        return await self._query.agent_events(**query_options(options))

    async def query_deployment_events(self, **options: Any) -> EventPage:
        """As `EventStore.query_deployment_events`."""
        await self._opened()
        return await self._query.deployment_events(**query_options(options))

    async def get_event_statistics(
        self,
        category: str | None = None,
        *,
        bucket: timedelta = timedelta(days=1),
        exact: bool = False,
        **filters: Any,
    ) -> Statistics:
        """As `EventStore.get_event_statistics`."""
        await self._opened()
        return await self._query.statistics(category, bucket=bucket, exact=exact, **query_options(filters))

    async def get_health_status(self) -> Health:
        """As `EventStore.get_health_status`; pool and cache are those of the queries awaited here."""
        found = await asyncio.to_thread(self._store.get_health_status)
        return replace(found, pool=self._query.pool_counts(), cache=self._query.cache_counts())

    @property
    def is_open(self) -> bool:
        """As `EventStore.is_open`."""
        return self._store.is_open

    @property
    def last_health(self) -> Health | None:
        """As `EventStore.last_health`."""
        return self._store.last_health

    async def _opened(self) -> None:
        if not self._store.is_open:
            await asyncio.to_thread(self._store.__enter__)
