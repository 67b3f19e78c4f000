"""Ends in one of many ways, with records in its queues. Arguments: the way, durability."""

import atexit
import concurrent.futures
import contextlib
import os
import signal
import sys
import threading
import time

import oracle

atexit.register(lambda: oracle.tell("left", str(time.monotonic())))  # the last to run

from otel_pg_exporter import EventIntegration, EventStore, configure  # noqa: E402
from otel_pg_exporter.host import exits  # noqa: E402

if oracle.broken("ctrl-c"):
    exits._ctrl_c_put_off = lambda: contextlib.nullcontext([])
way, durability = sys.argv[1:3]
if way == "SIGTERM, chained":
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(7))  # whose handler is worth nothing to us
# queues that only a flush or the end empties
slow = {} if way == "daemon threads" else {"batch_timeout_millis": 60_000}
telemetry = configure(
    dsn=os.environ["DSN"], durability=durability, flush_on_sigterm=way.startswith("SIGTERM, "), **slow
)
if oracle.broken("time"):
    exits.register(lambda seconds: time.sleep(12), lambda seconds: None)
oracle.both()
telemetry.force_flush(5_000)
if way == "everything open":
    store = EventStore(batch_size=100)
    events, others = EventIntegration(), EventIntegration(batch_size=101)
    for _ in range(3):
        events.emit("system:event", {"data": {}})
        others.emit("system:event", {"data": {}})
oracle.tell("ready", way)
while os.environ.get("GO") and not os.path.exists(os.environ["GO"]):
    time.sleep(0.02)


def emit(times: int) -> None:
    for _ in range(times):
        oracle.both()


def emit_for_ever(pause: float = 0.001) -> None:
    while True:
        oracle.both()
        time.sleep(pause)


emit(5_000 if way == "10,000 queued" else 50)
if way == "daemon threads":
    for _ in range(2):
        threading.Thread(target=emit_for_ever, daemon=True).start()
    time.sleep(0.3)
elif way == "thread":
    threading.Thread(target=lambda: (time.sleep(0.3), emit(50))).start()
elif way == "thread pool":
    pool = concurrent.futures.ThreadPoolExecutor(4)
    for _ in range(20):
        pool.submit(emit, 10)
elif way == "everything open":
    events.emit("system:event", {"data": {}})
    others.emit("system:event", {"data": {}})
oracle.tell("leaving", str(time.monotonic()))
if way == "sys.exit":
    sys.exit(3)
if way == "exception":
    raise ValueError("the end")
if way == "SIGINT, again and again":

    def press() -> None:
        for _ in range(12):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    threading.Thread(target=press, daemon=True).start()
    time.sleep(60)
if way == "SIGINT":
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
if way == "SIGTERM, busy":

    def end() -> None:
        time.sleep(0.2)
        oracle.tell("signal", "")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end, daemon=True).start()
    emit_for_ever(0)  # the signal comes in the middle of a record, that may hold a lock
if way.startswith("SIGTERM"):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
if way == "os._exit":
    os._exit(4)
if way == "os.exec":
    os.execv(sys.executable, [sys.executable, "-c", "raise SystemExit(5)"])
if way == "kill -9":
    os.kill(os.getpid(), signal.SIGKILL)
