"""Export of spans that are there already, against the rate at which one process creates them, and bytes on disk.

Targets: 1.8 times the rate of creation; at most 1,400 bytes for each span, indexes included.
"""

from __future__ import annotations

import statistics
import time

import psycopg
from realistic import spans

from otel_pg_exporter.exporter import PostgresSpanExporter

BATCH = 2048  # what configure() sends
ROUNDS = 7


def main(dsn: str, count: int = 5 * BATCH) -> None:
    """Print the figures; each round creates `count` spans, each beneath one that is not exported, and exports them."""
    exporter = PostgresSpanExporter(dsn, schema="bench_throughput")
    exporter.export(spans(BATCH))
    created, exported = [], []
    log_before = log_position(dsn)
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        made = spans(count)
        between = time.perf_counter()
        for first in range(0, count, BATCH):
            exporter.export(made[first : first + BATCH])
        exported.append(count / (time.perf_counter() - between))
        created.append(2 * count / (between - begun))  # two spans for each: the root has next to nothing on it
    stored = exporter.counts["stored"]
    log = (log_position(dsn) - log_before) / (stored - BATCH)
    exporter.shutdown()
    rate, creation = statistics.median(exported), statistics.median(created)
    print(f"\nThroughput: wall time, batches of {BATCH:,}, median of {ROUNDS}")
    print(f"  created {creation:9,.0f} spans/s, roots and their children")
    print(f"  exported {rate:8,.0f} spans/s, {rate / creation:.2f} x")
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT sum(pg_total_relation_size(c.oid)), sum(pg_indexes_size(c.oid)) FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'bench_throughput' AND c.relkind = 'r' AND c.relname LIKE 'agent_events%'"
        ).fetchone()
    assert row is not None
    print(
        f"  on disk {row[0] / stored:,.0f} bytes for each of {stored:,} spans, {row[1] / stored:,.0f} of it indexes;"
        f" {log:,.0f} of write-ahead log"
    )


def log_position(dsn: str) -> int:
    """Bytes of write-ahead log so far."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT (pg_current_wal_lsn() - '0/0')::bigint").fetchone()
    assert row is not None
    return int(row[0])
