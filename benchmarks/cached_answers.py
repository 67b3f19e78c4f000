"""Statistics and a page of 300,000 events, from the tables and from Redis with the proof that they are still true."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from otel_pg_exporter import EventQuery, EventStore

COUNT, ROUNDS = 300_000, 5
FILL = """
INSERT INTO bench_cache.task_events (trace_id, span_id, batch_id, batch_index, "time", trace_flags, kind, status_code,
    resource_id, scope_id, duration_ns, record, event_type, event_name, status, task_id, attributes)
SELECT trace_id, number, batch_id, number, "time" - number * interval '1 microsecond', trace_flags, kind, status_code,
       resource_id, scope_id, number * 1000, record, 'type ' || number %% 20, event_name, status, 'task ' || number,
       attributes
  FROM bench_cache.task_events, generate_series(1, %(count)s::integer - 1) AS number
"""


def main(dsn: str) -> None:
    """Print the figures: medians, the two ways taking turns."""
    print(f"\nCached answers: {COUNT:,} events")
    if shutil.which("redis-server") is None:
        print("  not measured: there is no redis-server here")
        return
    with EventStore(dsn=dsn, schema="bench_cache", health_monitoring=False) as store:
        store.log_task_event(event_name="work", task_id="0", duration_seconds=1, wait=True)
        database = store._opened().telemetry.database
        with database.connection() as connection:
            connection.execute(FILL.encode(), {"count": COUNT})
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", ""]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not socket.exists():
                time.sleep(0.01)
            options = {"dsn": dsn, "schema": "bench_cache"}
            with (
                EventQuery(**options) as plain,
                EventQuery(**options, cache_url=f"unix://{socket}", cache_ttl_seconds=600) as cached,
            ):
                compare("statistics", lambda: plain.statistics(exact=True), lambda: cached.statistics(exact=True))
                compare("a page of 100", lambda: plain.task_events(), lambda: cached.task_events())
        finally:
            server.kill()
            server.wait()


def compare(name: str, plain: Callable[[], object], cached: Callable[[], object]) -> None:
    """The ratio of the two."""
    cached()
    taken: dict[str, list[float]] = {"plain": [], "cached": []}
    for _ in range(ROUNDS):
        for way, ask in (("plain", plain), ("cached", cached)):
            begun = time.perf_counter()
            ask()
            taken[way].append((time.perf_counter() - begun) * 1000)
    tables, kept = median(taken["plain"]), median(taken["cached"])
    print(f"  {name:<14} from the tables {tables:8.1f} ms, kept {kept:6.1f} ms: 1/{tables / kept:.0f}")
