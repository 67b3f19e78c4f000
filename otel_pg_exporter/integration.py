"""The event integration: a program says what happens by name, and each name knows its table.

    from otel_pg_exporter import EventIntegration

    with EventIntegration() as events:
        events.on("task:error", lambda payload: page_somebody(payload["task_id"]))
        events.emit("task:started", {"task_id": "42", "task_name": "invoice"})
        events.emit("task:completed", {"task_id": "42", "output": {"sent": True}})  # carries its duration

`emit` checks, calls the handlers, and leaves the rest to a thread: it waits for no database.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any

from opentelemetry.context import Context, attach, detach, get_current

from . import exits, forks
from .config import Settings
from .courier import Courier
from .diagnostics import say
from .errors import ClosedError, ConfigurationError, DatabaseError, EmbeddedServerError, InvalidEventError
from .events import EventPage
from .health import Health
from .occasions import IDS, Occasion, occasion
from .shapes import EventShape
from .starts import OwnStarts, StoredStarts
from .statistics import Statistics
from .store import EventStore

__all__ = ["EventIntegration"]

Handler = Callable[..., object]

_CAPACITY = 65_536
_CLOSE_SECONDS = 5.0
_SHARE = 0.6
"""Of the time for the program's end; the rest is for the queues of the telemetry."""
_LOOK_SECONDS = 2.0
_PAUSE_SECONDS = 0.5
# the start that another process has just emitted waits in its queue for a moment
_SETTLED_SECONDS = 0.5

_FULL = ("queue_full", "too many wait to be stored")
_ENDED = ("shut_down", "the program ends")


@dataclass(frozen=True)
class _Sent:
    event: EventShape
    occasion: Occasion
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
        self.initialize()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def initialize(self) -> None:
        """Connect and create the tables now; without it the first event does that, in the background.

        Raises:
            DatabaseError: the database cannot be used; the message says why. The next call tries again.
            EmbeddedServerError: the embedded server cannot be started.
        """
        self._check_open()
        self._store.initialize()
        self._note_open()

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
        is_now = payload.get("timestamp") is None
        sent = _Sent(self._timed(known, event, is_now), known, get_current(), monotonic())
        if not self._courier.put(sent):
            self._lose(*_ENDED if self._courier.is_ending else _FULL)

    def log_custom_event(self, type: str, data: Mapping[str, Any]) -> None:
        """Emit a `system:event` of a type of your own; `data` is a mapping of JSON values.

        Raises:
            InvalidEventError: the type is no text, or the data no such mapping.
        """
        self.emit("system:event", {"event_type": type, "data": data})

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
        if not callable(handler):
            raise InvalidEventError(f"handler={handler!r:.60} is not allowed; allowed is a function")
        mark = partial(handler)  # tells one from another, where the same function is there twice
        with self._lock:
            self._handlers[name] = (*self._handlers.get(name, ()), mark)

        def remove() -> None:
            with self._lock:
                self._handlers[name] = tuple(one for one in self._handlers.get(name, ()) if one is not mark)

        return remove

    def set_enabled(self, is_enabled: bool) -> None:
        """Switch `emit` on or off. Off, it checks nothing, calls no handler and stores nothing."""
        self._check_open()
        if not isinstance(is_enabled, bool):
            raise ConfigurationError(f"is_enabled={is_enabled!r:.60} is not allowed; allowed is True or False")
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
        """Store everything that was emitted by now; False if some of it was lost or the time ran out."""
        self._check_open()
        ends_at, lost = monotonic() + timeout_millis / 1000, self._lost.total()
        if not self._courier.drain(timeout_millis / 1000) or self._lost.total() != lost:
            return False
        return not self._store.is_open or self._store.force_flush(max(1, int((ends_at - monotonic()) * 1000)))

    def close(self) -> None:
        """Store what waits, for 5 s at most, and close the store if it is the integration's own."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            exits.unregister(self._end_at_exit)
            self._end(_CLOSE_SECONDS)

    def _end_at_exit(self, seconds: float) -> None:
        # not closed: a thread that still emits is not to learn of the end by an exception
        self._end(seconds * _SHARE)

    def _settle(self, seconds: float) -> None:
        self.force_flush(int(seconds * 1000))

    def _end(self, seconds: float) -> None:
        if left := self._courier.end(seconds):
            self._lose("shut_down", "no time was left at the end", left)

    def _prepare(self) -> None:
        self._lock = threading.Lock()
        self._own = OwnStarts()
        self._stored = StoredStarts(self._began, _LOOK_SECONDS)
        self._courier = Courier(self._deliver, self._finish, self.settings.queue_size or _CAPACITY)
        self._failed_at, self._reason = float("-inf"), ""
        self._was_open = False

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
                    handler(*heard, payload)
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

    def _deliver(self, sent: _Sent) -> None:
        token = attach(sent.context)
        try:
            self._log(self._looked_up(sent), sent.at + self.settings.export_timeout_millis / 1000)
        except Exception as error:  # the thread goes on with the next
            self._lose("internal", f"{type(error).__name__}: {error}")
        finally:
            detach(token)

    def _looked_up(self, sent: _Sent) -> EventShape:
        event, known = sent.event, sent.occasion
        if not known.carries or event.duration_seconds is not None:
            return event
        assert event.timestamp is not None
        its_id = getattr(event, IDS[known.category])
        seconds = self._stored.seconds(known.category, its_id, event.timestamp)
        settled_in = sent.at + _SETTLED_SECONDS - monotonic()
        if seconds is None and settled_in > 0 and self._courier.pause(settled_in):
            seconds = self._stored.seconds(known.category, its_id, event.timestamp)
        return event if seconds is None else replace(event, duration_seconds=seconds)

    def _began(self, category: str, its_id: str, first: datetime, last: datetime) -> datetime | None:
        which: dict[str, Any] = {IDS[category]: its_id}
        if category == "deployment":  # has no column, nor a filter, of its own
            which = {"attributes": {"deployment.id": its_id}}
        end = last + timedelta(microseconds=1)
        found = self._store.query_events(category, status="started", start_date=first, end_date=end, limit=1, **which)
        return found[0].time if found else None

    def _log(self, event: EventShape, give_up_at: float) -> None:
        """Hand the event to the store; if that cannot be opened, try again until the time is up."""
        while True:
            if monotonic() - self._failed_at > _PAUSE_SECONDS or self._store.is_open:
                try:
                    self._store.log(event)
                    self._note_open()
                    return
                except (DatabaseError, EmbeddedServerError) as error:
                    self._failed_at, self._reason = monotonic(), str(error)
                except ClosedError as error:
                    self._lose("shut_down", str(error))
                    return
            if monotonic() >= give_up_at or not self._courier.pause(_PAUSE_SECONDS):
                self._lose("unreachable", self._reason)
                return

    def _note_open(self) -> None:
        if not self._was_open:
            self._was_open = True
            # again, to come before the telemetry that the store brought
            exits.register(self._end_at_exit, self._settle)

    def _lose(self, cause: str, reason: str, count: int = 1) -> None:
        with self._lock:
            self._lost[cause] += count
        say(logging.WARNING, f"events of the integration were lost: {reason}")

    def _finish(self) -> None:
        if self._is_owned:
            self._store.close()
        elif self._store.is_open:
            self._store.force_flush(int(_CLOSE_SECONDS * 1000))
