"""The program that is killed: threads end spans and emit log records until somebody ends them.

    PYTHONPATH=tests/faults python -m harness.victim --dsn … --folder … --seed 7 --producer v1 --durability process

Each thread has a journal of its own, `PRODUCER-spans-0.journal`, `PRODUCER-logs-0.journal` …, and each export of the
memory mode leaves two lines in `PRODUCER.exports`: when it began and when it ended, by a clock that all processes
share. `PRODUCER.ticks` has the times of a thread that does nothing but wait: how busy the machine is.

With `--nursery` it reads such command lines as JSON, one a line, and forks a child for each, whose process id it
prints: imports cost more than a short life.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import IdGenerator, TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_pg_exporter import configure
from otel_pg_exporter.exporter import _Pipeline
from otel_pg_exporter.spool import Spool

from . import broken
from .journal import Journal
from .payload import Id, payload, producer_trace

__all__ = ["TICK_SECONDS", "main"]

TICK_SECONDS = 0.02

_LONGEST_LIFE_SECONDS = 120  # if nobody kills it


def main(arguments: list[str] | None = None) -> None:
    """Begin, and go on until killed."""
    options = _arguments(arguments)
    if options.nursery:
        _nurse()
        return
    for build in options.broken:
        broken.BUILDS[build](setattr)
    if options.segment_bytes:
        setattr(Spool, "segment_bytes", options.segment_bytes)  # noqa: B010 - in place of a property
    threading.Thread(target=_tick, args=(Path(options.folder) / f"{options.producer}.ticks",), daemon=True).start()
    _tell_exports(Path(options.folder) / f"{options.producer}.exports")
    ids, resource = _ThreadIds(), Resource({"service.name": options.producer})
    telemetry = configure(
        dsn=options.dsn,
        durability=options.durability,
        tracer_provider=TracerProvider(id_generator=ids, resource=resource, shutdown_on_exit=False),
        logger_provider=LoggerProvider(resource=resource, shutdown_on_exit=False),
        **json.loads(options.settings),
    )
    tracer = telemetry.tracer_provider.get_tracer("harness")
    logger = telemetry.logger_provider.get_logger("harness")

    def span(identity: Id) -> None:
        content = payload(identity)
        ids.here.next = identity
        tracer.start_span(content.name, attributes=content.attributes).end()

    def log(identity: Id) -> None:
        content = payload(identity)
        context = set_span_in_context(NonRecordingSpan(SpanContext(*identity, False, TraceFlags(1))))
        logger.emit(LogRecord(context=context, event_name=content.name, attributes=content.attributes))

    threads = [
        threading.Thread(target=_record, args=(options, f"{options.producer}-{kind}-{number}", make), daemon=True)
        for kind, make in (("spans", span), ("logs", log))
        for number in range(options.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_LONGEST_LIFE_SECONDS)
    os._exit(0)


class _ThreadIds(IdGenerator):
    """Gives each thread the ids that it asks for."""

    def __init__(self) -> None:
        self.here = threading.local()

    def generate_trace_id(self) -> int:
        return int(self.here.next[0])

    def generate_span_id(self) -> int:
        return int(self.here.next[1])


def _record(options: argparse.Namespace, name: str, make: Callable[[Id], None]) -> None:
    trace_id = producer_trace(options.seed, name)
    journal = Journal(Path(options.folder) / f"{name}.journal", trace_id)
    begun = time.monotonic()
    number = 0
    while not options.count or number < options.count:
        number += 1
        journal.issued(number)
        try:
            make((trace_id, number))
        except Exception as error:
            journal.raised(error)
            return
        journal.accepted(number)
        ahead = begun + number * 2 * options.threads / options.rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)


def _tick(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    while True:
        os.write(descriptor, f"{time.monotonic()}\n".encode())
        time.sleep(TICK_SECONDS)


def _tell_exports(path: Path) -> None:
    export = _Pipeline.export
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def told(self: Any, records: Any) -> bool:
        begun = time.monotonic()
        os.write(descriptor, f"b {self._signal} {begun}\n".encode())
        try:
            return export(self, records)
        finally:
            os.write(descriptor, f"e {self._signal} {time.monotonic()}\n".encode())

    _Pipeline.export = told


def _nurse() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that end leave nothing behind
    for line in sys.stdin:
        child = os.fork()
        if not child:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            main(json.loads(line))
            os._exit(0)
        print(child, flush=True)


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nursery", action="store_true")
    parser.add_argument("--dsn")
    parser.add_argument("--folder", help="for its journals")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--producer", help="name; with the seed it gives the trace ids")
    parser.add_argument("--threads", type=int, default=2, help="that end spans, and as many that emit log records")
    parser.add_argument("--rate", type=float, default=1000, help="records a second, of all threads together")
    parser.add_argument(
        "--count", type=int, default=0, help="records of each thread, then it ends at once; 0: without end"
    )
    parser.add_argument("--durability", default="memory")
    parser.add_argument("--settings", default="{}", help="other fields of Settings, JSON")
    parser.add_argument("--segment-bytes", type=int, default=0, help="size of a file of the spool, to see many of them")
    parser.add_argument("--broken", action="append", default=[], choices=sorted(broken.BUILDS), help="a broken build")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
