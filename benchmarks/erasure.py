"""How long it takes to erase a trace, and all of a user, and how long a program that stores waits meanwhile at most.

A day has 153,000 calls of models, each with a history of long texts: sixty conversations of 50 turns, and the turns of
half of them a hundred times more, in traces of their own.
"""

from __future__ import annotations

import threading
from time import perf_counter, sleep

import psycopg
from contents import conversation
from realistic import spans

from otel_pg_exporter.exporter import PostgresSpanExporter
from otel_pg_exporter.upkeep.erasure import erase

SCHEMA = "bench_erasure"
CONVERSATIONS, TURNS, COPIES = 60, 50, 100


def main(dsn: str) -> None:
    """Print the figures."""
    exporter = PostgresSpanExporter(dsn, schema=SCHEMA)
    for seed in range(CONVERSATIONS):
        exporter.export(conversation(seed, 600))
    exporter.shutdown()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"SET search_path TO {SCHEMA}")
        traces = [row[0] for row in connection.execute("SELECT trace_id FROM agent_events ORDER BY time, span_id")]
        columns = ", ".join(
            row[0]
            for row in connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = %s"
                " AND table_name = 'agent_events' AND column_name NOT IN ('trace_id', 'user_id') ORDER BY 1",
                [SCHEMA],
            )
        )
        ours = traces[: CONVERSATIONS * TURNS // 2]
        connection.execute("UPDATE agent_events SET user_id = 'ada' WHERE trace_id = ANY(%s)", [traces[-TURNS:]])
        connection.execute(
            f"INSERT INTO agent_events (trace_id, {columns}) SELECT md5(trace_id::text || copy)::uuid, {columns}"
            f" FROM agent_events, generate_series(1, {COPIES}) AS copy WHERE trace_id = ANY(%s)",
            [ours],
        )
        connection.execute("VACUUM ANALYZE agent_events, contents")
        ((rows,),) = connection.execute("SELECT count(*) FROM agent_events").fetchall()
    with _Program(dsn) as program:
        sleep(3)
        print(f"\nErasure: of {rows:,} calls of models on one day")
        print(f"  a program stores a span, longest time: {program.longest() * 1000:.0f} ms")
        for what, whom in (
            ("a trace", {"trace_id": str(traces[-TURNS - 1])}),
            ("a user, looked for in all rows", {"user_id": "ada"}),
        ):
            begun = perf_counter()
            done = erase(dsn=dsn, schema=SCHEMA, **whom)
            seconds = perf_counter() - begun
            print(
                f"  {what}: {seconds:.1f} s, {sum(done.rows.values())} rows, {done.texts} texts, {done.left} left;"
                f" the program's longest time {program.longest() * 1000:.0f} ms"
            )


class _Program:
    """Stores a span a hundred times a second."""

    def __init__(self, dsn: str) -> None:
        self._exporter = PostgresSpanExporter(dsn, schema=SCHEMA)
        self._longest, self._stopped = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Program:
        self._thread.start()
        sleep(0.5)
        self.longest()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._exporter.shutdown()

    def longest(self) -> float:
        """Seconds, since this was last asked."""
        found, self._longest = self._longest, 0.0
        return found

    def _run(self) -> None:
        while not self._stopped.is_set():
            made = spans(1)
            begun = perf_counter()
            self._exporter.export(made)
            self._longest = max(self._longest, perf_counter() - begun)
            sleep(0.01)


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from otel_pg_exporter.embedded import EmbeddedServer

    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder) / "data") as server:
        main(server.conninfo)
