"""The program's own code in the middle of each of our lines, in each of our threads, once: as a destructor may run.

Argument: durability.
"""

import faulthandler
import os
import sys
import threading
import time
from types import FrameType
from typing import Any

import oracle
from harness.patience import wait_for_tables
from opentelemetry.context import Context, attach, detach

import instrumentation
import otel_pg_exporter
from otel_pg_exporter import EventIntegration, EventStore, configure
from otel_pg_exporter.processors import durable

PACKAGES = tuple(os.path.dirname(package.__file__) for package in (otel_pg_exporter, instrumentation))
if oracle.broken("nested"):
    durable.put_off = lambda action, argument: False
faulthandler.dump_traceback_later(float(os.environ.get("HANG_SECONDS", "60")), exit=True)

wait_for_tables()
settings = {"dsn": os.environ["DSN"], "durability": sys.argv[1], "batch_timeout_millis": 20}
telemetry = configure(**settings)
oracle.both()
telemetry.force_flush()
store, events = EventStore(), EventIntegration()
store.log_system_event(event_name="first")
events.emit("task:started", {"task_id": "1"})
shared = instrumentation.task("shared")
met: set[tuple[str, int, bool]] = set()
this_thread = threading.local()


@instrumentation.task
def work(block: instrumentation.Block) -> None:
    with block:
        pass


def interrupt() -> None:
    oracle.both()
    with shared:
        work(instrumentation.action("inner"))
    store.log_system_event(event_name="interruption")
    events.emit("task:started", {"task_id": "2"})
    events.emit("task:completed", {"task_id": "2"})


def trace(frame: FrameType, event: str, argument: Any) -> Any:
    if not frame.f_code.co_filename.startswith(PACKAGES):
        return None
    if event == "line" and not getattr(this_thread, "is_interrupted", False):
        is_main = threading.current_thread() is threading.main_thread()
        line = (frame.f_code.co_filename, frame.f_lineno, is_main)
        if line not in met:
            met.add(line)
            this_thread.is_interrupted = True
            token = attach(Context())  # of the span that is open the records here are no part
            try:
                interrupt()
            finally:
                detach(token)
                this_thread.is_interrupted = False
    return trace


def use_everything() -> None:
    oracle.both()
    with shared:
        work(instrumentation.action("inner"))
    events.emit("task:started", {"task_id": "1"})
    events.emit("task:completed", {"task_id": "1"})
    events.emit("task:completed", {"task_id": "of another process"})
    store.log_system_event(event_name="outright", wait=True)
    store.log_system_event(event_name="queued")
    telemetry.progress  # noqa: B018
    telemetry.force_flush()


threading.settrace(trace)
sys.settrace(trace)
other = threading.Thread(target=lambda: [(oracle.both(), time.sleep(0.001)) for _ in range(300)])
other.start()
for _ in range(5):
    use_everything()
other.join()
sys.settrace(None)
threading.settrace(None)  # type: ignore[arg-type]
is_flushed = events.force_flush() and telemetry.force_flush()
print(len(met), file=sys.stdout)
sys.exit(not is_flushed)
