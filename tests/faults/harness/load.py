"""The program that is hurt: ends spans at a steady rate, and journals each before it begins and after it ended.

    PYTHONPATH=tests/faults python -m harness.load --dsn … --journal … --seed 7 --rate 1000 --durability process

Ends after `--count` spans, or on SIGTERM; then it flushes, shuts the product down and journals its report.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from array import array
from typing import Any

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_pg_exporter import configure

from . import broken
from .delays import Stalls
from .journal import Journal
from .payload import SequentialIds, payload, producer_trace

_OUTLASTS_ALL_SECONDS = 60


def main() -> None:
    """Run until the count is reached, or the signal comes."""
    options = _arguments()
    if options.broken:
        broken.BUILDS[options.broken](setattr)
    journal = Journal(options.journal, producer_trace(options.seed, options.producer))
    ids = SequentialIds(options.seed, options.producer)
    resource = Resource({"service.name": options.producer})
    provider = TracerProvider(id_generator=ids, resource=resource, shutdown_on_exit=False)
    telemetry = configure(
        dsn=options.dsn, durability=options.durability, tracer_provider=provider,
        logger_provider=LoggerProvider(resource=resource, shutdown_on_exit=False), **json.loads(options.settings),
    )  # fmt: skip
    with Stalls() as stalls:
        ended = Load(journal, provider.get_tracer("harness"), telemetry).run(options)
    begun = time.monotonic()
    is_flushed = _flushed(telemetry, options.flush_seconds) if options.flush_seconds else None
    progress = telemetry.progress
    telemetry.shutdown()
    journal.report(
        {
            "is_flushed": is_flushed,
            "end_seconds": time.monotonic() - begun,
            "counts": telemetry.counts,
            "failed": progress["failed"],
            "last_error": telemetry.last_error,
            "end_us": ended,
            "stalled_us": stalls.longest * 1e6,
        }
    )


def _flushed(telemetry: Any, seconds: float) -> bool:
    """Whether all is stored in the end: one attempt that fails is not the end of it."""
    deadline = time.monotonic() + seconds
    while not telemetry.force_flush(max(1, int((deadline - time.monotonic()) * 1000))):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


class Load:
    """One thread's spans."""

    def __init__(self, journal: Journal, tracer: Any, telemetry: Any) -> None:
        self._journal, self._tracer, self._telemetry = journal, tracer, telemetry
        self._logs: Logs | None = None
        self._is_stopped = False
        signal.signal(signal.SIGTERM, self._stop)

    def run(self, options: argparse.Namespace) -> dict[str, float]:
        """End spans; gives how long `end()` took: p50, p99 and longest, microseconds."""
        took = array("d")
        begun = acknowledged_at = time.monotonic()
        if options.logs_every:
            self._logs = Logs(options, self._telemetry.logger_provider.get_logger("harness"))
        number = 0
        while not self._is_stopped and (not options.count or number < options.count):
            number += 1
            took.append(self._one(number, producer_trace(options.seed, options.producer)))
            if self._logs is not None and number % options.logs_every == 0:
                self._logs.emit()
            ahead = begun + number / options.rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            if options.acknowledge_seconds and time.monotonic() - acknowledged_at > options.acknowledge_seconds:
                self._acknowledge(number)
                acknowledged_at = time.monotonic()
        if options.acknowledge_seconds:
            self._acknowledge(number)
        ordered = sorted(took) or [0.0]
        return {
            "p50": ordered[len(ordered) // 2],
            "p99": ordered[len(ordered) * 99 // 100],
            "longest": ordered[-1],
        }

    def _one(self, number: int, trace_id: int) -> float:
        content = payload((trace_id, number))
        self._journal.issued(number)
        begun = time.perf_counter_ns()
        try:
            span = self._tracer.start_span(content.name, attributes=content.attributes)
            begun = time.perf_counter_ns()
            span.end()
            took = time.perf_counter_ns() - begun
        except Exception as error:
            self._journal.raised(error)
            return 0.0
        self._journal.accepted(number)
        return took / 1000

    def _acknowledge(self, number: int) -> None:
        if self._telemetry.force_flush(_OUTLASTS_ALL_SECONDS * 1000):
            self._journal.acknowledged(number)

    def _stop(self, *_: object) -> None:
        self._is_stopped = True


class Logs:
    """Log records beside the spans, in a trace and a journal of their own."""

    def __init__(self, options: argparse.Namespace, logger: Any) -> None:
        self._trace_id, self._number = producer_trace(options.seed, f"{options.producer} logs"), 0
        self._journal = Journal(f"{options.journal}.logs", self._trace_id)
        self._logger = logger

    def emit(self) -> None:
        """One record, of which the payload is that of a span with its id."""
        self._number += 1
        content = payload((self._trace_id, self._number))
        span = NonRecordingSpan(SpanContext(self._trace_id, self._number, False, TraceFlags(TraceFlags.SAMPLED)))
        record = LogRecord(
            timestamp=time.time_ns(), context=set_span_in_context(span), body=content.name,
            event_name=content.name, attributes=content.attributes,
        )  # fmt: skip
        self._journal.issued(self._number)
        try:
            self._logger.emit(record)
        except Exception as error:
            self._journal.raised(error)
        else:
            self._journal.accepted(self._number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--journal", required=True, help="file that is appended to")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--producer", default="load", help="name; with the seed it gives the trace id")
    parser.add_argument("--rate", type=float, default=1000, help="spans a second")
    parser.add_argument("--logs-every", type=int, default=0, help="a log record after so many spans; 0: none")
    parser.add_argument("--count", type=int, default=0, help="spans; 0: until SIGTERM")
    parser.add_argument("--durability", default="memory")
    parser.add_argument("--acknowledge-seconds", type=float, default=0, help="flush so often, and journal a success")
    parser.add_argument("--flush-seconds", type=float, default=30, help="for the flush at the end; 0: shut down only")
    parser.add_argument("--settings", default="{}", help="other fields of Settings, JSON")
    parser.add_argument("--broken", choices=sorted(broken.BUILDS), help="run a broken build")
    return parser.parse_args()


if __name__ == "__main__":
    main()
