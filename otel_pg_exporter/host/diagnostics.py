"""What this library says in the host's log: few lines, and none that OpenTelemetry exports again."""

from __future__ import annotations

import logging
from contextlib import suppress
from time import monotonic

from . import forks

__all__ = ["logger", "say", "warn"]

_INTERVAL_SECONDS = 60.0
_lock = forks.Guard()
_said: dict[str, tuple[float, int]] = {}


class _Relay(logging.Handler):
    """Hands records to the root logger's handlers, but not to those that export them.

    An exported line about a failed export would fail to be exported, and so on.
    """

    def emit(self, record: logging.LogRecord) -> None:
        handlers = [h for h in logging.getLogger().handlers if not type(h).__module__.startswith("opentelemetry")]
        if not handlers and logging.lastResort is not None:
            handlers = [logging.lastResort]
        for handler in handlers:
            if record.levelno >= handler.level:
                try:
                    handler.handle(record)
                except Exception:  # the others are to hear of it, and what it is about must go on
                    self.handleError(record)


logger = logging.getLogger("otel_pg_exporter")
"""Every line of the storage side; give it a level or handlers as any other logger."""
logger.propagate = False
logger.addHandler(_Relay())


def say(level: int, message: str, topic: str | None = None) -> None:
    """Log a message; one of the same topic again only after a minute, with the number of those held back.

    The topic of a message is the message itself if none is given. Raises nothing, whatever the log's handlers do.
    """
    now, topic = monotonic(), topic or message
    with _lock:
        last, held_back = _said.get(topic, (-_INTERVAL_SECONDS, 0))
        if now - last < _INTERVAL_SECONDS:
            _said[topic] = (last, held_back + 1)
            return
        if len(_said) > 256:
            _said.clear()
        _said[topic] = (now, 0)
    if held_back:
        message = f"{message} (and {held_back} times more in the last minute)"
    with suppress(Exception):  # of a handler or filter that somebody has added to our logger
        logger.log(level, "%s", message, extra={"topic": topic})


def warn(message: str, topic: str | None = None) -> None:
    """`say` a warning."""
    say(logging.WARNING, message, topic)
