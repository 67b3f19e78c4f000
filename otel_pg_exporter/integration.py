"""The event integration: a program says what happens by name, and each name knows its table.

    from otel_pg_exporter import EventIntegration

    with EventIntegration() as events:
        events.on("task:error", lambda payload: page_somebody(payload["task_id"]))
        events.emit("task:started", {"task_id": "42", "task_name": "invoice"})
        events.emit("task:completed", {"task_id": "42", "output": {"sent": True}})  # carries its duration

`emit` checks, calls the handlers, and hands the event to the event store's queue: it waits for no database. Only
an event whose start this process does not know waits a moment in a thread, where that is looked up.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from inspect import iscoroutinefunction
from time import monotonic
from types import TracebackType
from typing import Any

from opentelemetry.context import Context, attach, detach, get_current

from .config import Settings
from .errors import ClosedError, ConfigurationError, InvalidEventError, shown
from .events.event_types import IDS, Occasion, occasion
from .events.shapes import EventShape
from .events.starts import OwnStarts, StoredStarts
from .health import Health
from .host import exits, forks
from .host.courier import Courier
from .host.diagnostics import say
from .host.interruptions import undisturbed
from .reading.events import EventPage
from .reading.statistics import Statistics
from .store import EventStore

__all__ = ["EventIntegration"]

Handler = Callable[..., object]

_CAPACITY = 65_536
_CLOSE_SECONDS = 5.0
_LOOK_SECONDS = 2.0
# the start that another process has just emitted waits in its queue for a moment
_SETTLED_SECONDS = 0.5
_EXIT_LOOK_SECONDS = 0.75
"""For starts that are still to be looked up at the end."""


@dataclass(frozen=True)
class _Sent:
    """An event whose start is to be looked up."""

    event: EventShape
    category: str
    context: Context
    at: float
    """When it was emitted, by `time.monotonic()`."""


class EventIntegration:
    """Emits, hears, queries and counts events. Safe to share between threads; a forked child begins anew.

    Args:
        settings: all settings; default what `configure()` was called with, else the environment.
        store: store events in this one instead; it stays the caller's to close.
        overrides: fields of `Settings`.

    Raises:
        ConfigurationError: more than one of these was given, or a setting has a value that is not allowed.
        ClosedError: from any method but `close` and `get_health_status`, after `close()`.
    """

    def __init__(self, settings: Settings | None = None, *, store: EventStore | None = None, **overrides: Any) -> None:
        if sum(1 for given in (settings, store, overrides or None) if given is not None) > 1:
            raise ConfigurationError("EventIntegration takes settings, a store, or fields of Settings: one of them")
        if store is not None and not isinstance(store, EventStore):  # one for asyncio would never be awaited
            raise ConfigurationError(f"store=<{type(store).__name__}> is not allowed; allowed is an EventStore")
        self._is_owned = store is None
        self._store = store if store is not None else EventStore(settings, **overrides)
        self.settings = self._store.settings
        """The settings in force."""
        self._captured = {
            "task": self.settings.auto_capture_tasks,
            "agent": self.settings.auto_capture_agents,
            "deployment": self.settings.auto_capture_deployments,
            "system": True,
        }
        self._is_enabled = self.settings.integration_enabled
        self._is_closed = False
        self._handlers: dict[str, tuple[Handler, ...]] = {}
        self._lost: Counter[str] = Counter()
        self._prepare()
        forks.in_child(self._begin_anew)
        exits.register(self._end_at_exit, self._settle)

    def __enter__(self) -> EventIntegration:
        self._check_open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def initialize(self) -> None:
        """Connect and create the tables now; without it that is done in the background, once there is an event.

        Raises:
            DatabaseError: the database cannot be used; the message says why. The next call tries again.
            EmbeddedServerError: the embedded server cannot be started.
        """
        self._check_open()
        self._open_store()
        self._store.initialize()

    def emit(self, name: str, payload: Mapping[str, Any]) -> None:
        """Say that something happened. Returns at once; the event is stored in the background.

        Args:
            name: one of the twelve names.
            payload: fields of `TaskEvent`, `AgentEvent`, `DeploymentEvent` or `SystemEvent`, without those that
                follow from the name; of a task, agent or deployment its id is needed.

        Raises:
            InvalidEventError: an unknown name or a wrong payload; no handler is called and nothing stored.
        """
        self._check_open()
        if not self._is_enabled:
            return
        known = occasion(name)
        event = known.event(payload)
        self._call_handlers(name, payload)
        if not self._captured[known.category]:
            return
        self._open_store()
        event = self._timed(known, event, is_now=payload.get("timestamp") is None)
        is_complete = not known.carries or event.duration_seconds is not None
        # if too many wait for their start it is better stored without a duration than not at all
        if is_complete or not self._courier.put(_Sent(event, known.category, get_current(), monotonic())):
            self._log(event)

    def log_custom_event(self, type: str, data: Mapping[str, Any]) -> None:
        """Emit a `system:event` of a type of your own; `data` is a mapping of JSON values.

        Raises:
            InvalidEventError: the type is no text, or the data no such mapping.
        """
        self._check_open()
        payload: dict[str, Any] = {"event_type": type, "data": data}
        if self._is_enabled and any(value is None for value in payload.values()):  # for emit() they are left out
            raise InvalidEventError(
                f"a custom event of type={shown(type)} and data={shown(data)} is not allowed;"
                " allowed are a text and a mapping of text to JSON values"
            )
        self.emit("system:event", payload)

    def on(self, name: str, handler: Handler) -> Callable[[], None]:
        """Call a handler with the payload of each event of that name, before it is stored, in its emitter's thread.

        Args:
            name: one of the twelve names; `"*"` for all, whose handler is called with the name and the payload.
            handler: what it raises is logged, once a minute, and hurts nobody.

        Returns:
            A function that takes the handler away again.
        """
        self._check_open()
        if name != "*":
            occasion(name)
        if not callable(handler) or iscoroutinefunction(handler) or iscoroutinefunction(type(handler).__call__):
            raise InvalidEventError(f"handler={shown(handler)} is not allowed; allowed is a function that is not async")
        mark = partial(handler)  # tells one from another, where the same function is there twice
        with undisturbed(self._lock):
            self._handlers[name] = (*self._handlers.get(name, ()), mark)

        def remove() -> None:
            with undisturbed(self._lock):
                self._handlers[name] = tuple(one for one in self._handlers.get(name, ()) if one is not mark)

        return remove

    def set_enabled(self, is_enabled: bool) -> None:
        """Switch `emit` on or off. Off, it checks nothing, calls no handler and stores nothing."""
        self._check_open()
        if not isinstance(is_enabled, bool):
            raise ConfigurationError(f"is_enabled={shown(is_enabled)} is not allowed; allowed is True or False")
        self._is_enabled = is_enabled

    @property
    def is_enabled(self) -> bool:
        """Whether `emit` does anything."""
        return self._is_enabled

    def query_events(self, category: str | None = None, **options: Any) -> EventPage:
        """A page of events, newest first; options as for `EventStore.query_system_events`.

        Raises:
            QueryError: an option is unknown or has a value that is not allowed.
        """
        self._check_open()
        return self._store.query_events(category, **options)

    def get_event_statistics(self, category: str | None = None, **options: Any) -> Statistics:
        """As `EventStore.get_event_statistics`."""
        self._check_open()
        return self._store.get_event_statistics(category, **options)

    def get_health_status(self) -> Health:
        """As `EventStore.get_health_status`, with what waits and what was lost in here."""
        health = self._store.get_health_status()
        if self._is_closed:
            health = replace(health, is_healthy=False, error="the event integration is closed")
        return replace(
            health,
            queue_depth=(health.queue_depth or 0) + self._courier.depth,
            failed=dict(Counter(health.failed) + self._lost),
        )

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Store everything that was emitted by now; False if some of it was lost or the time ran out.

        What PostgreSQL cannot take meanwhile is safe in the spool, but is not stored yet: that is False too.
        """
        self._check_open()
        return self._flush(timeout_millis / 1000, timeout_millis / 1000)

    def _flush(self, look_seconds: float, seconds: float) -> bool:
        ends_at, lost = monotonic() + seconds, self._lost.total()
        is_drained = self._courier.drain(look_seconds)
        is_stored = not self._store.is_open or self._store.force_flush(_millis_until(ends_at))
        return is_drained and is_stored and self._lost.total() == lost

    def close(self) -> None:
        """Store or spool what waits, for 5 s at most, and close the store if it is the integration's own."""
        with undisturbed(self._lock):
            was_closed, self._is_closed = self._is_closed, True
        if was_closed:
            return
        exits.unregister(self._end_at_exit)
        ends_at = monotonic() + _CLOSE_SECONDS
        self._end_looks(_EXIT_LOOK_SECONDS)
        if self._is_owned:
            self._store.close(_millis_until(ends_at))
        elif self._store.is_open:
            self._store.force_flush(_millis_until(ends_at))

    def _end_at_exit(self, _: float) -> None:
        # not closed: a thread that still emits is not to learn of the end by an exception
        self._end_looks(0)

    def _settle(self, seconds: float) -> None:
        self._flush(min(_EXIT_LOOK_SECONDS, seconds), seconds)

    def _end_looks(self, seconds: float) -> None:
        """No more looks after the time; the events that wait for one go without a duration."""
        for sent in self._courier.end(seconds):
            self._log_sent(sent)

    def _prepare(self) -> None:
        self._lock = threading.RLock()
        self._own = OwnStarts()
        self._stored = StoredStarts(self._began, _LOOK_SECONDS)
        self._courier = Courier(self._looked_up, self._log_sent, self.settings.queue_size or _CAPACITY)

    def _begin_anew(self) -> None:
        """In a forked child: threads, and locks that other threads held, stayed behind; what waited is the parent's."""
        own = self._own
        self._prepare()
        self._own.adopt(own)
        if self._is_owned:
            self._store = EventStore(self.settings)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the event integration is closed: make another")

    def _call_handlers(self, name: str, payload: Mapping[str, Any]) -> None:
        for handlers, heard in ((self._handlers.get(name, ()), ()), (self._handlers.get("*", ()), (name,))):
            for handler in handlers:
                try:
                    handler(*heard, _copied(payload))
                except Exception as error:  # a listener's trouble is not the speaker's
                    say(
                        logging.WARNING,
                        f"a handler of {name} failed: {type(error).__name__}: {error}",
                        topic=f"handler {name} {type(error).__name__}",
                    )

    def _timed(self, known: Occasion, event: EventShape, is_now: bool) -> EventShape:
        """The event, with its duration where this process knows it; a start is remembered."""
        if not (known.opens or known.carries):
            return event
        its_id = getattr(event, IDS[known.category])
        assert event.timestamp is not None
        if known.opens:
            self._own.note(known.category, its_id, event.timestamp, is_now)
            return event
        seconds = self._own.seconds(known.category, its_id, event.timestamp, is_now, closes=known.closes)
        if seconds is None or event.duration_seconds is not None:
            return event
        return replace(event, duration_seconds=seconds)

    def _looked_up(self, sent: _Sent) -> _Sent:
        """With the duration, if the database knows the start."""
        its_id, at = getattr(sent.event, IDS[sent.category]), sent.event.timestamp
        assert at is not None
        seconds = self._stored.seconds(sent.category, its_id, at)
        settled_in = sent.at + _SETTLED_SECONDS - monotonic()
        if seconds is None and not self._stored.is_away and settled_in > 0 and self._courier.pause(settled_in):
            seconds = self._stored.seconds(sent.category, its_id, at)
        return sent if seconds is None else replace(sent, event=replace(sent.event, duration_seconds=seconds))

    def _began(self, category: str, its_id: str, first: datetime, last: datetime) -> datetime | None:
        which: dict[str, Any] = {IDS[category]: its_id}
        if category == "deployment":  # has no column, nor a filter, of its own
            which = {"attributes": {"deployment.id": its_id}}
        end = last + timedelta(microseconds=1)
        found = self._store.query_events(category, status="started", start_date=first, end_date=end, limit=1, **which)
        return found[0].time if found else None

    def _open_store(self) -> None:
        if not self._store.is_open:
            with suppress(Exception):  # whoever uses it next says so
                self._store.__enter__()
            # again: what was registered last comes first, and the telemetry came with the store
            exits.register(self._end_at_exit, self._settle)

    def _log_sent(self, sent: _Sent) -> None:
        token = attach(sent.context)
        try:
            self._log(sent.event)
        finally:
            detach(token)

    def _log(self, event: EventShape) -> None:
        try:
            self._store.log(event)
        except Exception as error:  # the program must not learn of it here
            cause = "shut_down" if isinstance(error, ClosedError) else "internal"
            with undisturbed(self._lock):
                self._lost[cause] += 1
            say(logging.WARNING, f"events of the integration were lost: {error}")


def _copied(value: Any) -> Any:
    """A payload for one listener: what it changes, the speaker and other listeners must not see."""
    if isinstance(value, Mapping):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(part) for part in value]
    return value


def _millis_until(moment: float) -> int:
    return max(1, int((moment - monotonic()) * 1000))
