"""Open spans as rows: what is written of them, how often, and what is asked."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone

import psycopg
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_pg_exporter import AsyncEventQuery, EventQuery, Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.errors import DatabaseError, QueryError
from otel_pg_exporter.processors import open_spans
from otel_pg_exporter.providers import Telemetry
from otel_pg_exporter.writing.lease import Beat, Lease


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    """Ten looks a second instead of one: a span is a run after a tenth of it."""
    monkeypatch.setattr(open_spans, "_LOOK_SECONDS", 0.1)


@pytest.fixture
def program(dsn):
    """Makes telemetry of its own, as `configure` does; shut down at the end."""
    made = []

    def make(dsn=dsn, **options):
        resource = Resource({"service.name": "shop"})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        options = {"dsn": dsn, "heartbeat_seconds": 1, "spool_max_bytes": 0, **options}
        made.append(Telemetry(Settings.from_env(**options), provider, None, resource))
        return made[-1]

    yield make
    for telemetry in made:
        telemetry.shutdown()


@pytest.fixture
def query(dsn):
    with EventQuery(dsn=dsn) as opened:
        yield opened


def tracer(telemetry):
    return telemetry.tracer_provider.get_tracer("test")


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found
    return found


def one(dsn, sql):
    with psycopg.connect(dsn) as connection:
        return connection.execute(sql).fetchone()[0]


KINDS = {
    "task": {"otel_pg.category": "task", "otel_pg.task.id": "7", "session.id": "s", "user.id": "u"},
    "agent": {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "ada"},
    "nameless": {"otel_pg.category": "agent", "otel_pg.event_type": "mine"},
    "tool": {"gen_ai.operation.name": "execute_tool", "gen_ai.conversation.id": "c"},
    "deployment": {"cicd.pipeline.name": "p"},
    "plain": {"n": 7, "list": ["a", "b"], "float": 1.5},
    "number": {"otel_pg.category": "task", "otel_pg.task.id": 7},
}


def test_an_open_span_is_routed_as_it_will_be_when_it_has_ended(dsn, program, query):
    """Category, type, name, times and ids of the open row are those of the event that comes of it."""
    telemetry = program()
    spans = [tracer(telemetry).start_span(name, attributes=given) for name, given in KINDS.items()]
    running = until(lambda: found if len(found := query.running()) == len(KINDS) else None)
    for span in spans:
        span.end()
    assert telemetry.force_flush()
    assert [] == query.running()

    ended = {event.event_name: event for event in query.events()}

    same = ("trace_id", "span_id", "parent_span_id", "category", "event_type", "event_name", "time", "service_name",
            "agent_id", "task_id", "session_id", "user_id")  # fmt: skip
    for run in running:
        event = ended[run.event_name]
        assert {name: getattr(event, name) for name in same} == {name: getattr(run, name) for name in same}
        assert KINDS[run.event_name].keys() == run.attributes.keys()
        assert ("started", "shop") == (run.status, run.service_name)
    statuses = "SELECT array_agg(DISTINCT status) FROM otel.runs"
    assert ["completed"] == one(dsn, statuses)
    assert one(dsn, "SELECT bool_and(duration_ns < 60e9 AND duration_ns > 0) FROM otel.runs")


def test_secrets_and_content_are_taken_out_of_open_spans(program, query):
    """What must not be stored of a finished span is not stored of an open one: by key, pattern and setting."""
    telemetry = program(store_content=False, redact_patterns="emp-[0-9]+")
    given = {"password": "hunter2", "note": "of emp-4711", "input.value": "a question", "n": 1}
    span = tracer(telemetry).start_span("for emp-4711", attributes=given)

    (run,) = until(query.running)

    shown = json.dumps(run.to_dict())
    for hidden in ("hunter2", "emp-4711", "a question"):
        assert hidden not in shown
    assert {"password", "note", "n"} == run.attributes.keys()
    span.end()


def test_hostile_values_are_shown_cleaned(program, query):
    """What jsonb cannot hold is replaced, and the other spans are there beside it."""
    hostile = {"nul": "a\0b", "surrogate": "\ud800", "nan": float("nan"), "big": 1 << 70, "otel_pg.task.id": "\0"}
    telemetry = program()
    spans = [tracer(telemetry).start_span("a\0\ud800", attributes=hostile), tracer(telemetry).start_span("good")]

    found = until(lambda: runs if len(runs := query.running()) == 2 else None)

    assert ["a\ufffd\ufffd", "good"] == [run.event_name for run in found]
    assert ("a\ufffdb", "NaN") == (found[0].attributes["nul"], found[0].attributes["nan"])
    assert json.dumps(found[0].to_dict())
    for span in spans:
        span.end()


@pytest.fixture
def renewals(monkeypatch):
    """What was told of this process: the number of spans, and whether there was a heartbeat; in order."""
    told = []
    renew = Lease.renew

    def counted(self, opened, beat, *rest):
        told.append((len(opened), beat))
        renew(self, opened, beat, *rest)

    monkeypatch.setattr(Lease, "renew", counted)
    return told


def test_ten_thousand_open_spans_beat_with_one_row(dsn, program, renewals):
    """Each of them is written once, in one go; from then on a heartbeat is one row and the only one."""
    telemetry = program()
    telemetry._open_spans._begin = lambda: None  # all of them are to be there at the first look
    spans = [tracer(telemetry).start_span("one", attributes={"number": number}) for number in range(10_000)]
    del telemetry._open_spans._begin
    tracer(telemetry).start_span("another").end()
    until(lambda: one(dsn, "SELECT count(*) FROM otel.heartbeats WHERE open_runs = 10000") >= 3, 60)
    telemetry._open_spans.shutdown()
    telemetry._open_spans._thread.join(30)

    beats = one(dsn, "SELECT count(*) FROM otel.heartbeats")
    written = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables WHERE schemaname = 'otel'"

    assert [10_000] + [0] * (beats - 1) == [count for count, _ in renewals]
    assert all(beat is not None and beat.open_runs == 10_000 for _, beat in renewals)
    assert 10_000 == one(dsn, "SELECT count(*) FROM otel.open_spans")
    until(lambda: 10_000 + 1 + beats == one(dsn, written))
    for span in spans:
        span.end()


def test_a_short_span_is_no_row(dsn, program, monkeypatch):
    """What has ended before the second look leaves neither run nor process."""
    monkeypatch.setattr(open_spans, "_LOOK_SECONDS", 3600.0)  # else it depends on how soon it ends
    telemetry = program()
    for _ in range(100):
        span = tracer(telemetry).start_span("short")
        telemetry._open_spans._look()
        span.end()
        telemetry._open_spans._look()
    assert telemetry.force_flush()
    assert 100 == one(dsn, "SELECT count(*) FROM otel.events")
    assert [0, 0, 0] == [one(dsn, f"SELECT count(*) FROM otel.{t}") for t in ("open_spans", "heartbeats", "processes")]


@pytest.mark.parametrize("durability", ["memory", "process"])
@pytest.mark.parametrize("is_on", [True, False])
def test_runs_can_be_switched_off(dsn, program, tmp_path, durability, is_on):
    """EVENT_RUNS=false: no thread and no row, in either mode of durability; the event is stored."""
    others = {*threading.enumerate()}
    telemetry = program(runs=is_on, durability=durability, spool_max_bytes=1 << 20, spool_dir=str(tmp_path))
    span = tracer(telemetry).start_span("x")
    if is_on:
        until(lambda: one(dsn, "SELECT count(*) FROM otel.open_spans"))
    else:
        time.sleep(0.5)
    assert is_on == any(thread.name == "otel-pg-runs" for thread in {*threading.enumerate()} - others)
    span.end()
    assert telemetry.force_flush()
    assert 1 == one(dsn, "SELECT count(*) FROM otel.events")
    assert is_on == one(dsn, "SELECT count(*) FROM otel.open_spans")


def test_filters_choose(dsn, program, query):
    """Each filter of runs finds what it names and nothing else; what it does not know it refuses."""
    telemetry = program(heartbeat_seconds=60)  # what does not beat for three of them is lost
    spans = [tracer(telemetry).start_span(name, attributes=given) for name, given in KINDS.items()]
    until(lambda: len(query.running()) == len(KINDS))
    trace_id = f"{spans[0].context.trace_id:032x}"
    chosen = {
        ("category", "deployment"): ["deployment"],
        ("name", ("task", "tool")): ["task", "tool"],
        ("event_type", "mine"): ["nameless"],
        ("agent", "ada"): ["agent"],
        ("task", "7"): ["number", "task"],
        ("session", "c"): ["tool"],
        ("user", "u"): ["task"],
        ("trace", trace_id): ["task"],
        ("service", "other"): [],
        ("host", "nowhere"): [],
        ("start", datetime.now(timezone.utc)): [],
    }
    for (name, value), expected in chosen.items():
        assert expected == sorted(run.event_name for run in query.running(**{name: value})), name
    assert ["plain"] == [run.event_name for run in query.running(attributes={"list": ["a"]})]
    assert ["task"] == [run.event_name for run in query.running(limit=1)]
    assert [] == query.lost(name="task")
    for wrong in ({"colour": "red"}, {"colour": None}, {"name": 7}, {"limit": 0}, {"status": "lost"}):
        with pytest.raises(QueryError, match=next(iter(wrong))):
            query.running(**wrong)
    for since in (timedelta(-1), timedelta.max, datetime(2026, 1, 1), "1h"):
        with pytest.raises(QueryError, match="since"):
            query.lost(since)
    for span in spans:
        span.end()


@pytest.mark.usefixtures("_partitions")
def test_lost_since_goes_by_the_last_sign_of_life(dsn, query):
    """What began long ago and died just now is found by a short `since`; what died before it is not."""
    columns = "trace_id, span_id, time, start_unix_nano, process_id, category, event_type, event_name, attributes"
    with psycopg.connect(dsn) as connection:
        for number, (began, died) in enumerate((("3 hours", "1 minute"), ("3 hours", "2 hours")), 1):
            connection.execute(
                "WITH p AS (INSERT INTO otel.processes VALUES (md5(random()::text)::uuid, 'h', 1, 's', now(), 10)"
                " RETURNING process_id), b AS (INSERT INTO otel.heartbeats SELECT process_id,"
                f" now() - interval '{died}', 1, now() - interval '{began}' FROM p)"
                f" INSERT INTO otel.open_spans ({columns}) SELECT '{number:032x}', 1, now() - interval '{began}', 1,"
                f" process_id, 'task', 't', 'died {died} ago', '{{}}' FROM p"
            )

    found = [[run.event_name for run in query.lost(timedelta(hours=hours))] for hours in (1, 5)]

    assert [["died 1 minute ago"], ["died 1 minute ago", "died 2 hours ago"]] == found
    moment = datetime.now(timezone.utc) - timedelta(hours=1)
    assert ["died 1 minute ago"] == [run.event_name for run in query.lost(moment)]
    assert timedelta(hours=2, minutes=58) < query.lost()[0].duration < timedelta(hours=3)

    async def from_asyncio():
        async with AsyncEventQuery(dsn=dsn) as opened:
            return await opened.running(), await opened.lost(moment)

    assert ([], query.lost(moment)) == asyncio.run(from_asyncio())


@pytest.fixture
def _partitions(dsn):
    """For rows of three hours ago, that may be yesterday's."""
    from otel_pg_exporter.database import Database
    from otel_pg_exporter.schema import partitions

    database = Database(Settings(dsn=dsn))
    today = datetime.now(timezone.utc).toordinal() - datetime(1970, 1, 1).toordinal()
    partitions.ensure(database, {today - 1, today})
    database.close()


def test_while_postgres_is_away_it_is_tried_at_each_heartbeat_and_said_once(program, renewals, heard):
    """Nothing is kept for later, and one line a minute says why runs cannot be seen."""
    telemetry = program(dsn="host=127.0.0.1 port=1")
    begun = time.monotonic()
    span = tracer(telemetry).start_span("x")
    until(lambda: len(renewals) >= 3)

    assert time.monotonic() - begun > 2
    assert 1 == len([line for line in heard if "runs cannot be seen from outside now: cannot reach" in line])
    assert not telemetry._open_spans._told
    span.end()


def test_a_server_that_answers_nobody_does_not_delay_the_end(program, renewals):
    """While a heartbeat hangs spans start and end as ever, and the processor ends in a moment."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        telemetry = program(dsn=f"host=127.0.0.1 port={silent.getsockname()[1]}", connect_timeout_seconds=60)
        span = tracer(telemetry).start_span("x")
        until(lambda: renewals)
        begun = time.monotonic()

        telemetry._open_spans.shutdown()

        assert time.monotonic() - begun < 15
        assert telemetry._open_spans._thread.is_alive()
        span.end()


def test_a_run_that_began_during_an_outage_is_seen_after_it(dsn, program, query, monkeypatch):
    """The first attempts fail; the span is written at a later heartbeat, once."""
    away, tried = threading.Event(), threading.Event()
    away.set()
    prepare = Lease._prepare

    def failing(self, *arguments):
        tried.set()
        if away.is_set():
            from otel_pg_exporter.errors import DatabaseUnavailable

            raise DatabaseUnavailable("away")
        prepare(self, *arguments)

    monkeypatch.setattr(Lease, "_prepare", failing)
    span = tracer(program()).start_span("x")
    assert tried.wait(60)
    assert [] == query.running()
    away.clear()

    until(lambda: [run.event_name for run in query.running()] == ["x"])
    span.end()


def test_a_new_day_by_the_servers_clock_gets_its_partition(dsn, program):
    """A heartbeat that finds no partition makes it, and is stored."""
    telemetry = program()
    span = tracer(telemetry).start_span("x")
    until(lambda: one(dsn, "SELECT count(*) FROM otel.heartbeats"))
    drop = """DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT inhrelid FROM pg_inherits WHERE inhparent IN
      ('otel.heartbeats'::regclass, 'otel.open_spans'::regclass, 'otel.events'::regclass, 'otel.task_events'::regclass,
       'otel.agent_events'::regclass, 'otel.deployment_events'::regclass, 'otel.event_batches'::regclass)
      LOOP EXECUTE format('DROP TABLE %s', t); END LOOP; END $$"""
    with psycopg.connect(dsn) as connection:
        connection.execute(drop)

    until(lambda: one(dsn, "SELECT count(*) FROM otel.heartbeats"))
    span.end()


def test_tables_that_were_made_anew_are_told_again_whose_runs_they_are(dsn):
    """A process says who it is once an hour, but also where the tables that it told it are gone."""
    lease = Lease(Database(Settings.from_env(dsn=dsn)))
    lease.renew([], Beat(1, 0), "shop", time.monotonic() + 60)
    with psycopg.connect(dsn) as connection:
        connection.execute("DROP SCHEMA otel CASCADE")
    with suppress(DatabaseError):
        lease.renew([], Beat(1, 0), "shop", time.monotonic() + 60)

    lease.renew([], Beat(1, 0), "shop", time.monotonic() + 60)

    with psycopg.connect(dsn) as connection:
        assert [("shop",)] == connection.execute("SELECT service_name FROM otel.processes").fetchall()
