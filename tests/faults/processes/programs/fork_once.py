"""Forks of one kind each. Arguments: the kind, durability."""

import ctypes
import os
import sys
import time

import oracle
from harness.patience import wait_for_tables
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_pg_exporter import PostgresSpanExporter, configure

kind, durability = sys.argv[1], sys.argv[2]
wait_for_tables()
if oracle.broken("sdk"):
    trace.set_tracer_provider(TracerProvider())
    trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(PostgresSpanExporter(dsn=os.environ["DSN"])))
# a queue that only a flush or the end empties: what is in it at the fork is certain
telemetry = configure(dsn=os.environ["DSN"], durability=durability, batch_timeout_millis=60_000)
oracle.both()
telemetry.force_flush()
oracle.break_forks()
if not oracle.broken("sdk"):
    backend = telemetry.delivery._sink._writer._connection.pgconn.backend_pid
oracle.both()


def sockets() -> set[str]:
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return {name for link in links if os.path.lexists(link) and "socket" in (name := os.readlink(link))}


def wait_for(child: int) -> None:
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def leave_normally() -> None:
    oracle.both()
    sys.exit()


if kind == "exit":
    if not (child := os.fork()):
        leave_normally()
    wait_for(child)
elif kind == "twice":
    if not (child := os.fork()):
        oracle.both()
        if not (grandchild := os.fork()):
            leave_normally()
        os.waitpid(grandchild, 0)
        leave_normally()
    wait_for(child)
elif kind == "daemon":
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.setsid()
        if os.fork():
            os._exit(0)
        oracle.both()
        os.close(reading)
        sys.exit()  # the pipe is closed when the exit handlers have run
    os.close(writing)
    wait_for(child)
    os.read(reading, 1)
elif kind == "unnoticed":  # as a server in C forks, without telling Python
    if not (child := ctypes.PyDLL(None).fork()):
        oracle.both()
        print("flushed", telemetry.force_flush(), flush=True)
        os._exit(0)
    wait_for(child)
elif kind == "exec":
    before = sockets()
    if not (child := os.fork()):
        # the SDK looks for its resource in a thread, which Python has joined and the kernel may still be ending
        ends_at = time.monotonic() + 2
        while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < ends_at:
            time.sleep(0.01)
        oracle.tell("threads", str(len(os.listdir("/proc/self/task"))))
        oracle.tell("sockets", str(len(sockets() - before)))
        os.execv("/bin/true", ["true"])
    wait_for(child)
oracle.both()
print("parent", telemetry.force_flush())
if not oracle.broken("sdk"):
    print("same connection", backend == telemetry.delivery._sink._writer._connection.pgconn.backend_pid)
