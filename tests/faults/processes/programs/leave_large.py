"""Ends with 10,000 large spans in its queue. Arguments: settings, as name=number."""

import atexit
import os
import sys
import time

import oracle


def left() -> None:
    oracle.tell("left", str(time.monotonic()))
    oracle.tell("dropped", str(telemetry.counts.get("dropped", 0)))


atexit.register(left)  # the last to run

from opentelemetry import trace  # noqa: E402

from otel_pg_exporter import configure  # noqa: E402

oracle.break_queues()
settings = {"shared_text_length": 0}  # the text is the same in all of them
settings |= {name: int(value) for name, value in (word.split("=") for word in sys.argv[1:])}
telemetry = configure(dsn=os.environ["DSN"], **settings)
oracle.span()
telemetry.force_flush(10_000)
tracer = trace.get_tracer("faults")
spans = [tracer.start_span("large", attributes={"text": "all work and no play " * 120}) for _ in range(10_000)]
for span in spans:
    span.end()
for span in spans:
    context = span.get_span_context()
    oracle.tell("span", f"{context.trace_id:032x}{context.span_id:016x}")
oracle.tell("leaving", str(time.monotonic()))
