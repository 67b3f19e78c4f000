"""What a program under test tells its judge: ids of records whose end() or emit() has returned.

Appended with one write each, so that nothing is lost with the process, whatever kills it.
"""

from __future__ import annotations

import functools
import os
import random
import time

from opentelemetry import _logs, trace
from opentelemetry._logs import LogRecord
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

_told = os.open(os.environ["TOLD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_ids = random.SystemRandom()  # the ids of a child must not be those of its parent


# once: the SDK looks for them under a lock, which a signal handler may interrupt
_tracer = functools.cache(lambda: trace.get_tracer("faults"))
_logger = functools.cache(lambda: _logs.get_logger("faults"))


def tell(kind: str, text: str) -> None:
    """One line for the judge."""
    os.write(_told, f"{kind} {text}\n".encode())


def span(name: str = "work") -> None:
    """A span that has ended."""
    made = _tracer().start_span(name)
    made.end()
    context = made.get_span_context()
    tell("span", f"{context.trace_id:032x}{context.span_id:016x}")


def log(name: str = "said") -> None:
    """A log record that was emitted, in a span of which nothing else is known."""
    context = SpanContext(_ids.getrandbits(127) + 1, _ids.getrandbits(63) + 1, False, TraceFlags(1))
    record = LogRecord(
        timestamp=time.time_ns(), context=set_span_in_context(NonRecordingSpan(context)), event_name=name, body="x"
    )
    _logger().emit(record)
    tell("log", f"{context.trace_id:032x}{context.span_id:016x}")


def both() -> None:
    """One of each."""
    span()
    log()


def broken(what: str) -> bool:
    """Whether this run is to show that the test would notice if something was not there."""
    return os.environ.get("BROKEN") == what


def break_forks() -> None:
    """Nothing begins anew in a forked child."""
    from otel_pg_exporter.host import forks

    if broken("forks"):
        forks._methods.clear()


def break_exits() -> None:
    """Only the interpreter's own exit handlers are known."""
    from otel_pg_exporter.host import exits

    if broken("exits"):
        exits._Exit.flush = lambda self, limit=0: None


def break_queues() -> None:
    """The end waits for an export that hangs, and what is behind it is neither exported nor counted."""
    from otel_pg_exporter.processors import queues

    def close(self: queues._Queue, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        self._is_closed = True
        self._awake.set()
        if self._worker is not None:
            self._worker.join(seconds)
        self._export_all(ends_at)
        self._exporter.shutdown(timeout_millis=max(0.0, ends_at - time.monotonic()) * 1000)

    if broken("queues"):
        queues._Queue.close = close
