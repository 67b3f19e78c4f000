"""What is stored of a trace, a session or a user is erased, with the texts that nothing else refers to; no others."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from datetime import timedelta

import psycopg
import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from otel_pg_exporter import EventQuery, EventStore, grants, migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database, Writer
from otel_pg_exporter.doctor import examine
from otel_pg_exporter.errors import AccessDenied, QueryError
from otel_pg_exporter.exporter import PostgresLogRecordExporter, PostgresSpanExporter
from otel_pg_exporter.upkeep import erasure
from otel_pg_exporter.upkeep.erasure import Erasure, erase
from otel_pg_exporter.upkeep.retention import takes_turn

TABLES = ("events", "task_events", "agent_events", "deployment_events")
CATEGORIES = ("system", "task", "agent", "deployment")


def text_of(seed, size=3000):
    return random.Random(str(seed)).randbytes(size // 2).hex()


def span_of(number, trace_id=1, start=None, **attributes):
    start = start or time.time_ns()
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    return ReadableSpan(
        "work", SpanContext(trace_id, number, False, TraceFlags(1)),
        resource=Resource({}), attributes=named, start_time=start, end_time=start + 5,
    )  # fmt: skip


def turn_of(number, trace_id, texts, **attributes):
    """A call of a model that is given these texts."""
    messages = json.dumps([{"role": "user", "content": text} for text in texts])
    return span_of(
        number, trace_id, gen_ai__operation__name="chat", gen_ai__input__messages=messages,
        gen_ai__system_instructions=text_of("system"), **attributes,
    )  # fmt: skip


def export(dsn, spans):
    exporter = PostgresSpanExporter(dsn)
    exporter.export(spans)
    exporter.shutdown()
    assert exporter.counts["stored"] == len(spans)


def fetch(dsn, sql):
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(sql).fetchall()


def traces_stored(dsn):
    unions = " UNION ALL ".join(f"SELECT trace_id FROM otel.{table}" for table in TABLES)
    return {trace_id.int for (trace_id,) in fetch(dsn, unions)}


def inputs(dsn):
    """What the calls of models were given, by trace."""
    with EventQuery(dsn=dsn) as query:
        return {int(event.trace_id, 16): event.input for event in query.agent_events(limit=1000)}


def texts_stored(dsn):
    return sum(count for (count,) in fetch(dsn, "SELECT count(*) FROM otel.contents WHERE body IS NOT NULL"))


def given(texts):
    return [{"role": "user", "content": text} for text in texts]


def test_a_trace_goes_from_all_tables_and_the_others_stay(dsn):
    """Its rows of all four categories, of several days too; what was erased is noted, with its day and partition."""
    yesterday = time.time_ns() - 86_400 * 10**9
    for trace_id in (1, 2):
        spans = [
            span_of(number, trace_id, otel_pg__category=category)
            for number, category in enumerate(CATEGORIES, trace_id * 10)
        ]
        export(dsn, [*spans, span_of(trace_id * 100, trace_id, yesterday)])

    done = erase(dsn=dsn, trace_id=f"{1:032x}")

    assert Erasure(1, {"system": 2, "task": 1, "agent": 1, "deployment": 1}, 2) == done
    assert {2} == traces_stored(dsn)
    noted = fetch(dsn, """SELECT "table", split_part(partition, '_p2', 1), "rows", reason, end_time - first_time,
                                 count(*) OVER (PARTITION BY first_time) FROM otel.pruned""")  # fmt: skip
    of_today = {(table, table, 1, "erasure", timedelta(1), 4) for table in TABLES}
    assert of_today | {("events", "events", 1, "erasure", timedelta(1), 1)} == set(noted)
    assert Erasure(1, {}, 0) == erase(dsn=dsn, trace_id=uuid.UUID(int=1))


@pytest.mark.parametrize(("whom", "column"), [("user_id", "user.id"), ("session_id", "session.id")])
def test_a_user_or_a_session_goes_with_its_whole_traces(dsn, whom, column):
    """Also rows that do not name it, and log records that are in no trace; not those of others."""
    name = column.replace(".", "__")
    export(dsn, [
        span_of(1, 1, **{name: "ada"}), span_of(2, 1), span_of(3, 2, otel_pg__category="task"),
        span_of(4, 3, otel_pg__category="task"), span_of(5, 3, otel_pg__category="agent", **{name: "ada"}),
        span_of(6, 4, **{name: "bob"}),
    ])  # fmt: skip
    logs = PostgresLogRecordExporter(dsn)
    logs.export([
        ReadableLogRecord(LogRecord(timestamp=time.time_ns(), attributes={column: value}), Resource({}))
        for value in ("ada", "bob")
    ])  # fmt: skip
    logs.shutdown()

    planned = erase(dsn=dsn, dry_run=True, **{whom: "ada"})
    before = traces_stored(dsn)
    done = erase(dsn=dsn, **{whom: "ada"})

    assert Erasure(2, {"system": 3, "task": 1, "agent": 1}, 1) == planned == done
    assert {0, 1, 2, 3, 4} == before
    assert {0, 2, 4} == traces_stored(dsn)
    assert [("bob",), ("bob",)] == fetch(dsn, f"SELECT {whom} FROM otel.events WHERE {whom} IS NOT NULL")


def test_texts_go_that_nothing_else_refers_to(dsn):
    """What two traces say stays, also in lists; what one says goes; and the other reads as before."""
    common = [text_of(number) for number in range(6)]
    export(dsn, [turn_of(1, 1, [*common, text_of("secret")]), turn_of(2, 2, common)])
    export(dsn, [turn_of(3, 3, [text_of("other")])])
    before = texts_stored(dsn)

    done = erase(dsn=dsn, trace_id=f"{1:032x}")

    assert {2: given(common), 3: given([text_of("other")])} == inputs(dsn)
    assert 0 < before - texts_stored(dsn) <= done.texts
    assert not fetch(dsn, f"SELECT 1 FROM otel.contents WHERE position('{text_of('secret')}' IN body) > 0")
    erase(dsn=dsn, trace_id=[f"{2:032x}", f"{3:032x}"])
    assert [] == fetch(dsn, "SELECT 1 FROM otel.contents")


def test_texts_are_of_their_day(dsn):
    """The same text of another day is another row, and stays."""
    yesterday = time.time_ns() - 86_400 * 10**9
    export(dsn, [span_of(1, 1, input__value=text_of(1)), span_of(2, 2, yesterday, input__value=text_of(1))])

    assert 1 == erase(dsn=dsn, trace_id=f"{1:032x}").texts

    with EventQuery(dsn=dsn) as query:
        assert [text_of(1)] == [event.input for event in query.system_events()]


def test_a_program_sends_texts_anew_that_were_erased(dsn):
    """It has sent them before, and counts on that."""
    exporter = PostgresSpanExporter(dsn)
    exporter.export([turn_of(1, 1, [text_of(1), text_of(2)])])
    erase(dsn=dsn, trace_id=f"{1:032x}")
    exporter.export([turn_of(2, 2, [text_of(1), text_of(2)])])
    exporter.export([turn_of(3, 3, [text_of(1), text_of(2)])])
    exporter.shutdown()

    assert {2: given([text_of(1), text_of(2)]), 3: given([text_of(1), text_of(2)])} == inputs(dsn)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_text_that_is_erased_before_its_row_comes_is_sent_again(dsn, monkeypatch, is_first):
    """Texts are stored before the batch that refers to them: between the two nothing refers to them."""
    store, erased = Writer.store, []
    export(dsn, [turn_of(1, 1, [text_of(1)])])
    exporter = PostgresSpanExporter(dsn)
    if not is_first:
        exporter.export([span_of(2, 2)])

    def after_an_erasure(self, *arguments):
        if not erased:
            erased.append(erase(dsn=dsn, trace_id=f"{1:032x}"))
        return store(self, *arguments)

    monkeypatch.setattr(Writer, "store", after_an_erasure)
    exporter.export([turn_of(3, 3, [text_of(1)])])
    exporter.shutdown()

    assert erased[0].texts
    assert {3: given([text_of(1)])} == inputs(dsn)


def test_whoever_stores_is_waited_for(dsn):
    """A batch whose transaction has begun may refer to the texts: until it ends nothing is erased."""
    export(dsn, [turn_of(1, 1, [text_of(1)])])
    with psycopg.connect(dsn) as connection:
        connection.execute("LOCK TABLE otel.pruned IN ACCESS SHARE MODE")  # as begin_batch does

        done = erase(dsn=dsn, trace_id=f"{1:032x}", attempts=2, pause=lambda seconds: None)

    assert 1 == done.left
    assert ({}, 0) == (done.rows, done.texts)
    assert {1: given([text_of(1)])} == inputs(dsn)
    assert {"agent": 1} == erase(dsn=dsn, trace_id=f"{1:032x}").rows


def test_whoever_stores_waits_for_an_erasure(dsn, monkeypatch):
    """And hears of it: begin_batch looks when the erasure has ended."""
    export(dsn, [turn_of(1, 1, [text_of(1)])])
    exporter = PostgresSpanExporter(dsn)
    exporter.export([turn_of(2, 2, [text_of(2)])])
    erase_rows = erasure._Erasing._erase_rows
    thread = threading.Thread(target=exporter.export, args=([turn_of(3, 3, [text_of(2)])],))

    def while_another_stores(self, *arguments):
        thread.start()
        time.sleep(0.5)
        assert thread.is_alive()
        return erase_rows(self, *arguments)

    monkeypatch.setattr(erasure._Erasing, "_erase_rows", while_another_stores)
    done = erase(dsn=dsn, trace_id=[f"{1:032x}", f"{2:032x}"])
    thread.join()
    exporter.shutdown()

    assert {"agent": 2} == done.rows
    assert {3: given([text_of(2)])} == inputs(dsn)


def test_batches_that_come_while_it_looks_are_looked_at(dsn, monkeypatch):
    """Between the look at all rows and the lock another trace says the same, and this one goes on with another text."""
    export(dsn, [turn_of(1, 1, [text_of(1), text_of(2)])])
    needed, came = erasure._Erasing._needed, []

    def meanwhile(self, *arguments):
        found = needed(self, *arguments)
        if not came:
            came.append(1)
            export(dsn, [turn_of(2, 2, [text_of(1)]), turn_of(3, 1, [text_of(3)])])
        return found

    monkeypatch.setattr(erasure._Erasing, "_needed", meanwhile)
    done = erase(dsn=dsn, trace_id=f"{1:032x}", pause=lambda seconds: None)

    assert {"agent": 2} == done.rows
    assert {2: given([text_of(1)])} == inputs(dsn)
    assert not fetch(dsn, f"SELECT 1 FROM otel.contents WHERE body LIKE ANY(ARRAY['%{text_of(2)}%', '%{text_of(3)}%'])")


def test_a_thousand_rows_go_at_a_time(dsn, monkeypatch):
    """So that nobody waits for long; a trace of more goes at once."""
    spans = [span_of(number, number // 400 + 1) for number in range(1, 3601)]
    export(dsn, [*spans, *[span_of(number, 99) for number in range(5000, 6500)]])
    shares, erase_share = [], erasure._Erasing._erase

    def noted(self, share):
        shares.append(share.rows.total())
        return erase_share(self, share)

    monkeypatch.setattr(erasure._Erasing, "_erase", noted)
    done = erase(dsn=dsn, trace_id=[f"{number:032x}" for number in [*range(1, 11), 99]])

    assert {"system": 5100} == done.rows
    assert 5100 == sum(shares)
    assert all(count <= 1000 for count in shares if count != 1500)
    assert set() == traces_stored(dsn)


def test_runs_that_are_open_go_too(dsn):
    """A trace that goes on has them."""
    export(dsn, [span_of(1, 1)])
    with psycopg.connect(dsn) as connection:
        for trace_id, user in ((1, None), (2, "ada"), (3, "bob")):
            connection.execute(
                "INSERT INTO otel.open_spans (trace_id, span_id, time, start_unix_nano, process_id, category,"
                " event_type, event_name, user_id, attributes)"
                " VALUES (%s, 5, now(), 1, %s, 'task', 't', 'n', %s, '{}')",
                [uuid.UUID(int=trace_id), uuid.uuid4(), user],
            )

    assert (1, 1) == (erase(dsn=dsn, trace_id=f"{1:032x}").traces, erase(dsn=dsn, user_id="ada").traces)

    assert [("bob",)] == fetch(dsn, "SELECT user_id FROM otel.open_spans")


def test_the_ledger_tells_of_it(dsn):
    """Whoever keeps answers looks there for what is new; no producer has stored or lost anything by it."""
    export(dsn, [span_of(1, 1)])
    with EventQuery(dsn=dsn) as query:
        before = query.health()

    erase(dsn=dsn, trace_id=f"{1:032x}")

    columns = "producer_id, sequence, stored, dropped_before, dead_before"
    rows = fetch(dsn, f"SELECT {columns} FROM otel.event_batches ORDER BY time")
    assert (uuid.UUID(int=0), 0, 0, 0, 0) == rows[-1]
    assert 2 == len(rows)
    with EventQuery(dsn=dsn) as query:
        assert (before.stored, before.dropped) == (query.health().stored, query.health().dropped)
    report = examine(dsn=dsn)
    assert (1, True) == (len(report.producers), report.is_complete)


def test_no_summary_names_an_agent_of_which_nothing_is_left(dsn):
    """Agents are made for a user, too; and what is counted of others stays as it is."""
    attributes = {"gen_ai.operation.name": "invoke_agent"}
    for number, user in enumerate(("ada", "ben", "ada"), start=1):
        export(dsn, [span_of(number, number, **attributes, **{"gen_ai.agent.id": user, "user.id": user})])
    export(dsn, [span_of(4, 4, **attributes, **{"gen_ai.agent.id": "ben", "user.id": "ada"})])

    erase(dsn=dsn, user_id="ada")

    summaries = fetch(dsn, "SELECT agent_id, event_count FROM otel.event_summaries ORDER BY event_count")
    assert [("ben", -1), ("ben", 1), ("ben", 1)] == [(row[0], row[1]) for row in summaries]


def test_while_others_take_rows_out_nothing_is_erased(dsn):
    """Who merges summaries sees them as they were: then it is tried again, and what is left is told."""
    export(dsn, [span_of(1, **{"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.id": "ada"})])
    waited = []
    with psycopg.connect(dsn, row_factory=dict_row) as other:
        assert takes_turn(Database(Settings(dsn=dsn)), other)

        done = erase(dsn=dsn, trace_id=f"{1:032x}", pause=waited.append, attempts=3)

        assert (1, 2) == (done.left, len(waited))
        assert {1} == traces_stored(dsn)

    assert 0 == erase(dsn=dsn, trace_id=f"{1:032x}").left
    assert [] == fetch(dsn, "SELECT agent_id FROM otel.event_summaries")


def test_an_event_in_a_transaction_of_the_programs_has_its_texts_in_its_row(dsn):
    """While that is open nobody knows what it refers to."""
    with EventStore(dsn=dsn) as store:
        store.log_system_event(event_name="first", target=text_of(1), wait=True)
        with psycopg.connect(dsn) as connection:
            store.log_system_event(event_name="second", target=text_of(1), connection=connection)
            assert 0 == erase(dsn=dsn, user_id="nobody").left
        found = {event.event_name: event.attributes for event in store.query_system_events(limit=10)}

    assert [text_of(1)] * 2 == [found[name]["otel_pg.target"] for name in ("first", "second")]
    shared = fetch(dsn, "SELECT event_name FROM otel.events WHERE attribute_contents IS NOT NULL")
    assert [("first",)] == shared


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "nothing is given; needed is one of trace_id, session_id, user_id"),
        ({"user_id": "a", "session_id": "b"}, "session_id and user_id is given; needed is one of"),
        ({"user_id": ""}, "user_id='' is not allowed; allowed is a text that is not empty"),
        ({"session_id": 5}, "session_id=5 is not allowed; allowed is a text that is not empty"),
        ({"trace_id": "last"}, "trace id 'last' is not allowed; allowed are 32 hex digits"),
        ({"trace_id": uuid.UUID(int=0)}, "allowed are ids of traces"),
        ({"trace_id": 5}, "trace id 5 is not allowed; allowed are 32 hex digits"),
        ({"trace_id": []}, r"trace_id=\[\] is not allowed; allowed are ids of traces"),
    ],
)
def test_what_names_nothing_or_too_much_is_told(dsn, given, said):
    """Before anything is looked for: of log records outside of traces none is meant by zeros."""
    with pytest.raises(QueryError, match=said):
        erase(dsn=dsn, **given)


def test_a_role_that_may_not_delete_is_told(dsn, server_dsn):
    """A writer has no right but INSERT, and nothing is erased."""
    migrate.up(dsn=dsn)
    export(dsn, [span_of(1, 1)])
    role = f"writer_{uuid.uuid4().hex[:12]}"
    grants.grant(dsn=dsn, writers=[role], create=True)
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f'ALTER ROLE "{role}" LOGIN')
        with pytest.raises(AccessDenied, match="permission denied"):
            erase(dsn=make_conninfo(dsn, user=role), trace_id=f"{1:032x}")
        assert {1} == traces_stored(dsn)
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')
