"""Ctrl-C while the main thread waits for a server that is silent. Arguments: what it calls, durability."""

import os
import signal
import sys
import threading
import time

import oracle
from opentelemetry import _logs, trace
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_pg_exporter import EventStore, PostgresSpanExporter, configure
from otel_pg_exporter.host import errands
from otel_pg_exporter.writing.delivery import Delivery

if oracle.broken("errands"):
    errands.run = lambda work, seconds, name: work()
    Delivery._keep_interrupted = lambda self, batch, reason: None

call, durability = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)
telemetry = configure(dsn=os.environ["DSN"], durability=durability, batch_timeout_millis=60_000)
tracing, logging = trace.get_tracer_provider(), _logs.get_logger_provider()
if call == "the SDK's processor":
    standing = BatchSpanProcessor(PostgresSpanExporter(dsn=os.environ["DSN"], schema="another"))
    tracing.add_span_processor(standing)
calls = {
    "force_flush of the providers": lambda: (logging.force_flush(), tracing.force_flush()),
    "shutdown of the providers": lambda: (logging.shutdown(), tracing.shutdown()),
    "force_flush": telemetry.force_flush,
    "shutdown": telemetry.shutdown,
    "close": lambda: EventStore().close(),
    "the SDK's processor": lambda: standing.force_flush(),
}
for _ in range(50):
    oracle.both()


def interrupt() -> None:
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)


threading.Thread(target=interrupt, daemon=True).start()
try:
    calls[call]()
    time.sleep(10)
except KeyboardInterrupt:
    oracle.tell("interrupted", call)
