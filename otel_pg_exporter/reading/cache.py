"""A Redis that keeps values for a while, and that may be away, slow or full: nobody waits for it for long.

It is asked in a thread, so that a deadline holds whatever the server does. After a failure it is left alone for
some seconds, and the log says so once a minute.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

from ..config import Settings, hide_password
from ..host import forks
from ..host.diagnostics import warn
from ..host.optional import optional

__all__ = ["Cache"]

T = TypeVar("T")

_DEADLINE_SECONDS = 0.2
_REST_SECONDS = 5.0
_MAX_BYTES = 1 << 20


class Cache:
    """Keeps bytes by key. Connects when it is first used, raises nothing, and is safe to share between threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._start_anew()
        forks.in_child(self._start_anew)

    def _start_anew(self) -> None:
        self.counts: Counter[str] = Counter()
        """Answers by where they came from: hits and misses; and calls that failed."""
        self._lock = threading.Lock()
        self._redis: Any = None
        self._rests_until = 0.0

    @classmethod
    def of(cls, settings: Settings) -> Cache | None:
        """The one that the settings name; None if they name none."""
        return cls(settings.cache_url) if settings.cache_url else None

    def get(self, key: str) -> bytes | None:
        """The value; None if it is not there, too large, or cannot be had within 0.2 s."""
        found = self._within_deadline(lambda redis: redis.getrange(key, 0, _MAX_BYTES))
        return found if isinstance(found, bytes) and 0 < len(found) <= _MAX_BYTES else None

    def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value for that long, if it is not too large."""
        millis = int(seconds * 1000)
        if millis > 0 and len(value) <= _MAX_BYTES:
            self._within_deadline(lambda redis: redis.set(key, value, px=millis))

    def close(self) -> None:
        """Give back connections. The next use opens them again."""
        with self._lock:
            redis, self._redis = self._redis, None
        if redis is not None:
            redis.close()

    def _within_deadline(self, call: Callable[[Any], T]) -> T | None:
        if monotonic() < self._rests_until:
            return None
        found: list[T] = []
        failed: list[Exception] = []

        def run(redis: Any) -> None:
            attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # what we keep is no event of the program's
            try:
                found.append(call(redis))
            except Exception as error:
                failed.append(error)

        try:
            thread = threading.Thread(target=run, args=[self._opened()], name="otel-pg-cache", daemon=True)
            thread.start()
            thread.join(_DEADLINE_SECONDS)
        except Exception as error:  # redis is not installed, or does not like the URL; or there are no more threads
            failed.append(error)
        if found:
            return found[0]
        reason = f"{type(failed[0]).__name__}: {failed[0]}" if failed else f"no answer within {_DEADLINE_SECONDS} s"
        self._give_up(reason)
        return None

    def _give_up(self, reason: str) -> None:
        self.counts["failed"] += 1
        self._rests_until = monotonic() + _REST_SECONDS
        where = hide_password(self._url)
        warn(f"queries are answered without the cache {where}: {reason}", topic=f"cache {where}")

    def _opened(self) -> Any:
        with self._lock:
            if self._redis is None:
                redis, retry, backoff = (optional(name, "cache") for name in ("redis", "redis.retry", "redis.backoff"))
                try:
                    self._redis = redis.Redis.from_url(
                        self._url,
                        socket_timeout=_DEADLINE_SECONDS,
                        socket_connect_timeout=_DEADLINE_SECONDS,
                        retry=retry.Retry(backoff.NoBackoff(), 0),
                    )
                except ValueError:  # which may quote a part of the password
                    raise ValueError(
                        "no URL of a Redis; allowed is redis://[user][:password]@host[:port][/database], with %23, %2F,"
                        " %3F and %40 for #, /, ? and @ in the password"
                    ) from None
            return self._redis
