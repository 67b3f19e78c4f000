"""Reads back what is stored.

from otel_pg_exporter import EventQuery

with EventQuery() as query:
    for event in query.agent_events(status="error", limit=10):
        print(event.time, event.event_name, event.error_message)
    print(query.trace(event.trace_id))
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

from .config import Settings, in_force
from .database import Database, Listener, limits
from .errors import ConfigurationError, DatabaseError, DatabaseUnavailable, EventStoreError
from .health import Health
from .reading import listing, questions, streams
from .reading.cache import Cache
from .reading.events import Event, EventPage
from .reading.recall import Recall
from .reading.runs import Run
from .reading.statistics import Statistics
from .reading.summaries import TracePage, Usage
from .reading.tail import Position, Tail, check, poll
from .reading.trace import Trace
from .schema import migrate, obstacles

__all__ = ["EventQuery"]

T = TypeVar("T")
_HEALTH_SECONDS = 5.0


class EventQuery:
    """Queries over the events of one database.

    Connects when it is first used, by the same settings as `configure()`; creates the tables if they are
    missing, unless `auto_migrate` is off. Each answer is read in one transaction.

    Args:
        settings: all settings; default what `configure()` was called with, else the environment.
        database: share this one instead; it stays the caller's to close.
        overrides: fields of `Settings`.

    Raises:
        ConfigurationError: more than one of these was given, or a field has a value that is not allowed.
        QueryError: from any query, for what it does not understand.
        DatabaseError: from any query, if the server cannot answer it.
    """

    def __init__(self, settings: Settings | None = None, *, database: Database | None = None, **overrides: Any) -> None:
        if database is not None and (settings is not None or overrides):
            raise ConfigurationError("EventQuery takes a database, or settings, or fields of Settings: one of them")
        self._is_owned = database is None
        self._database = database or Database(in_force.given(settings, **overrides))
        self._is_ready = False
        self._cache = Cache.of(self._database.settings)

    def __enter__(self) -> EventQuery:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections."""
        if self._cache is not None:
            self._cache.close()
        if self._is_owned:
            self._database.close()

    def events(self, category: str | None = None, **options: Any) -> EventPage:
        """A page of events, newest first.

        Args:
            category: system, task, agent or deployment; all if left out.
            options: filters, each a text or a list of texts: event_type, name, status, record, service,
                session, user, agent (id or name), agent_id, task (id or name), task_id, trace, error_type,
                event_id; start and end (aware datetimes, end excluded); attributes and data (mappings that the
                event's attributes, and a log record's body, contain; not what stands in the columns input and output,
                and no long texts); text (words of input and output, in any case: all of them; "a phrase", this or that,
                -not this).
                An id may be a whole number or a UUID too. One category also takes its own: target; queue; action, tool,
                model, provider; environment, branch, commit, pull_request, deployment_id, pipeline, pipeline_run_id,
                build_result, test_result, result. Beside them order_by (time or duration; of agents
                also input_tokens, output_tokens or cost), order_direction (asc or desc, in any case;
                events without a value come last in both), limit (1 to 10,000; default 100), offset (of one
                category: how many to leave out first, which costs as much as reading them) and cursor (a page's
                next_cursor:
                later pages neither repeat nor skip an event that was there for the first, whatever is
                written meanwhile).
        """
        return self._page(category, options)

    def system_events(self, **options: Any) -> EventPage:
        """Events of the category system; options as for `events`."""
        return self._page("system", options)

    def task_events(self, **options: Any) -> EventPage:
        """Events of the category task; options as for `events`."""
        return self._page("task", options)

    def agent_events(self, **options: Any) -> EventPage:
        """Events of the category agent; options as for `events`."""
        return self._page("agent", options)

    def deployment_events(self, **options: Any) -> EventPage:
        """Events of the category deployment; options as for `events`."""
        return self._page("deployment", options)

    def trace(self, trace_id: str | UUID) -> Trace:
        """All that is stored of a trace, by 32 hex digits or the UUID that SQL gives; without rows if nothing is."""
        return self._recall(lambda: questions.trace(self._database.names, trace_id), "trace", trace_id)

    def trace_id(self, beginning: str) -> str:
        """The id of the only trace whose id begins with these hex digits, stored or seen while it was open.

        Raises:
            QueryError: there is none, or more than one, or these are no hex digits.
        """
        return self._ask(listing.trace_beginning(self._database.names, beginning))

    def traces(self, category: str | None = None, **options: Any) -> TracePage:
        """A page of traces with their totals, newest first, by their roots.

        A root is a span without a parent, or whose parent is of another process and not stored. A trace with several
        is listed with each.

        Args:
            category: of the root; all if left out.
            options: filters for the root as for `events`, limit (1 to 10,000; default 100) and cursor (a page's
                next_cursor).
        """
        return self._recall(
            lambda: listing.traces(self._database.names, category, options), "traces", category, options
        )

    def usage(self, kind: str, *, by: str = "count", limit: int = 100, **filters: Any) -> list[Usage]:
        """What agents, tools or models did and used, those with the most first.

        Args:
            kind: agents (their runs, and the tokens and cost of all that they called), tools or models.
            by: count, errors, p95, tokens or cost.
            limit: 1 to 10,000.
            filters: those of `agent_events`.
        """
        names = self._database.names
        return self._recall(lambda: listing.usage(names, kind, by, limit, filters), "usage", kind, by, limit, filters)

    def stream(self, category: str | None = None, *, limit: int | None = None, **filters: Any) -> Iterator[Event]:
        """Every event that the filters select, the oldest first, read in one transaction as they are asked for.

        Holds a connection until the iterator ends or is closed; its memory does not grow with their number.

        Args:
            category: system, task, agent or deployment; all if left out.
            limit: end after so many.
            filters: those of `events`.
        """
        names = self._database.names
        with self._snapshot() as connection, closing(streams.rows(connection, names, category, filters)) as found:
            for each, row in streams.first_of(found, limit):
                yield Event.from_row(each, row)

    def otlp_documents(
        self, category: str | None = None, *, records: int = 1000, limit: int | None = None, **filters: Any
    ) -> Iterator[dict[str, Any]]:
        """The same as OTLP/JSON, in documents `{"resourceSpans": […], "resourceLogs": […]}` of so many records."""
        names = self._database.names
        with self._snapshot() as connection, closing(streams.rows(connection, names, category, filters)) as found:
            yield from streams.documents(connection, names, streams.first_of(found, limit), records)

    def statistics(
        self,
        category: str | None = None,
        *,
        bucket: timedelta = timedelta(hours=1),
        exact: bool = False,
        **filters: Any,
    ) -> Statistics:
        """Counts, durations, errors and tokens of the events that the filters of `events` select.

        Whole hours come from what each batch has noted of itself, if no other filters are given than event_type,
        status, service, agent, start and end. Then percentiles are right to 2 %, and all else is exact.

        Args:
            category: one category; all if left out.
            bucket: length of the stretches in `over_time`, at least a second; what is no number of whole hours
                needs the events to be read for it.
            exact: read every event, so that percentiles are exact too.
            filters: as for `events`.
        """
        names = self._database.names
        return self._recall(
            lambda: questions.statistics(names, category, bucket, filters, exact),
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
    ) -> Tail:
        """An iterator over every event from now on, once each, in the order in which transactions committed.

            tail = query.tail(saved)
            for event in tail:
                handle(event)
                save(tail.cursor)

        Args:
            cursor: go on after the event at which a tail's `cursor` was read, also in another process, and
                also of other filters.
            category: system, task, agent or deployment; all if left out.
            from_start: begin with the oldest event that is there, instead of now.
            follow: wait for more; else it ends with what can be seen now.
            poll_seconds: time from one look to the next while nothing comes, above 0, a day at most.
            listen: look at once when an exporter with `EVENT_NOTIFY=true` says that it has stored something.
                Takes a connection of its own, and one that PgBouncer pools by transaction hears nothing:
                then it polls.
            filters: those of `events`.

        Raises:
            QueryError: an argument has a value that is not allowed, or a filter is not known.
        """
        names = self._database.names
        check(category, filters, poll_seconds)
        listener = Listener(self._database) if listen else None

        def wait(stopped: threading.Event) -> None:
            if listener is None:
                stopped.wait(poll_seconds)
            else:
                listener.wait(poll_seconds, stopped)

        return Tail(
            lambda position: self._ask(poll(names, category, filters, position)),
            Position.of(cursor, from_start=from_start),
            follow=follow,
            wait=wait,
        )

    def running(self, *, limit: int = 1000, **filters: Any) -> list[Run]:
        """Spans that have been open for longer than a second and whose process lives, the longest first.

        Args:
            limit: 1 to 10,000.
            filters: those of `events` that a span has before its end: event_type, name, service, session, user,
                agent, task, trace, start, end, attributes; and category and host.
        """
        return self._ask(questions.running(self._database.names, limit, filters))

    def lost(self, since: timedelta | datetime = timedelta(days=1), *, limit: int = 1000, **filters: Any) -> list[Run]:
        """Spans that were open when their process was last heard of, more than three heartbeats ago: the last
        first. One whose end comes in later is not lost.

        Args:
            since: the process gave its last sign of life within this time, or after this moment.
            limit: 1 to 10,000.
            filters: those of `running`.
        """
        return self._ask(questions.lost(self._database.names, since, limit, filters))

    def unfinished(self, trace_id: str | UUID, *, limit: int = 1000) -> list[Run]:
        """Spans of a trace that have not ended: they run, or were lost. `trace` has those that have.

        Args:
            trace_id: 32 hex digits, or a UUID.
            limit: 1 to 10,000.
        """
        return self._ask(questions.unfinished(self._database.names, trace_id, limit))

    def counts(self) -> dict[str, int]:
        """Rows of each of the five main tables."""
        return self._recall(lambda: questions.counts(self._database.names), "counts")

    def health(self) -> Health:
        """Whether events can be stored and read. Raises nothing, and changes nothing."""
        found = self._health()
        return replace(found, cache=dict(self._cache.counts)) if self._cache else found

    def _health(self) -> Health:
        settings = self._database.settings
        where: dict[str, Any] = {"target": settings.target, "schema": settings.schema}
        try:
            # not from the pool, which goes on trying for seconds where a server refuses
            steps = migrate.status(self._database.until(monotonic() + _HEALTH_SECONDS))
            pending = [step.version for step in steps if not step.applied_at]
            known = {**where, "migrations_applied": len(steps) - len(pending), "migrations_pending": len(pending)}
            if pending and not settings.auto_migrate:
                error = f"migration {pending[0]:04d} is not applied. Run: otel-pg migrate up"
                return Health(is_healthy=False, error=error, **known)
            if pending:  # which whoever uses the tables first will apply
                found, version = obstacles.ask_before(self._database, _HEALTH_SECONDS)
                known |= {"server_version": version}
            else:
                found, server = obstacles.ask(self._database, _HEALTH_SECONDS)
                known |= {"bytes": server.bytes, "max_bytes": settings.max_bytes or None}
            if found:
                return Health(is_healthy=False, error=f"{settings.target}: {found[0]}", **known)
            if pending:
                return Health(is_healthy=True, **known)
            begun = perf_counter()
            facts = self._carry(questions.health(self._database.names), _HEALTH_SECONDS)
            latency = (perf_counter() - begun) * 1000
            return Health(is_healthy=True, latency_ms=latency, pool=self._database.pool_counts(), **known, **facts)
        except EventStoreError as error:
            return Health(is_healthy=False, error=str(error), **where)
        except Exception as error:  # the one who asks is a health check: any answer is better than a traceback
            return Health(is_healthy=False, error=f"{type(error).__name__}: {error}", **where)

    def _page(self, category: str | None, options: dict[str, Any]) -> EventPage:
        return self._recall(
            lambda: questions.events(self._database.names, category, options), "events", category, options
        )

    def _recall(self, ask: Callable[[], questions.Question[T]], *asked: Any) -> T:
        """The answer, from the cache if it is there and still true."""
        cache, settings = self._cache, self._database.settings
        if cache is None:
            return self._ask(ask())
        recall = Recall(settings, ask, *asked)
        try:
            answer = self._ask(recall.question(cache.get(recall.key)))
        except DatabaseUnavailable:
            raise
        except DatabaseError:  # perhaps for what the cache has said
            return self._ask(ask())
        cache.counts["hits" if recall.is_hit else "misses"] += 1
        if recall.fresh is not None:
            cache.put(recall.key, recall.fresh, settings.cache_ttl_seconds - recall.age)
        return answer

    @contextmanager
    def _snapshot(self) -> Iterator[Any]:
        """A connection whose statements all see the same data."""
        self._make_ready()
        with self._database.connection("same_moment") as connection:
            yield connection

    def _ask(self, question: questions.Question[T]) -> T:
        self._make_ready()
        return self._carry(question)

    def _make_ready(self) -> None:
        if not self._is_ready:
            migrate.ensure(self._database)
            self._is_ready = True

    def _carry(self, question: questions.Question[T], seconds: float | None = None) -> T:
        with self._database.connection("same_moment") as connection:
            if seconds is not None:
                connection.execute(self._database.sql("limit_time").encode(), limits(monotonic() + seconds))
            try:
                sql, parameters = next(question)
                while True:
                    rows = connection.execute(sql.encode(), parameters).fetchall()
                    sql, parameters = question.send(rows)
            except StopIteration as answer:
                result: T = answer.value
                return result
