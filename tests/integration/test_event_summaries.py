"""What batches note of themselves is what their rows come to, whichever way they took; statistics from it are exact."""

from __future__ import annotations

import random
import threading
import time
import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import count, cycle, product
from typing import Any

import orjson
import psycopg
import pytest
from harness.summaries import differences
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import StatusCode
from psycopg.rows import dict_row

from otel_pg_exporter import EventQuery, EventStore, PostgresLogRecordExporter, PostgresSpanExporter
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database, opened
from otel_pg_exporter.encoding.batches import Batch, encode_batch
from otel_pg_exporter.encoding.plain_rows import SpanEncoder
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.otlp.to_json import encode
from otel_pg_exporter.reading import questions
from otel_pg_exporter.reading.statistics import Statistics
from otel_pg_exporter.sql_files import Names
from otel_pg_exporter.upkeep.erasure import erase
from otel_pg_exporter.upkeep.merging import merge
from otel_pg_exporter.writing.delivery import Delivery
from otel_pg_exporter.writing.importing import import_files
from otel_pg_exporter.writing.sink import Sink

FIRST = datetime(2026, 11, 20, 22, tzinfo=timezone.utc)
HOURS = 5
PRODUCER = uuid.UUID(int=6)
NUMBERS = ("count", "errors", "average_duration_ns", "input_tokens", "output_tokens", "cost")
PERCENTILES = ("p50", "p95", "p99")


def make_spans(count: int, seed: str, first: datetime = FIRST) -> list[ReadableSpan]:
    """Spans of all categories, of several services and agents, within some hours; some of them odd."""
    chance = random.Random(seed)
    memory = InMemorySpanExporter()
    tracers = []
    for service in ("api", "worker", None):
        provider = TracerProvider(
            resource=Resource({"service.name": service} if service else {}), shutdown_on_exit=False
        )
        provider.add_span_processor(SimpleSpanProcessor(memory))
        tracers.append(provider.get_tracer("tests"))
    for number in range(count):
        start = int(first.timestamp()) * 10**9 + chance.randrange(HOURS * 3600 * 10**9)
        agent, duration = chance.choice(["a1", "a2", "ä☃"]), int(10 ** chance.uniform(0, 12))
        tokens = {"gen_ai.usage.input_tokens": chance.randrange(9**9), "gen_ai.usage.output_tokens": number}
        attributes: dict[str, Any] = chance.choice(
            [
                {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5", "gen_ai.agent.id": agent, **tokens},
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.agent.name": agent,
                    "otel_pg.cost": chance.random(),
                    **tokens,
                },
                {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent, **tokens},
                {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.id": f"{agent} 7", "gen_ai.agent.name": agent},
                {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search", "gen_ai.agent.name": agent},
                {"otel_pg.category": "task", "otel_pg.status": chance.choice(["started", "completed", "cancelled"])},
                {"otel_pg.category": "deployment", "otel_pg.event_type": chance.choice(["build", "release"])},
                {"http.request.method": "GET"},
                {"odd": "\0", "otel_pg.category": "task"},
            ]
        )
        span = chance.choice(tracers).start_span(f"work {number % 3}", attributes=attributes, start_time=start)
        if chance.random() < 0.2:
            span.record_exception(ValueError("no"))
            span.set_status(StatusCode.ERROR, "no")
        span.end(start + chance.choice([duration, duration, duration, 0, -7]))
    return list(memory.get_finished_spans())


def make_logs(count: int, seed: str) -> list[ReadableLogRecord]:
    """Log records, some with a duration, some without any time of their own."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        moment = int(FIRST.timestamp()) * 10**9 + chance.randrange(HOURS * 3600 * 10**9)
        record = LogRecord(
            timestamp=chance.choice([moment, None]),
            observed_timestamp=moment + 1,
            severity_number=chance.choice([SeverityNumber.INFO, SeverityNumber.ERROR]),
            attributes=chance.choice(
                [
                    {},
                    {"otel_pg.duration_ns": chance.randrange(10**10)},
                    {"otel_pg.category": "agent", "otel_pg.cost": 0.1},
                ]
            ),
            event_name="logged",
        )
        found.append(ReadableLogRecord(record, Resource({"service.name": "api"}), InstrumentationScope("tests")))
    return found


def batch_of(spans: list[ReadableSpan], sequence: int = 1) -> Batch:
    return encode_batch(spans, SpanEncoder().span, producer_id=PRODUCER, sequence=sequence, signal="span")


@pytest.fixture
def refusing(dsn):
    """Rows whose name is work 1 are refused."""
    with psycopg.connect(dsn) as connection:
        for table in ("events", "task_events", "agent_events", "deployment_events"):
            connection.execute(f"ALTER TABLE otel.{table} ADD CONSTRAINT no CHECK (event_name <> 'work 1')")


def stored(dsn: str) -> tuple[int, int]:
    """Rows that there are, and rows that summaries count."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("""
            SELECT (SELECT count(*) FROM otel.events) + (SELECT count(*) FROM otel.task_events)
                   + (SELECT count(*) FROM otel.agent_events) + (SELECT count(*) FROM otel.deployment_events),
                   (SELECT coalesce(sum(event_count), 0) FROM otel.event_summaries)""").fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def assert_same(summed: Statistics, counted: Statistics) -> None:
    """All is equal; percentiles are as near as they are said to be, where a duration below 0 counts as 0."""
    assert (0.02, 0.0) == (summed.percentile_error, counted.percentile_error)
    assert summed.over_time == counted.over_time
    pairs: list[Any] = [(summed, counted)]
    for by in ("by_category", "by_type", "by_status", "by_agent"):
        assert getattr(summed, by).keys() == getattr(counted, by).keys()
        pairs += [(getattr(summed, by)[name], group) for name, group in getattr(counted, by).items()]
    for one, other in pairs:
        assert [getattr(one, name) for name in NUMBERS] == [getattr(other, name) for name in NUMBERS]
        for name in PERCENTILES:
            nearly, exactly = getattr(one, name), getattr(other, name)
            assert nearly == exactly or nearly == pytest.approx(exactly, rel=0.02 * (1 + 1e-9), abs=7), name


def test_what_is_counted_on_the_way_is_what_the_bytes_of_the_rows_say():
    """Whichever encoder wrote them."""
    spans, logs = make_spans(300, "encoders"), make_logs(100, "encoders")
    for records, encoder in ((spans, SpanEncoder().span), (spans, RowEncoder().span), (logs, RowEncoder().log)):
        batch = encode_batch(records, encoder, producer_id=PRODUCER, sequence=1, signal="span")
        again = replace(batch)  # without what was counted
        assert len(batch.summaries()) > 5
        assert sorted(batch.summaries()) == sorted(again.summaries())


def test_summaries_are_those_of_the_rows(dsn):
    """By the exporters: compared with what SQL says of the rows, number by number; also of rows that come late."""
    spans = make_spans(200, "queue")
    for first in (datetime(1969, 12, 31, 22, tzinfo=timezone.utc), datetime(2001, 1, 1, tzinfo=timezone.utc)):
        spans += make_spans(20, "late", first)
    logs = make_logs(50, "queue")
    for exporter, records in ((PostgresSpanExporter(dsn), spans), (PostgresLogRecordExporter(dsn), logs)):
        for number in range(0, len(records), 64):
            exporter.export(records[number : number + 64])
        exporter.shutdown()

    assert stored(dsn) == (290, 290)
    assert differences(dsn) == []


def test_statistics_are_those_of_the_rows_that_an_erasure_leaves(dsn):
    """Whether the summaries were merged before it or after it; of kinds of which nothing is left nothing is said."""
    now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    spans = make_spans(900, "erasure", now - timedelta(hours=30))
    exporter = PostgresSpanExporter(dsn)
    for place in range(0, len(spans), 5):
        exporter.export(spans[place : place + 5])
    exporter.shutdown()
    traces = [f"{span.context.trace_id:032x}" for span in spans]
    builds = [trace_id for trace_id, span in zip(traces, spans, strict=True) if "otel_pg.event_type" in span.attributes]

    def check() -> Statistics:
        with EventQuery(dsn=dsn) as query:
            for filters in ({}, {"service": "api"}, {"agent": "a1"}, {"agent": "a2 7"}, {"status": "error"}):
                given: Any = {**filters, "start": now - timedelta(hours=48)}
                assert_same(query.statistics(**given), query.statistics(exact=True, **given))
            return query.statistics(start=now - timedelta(hours=48))

    check()
    erase(dsn=dsn, trace_id=traces[::3])
    check()
    assert merge(dsn=dsn)
    check()
    erase(dsn=dsn, trace_id=traces[1::3] + builds)
    assert "deployment" not in check().by_category
    erase(dsn=dsn, trace_id=traces)
    nothing = check()
    assert (0, {}, []) == (nothing.count, nothing.by_type, [*nothing.over_time])


def test_summaries_are_those_of_rows_that_came_from_the_spool_and_twice(dsn, delivery, outage):
    """A batch that was spooled, one that is sent again, and one that is spooled though it was stored."""
    batches = [batch_of(make_spans(60, f"batch {number}"), number) for number in range(1, 4)]
    again = [replace(batch) for batch in batches]
    assert delivery.deliver(batches[0], 10) == "stored"
    outage.begin()
    assert [delivery.deliver(batch, 10) for batch in (again[0], batches[1], batches[2])] == ["spooled"] * 3
    outage.end()
    assert delivery.replay_now(30)
    assert delivery.deliver(again[2], 10) == "duplicate"

    assert stored(dsn) == (180, 180)
    assert differences(dsn) == []


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize("is_spooled", [False, True])
def test_summaries_leave_out_what_was_refused(dsn, delivery, outage, is_spooled):
    """Rows that are set aside are not counted."""
    refuse_some(delivery, outage, is_spooled)
    assert differences(dsn) == []
    rows, counted = stored(dsn)
    assert rows == counted == 60 - delivery.counts["dead"] < 60


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize("is_spooled", [False, True])
def test_a_build_that_goes_on_counting_what_was_refused_is_found_out(dsn, delivery, outage, monkeypatch, is_spooled):
    """One whose summaries are made once, with the batch."""
    made: dict[uuid.UUID, list[bytes]] = {}
    summaries = Batch.summaries
    monkeypatch.setattr(Batch, "summaries", lambda self: made.setdefault(self.id, summaries(self)))

    refuse_some(delivery, outage, is_spooled)

    assert differences(dsn) != []


def refuse_some(delivery: Delivery, outage: Any, is_spooled: bool) -> None:
    if is_spooled:
        outage.begin()
    delivery.deliver(batch_of(make_spans(60, "refused")), 30)
    if is_spooled:
        outage.end()
    assert delivery.replay_now(30)
    assert delivery.counts["dead"] > 5


def test_summaries_go_with_the_programs_own_transaction(dsn):
    """What it rolls back is not counted."""
    write_in_transactions(dsn)
    assert stored(dsn) == (30, 30)
    assert differences(dsn) == []


def test_a_build_that_counts_apart_from_the_transaction_is_found_out(dsn, monkeypatch):
    """One that stores summaries by a connection of its own, before the rows."""
    copies = Sink.copies

    def apart(self: Sink, batch: Batch) -> list[Any]:
        *rows, summaries = copies(self, batch)
        self._writer.execute(f"BEGIN;\n{summaries.statement};\nCOMMIT", time.monotonic() + 5, [summaries])
        return rows

    monkeypatch.setattr(Sink, "copies", apart)
    write_in_transactions(dsn)
    assert differences(dsn) != []


def write_in_transactions(dsn: str) -> None:
    with EventStore(dsn=dsn) as store, psycopg.connect(dsn) as connection:
        for number in range(20):
            fields = {"agent_id": "a1", "cost": 0.1 * number, "input_tokens": number, "duration_seconds": number}
            store.log_agent_event(event_name="x", connection=connection, **fields)
            if number % 2:
                connection.rollback()
            connection.commit()
            store.log_task_event(event_name="y", wait=True)


def test_summaries_are_those_of_rows_that_were_imported_twice(dsn, tmp_path):
    """From a file of OTLP/JSON."""
    path = tmp_path / "spans.json"
    path.write_bytes(orjson.dumps(encode(make_spans(60, "import"), make_logs(20, "import"))))
    with opened(Settings.from_env(dsn=dsn)) as database:
        for _ in range(2):
            import_files(database, {"spans": path})

    assert stored(dsn) == (80, 80)
    assert differences(dsn) == []


PERIODS = [
    {},
    {"start": FIRST},
    {"end": FIRST + timedelta(hours=2)},
    {"start": FIRST + timedelta(minutes=1), "end": FIRST + timedelta(hours=4, microseconds=1)},
    {"start": FIRST - timedelta(days=9), "end": FIRST + timedelta(hours=1, minutes=59)},
    {"start": FIRST + timedelta(hours=1), "end": FIRST + timedelta(hours=3)},
]
FILTERS: list[tuple[str | None, dict[str, Any]]] = [
    (None, {}),
    ("agent", {}),
    ("task", {"status": ["started", "error"]}),
    (None, {"service": "api"}),
    (None, {"agent": ["a1", "ä☃"]}),
    ("agent", {"agent": "a2", "event_type": "agent_action"}),
    (None, {"agent_id": "a1 7"}),
    (None, {"event_type": ["build", "release"], "status": "completed"}),
    ("deployment", {"service": "nobody"}),
]


def test_statistics_from_batches_equal_those_from_events(dsn):
    """Of all periods, with whole hours and pieces of them, and all filters that summaries can answer."""
    exporter = PostgresSpanExporter(dsn)
    exporter.export(make_spans(700, "statistics"))
    exporter.shutdown()
    compared, buckets = 0, cycle([timedelta(hours=1), timedelta(minutes=7), timedelta(days=1)])
    with EventQuery(dsn=dsn) as query:
        for period, (category, filters) in product(PERIODS, FILTERS):
            options = {"bucket": next(buckets), **period, **filters}
            counted = query.statistics(category, exact=True, **options)
            assert_same(query.statistics(category, **options), counted)
            compared += counted.count
        assert compared > 5_000
        for filters in ({"name": "work 1"}, {"user": "u"}, {"start": FIRST, "end": FIRST + timedelta(minutes=59)}):
            assert query.statistics(**filters).percentile_error == 0


def test_statistics_from_batches_equal_those_from_events_while_four_write(dsn):
    """Each time the same snapshot is asked both ways; the writers store late rows too, and roll some back."""
    is_over = threading.Event()

    def write(number: int) -> None:
        database = Database(Settings.from_env(dsn=dsn))
        sink, turn = Sink(database), 0
        with psycopg.connect(dsn) as connection, EventStore(dsn=dsn) as store:
            while not is_over.is_set():
                turn += 1
                sink.store(batch_of(make_spans(20, f"{number} {turn}"), turn), {}, time.monotonic() + 30)
                store.log_task_event(event_name="own", duration_seconds=turn, connection=connection)
                connection.rollback() if turn % 2 else connection.commit()
        sink.close()
        database.close()

    writers = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for writer in writers:
        writer.start()
    totals = set()
    try:
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            for turn in count():
                if turn >= 24 and len(totals) > 12:
                    break
                assert all(writer.is_alive() for writer in writers)
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                category, filters = FILTERS[turn % len(FILTERS)]
                options = {**PERIODS[turn % len(PERIODS)], **filters}
                summed, counted = (carry(connection, category, options, exact) for exact in (False, True))
                assert_same(summed, counted)
                totals.add((turn % len(FILTERS), counted.count))
                connection.rollback()
    finally:
        is_over.set()
        for writer in writers:
            writer.join()
    assert differences(dsn) == []


def carry(connection: Any, category: str | None, filters: dict[str, Any], exact: bool) -> Statistics:
    """The answer as this transaction sees it."""
    question = questions.statistics(Names("otel"), category, timedelta(hours=1), filters, exact)
    try:
        sql, parameters = next(question)
        while True:
            sql, parameters = question.send(connection.execute(sql.encode(), parameters).fetchall())
    except StopIteration as answer:
        return answer.value


def test_a_histogram_that_runs_over_is_not_believed(dsn):
    """Then the events are read."""
    exporter = PostgresSpanExporter(dsn)
    exporter.export(make_spans(50, "much"))
    exporter.shutdown()
    with EventQuery(dsn=dsn) as query, psycopg.connect(dsn) as connection:
        assert query.statistics().percentile_error == 0.02
        connection.execute("UPDATE otel.event_summaries SET histogram = histogram + 1e8 - 1")
        connection.commit()
        assert query.statistics() == query.statistics(exact=True)
