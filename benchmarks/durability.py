"""What each durability costs the program: CPU and time of `span.end()`, for a realistic span.

In `memory` encoding is left to the thread that exports; in `process` and `power` it is done before `end()` returns. The
spool lies in `TMPDIR`: if that is no disk (tmpfs), `power` waits for nothing.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from time import perf_counter_ns, thread_time_ns

from opentelemetry.sdk.trace import TracerProvider
from realistic import RESOURCE, attributes

from otel_pg_exporter import configure

SPANS, ROUNDS = 2000, 7


def main(dsn: str) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        tracers, telemetries = {}, []
        for mode in ("memory", "process", "power"):
            provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
            telemetries.append(
                configure(
                    dsn=dsn, schema=f"bench_{mode}", spool_dir=f"{folder}/{mode}", durability=mode,
                    tracer_provider=provider,
                )
            )  # fmt: skip
            tracers[mode] = provider.get_tracer("bench")
        costs: dict[str, list[tuple[float, float]]] = {mode: [] for mode in tracers}
        for _ in range(ROUNDS):
            for mode, tracer in tracers.items():
                costs[mode].append(_cost(tracer))
        disk = _disk(f"{folder}/alone")
        lost = sum(telemetry.counts.get("dropped", 0) for telemetry in telemetries)
        for telemetry in telemetries:
            assert telemetry.force_flush()
            telemetry.shutdown()
    print(f"\nDurability: cost of span.end() for each span (median of {ROUNDS} rounds of {SPANS} spans)")
    for mode, measured in costs.items():
        cpu, wall = (statistics.median(column) for column in zip(*measured, strict=True))
        print(f"  {mode:<8} {cpu:7.1f} us CPU   {wall:8.1f} us until end() returns")
    print(f"  the disk alone: {disk:.1f} us until 1,500 bytes are written and fdatasync returns")
    print(f"  lost: {lost}")


def _cost(tracer: object) -> tuple[float, float]:
    spans = [tracer.start_span("execute_tool search_hotels", attributes=attributes(number)) for number in range(SPANS)]
    cpu, wall = thread_time_ns(), perf_counter_ns()
    for span in spans:
        span.end()
    return (thread_time_ns() - cpu) / SPANS / 1000, (perf_counter_ns() - wall) / SPANS / 1000


def _disk(path: str) -> float:
    """Microseconds that `power` cannot save."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    times = []
    for number in range(500):
        begun = perf_counter_ns()
        os.pwrite(descriptor, b"x" * 1500, number * 1500)
        os.fdatasync(descriptor)
        times.append((perf_counter_ns() - begun) / 1000)
    os.close(descriptor)
    return statistics.median(times)
