"""How long it takes to drop 90 days of all tables, and how long a program that writes meanwhile waits at most.

The tables hold 5,000 heartbeats a day; what a partition holds makes no difference to the drop, as its files are removed
after the commit. The writer inserts into a table whose partitions go, one row after the other; how long it waits with
nothing else going on is what the machine and its other work add.
"""

from __future__ import annotations

import threading
import uuid
from time import perf_counter, sleep

import psycopg

from otel_pg_exporter import migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.schema import partitions
from otel_pg_exporter.sql_files import PARTITIONED
from otel_pg_exporter.upkeep import retention

DAYS, ROWS = 90, 5_000
SCHEMA = "bench_retention"


def main(dsn: str) -> None:
    """Print the figures."""
    settings = Settings(dsn=dsn, schema=SCHEMA, retention_days=1)
    database = Database(settings)
    migrate.up(database)
    (server,) = database.fetch(database.sql("server_day"))
    today = server["day"]
    begun = perf_counter()
    for day in range(today - 30 - DAYS, today + 1):  # the ledger keeps a month
        partitions.ensure(database.until(begun + 10**6), {day})
    made = (DAYS + 31) * len(PARTITIONED)
    making = (perf_counter() - begun) / made
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            f"INSERT INTO {SCHEMA}.heartbeats SELECT md5(n::text)::uuid, now() - (n % {DAYS} + 1) * interval '1 day',"
            f" 1, now() FROM generate_series(1, {ROWS * DAYS}) AS n"
        )
    with _Writer(dsn) as writer:
        sleep(3)
        alone = writer.longest()
        begun = perf_counter()
        found = retention.prune(database)
        seconds = perf_counter() - begun
        beside = writer.longest()
    dropped = [due for due in found if due.fate == "dropped"]
    size = sum(due.held.bytes or 0 for due in dropped)
    left, each = len(found) - len(dropped), seconds / len(dropped) * 1000
    print(f"\nRetention: {len(dropped)} partitions of {len(PARTITIONED)} tables, {size / 1e6:.0f} MB")
    print(f"  made:    {making * 1000:6.1f} ms each")
    print(f"  dropped: {each:6.1f} ms each, {seconds:.1f} s in all; left: {left}")
    print(f"  longest wait of a writer: {beside * 1000:.0f} ms meanwhile, {alone * 1000:.0f} ms before")
    database.close()


class _Writer:
    def __init__(self, dsn: str) -> None:
        self._dsn, self._longest, self._stopped = dsn, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Writer:
        self._thread.start()
        sleep(0.5)
        self.longest()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def longest(self) -> float:
        """Seconds, since this was last asked."""
        found, self._longest = self._longest, 0.0
        return found

    def _run(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._stopped.is_set():
                begun = perf_counter()
                connection.execute(f"INSERT INTO {SCHEMA}.heartbeats VALUES (%s, now(), 1, now())", [uuid.uuid4()])
                self._longest = max(self._longest, perf_counter() - begun)
                sleep(0.001)


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from otel_pg_exporter.embedded import EmbeddedServer

    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder) / "data") as server:
        main(server.conninfo)
