"""Eight programs that store at once, against as many connections that COPY rows which were encoded before.

On two cores the programs take from the server what encoding costs; where they have processors of their own, what counts
is what the server spends on a row: that is printed too. Target: at least 90 % of what COPY alone reaches.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from realistic import spans

from otel_pg_exporter import Settings, migrate
from otel_pg_exporter.encoding.batches import encode_batch
from otel_pg_exporter.encoding.binary_copy import HEADER, TRAILER
from otel_pg_exporter.encoding.plain_rows import SpanEncoder
from otel_pg_exporter.encoding.scrubbing import Scrubber
from otel_pg_exporter.encoding.tables import COLUMNS
from otel_pg_exporter.encoding.treatment import Treatment
from otel_pg_exporter.exporter import PostgresSpanExporter

WRITERS, BATCH, BATCHES, ROUNDS = 8, 2048, 12, 5
_TICKS = os.sysconf("SC_CLK_TCK")


def main(dsn: str) -> None:
    """Print the figures."""
    found: dict[str, list[tuple[float, float, float]]] = {"exporters": [], "COPY alone": []}
    for number in range(ROUNDS):
        for name, work in (("exporters", export), ("COPY alone", copy)):
            schema = f"bench_{'exporters' if work is export else 'copies'}_{number}"
            migrate.up(Settings(dsn=dsn, schema=schema))
            store_all(dsn, schema, export, 1, 1)  # partitions, and the resource
            found[name].append(store_all(dsn, schema, work, WRITERS, BATCHES))
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(f"DROP SCHEMA {schema} CASCADE")
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    print(f"\nMany writers: {WRITERS} processes, batches of {BATCH:,}, without looking for secrets, median of {ROUNDS}")
    for name, (rate, server, client) in medians.items():
        print(f"  {name:<10} {rate:8,.0f} spans/s; CPU for each: server {server:5.1f} us, programs {client:5.1f} us")
    ours, alone = medians.values()
    print(f"  on these processors {ours[0] / alone[0]:.0%}; by what the server spends {alone[1] / ours[1]:.0%}")


def store_all(
    dsn: str, schema: str, work: Callable[..., Any], writers: int, batches: int
) -> tuple[float, float, float]:
    """Rows a second, and microseconds of CPU for each row: of the server, and of the programs."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Barrier(writers + 1), context.Barrier(writers + 1)
    spent = context.Queue()
    programs = [context.Process(target=work, args=(dsn, schema, batches, ready, done, spent)) for _ in range(writers)]
    for program in programs:
        program.start()
    ready.wait()
    begun, server = time.perf_counter(), server_cpu(dsn)
    done.wait()
    seconds = time.perf_counter() - begun
    server = server_cpu(dsn) - server
    client = sum(spent.get() for _ in programs)
    for program in programs:
        program.join()
    rows = writers * batches * BATCH
    return rows / seconds, server / rows * 1e6, client / rows * 1e6


def export(dsn: str, schema: str, batches: int, ready: Any, done: Any, spent: Any) -> None:
    """A program that exports spans which are there already."""
    exporter = PostgresSpanExporter(dsn, schema=schema, redact=False)
    made = spans(BATCH)
    exporter.export(made[:1])
    ready.wait()
    begun = time.process_time()
    for _ in range(batches):
        exporter.export(made)
    seconds = time.process_time() - begun
    done.wait()
    spent.put(seconds)
    exporter.shutdown()
    assert exporter.last_error is None


def copy(dsn: str, schema: str, batches: int, ready: Any, done: Any, spent: Any) -> None:
    """A program that sends rows which are encoded already, each batch a transaction."""
    encoder = SpanEncoder(Treatment(scrubber=Scrubber(is_on=False)))
    batch = encode_batch(spans(BATCH), encoder.span, producer_id=uuid.uuid4(), sequence=1, signal="span")
    data = b"".join((HEADER, *batch.rows["agent_events"], TRAILER))
    columns = ", ".join(f'"{column}"' for column in COLUMNS["agent_events"])
    statement = f"COPY {schema}.agent_events ({columns}) FROM STDIN (FORMAT binary)"
    with psycopg.connect(dsn) as connection:
        ready.wait()
        begun = time.process_time()
        for _ in range(batches):
            with connection.cursor().copy(statement.encode()) as stream:
                stream.write(data)
            connection.commit()
        seconds = time.process_time() - begun
        done.wait()
    spent.put(seconds)


def server_cpu(dsn: str) -> float:
    """Seconds that the server's processes have used, also those that have ended."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT pg_read_file('postmaster.pid', 0, 20)").fetchone()
    assert row is not None
    postmaster = row[0].split()[0]
    total = _ticks(postmaster, 4)
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text("ascii").split()
    return (total + sum(_ticks(child, 2) for child in children)) / _TICKS


def _ticks(process: str, count: int) -> int:
    """utime and stime, and with 4 those of the children that have ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(map(int, fields[11 : 11 + count]))
