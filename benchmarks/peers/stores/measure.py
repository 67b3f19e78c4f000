"""Spans from a program into a store on PostgreSQL: how long until they can be read, and what it took.

Counted from the first span that is made until the store's table has all of them. CPU time is that of the program
that records, of the store's server if it has one, and of PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Protocol

import psycopg
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Tracer
from psycopg.conninfo import conninfo_to_dict

from . import workload
from .processes import cpu_seconds
from .workload import SPANS

QUEUE = 65_536  # what our `configure()` has too: no span of the run is dropped before it is sent
WARM_UP = 20  # traces
PATIENCE = 180  # seconds without another span before the rest counts as lost
SIZE = (
    "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
)


@dataclass(frozen=True)
class Stored:
    """What a store has of a span."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[tuple[str, Mapping[str, Any]]] = ()
    links: Sequence[tuple[int, Mapping[str, Any]]] = ()  # the id of the span that is linked, the link's attributes
    times: tuple[int, int] = (0, 0)  # nanoseconds
    resource: Mapping[str, Any] = field(default_factory=dict)
    scope: tuple[str, str] = ("", "")


class Store(Protocol):
    """What a store has to offer to be measured."""

    packages: tuple[str, ...]
    table: str  # of spans

    def tracer(self) -> Tracer:
        """Its spans go to the store."""

    def flush(self) -> None:
        """Return when all that was recorded has left this program."""

    def server(self) -> int | None:
        """The process that stores, if it is not this one."""

    def read(self, span_id: int, connection: psycopg.Connection) -> Stored:
        """A span as it is stored."""

    def stop(self) -> None:
        """End what was started."""


def sqlalchemy_url(dsn: str, driver: str = "postgresql") -> str:
    """The same server and database as SQLAlchemy names them."""
    return "{driver}://{user}@/{dbname}?host={host}&port={port}".format(driver=driver, **conninfo_to_dict(dsn))


def main(start: Callable[[str], Store]) -> None:
    """Print the figures of one run into an empty database."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dsn", help="of an empty database")
    parser.add_argument("--postmaster", type=int, required=True, help="the process id of its server")
    parser.add_argument("--spans", type=int, default=1000)
    arguments = parser.parse_args()
    store = start(arguments.dsn)
    try:
        with psycopg.connect(arguments.dsn, autocommit=True) as connection:
            found = _measure(store, connection, arguments.postmaster, arguments.spans // SPANS)
        found["versions"] = {name: version(name) for name in store.packages}
        print(json.dumps(found), flush=True)
    finally:
        store.stop()


def _measure(store: Store, connection: psycopg.Connection, postmaster: int, traces: int) -> dict[str, object]:
    spans = traces * SPANS
    tracer = store.tracer()
    workload.record(tracer, WARM_UP)
    store.flush()
    before = _until(store, connection, WARM_UP * SPANS)
    size = _size(connection)
    _settle(store.server())
    cpu, begun = _cpu(store, postmaster), time.perf_counter()
    last = workload.record(tracer, traces)
    store.flush()
    handed_over, client = time.perf_counter() - begun, time.process_time()
    stored = _until(store, connection, before + spans) - before
    seconds = time.perf_counter() - begun
    used = {name: now - cpu[name] for name, now in (_cpu(store, postmaster) | {"client": client}).items()}
    return {
        "spans": spans,
        "stored": stored,
        "handed_over_seconds": handed_over,
        "seconds": seconds,
        "cpu_seconds": used,
        "bytes": (_size(connection) - size) / stored,
        "kept": _kept(last, store.read(last.context.span_id, connection)),
    }


def _kept(span: ReadableSpan, stored: Stored) -> dict[str, bool]:
    """Which parts of a span are there as they were; a store may add attributes of its own."""
    scope = span.instrumentation_scope
    assert scope is not None
    assert span.attributes is not None
    return {
        "attributes": dict(span.attributes).items() <= dict(stored.attributes).items(),
        "event": [(name, dict(of)) for name, of in stored.events]
        == [(event.name, dict(event.attributes or {})) for event in span.events],
        "link": [(of, dict(attributes)) for of, attributes in stored.links]
        == [(link.context.span_id, dict(link.attributes or {})) for link in span.links],
        "nanoseconds": stored.times == (span.start_time, span.end_time),
        "resource": dict(stored.resource) == dict(span.resource.attributes),
        "scope": stored.scope == (scope.name, scope.version),
    }


def _cpu(store: Store, postmaster: int) -> dict[str, float]:
    server = store.server()
    return {
        "client": time.process_time(),
        "server": cpu_seconds(server) if server else 0.0,
        "postgres": cpu_seconds(postmaster),
    }


def _settle(server: int | None) -> None:
    """What a server does on its own after its start is not counted: wait until it does next to nothing."""
    if server is None:
        return
    before = cpu_seconds(server)
    for _ in range(60):
        time.sleep(2)
        now = cpu_seconds(server)
        if now - before < 0.1:
            return
        before = now


def _until(store: Store, connection: psycopg.Connection, wanted: int) -> int:
    """Wait until as many spans are there; return how many are when they are, or when no more come.

    Looks the more seldom the longer it takes, so that looking costs next to nothing.
    """
    begun = last = time.monotonic()
    found = 0
    while True:
        (count,) = connection.execute(f"SELECT count(*) FROM {store.table}").fetchone() or (0,)
        now = time.monotonic()
        if count >= wanted or now - last > PATIENCE:
            return int(count)
        if count != found:
            found, last = count, now
        time.sleep(max(0.02, (now - begun) / 50))


def _size(connection: psycopg.Connection) -> int:
    """Bytes of all tables with their indexes."""
    connection.execute("VACUUM")
    connection.execute("CHECKPOINT")
    (size,) = connection.execute(SIZE).fetchone() or (0,)
    return int(size)
