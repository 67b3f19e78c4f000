"""What reading costs when there is much: 1, 3 and 10 million events over 90 days, in 90 partitions of each table.

Events are made by the server, by a rule, in batches of 2,048: each of one service of three, with four of 20 agents, and
traces of 20 events, whose ids are as `TimeOrderedIdGenerator` makes them; with the argument `random`, as OpenTelemetry
does. Their summaries are made by the same rule as an exporter's. At the end the optional indexes are
made, and what they cost and save is told. Needs 12 GB of disk and some minutes; `make bench-reads`. With huge pages,
which the system has to give first (`sysctl vm.nr_hugepages=120`), traces that were not asked for lately take less.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from otel_pg_exporter import EventQuery, Settings, migrate
from otel_pg_exporter.database import Database
from otel_pg_exporter.embedded import EmbeddedServer
from otel_pg_exporter.encoding.tables import SUMMARY
from otel_pg_exporter.reading.statistics import Group, Statistics
from otel_pg_exporter.schema import indexes, partitions

DAYS, STAGES, ROUNDS = 90, (1_000_000, 3_000_000, 10_000_000), 9
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_wal_size": "8GB"}

MAKE = """
CREATE TABLE bench.made AS
SELECT i, ('00000000-0000-7000-8000-' || lpad(to_hex({first} + batch), 12, '0'))::uuid AS batch_id,
       ({begins} || right(md5('trace ' || ({first} + i) / 20), 24))::uuid AS trace_id,
       %(start)s::timestamptz + i * (interval '{days} days' / {count}) AS "time",
       (1e6 * exp(3 * (random() + random() + random() - 1.5)))::bigint AS duration_ns,
       (ARRAY['agent', 'agent', 'agent', 'agent', 'task', 'task', 'task', 'system', 'system', 'deployment'])
           [1 + i %% 10] AS category,
       (ARRAY['llm', 'tool', 'llm', 'invoke'])[1 + i %% 10] AS action,
       CASE WHEN random() < 0.03 THEN 'error' ELSE 'completed' END AS status,
       'service ' || batch %% 3 AS service_name,
       CASE WHEN i %% 10 < 4 THEN 'agent ' || (batch %% 5 * 4 + i / 10 %% 4) END AS agent_id,
       CASE WHEN i %% 10 < 4 THEN (1000 * random())::bigint END AS tokens
  FROM (SELECT i, i / 2048 AS batch FROM generate_series(0, {count} - 1) AS i) AS numbered
"""

BEGINS = {
    "time": "lpad(to_hex(extract(epoch FROM %(start)s::timestamptz + i / 20 * 20 * (interval '{days} days' / {count}))"
    "::bigint), 8, '0')",
    "random": "left(md5('trace ' || ({first} + i) / 20), 8)",
}
"""The first 32 bits of a trace id."""

STORE = """
INSERT INTO bench.{table} (trace_id, span_id, batch_id, batch_index, "time", trace_flags, kind, status_code,
    resource_id, scope_id, service_name, parent_span_id, parent_is_remote, start_unix_nano, end_unix_nano, duration_ns,
    record, event_type, event_name, status, session_id, attributes{names})
SELECT trace_id, i, batch_id, i %% 2048, "time", 1, 1, 0, %(zero)s, %(zero)s, service_name, i - 1, false,
       (extract(epoch FROM "time") * 1e9)::bigint, (extract(epoch FROM "time") * 1e9)::bigint + duration_ns,
       duration_ns, 'span', category || '_work', category || ' step ' || i %% 7, status, 'session ' || i / 200,
       jsonb_build_object('session.id', 'session ' || i / 200, 'gen_ai.request.model', 'gpt-5', 'user.id', 'anna',
                          'retries', 2, 'cached', false){values}
  FROM bench.made WHERE category = '{category}'
"""

SUM = """
INSERT INTO bench.event_summaries ({columns})
SELECT batch_id, date_trunc('hour', "time" AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', category, category || '_work',
       status, service_name, agent_id, NULL, count(*), count(*), sum(duration_ns), min(duration_ns), max(duration_ns),
       sum(('1e' || 8 * (1 + trunc(ln(duration_ns::float8) / ln(1.02::float8 / 0.98))::integer))::numeric),
       sum(tokens) FILTER (WHERE action <> 'invoke'), sum(tokens / 2) FILTER (WHERE action <> 'invoke'),
       sum((tokens * 0.00001::float8)::numeric) FILTER (WHERE action <> 'invoke')
  FROM bench.made GROUP BY batch_id, 2, category, status, service_name, agent_id
"""

AGENT = (", agent_id, agent_name, action, model, input_tokens, output_tokens, cost, input",
         ", agent_id, agent_id, action, 'gpt-5', tokens, tokens / 2, tokens * 0.00001::float8, json_build_object("
         "'question', 'Where is parcel ' || i || ', customer ' || i %% 1000 || ' asks, and when does it arrive?')"
         )  # fmt: skip
TABLES = {"agent": "agent_events", "task": "task_events", "system": "events", "deployment": "deployment_events"}


def main(stages: tuple[int, ...] = STAGES, ids: str = "time") -> None:
    """Load the events in stages, and print what reading costs after each."""
    end = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    start = end - timedelta(days=DAYS)
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder) / "data", options=FAST) as server:
        settings = Settings(dsn=server.conninfo, schema="bench")
        migrate.up(settings)
        first_day = (start - datetime(1970, 1, 1, tzinfo=timezone.utc)).days
        database = Database(settings)
        partitions.ensure(database, range(first_day, first_day + DAYS))
        database.close()
        fill_in(server.conninfo)
        stored = 0
        with psycopg.connect(server.conninfo, autocommit=True) as connection, EventQuery(settings) as query:
            (pages,) = connection.execute("SHOW huge_pages_status").fetchone() or ("unknown",)
            print(f"huge pages: {pages}", flush=True)
            for total in stages:
                begun = time.perf_counter()
                some = load(connection, stored, total - stored, start, ids)
                stored = total
                print(f"\n{total:,} events over {DAYS} days; loaded in {time.perf_counter() - begun:.0f} s", flush=True)
                sizes(connection, total)
                compare(query, end - timedelta(days=7, minutes=20), end - timedelta(minutes=10))
                read(query, some[1:], end)
                first_call(settings, some[0])
            search(connection, settings, stored, end)


def fill_in(dsn: str) -> None:
    """The resource that all rows refer to."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO bench.resources (resource_id, attributes, schema_url) VALUES (%s, '{}', '')", ["0" * 32]
        )


def load(connection: psycopg.Connection[Any], first: int, count: int, start: datetime, ids: str) -> list[str]:
    """Put more events, with their summaries, into all days; gives the ids of some traces."""
    values = {"start": start, "zero": "0" * 32}
    names = {"first": first, "count": count, "days": DAYS}
    connection.execute(MAKE.format(begins=BEGINS[ids].format(**names), **names).encode(), values)
    made = connection.execute("SELECT trace_id FROM bench.made WHERE i % 20 = 0 ORDER BY md5(i::text) LIMIT 27")
    some = [trace_id.hex for (trace_id,) in made]
    for category, table in TABLES.items():
        names, own = AGENT if category == "agent" else ("", "")
        connection.execute(STORE.format(table=table, category=category, names=names, values=own).encode(), values)
    columns = ", ".join(f'"{column}"' for column in SUMMARY)
    connection.execute(SUM.format(columns=columns).encode())
    connection.execute(b"DROP TABLE bench.made")
    connection.execute(b"VACUUM ANALYZE")
    connection.execute(b"CHECKPOINT")  # else who reads has to write what the load has left
    return some


def sizes(connection: psycopg.Connection[Any], total: int) -> None:
    """How much the summaries take."""
    row = connection.execute(
        "SELECT sum(pg_total_relation_size(inhrelid)) FILTER (WHERE inhparent = 'bench.event_summaries'::regclass),"
        " sum(pg_total_relation_size(inhrelid)), (SELECT count(*) FROM bench.event_summaries) FROM pg_inherits"
        " WHERE inhparent::regclass::text LIKE 'bench.%'"
    ).fetchone()
    assert row is not None
    print(f"  {row[2]:,} summaries, {row[0] / total:.1f} bytes for each event, of {row[1] / total:,.0f} in all")


def compare(query: EventQuery, start: datetime, end: datetime) -> None:
    """Statistics of seven days, from batches and from events: time, and whether they are equal."""
    summed, by_summaries = timed(lambda: query.statistics(start=start, end=end), ROUNDS)
    counted, by_rows = timed(lambda: query.statistics(start=start, end=end, exact=True), 3)
    print(f"  statistics of 7 days, {counted.count:,} events: {by_summaries:,.1f} ms; from the events"
          f" {by_rows:,.0f} ms, {by_rows / by_summaries:.0f} x; {difference(summed, counted)}", flush=True)  # fmt: skip
    _, of_agent = timed(lambda: query.statistics(agent="agent 7", status="error", start=start, end=end), ROUNDS)
    print(f"  the same of one agent's errors: {of_agent:,.1f} ms", flush=True)


def difference(summed: Statistics, counted: Statistics) -> str:
    """How far percentiles are off; all else has to be equal."""
    worst = 0.0
    kinds = ("by_category", "by_type", "by_status", "by_agent")
    pairs: list[tuple[Group, Group]] = [(summed, counted)]
    for kind in kinds:
        groups = getattr(counted, kind)
        assert getattr(summed, kind).keys() == groups.keys()
        pairs += [(getattr(summed, kind)[name], group) for name, group in groups.items()]
    for one, other in pairs:
        for name in ("count", "errors", "average_duration_ns", "input_tokens", "output_tokens", "cost"):
            assert getattr(one, name) == getattr(other, name), name
        worst = max(worst, *(abs(getattr(one, p) / getattr(other, p) - 1) for p in ("p50", "p95", "p99")))
    assert summed.over_time == counted.over_time
    return f"equal, percentiles of {len(pairs)} groups within {worst:.2%}"


def read(query: EventQuery, ids: list[str], end: datetime) -> None:
    """A trace by its id, the last errors, and a day of an agent."""
    traces = iter([*ids, *ids])
    trace, taken = timed(lambda: query.trace(next(traces)), 25)
    _, again = timed(lambda: query.trace(next(traces)), 25)
    print(
        f"  a trace of {len(trace.to_readable_spans())} by its id, without a time: {taken:.1f} ms; again {again:.1f} ms"
    )
    errors, taken = timed(lambda: query.events(status="error", limit=100), 15)
    print(f"  the last {len(errors)} errors: {taken:.1f} ms")
    day = end - timedelta(days=40)
    whole = {"agent": "agent 7", "start": day, "end": day + timedelta(days=1)}
    page, taken = timed(lambda: query.agent_events(limit=100, **whole), 15)
    print(f"  a day of an agent, a page of {len(page)}: {taken:.1f} ms")
    summed, taken = timed(lambda: query.statistics("agent", **whole), 15)
    print(f"  its statistics, {summed.count:,} events: {taken:.1f} ms", flush=True)


def first_call(settings: Settings, trace_id: str) -> None:
    """A trace by its id, of a program that has just begun: it connects, and the server knows no partition yet."""
    begun = time.perf_counter()
    with EventQuery(settings) as query:
        query.trace(trace_id)
        taken = (time.perf_counter() - begun) * 1000
    print(f"  the first trace, with connecting: {taken:.0f} ms", flush=True)


def search(connection: psycopg.Connection[Any], settings: Settings, stored: int, end: datetime) -> None:
    """What the optional indexes save, and what they cost in time and disk."""
    number = 2 * stored // 5 // 200  # of a session in the middle of all days
    parcel = number * 200 + 1
    searches = {
        "session": lambda query: query.events(session=f"session {number}"),
        "attributes": lambda query: query.events(attributes={"session.id": f"session {number}"}),
        "text": lambda query: query.events(text=f"parcel {parcel}"),
    }
    writing = write(connection, end)
    for kind, ask in searches.items():
        with EventQuery(settings) as query:
            begun = time.perf_counter()
            without = ask(query)
            taken = time.perf_counter() - begun
        begun = time.perf_counter()
        indexes.create(kind, settings)
        making = time.perf_counter() - begun
        size = sum(each.bytes for each in indexes.status(settings) if each.kind == kind)
        with EventQuery(settings) as query:
            found, quick = timed(lambda query=query, ask=ask: ask(query), 15)
        assert [*without] == [*found]
        written = write(connection, end)
        print(f"  search by {kind}, {len(found)} found: {taken:.1f} s; with the index {quick:.1f} ms", flush=True)
        print(f"    made in {making:.0f} s, {size / stored:.0f} bytes for each event;"
              f" to store agent events takes {written / writing:.2f} x as long", flush=True)  # fmt: skip
        indexes.drop(kind, settings)


def write(connection: psycopg.Connection[Any], end: datetime) -> float:
    """Milliseconds to store 4,096 agent events into a day, as two batches would; they are taken back."""
    taken = []
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS sample AS SELECT * FROM bench.agent_events LIMIT 4096")
    connection.execute('UPDATE sample SET "time" = %s', [end - timedelta(hours=1)])
    for _ in range(ROUNDS):
        with connection.transaction(force_rollback=True):
            begun = time.perf_counter()
            connection.execute("INSERT INTO bench.agent_events SELECT * FROM sample")
            taken.append((time.perf_counter() - begun) * 1000)
    return median(taken)


def timed(action: Callable[[], Any], rounds: int) -> tuple[Any, float]:
    """What it gives, and the median in milliseconds, once it is warm."""
    found, taken = action(), []
    for _ in range(rounds):
        begun = time.perf_counter()
        found = action()
        taken.append((time.perf_counter() - begun) * 1000)
    return found, median(taken)


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word not in BEGINS]
    main(tuple(map(int, given)) or STAGES, "random" if "random" in sys.argv else "time")
