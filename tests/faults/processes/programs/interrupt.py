"""A signal handler that records, again and again in the middle of records of the program. Argument: durability."""

import os
import signal
import sys
import time

import oracle
from harness.patience import wait_for_tables

from otel_pg_exporter import configure
from otel_pg_exporter.processors.durable import _Intake

if oracle.broken("nested"):

    def take(self, record):
        with self._lock:
            self._take(record)

    _Intake.take = take

wait_for_tables()
telemetry = configure(dsn=os.environ["DSN"], durability=sys.argv[1])
oracle.both()  # the SDK makes tracer and logger under a lock, in which it must not be interrupted
ends_at = time.monotonic() + 2


def interrupt(number: int, frame: object) -> None:
    oracle.both()
    if time.monotonic() < ends_at:
        signal.setitimer(signal.ITIMER_REAL, 0.002)  # once: it must not interrupt itself for ever


signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.002)
while time.monotonic() < ends_at:
    oracle.both()
sys.exit(not telemetry.force_flush())
