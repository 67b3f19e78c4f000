"""Long texts are stored once a day, and whoever reads gets whole values."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import threading
import time
import uuid
from itertools import islice

import psycopg
import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanContext, TraceFlags
from psycopg.conninfo import make_conninfo

from otel_pg_exporter import AsyncEventQuery, EventQuery, configure, grants, migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.encoding.batches import encode_batch
from otel_pg_exporter.encoding.plain_rows import SpanEncoder
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.encoding.treatment import Treatment
from otel_pg_exporter.exporter import PostgresLogRecordExporter, PostgresSpanExporter
from otel_pg_exporter.reading.wire_rows import read_records
from otel_pg_exporter.schema import partitions
from otel_pg_exporter.spool import Spool
from otel_pg_exporter.upkeep import retention
from otel_pg_exporter.writing.importing import import_files

DAY_NS = 86_400_000_000_000
LONG = 2048


def text_of(seed, size):
    return random.Random(str(seed)).randbytes(size // 2).hex()


TOOLS = json.dumps([{"name": f"tool {number}", "schema": text_of(number, 1500)} for number in range(4)])


def span_of(number, attributes, start=None, trace_id=7):
    start = start or time.time_ns() + number
    return ReadableSpan(
        "chat m", SpanContext(trace_id, number, False, TraceFlags(1)), resource=Resource({}), attributes=attributes,
        start_time=start, end_time=start + 5,
    )  # fmt: skip


def turns(count, seed=1, trace_id=7, size=1200):
    """The calls of a conversation, each with all that was said before."""
    history, spans = [{"role": "system", "content": text_of(seed, 3000)}], []
    for number in range(1, count + 1):
        history.append({"role": "user", "content": text_of((seed, number), size)})
        answer = {"role": "assistant", "content": text_of((seed, -number), size)}
        attributes = {
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.tool.definitions": TOOLS,
            "gen_ai.input.messages": json.dumps(history), "gen_ai.output.messages": json.dumps([answer]),
        }  # fmt: skip
        spans.append(span_of(number, attributes, trace_id=trace_id))
        history.append(answer)
    return spans


def export(dsn, spans, **settings):
    exporter = PostgresSpanExporter(dsn, **settings)
    exporter.export(spans)
    exporter.shutdown()
    assert exporter.last_error is None
    assert exporter.counts["stored"] == len(spans)


def fetch(dsn, sql, *parameters):
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(sql, parameters or None).fetchall()


def execute(dsn, *statements):
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def check(events, spans):
    """Whole, and as they were."""
    found = {event.span_id: event for event in events}
    assert len(found) == len(spans)
    for span in spans:
        event = found[f"{span.context.span_id:016x}"]
        assert event.attributes == dict(span.attributes)
        assert event.input == json.loads(span.attributes["gen_ai.input.messages"])
        assert event.output == json.loads(span.attributes["gen_ai.output.messages"])


def otlp(spans):
    return {span.context.span_id: encode_spans([span]).SerializeToString(deterministic=True) for span in spans}


@pytest.fixture
def conversation(dsn):
    """Its spans, that are stored."""
    spans = turns(20)
    export(dsn, spans)
    return spans


def test_every_query_gives_whole_values(dsn, conversation):
    """Pages, traces and what they give back, tails, streams and documents."""

    async def asynchronously():
        async with AsyncEventQuery(dsn=dsn) as query:
            return [*await query.agent_events(limit=100)], await query.trace(f"{7:032x}")

    with EventQuery(dsn=dsn) as query:
        check(query.agent_events(limit=100), conversation)
        check([event for page in (0, 10) for event in query.agent_events(limit=10, offset=page)], conversation)
        check(query.stream(), conversation)
        check(islice(query.tail(from_start=True, follow=False), 100), conversation)
        assert otlp(conversation) == otlp(query.trace(f"{7:032x}").to_readable_spans())
        documents = [*query.otlp_documents()]
    events, trace = asyncio.run(asynchronously())
    check(events, conversation)
    assert otlp(conversation) == otlp(trace.to_readable_spans())
    assert json.dumps(TOOLS) in json.dumps(documents)
    for span in conversation:
        assert json.dumps(span.attributes["gen_ai.input.messages"]) in json.dumps(documents)


def test_views_give_whole_values(dsn, conversation):
    """All views that show inputs, outputs or attributes, as JSON of the right type."""
    for view, columns in {
        "spans": "input, output, attributes", "all_events": "input, output, attributes",
        "agent_actions": "input, output, attributes",
    }.items():  # fmt: skip
        rows = fetch(dsn, f"SELECT span_id, {columns} FROM otel.{view} ORDER BY span_id")
        for span, (span_id, found_input, found_output, attributes) in zip(conversation, rows, strict=True):
            assert span.context.span_id == span_id
            assert json.loads(span.attributes["gen_ai.input.messages"]) == found_input
            assert json.loads(span.attributes["gen_ai.output.messages"]) == found_output
            # the views show null there for what is input and output
            of_columns = dict.fromkeys(("gen_ai.input.messages", "gen_ai.output.messages"))
            assert {**span.attributes, **of_columns} == attributes
    (found,) = fetch(dsn, "SELECT input::text FROM otel.spans WHERE span_id = 20")
    assert conversation[-1].attributes["gen_ai.input.messages"] == found[0]


@pytest.mark.parametrize(
    ("view", "attributes"),
    [
        ("tasks", {"otel_pg.category": "task", "input.value": text_of(1, 5000), "note": text_of(2, 5000)}),
        ("deployments", {"otel_pg.category": "deployment", "note": text_of(2, 5000)}),
        ("errors", {"otel_pg.category": "system", "otel_pg.status": "error", "note": text_of(2, 5000)}),
    ],
)
def test_so_do_those_of_the_other_categories(dsn, view, attributes):
    """The text that is no JSON stands there as a JSON string."""
    export(dsn, [span_of(1, attributes)])

    ((found,),) = fetch(dsn, f"SELECT attributes FROM otel.{view}")
    assert attributes["note"] == found["note"]
    if "input.value" in attributes:
        assert fetch(dsn, f"SELECT input #>> '{{}}' FROM otel.{view}") == [(attributes["input.value"],)]
    (short,) = fetch(dsn, f"SELECT attributes FROM otel.{table_of(view)}")
    assert short[0]["note"] is None


def table_of(view):
    return {"tasks": "task_events", "deployments": "deployment_events", "errors": "events"}[view]


def test_what_is_sent_again_is_stored_once(dsn):
    """Fifty turns over the same history take a fifth of the bytes, or less; and again nothing but rows."""
    spans = [span for seed in range(5) for span in turns(50, seed, trace_id=seed + 1, size=300)]
    for settings in ({"schema": "whole", "shared_text_length": 0}, {"schema": "shared"}):
        for first in range(0, len(spans), 25):
            export(dsn, spans[first : first + 25], **settings)
    sizes = dict(
        fetch(
            dsn,
            "SELECT n.nspname, sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.relname ~ '^(agent_events|contents)_' GROUP BY 1",
        )
    )
    ((count, parts),) = fetch(dsn, "SELECT count(*), count(DISTINCT content_id) FROM shared.contents")
    export(dsn, spans[:50], schema="shared")

    assert sizes["shared"] * 5 <= sizes["whole"]
    assert count == parts
    assert [(count,)] == fetch(dsn, "SELECT count(*) FROM shared.contents")


def test_many_exporters_store_the_same_text_at_once(dsn):
    """None waits for another in a circle, and each text is there once."""
    spans = [turns(12, trace_id=number + 1) for number in range(6)]
    threads = [threading.Thread(target=export, args=(dsn, each)) for each in spans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with EventQuery(dsn=dsn) as query:
        for number, each in enumerate(spans):
            check(query.agent_events(trace=f"{number + 1:032x}", limit=100), each)
    assert fetch(dsn, "SELECT count(*) - count(DISTINCT content_id) FROM otel.contents") == [(0,)]


def test_another_day_has_texts_of_its_own(dsn):
    """Also in 1970, and where two days are in a partition of a year."""
    days = [time.time_ns(), time.time_ns() - DAY_NS, 5, DAY_NS + 5, time.time_ns() + 40 * 366 * DAY_NS]
    attributes = {"otel_pg.category": "task", "input.value": text_of(1, 3000), "note": text_of(2, 3000)}
    export(dsn, [span_of(number, attributes, start) for number, start in enumerate(days, 1)])

    with EventQuery(dsn=dsn) as query:
        found = query.task_events()
    assert [attributes] * 5 == [event.attributes for event in found]
    assert fetch(dsn, "SELECT count(*), count(DISTINCT content_id) FROM otel.contents") == [(10, 2)]
    assert fetch(dsn, "SELECT count(*) FROM otel.tasks WHERE input #>> '{}' = %s", text_of(1, 3000)) == [(5,)]


def test_texts_go_when_no_row_of_their_day_is_left(dsn):
    """With the category that is kept longest; rows of another day keep theirs."""
    old = time.time_ns() - 20 * DAY_NS
    attributes = {"input.value": text_of(1, 3000)}
    spans = [
        span_of(1, {**attributes, "otel_pg.category": "task"}, old),
        span_of(2, {**attributes, "gen_ai.operation.name": "execute_tool"}, old),
        span_of(3, {**attributes, "otel_pg.category": "task"}),
    ]
    export(dsn, spans)

    retention.prune(Settings(dsn=dsn, retention_days=30, retention_task_days=10))
    with EventQuery(dsn=dsn) as query:
        assert [text_of(1, 3000)] == [event.input for event in query.agent_events()]
        assert [3] == [int(event.span_id, 16) for event in query.task_events()]
    assert fetch(dsn, "SELECT count(*) FROM otel.contents") == [(2,)]

    retention.prune(Settings(dsn=dsn, retention_days=10))
    with EventQuery(dsn=dsn) as query:
        assert [text_of(1, 3000)] == [event.input for event in query.events()]
    assert fetch(dsn, "SELECT count(*) FROM otel.contents") == [(1,)]


def test_a_row_whose_text_is_gone_is_shown_without_it(dsn, conversation):
    """By queries and views: no half text, and no error."""
    execute(dsn, "DELETE FROM otel.contents WHERE body LIKE '%tool 2%'")

    with EventQuery(dsn=dsn) as query:
        found = query.agent_events(limit=100)
    assert {None} == {event.attributes["gen_ai.tool.definitions"] for event in found}
    check(
        found,
        [span_of(span.context.span_id, {**span.attributes, "gen_ai.tool.definitions": None}) for span in conversation],
    )
    execute(dsn, "DELETE FROM otel.contents")
    assert fetch(dsn, "SELECT count(*), count(input) FROM otel.spans") == [(20, 0)]
    with EventQuery(dsn=dsn) as query:
        assert query.agent_events(limit=1)[0].input is None


def test_an_outage_leaves_them_in_the_spool(dsn, outage, tmp_path):
    """What waited is whole when it is stored, by this program or by the next, and when it is taken out of the spool."""
    spans = turns(20)
    settings = {"spool_dir": str(tmp_path / "spool")}
    outage.begin()
    exporter = PostgresSpanExporter(dsn, **settings)
    exporter.export(spans)
    exporter.shutdown()
    outage.end()
    environment = {"OTEL_EXPORTER_POSTGRES_DSN": dsn, "EVENT_SPOOL_DIR": settings["spool_dir"], "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "otel_pg_exporter.cli", "spool"]
    exported = subprocess.run([*command, "export"], env=environment, capture_output=True, text=True, check=True)
    subprocess.run([*command, "replay"], env=environment, capture_output=True, text=True, check=True)

    assert json.dumps(spans[-1].attributes["gen_ai.input.messages"])[1:-1] in exported.stdout
    with EventQuery(dsn=dsn) as query:
        assert otlp(spans) == otlp(query.trace(f"{7:032x}").to_readable_spans())


@pytest.mark.parametrize("durability", ["memory", "process", "power"])
def test_in_each_durability_they_come_back(dsn, tmp_path, durability):
    """Of spans and of log records, through the program's own providers."""
    telemetry = configure(
        dsn=dsn, durability=durability, spool_dir=str(tmp_path), tracer_provider=TracerProvider(),
        logger_provider=LoggerProvider(),
    )  # fmt: skip
    body, attributes = text_of(3, 9000), dict(turns(9)[-1].attributes)
    with telemetry.tracer_provider.get_tracer("t").start_as_current_span("chat m", attributes=attributes):
        telemetry.logger_provider.get_logger("t").emit(LogRecord(event_name="e", body=body, attributes={"n": body}))
    assert telemetry.force_flush()
    telemetry.shutdown()

    with EventQuery(dsn=dsn) as query:
        (span,), (log,) = query.events(record="span"), query.events(record="log")
    assert attributes == span.attributes
    assert json.loads(attributes["gen_ai.input.messages"]) == span.input
    assert (body, {"n": body}) == (log.body, log.attributes)


def test_a_short_limit_shares_every_text_and_none_shares_nothing(dsn):
    """The same values come back; a row says which way it was stored."""
    attributes = {"otel_pg.category": "task", "input.value": "{}", "a": "x", "b": "", "c": "é", "d": 1}
    for number, least in enumerate((0, 1), 1):
        export(dsn, [span_of(number, attributes)], shared_text_length=least)

    with EventQuery(dsn=dsn) as query:
        assert [attributes] * 2 == [event.attributes for event in query.task_events()]
        assert [{}] * 2 == [event.input for event in query.task_events()]
    assert fetch(dsn, "SELECT input IS NULL, attribute_contents IS NULL FROM otel.task_events ORDER BY span_id") == [
        (False, True), (True, False),
    ]  # fmt: skip


@pytest.mark.parametrize("bad", ["\0", "\ud800", "\\u0000"])
def test_what_a_text_column_cannot_hold_is_stored_in_the_row(dsn, bad):
    """As any such text is, without loss; beside it others are shared."""
    attributes = {"otel_pg.category": "task", "input.value": f'["{bad}", "{text_of(1, 5000)}"]', "a": bad + "x" * 5000}
    span = span_of(1, attributes)
    export(dsn, [span, span_of(2, {**attributes, "input.value": text_of(1, 5000)})])

    with EventQuery(dsn=dsn) as query:
        one, other = query.task_events(order_direction="asc")
    assert attributes == one.attributes
    assert text_of(1, 5000) == other.input


def test_both_encoders_share_alike():
    """The quick one leaves long texts to the other."""
    quick, careful = (made(Treatment(shared_text_length=LONG)) for made in (SpanEncoder, RowEncoder))
    for attributes in (
        {"input.value": "x" * LONG}, {"input.value": "x" * (LONG - 3)}, {"input.value": json.dumps(["x" * LONG])},
        {"a": "x" * LONG}, {"a": "x" * (LONG - 1)}, {"a": "é" * (LONG // 2)}, {"a": "x" * 1500, "b": "x" * 1500},
    ):  # fmt: skip
        span = span_of(1, attributes)
        assert careful.span(span, bytes(16), 1) == quick.span(span, bytes(16), 1)
    assert len(careful.span(span_of(1, {"a": "x" * LONG}), bytes(16), 1)[3]) == 2
    assert len(careful.span(span_of(1, {"a": "x" * (LONG - 1)}), bytes(16), 1)[3]) == 1


def test_a_row_that_is_refused_takes_its_own_texts_along(tmp_path):
    """And not those of the whole batch: each would be set aside with each of its rows."""
    spans = [
        span_of(number, {"input.value": text_of(number, 50_000), "a": text_of(-number, 50_000)}) for number in (1, 2, 3)
    ]
    encoder = RowEncoder(Treatment(shared_text_length=LONG))
    batch = encode_batch(spans, encoder.span, producer_id=uuid.UUID(int=1), sequence=1, signal="span")
    table = next(table for table, rows in batch.rows.items() if rows)
    whole = batch.size

    taken = batch.take_out(table, 1)
    spool = Spool(Settings(dsn="x=y", spool_dir=str(tmp_path)))
    spool.put(taken)
    again = spool.load(spool.oldest())
    spool.close()

    assert 90_000 < taken.size < whole / 2
    (found,) = read_records(again)
    assert dict(spans[1].attributes) == dict(found.attributes)


def test_readers_see_them_by_the_views_alone(dsn, conversation):
    """A role that may read the views gets whole values, and nothing from the table."""
    role = f"reader_{uuid.uuid4().hex[:12]}"
    grants.grant(Settings(dsn=dsn), readers=[role], create=True)
    try:
        execute(dsn, f"ALTER ROLE {role} LOGIN PASSWORD 'x'")
        reader = make_conninfo(dsn, user=role, password="x")
        (found,) = fetch(reader, "SELECT input::text, attributes FROM otel.agent_actions WHERE span_id = 20")
        assert conversation[-1].attributes["gen_ai.input.messages"] == found[0]
        assert found[1]["gen_ai.tool.definitions"] == TOOLS
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            fetch(reader, "SELECT * FROM otel.contents")
    finally:
        grants.revoke(Settings(dsn=dsn), role)
        execute(dsn, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_writers_need_no_more_than_insert(dsn):
    """As for all that a program stores."""
    role = f"writer_{uuid.uuid4().hex[:12]}"
    partitions.ahead(Database(Settings(dsn=dsn)), 1)
    grants.grant(Settings(dsn=dsn), writers=[role], create=True)
    try:
        execute(dsn, f"ALTER ROLE {role} LOGIN PASSWORD 'x'")
        spans = turns(10)
        for first in (0, 5):  # the second finds most of them there
            export(make_conninfo(dsn, user=role, password="x"), spans[first : first + 5])
        with EventQuery(dsn=dsn) as query:
            assert otlp(spans) == otlp(query.trace(f"{7:032x}").to_readable_spans())
    finally:
        grants.revoke(Settings(dsn=dsn), role)
        execute(dsn, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_an_event_in_a_transaction_of_the_program_shares_too(dsn):
    """Rolled back, it leaves at most a text that nothing refers to."""
    from otel_pg_exporter import EventStore

    note = text_of(1, 9000)
    with EventStore(dsn=dsn) as store, psycopg.connect(dsn) as connection:
        store.log_task_event(event_name="kept", input=note, connection=connection)
        connection.commit()
        store.log_task_event(event_name="taken back", input=note + "!", connection=connection)
        connection.rollback()
        (event,) = store.query_task_events()

    assert ("kept", note) == (event.event_name, event.input)


def test_what_was_exported_is_imported_and_shared_again(dsn, conversation, tmp_path):
    """Into another schema, equal."""
    with EventQuery(dsn=dsn) as query:
        (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, query.otlp_documents())), "utf-8")
    database = Database(Settings(dsn=dsn, schema="copy"))
    import_files(database, {"all.jsonl": tmp_path / "all.jsonl"})
    database.close()

    with EventQuery(dsn=dsn, schema="copy") as query:
        assert otlp(conversation) == otlp(query.trace(f"{7:032x}").to_readable_spans())
    assert fetch(dsn, "SELECT count(*) FROM copy.contents") == fetch(dsn, "SELECT count(*) FROM otel.contents")


def test_log_records_share_their_attributes(dsn):
    """As those of GenAI's events are, that hold messages."""
    messages = turns(9)[-1].attributes["gen_ai.input.messages"]
    exporter = PostgresLogRecordExporter(dsn)
    record = LogRecord(
        timestamp=time.time_ns(), event_name="gen_ai.client.inference.operation.details",
        attributes={"gen_ai.input.messages": messages, "gen_ai.operation.name": "chat"},
    )  # fmt: skip
    exporter.export([ReadableLogRecord(record, Resource({}))] * 3)
    exporter.shutdown()

    with EventQuery(dsn=dsn) as query:
        assert [json.loads(messages)] * 3 == [event.input for event in query.agent_events()]
    assert fetch(dsn, "SELECT sum(length(body)) FROM otel.contents") == [(len(messages),)]


def test_secrets_are_taken_out_of_what_is_shared(dsn):
    """Of each turn's history, wherever in it they are; what is left is shared."""
    secrets = [f"planted{number}{text_of(number, 24)}" for number in range(10)]
    history, spans = [{"role": "system", "content": text_of(1, 3000)}], []
    for number, secret in enumerate(secrets, 1):
        history.append({"role": "user", "content": f"{text_of(number, 1500)} use password={secret} for it"})
        history.append({"role": "tool", "content": text_of(number, 1500), "headers": [["authorization", secret]]})
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": json.dumps(history)}
        spans.append(span_of(number, {**attributes, "note": f"{text_of(number, 3000)} token={secret}"}))
    for first in (0, 5):
        export(dsn, spans[first : first + 5])

    tables = ("agent_events", "contents", "event_summaries")
    stored = "".join(str(row) for table in tables for row in fetch(dsn, f"SELECT t::text FROM otel.{table} AS t"))
    assert not [secret for secret in secrets if secret in stored]
    assert stored.count("[redacted]") < 60
    with EventQuery(dsn=dsn) as query:
        last = query.agent_events(limit=1)[0]
    assert json.dumps(last.input).count("[redacted]") == 20
    assert last.attributes["note"].endswith("token=[redacted]")


def history_of(count):
    return [{"role": "user", "content": text_of(number, 400)} for number in range(count)]


def test_a_row_of_many_messages_refers_to_lists(dsn):
    """Views and queries make it whole from these; of a list that lacks a part nothing is shown."""
    text = json.dumps(history_of(200))
    export(dsn, [span_of(1, {"otel_pg.category": "task", "input.value": text, "note": text})])

    ((named, of_note),) = fetch(
        dsn, "SELECT cardinality(input_contents), jsonb_array_length(attribute_contents->'note') FROM otel.task_events"
    )
    assert named < 50
    assert of_note < named
    assert fetch(dsn, "SELECT count(*) FROM otel.contents WHERE parts IS NOT NULL AND body IS NULL") > [(10,)]
    assert fetch(dsn, "SELECT input::text, attributes ->> 'note' FROM otel.tasks") == [(text, text)]

    execute(dsn, "DELETE FROM otel.contents WHERE content_id IN (SELECT parts[2] FROM otel.contents)")

    assert fetch(dsn, "SELECT input, attributes -> 'note' FROM otel.tasks") == [(None, None)]
    with EventQuery(dsn=dsn) as query:
        (event,) = query.task_events()
    assert (None, {"note": None}) == (event.input, {"note": event.attributes["note"]})


def test_a_row_that_is_refused_takes_the_parts_of_its_lists_along(tmp_path):
    """Those of other rows it leaves: it can be stored alone later."""
    long = {number: json.dumps(history_of(200)[number::2]) for number in (0, 1)}
    spans = [span_of(number + 1, {"input.value": text}) for number, text in long.items()]
    encoder = RowEncoder(Treatment(shared_text_length=LONG))
    batch = encode_batch(spans, encoder.span, producer_id=uuid.UUID(int=1), sequence=1, signal="span")
    table = next(table for table, rows in batch.rows.items() if rows)
    spool = Spool(Settings(dsn="x=y", spool_dir=str(tmp_path)))

    taken = batch.take_out(table, 1)
    spool.put(taken)
    (found,) = read_records(spool.load(spool.oldest()))
    spool.close()

    assert long[1] == found.attributes["input.value"]
    assert taken.size < batch.size * 0.6


def test_tables_without_lists_and_with_them_follow_each_other(dsn):
    """What was stored before there were any is read after, and taking the step back leaves each text whole."""
    spans = turns(20)
    settings = Settings(dsn=dsn)
    migrate.up(settings)
    export(dsn, spans)

    migrate.down(settings, to=2)

    assert fetch(dsn, "SELECT count(*) FROM otel.contents WHERE body IS NULL") == [(0,)]
    for _ in range(2):
        rows = fetch(dsn, "SELECT input::text, attributes ->> 'gen_ai.tool.definitions' FROM otel.spans ORDER BY time")
        assert rows == [(span.attributes["gen_ai.input.messages"], TOOLS) for span in spans]
        migrate.up(settings)
    with EventQuery(dsn=dsn) as query:
        check(query.agent_events(limit=100), spans)
