"""`span.end()` and `logger.emit()` while PostgreSQL is slow, silent or away, against the same while it is well.

Each state has a program of its own; all take turns in short rounds, so that a busy machine hits them alike.
Target: p99 within 10 % of healthy.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from psycopg.conninfo import conninfo_to_dict
from realistic import RESOURCE, attributes

from otel_pg_exporter import configure

ROUNDS, RECORDS = 41, 500
STATES = ("healthy", "slow", "silent", "refused")

_SERVER = """
import socket, sys, threading, time
path, delay = sys.argv[1], float(sys.argv[2])
server = socket.create_server(("127.0.0.1", 0), backlog=100)
print(server.getsockname()[1], flush=True)
def pump(source, sink, delay):
    try:
        while data := source.recv(1 << 16):
            time.sleep(delay)
            sink.sendall(data)
    except OSError:  # given up by either side
        pass
kept = []
while True:
    client, _ = server.accept()
    kept.append(client)
    if delay < 0:
        continue
    there = socket.socket(socket.AF_UNIX); there.connect(path); kept.append(there)
    threading.Thread(target=pump, args=(client, there, 0), daemon=True).start()
    threading.Thread(target=pump, args=(there, client, delay), daemon=True).start()
"""


def main(dsn: str) -> None:
    """Print the figures."""
    print(f"\nHost latency: p99 of one call, median of {ROUNDS} rounds of {RECORDS}, by what PostgreSQL does")
    for durability in ("memory", "process"):
        for signal in ("span", "log"):
            found = measure(dsn, durability, signal)
            shown = "  ".join(f"{state} {p99:6.1f} us ({p99 / found['healthy']:.2f} x)" for state, p99 in found.items())
            print(f"  {durability:<8} {signal:<5} {shown}")


def measure(dsn: str, durability: str, signal: str) -> dict[str, float]:
    """State → p99 of one call, microseconds."""
    server = conninfo_to_dict(dsn)
    path = f"{server['host']}/.s.PGSQL.{server['port']}"
    with tempfile.TemporaryDirectory() as folder, between(path, 1.0) as slow, between(path, -1.0) as silent:
        where = {
            "healthy": dsn, "slow": f"host=127.0.0.1 port={slow} user={server['user']} dbname={server['dbname']}",
            "silent": f"host=127.0.0.1 port={silent} user=u dbname=d",
            "refused": "host=127.0.0.1 port=9 user=u dbname=d",
        }  # fmt: skip
        telemetries = {
            state: configure(
                dsn=where[state], schema="bench_latency", durability=durability,
                spool_dir=str(Path(folder) / state), resource=RESOURCE,
                tracer_provider=TracerProvider(resource=RESOURCE, shutdown_on_exit=False),
                logger_provider=LoggerProvider(resource=RESOURCE, shutdown_on_exit=False),
            )
            for state in STATES
        }  # fmt: skip
        found: dict[str, list[float]] = {state: [] for state in STATES}
        for telemetry in telemetries.values():
            one_round(telemetry, signal)  # the first one meets empty caches
        for _ in range(ROUNDS):
            for state, telemetry in telemetries.items():
                found[state].append(one_round(telemetry, signal))
        for telemetry in telemetries.values():
            telemetry.shutdown()
    return {state: statistics.median(values) for state, values in found.items()}


def one_round(telemetry: object, signal: str) -> float:
    """p99 of RECORDS calls, microseconds."""
    if signal == "span":
        tracer = telemetry.tracer_provider.get_tracer("bench")
        calls = [tracer.start_span("job", attributes=attributes(number)).end for number in range(RECORDS)]
    else:
        emit = telemetry.logger_provider.get_logger("bench").emit
        records = [LogRecord(body="job", attributes=attributes(number)) for number in range(RECORDS)]
        calls = [lambda record=record: emit(record) for record in records]
    gc.disable()
    times = []
    for call in calls:
        begun = perf_counter_ns()
        call()
        times.append(perf_counter_ns() - begun)
    gc.enable()
    return sorted(times)[int(len(times) * 0.99)] / 1000


@contextmanager
def between(path: str, delay: float) -> Iterator[int]:
    """A port before the server that answers each time after `delay` seconds; never, if that is negative."""
    started = subprocess.Popen([sys.executable, "-c", _SERVER, path, str(delay)], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    try:
        yield int(started.stdout.readline())
    finally:
        started.kill()
        started.wait()
