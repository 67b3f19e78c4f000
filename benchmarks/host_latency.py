"""`span.end()` and `logger.emit()` while PostgreSQL is slow, silent or away, against the same while it is well.

Each state has a program of its own; all take turns in short rounds, so that a busy machine hits them alike. A program
records as one that does something else too: it rests for a moment after each record, about 1,000 a second. One that
does nothing but record shares Python's lock with the thread that exports: whoever has it keeps it for 5 ms
(`sys.getswitchinterval()`), and its p99 is either such a turn or none, by chance, in every state; that is printed as
"at full speed", without a target. Target: p99 within 10 % of healthy.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from psycopg.conninfo import conninfo_to_dict
from realistic import RESOURCE, attributes

from otel_pg_exporter import configure

ROUNDS, RECORDS = 21, 300
REST_SECONDS = 0.0007
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
    for rest, words in ((REST_SECONDS, "with rests"), (0.0, "at full speed")):
        for durability in ("memory", "process") if rest else ("memory",):
            for signal in ("span", "log"):
                found = measure(dsn, durability, signal, rest)
                shown = "  ".join(
                    f"{state} {p99:6.1f} us ({p99 / found['healthy']:.2f} x)" for state, p99 in found.items()
                )
                print(f"  {words:<13} {durability:<8} {signal:<5} {shown}", flush=True)


def measure(dsn: str, durability: str, signal: str, rest: float) -> dict[str, float]:
    """State → p99 of one call, microseconds. Healthy twice, so that one sees what is noise."""
    server = conninfo_to_dict(dsn)
    path = f"{server['host']}/.s.PGSQL.{server['port']}"
    with tempfile.TemporaryDirectory() as folder, between(path, 1.0) as slow, between(path, -1.0) as silent:
        where = {
            "healthy": dsn, "slow": f"host=127.0.0.1 port={slow} user={server['user']} dbname={server['dbname']}",
            "silent": f"host=127.0.0.1 port={silent} user=u dbname=d",
            "refused": "host=127.0.0.1 port=9 user=u dbname=d", "healthy again": dsn,
        }  # fmt: skip
        with ExitStack() as stack:
            programs = {
                state: stack.enter_context(_program(told, durability, signal, rest, str(Path(folder) / state)))
                for state, told in where.items()
            }
            found: dict[str, list[float]] = {state: [] for state in programs}
            for number in range(ROUNDS + 1):
                for state, program in programs.items():
                    p99 = _ask(program)
                    if number:  # the first one meets empty caches
                        found[state].append(p99)
    return {state: statistics.median(values) for state, values in found.items()}


@contextmanager
def _program(*arguments: Any) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", f"import host_latency; host_latency.serve(*{list(arguments)!r})"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=Path(__file__).parent, stderr=subprocess.DEVNULL, **pipes) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def _ask(program: subprocess.Popen[str]) -> float:
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write("\n")
    program.stdin.flush()
    return float(json.loads(program.stdout.readline()))


def serve(dsn: str, durability: str, signal: str, rest: float, spool_dir: str) -> None:
    """One round for each line that is read."""
    telemetry = configure(
        dsn=dsn, schema="bench_latency", durability=durability, spool_dir=spool_dir, resource=RESOURCE,
        tracer_provider=TracerProvider(resource=RESOURCE, shutdown_on_exit=False),
        logger_provider=LoggerProvider(resource=RESOURCE, shutdown_on_exit=False),
    )  # fmt: skip
    for _ in sys.stdin:
        print(json.dumps(one_round(telemetry, signal, rest)), flush=True)
    telemetry.shutdown()


def one_round(telemetry: Any, signal: str, rest: float) -> float:
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
        if rest:
            time.sleep(rest)
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
