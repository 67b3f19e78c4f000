"""Searches: what is found, the same with indexes and without, and what a server looks at for that."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from math import nan
from uuid import UUID

import psycopg
import pytest
from harness.plans import asked, names_of_indexes
from harness.rows import DAY, NOW
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanContext, TraceFlags
from psycopg.rows import dict_row

from otel_pg_exporter import EventQuery, EventStore, PostgresSpanExporter, migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.reading import listing, pages, questions, search
from otel_pg_exporter.reading.filters import Page, build_page
from otel_pg_exporter.reading.pages import page_of
from otel_pg_exporter.schema import indexes
from otel_pg_exporter.sql_files import EVENT_TABLES, Names

LONG = " ".join(f"w{number:06}" for number in range(300_000))
SAID = {
    "parcel": ('{"question": "Where is my parcel? It is LATE"}', '{"answer": "on its way"}'),
    "invoice": ('{"question": "Where is my invoice?"}', '"lost"'),
    "signed": ('{"balance": -4200}', None),
    "numbers": ('{"order": 4711, "price": 12.5, "paid": true}', None),
    "lines": ('"first line\\nbreaks here"', None),
    "escaped": ('["caf\\u00e9 \\ud83d\\ude00 cr\\u00e8me"]', None),
    "plain": ('"naïve Straße"', "null"),
    "long": (f'"{LONG}"', None),
    "nothing": (None, None),
}
SEARCHES = {
    '"-4200"': {"signed"},
    "4200": set(),
    "parcel": {"parcel"},
    "PARCEL late": {"parcel"},
    "where my": {"parcel", "invoice"},
    '"is my"': {"parcel", "invoice"},
    '"my is"': set(),
    "where -lost": {"parcel"},
    "parcel or 4711": {"parcel", "numbers"},
    "way": {"parcel"},
    "question": set(),
    "paid": set(),
    "12.5": {"numbers"},
    "breaks": {"lines"},
    "nbreaks": set(),
    "café": {"escaped"},
    "crème": {"escaped"},
    "straße": {"plain"},
    "w000001": {"long"},
    "w299999": set(),
    "-where": {"signed", "numbers", "lines", "escaped", "plain", "long", "nothing"},
    "(&!|:*": None,
}


@pytest.fixture
def settings(dsn):
    return Settings(dsn=dsn)


def say(rows, table="task_events"):
    """A row for each of SAID, under its name."""
    for name, (given, gave) in SAID.items():
        rows.add(table, event_name=name, input=given, output=gave)


def plan(settings, category, **filters):
    """How the server would look for a page of events, once it knows which parts of long texts say what."""
    page = build_page(category, filters)
    names = Names(settings.schema, settings.table_prefix)
    with psycopg.connect(settings.dsn, row_factory=dict_row) as connection:
        if asked := page.parts_asked(names):
            sql, parameters = asked
            page.know_parts(connection.execute(sql.encode(), parameters))
        return explained(connection, page_of(names, page, category), page.parameters)


def plan_of_parts(settings, category, **filters):
    """How it would look for these."""
    with psycopg.connect(settings.dsn, row_factory=dict_row) as connection:
        return explained(connection, *build_page(category, filters).parts_asked(Names("otel")))


def explained(connection, sql, parameters):
    rows = connection.execute(f"EXPLAIN {sql}".encode(), parameters)
    return "\n".join(row["QUERY PLAN"] for row in rows)


@pytest.mark.parametrize("table", EVENT_TABLES)
@pytest.mark.parametrize(
    ("kind", "filters"),
    [
        ("attributes", {"attributes": {"order": 17}}),
        ("text", {"text": "order17"}),
        ("task", {"task": "order17"}),
        ("session", {"session": "order17"}),
        ("user", {"user": ["order17", "nobody"]}),
    ],
)
def test_the_server_uses_it_for_the_queries(rows, settings, table, kind, filters):
    """In each partition, today's and those made before; and not another one."""
    category = {"events": "system"}.get(table, table.removesuffix("_events"))
    said = {"input": "$to_json('order' || i)", **dict.fromkeys(("task_id", "session_id", "user_id"), "$'order' || i")}
    for at in (NOW, NOW - timedelta(days=1)):
        rows.add(table, 3000, time=at, attributes="$jsonb_build_object('order', i)", **said)
    rows.connection.execute("ANALYZE")
    assert not names_in(plan(settings, category, **filters)) & names_of_indexes(settings)
    with EventQuery(settings) as query:
        before = query.events(category, **filters)
    indexes.create(kind, settings)
    rows.connection.execute("ANALYZE")

    found = plan(settings, category, **filters)

    made = {name for name in names_of_indexes(settings) if name.startswith(f"{table}_p")}
    assert (4 if (table, kind) == ("task_events", "task") else 2) == len(made)
    assert {name for name in names_in(found) if name.startswith(table)} == made, found
    with EventQuery(settings) as query:
        assert 2 == len(before)
        assert [*before] == [*query.events(category, **filters)]


def test_an_agent_is_looked_up_by_its_id_and_by_its_name(rows, settings):
    """Without any optional index; the name has one of its own only where it is not the id."""
    named = {"same": ("anna", "anna"), "apart": ("a-1", "anna"), "only id": ("anna", None), "only name": (None, "anna")}
    for name, (agent_id, agent_name) in named.items():
        rows.add("agent_events", event_name=name, agent_id=agent_id, agent_name=agent_name)
    rows.add("agent_events", 6000, agent_id="$'agent ' || i", agent_name="$'agent ' || i")
    rows.connection.execute("ANALYZE")

    found = plan(settings, "agent", agent=["anna"])

    day = f"{NOW:%Y%m%d}"
    used = {f"agent_events_p{day}_agent_id_time_idx", f"agent_events_p{day}_agent_name_time_idx"}
    assert used == {name for name in names_in(found) if day in name}, found
    ((entries,),) = rows.fetch(
        f"SELECT reltuples FROM pg_class WHERE relname = 'agent_events_p{day}_agent_name_time_idx'"
    )
    assert 2 == entries
    with EventQuery(settings) as query:
        assert {*named} == {event.event_name for event in query.agent_events(agent="anna")}
        assert {"apart"} == {event.event_name for event in query.agent_events(agent="a-1")}


def test_what_is_planned_for_each_partition_of_a_search_is_short(rows, settings):
    """The words of an event are one call, in the index and in what looks into it; of the parts of long texts only the
    days are planned for whose rows are asked for."""
    call = "otel.words_of_event(input, output, body, error_type, error_message)"
    rows.add("agent_events", 3000, input="$to_json('order' || i)")
    indexes.create("text", settings)
    rows.connection.execute("ANALYZE")
    limits = {"start": NOW.replace(hour=0, minute=0), "end": NOW + timedelta(hours=1)}

    found = plan(settings, "agent", text="order17", **limits)

    ((made,),) = rows.fetch("SELECT pg_get_indexdef('otel.agent_events_text'::regclass)")
    assert made.endswith(f"USING gin ({call}, input_contents, output_contents)")
    conditions = [line.strip() for line in found.splitlines() if "Index Cond" in line and "words_of_event" in line]
    assert [f"Index Cond: ({call} @@ '''order17'''::tsquery)"] == conditions
    found = plan_of_parts(settings, "agent", text="order17", **limits)
    assert f"contents_p{NOW:%Y%m%d}" in found
    assert f"contents_p{NOW - timedelta(days=1):%Y%m%d}" not in found
    assert "Subplans Removed" not in found, "planned for, and left out later"


def looks(settings, **options):
    """How the server looks for the first page of agents' events."""
    told, page = asked(settings, questions.events(Names("otel"), "agent", options))
    return [how for statement, how, _ in told if '"agent_events" WHERE' in statement], page


@pytest.mark.parametrize("is_analyzed", [True, False])
def test_a_rare_word_is_looked_up_among_many_rows(rows, settings, monkeypatch, is_analyzed):
    """Of the newest ones too, whether the server knows the rows well or not: in no part of a long text, and in one; in
    more than are named everywhere, of a day that it knows."""
    monkeypatch.setattr(search, "_FEW_PARTS", 5)
    indexes.create("text", settings)
    rows.add("agent_events", 6000, input="$to_json('order' || i || CASE WHEN i = 5 THEN ' alone' ELSE '' END)")
    rows.connection.execute(
        "INSERT INTO otel.contents (content_id, time, body) SELECT md5(i::text)::uuid, %s, 'part ' || i"
        " || CASE WHEN i = 7 THEN ' alone' ELSE '' END || CASE WHEN i > 1990 THEN ' often' ELSE '' END"
        " FROM generate_series(1, 2000) AS i",
        [NOW.replace(hour=0)],
    )
    rows.connection.execute(f"SELECT gin_clean_pending_list('otel.agent_events_p{NOW:%Y%m%d}_text')")
    if is_analyzed:
        rows.connection.execute("ANALYZE")

    for text in ("order17", "alone", *["often"] * is_analyzed):
        found, page = looks(settings, text=text, limit=1)

        assert found
        assert all(f"Bitmap Index Scan on agent_events_p{NOW:%Y%m%d}_text" in how for how in found), found
        assert (text == "often") == any("<> " in how for how in found), "other days are asked apart"
        assert (text != "often") == len(page)


def test_each_day_is_asked_for_its_own_parts(rows, settings, monkeypatch):
    """No row refers to parts of another day: to look for those of all days in each partition took forty times as long,
    13 s with 12,000 parts in 10 of 30 days. Answers are those without the index, also of rows that say it themselves
    on days without such a part, and where a word must be missing."""
    days = range(DAY - 6, DAY + 1)
    rows.make_partitions(days)
    midnight = NOW.replace(hour=0)
    for age in range(6):
        for part in range(3):
            named = UUID(int=100 * age + part)
            said = f"parcel {'late' * (part == 1)} {'soon' * (age == 2)} day{age}"
            rows.connection.execute(
                "INSERT INTO otel.contents (content_id, time, body) VALUES (%s, %s, %s)",
                [named, midnight - timedelta(days=age), said],
            )
            for table in ("task_events", "agent_events"):
                own = {"cost": (1.5, None, nan)[part]} if table == "agent_events" else {}
                rows.add(table, time=NOW - timedelta(days=age), event_name="x", input_contents=[named], **own)
        rows.add("task_events", 2, time=NOW - timedelta(days=age), event_name=f"{age}", input='"late letter"')
    rows.add("task_events", time=NOW - timedelta(days=6), event_name="alone", input='"a parcel, late"')
    searches = ("parcel", "late", "parcel -late", "late -parcel", "soon or letter", "parcel day4", "-soon late")
    orders = ({}, {"order_direction": "asc"}, {"order_by": "duration"}, {"start": NOW - timedelta(days=4)})
    options = [(text, order) for text in searches for order in orders]

    def answers(query):
        found = [query.events(text=text, limit=7, **order) for text, order in options]
        costs = [
            query.agent_events(text=text, limit=7, order_by="cost", order_direction=direction)
            for text in searches
            for direction in ("asc", "desc")
        ]
        return [
            [(each.category, each.time, each.batch_id, each.batch_index) for each in page] for page in found + costs
        ]

    with EventQuery(settings) as query:
        without = answers(query)
        indexes.create("text", settings)
        assert without == answers(query)
        monkeypatch.setattr(search, "_FEW_PARTS", 2)
        assert without == answers(query)
        monkeypatch.setattr(search, "_FEW_PARTS", 1000)
        monkeypatch.setattr(search, "_AT_ONCE", 0)
        assert without == answers(query)
    told, _ = asked(
        settings, questions.events(Names("otel"), "agent", {"text": "soon", "start": NOW - timedelta(days=4)})
    )
    days_of_parts = {
        day
        for statement, how, _ in told
        for day in re.findall(r"agent_events_p(\d{8})", how)
        if '"time" < ' in statement
    }
    assert {f"{NOW - timedelta(days=2):%Y%m%d}"} == days_of_parts


@pytest.mark.parametrize("is_left_to_the_server", [False, True])
@pytest.mark.parametrize(
    "filters", [{"text": "order17"}, {"attributes": {"order": 17}}, {"session": "order17"}, {"user": "order17"}]
)
def test_rows_of_which_none_is_meant_are_not_looked_at(rows, settings, monkeypatch, filters, is_left_to_the_server):
    """The index shows that there is none, whatever the server thinks of indexes. A build that leaves the choice to a
    server that thinks little of them does not ask it so."""
    rows.add("agent_events", 6000)
    indexes.create(*filters, settings)
    rows.connection.execute(f"ALTER DATABASE {rows.connection.info.dbname} SET enable_bitmapscan = off")
    if is_left_to_the_server:
        monkeypatch.setattr(Page, "indexes", ())

    found, page = looks(settings, **filters, limit=1)

    assert 0 == len(page)
    by_index = [f"Bitmap Index Scan on agent_events_p{NOW:%Y%m%d}" in how for how in found]
    assert 3 == len(by_index), found
    assert not any(by_index) if is_left_to_the_server else all(by_index), found


def test_what_is_frequent_is_found_among_the_first_rows(rows, settings, monkeypatch):
    """Without a look at all that say it: as many pages, with the same events, as there are without an index."""
    monkeypatch.setattr(pages, "_FEW", 10)
    for number in range(24):
        said = "often" + " seldom" * (number % 3 == 0) + " ten" * (number < 10) + " nine" * (number < 9)
        rows.add(
            "agent_events" if number % 2 else "task_events", input=f'"{said}"', time=NOW - timedelta(minutes=number)
        )
    words = ("often", "seldom", "ten", "nine", "often -seldom", "never")

    def walk(query, text, **order):
        found, cursor = [], None
        while True:
            page = query.events(text=text, limit=4, cursor=cursor, **order)
            found += page
            if not (cursor := page.next_cursor):
                return found

    orders = ({}, {"order_direction": "asc"}, {"order_by": "duration"})
    with EventQuery(settings) as query:
        without = [walk(query, text, **order) for text in words for order in orders]
        indexes.create("text", settings)
        assert without == [walk(query, text, **order) for text in words for order in orders]
        offset = query.agent_events(text="often", limit=2, offset=11)
        assert [*query.agent_events(text="often")][11:] == [*offset]
    assert [24, 8, 10, 9, 16, 0] == [len(found) for found in without[:: len(orders)]]
    found, _ = looks(settings, text="often", limit=4)
    assert ["few", "first"] == ["few" if "WindowAgg" in how else "first" for how in found]


@pytest.mark.parametrize("ask", [listing.traces, questions.events])
def test_a_list_that_searches_asks_first_which_parts_say_it(rows, settings, ask):
    """So the server knows of a word in no long text that it is in none."""
    rows.add("agent_events", 3, input="$to_json('order' || i)")

    told, page = asked(settings, ask(Names("otel"), "agent", {"text": "order2", "limit": 5}))

    (first, _, _), (second, _, _), *_ = (one for one in told if "pg_class" not in one[0])
    assert 1 == len(page)
    assert 'otel"."contents' in first
    assert "words_of_event" in second
    assert "contents" not in second.split("WHERE", 1)[1]


def names_in(found):
    """Of the indexes that a plan has."""
    return set(re.findall(r"Index Scan(?: Backward)? (?:on|using) (\w+)", found))


def test_the_server_learns_how_frequent_words_are(rows, settings, dsn):
    """Each partition is analyzed when its index is made: else a search for a rare word may read every row."""
    say(rows)

    indexes.create("text", settings)

    with psycopg.connect(dsn) as connection:
        (learned,) = connection.execute(
            "SELECT count(DISTINCT tablename) FROM pg_stats"
            " WHERE schemaname = 'otel' AND tablename ~ '^task_events_p.*_text$'"
        ).fetchone()
        (held,) = connection.execute("SELECT count(DISTINCT tableoid) FROM otel.task_events").fetchone()
    assert 1 <= held == learned


def test_a_text_is_found_with_and_without_the_index(rows, settings):
    """Words in any case, phrases, alternatives and exclusions, in texts and numbers, as they were before they were
    JSON; not in keys. An empty value has no words."""
    say(rows)
    searches = {text: names for text, names in SEARCHES.items() if names is not None}
    if rows.connection.info.server_version < 140_000:  # which leaves the sign out of what is asked
        searches['"-4200"'] = set()

    def answers(query):
        return {text: {event.event_name for event in query.task_events(text=text)} for text in searches}

    with EventQuery(settings) as query:
        assert searches == answers(query)
        indexes.create("text", settings)
        assert searches == answers(query)
        rows.connection.execute("ALTER DATABASE " + rows.connection.info.dbname + " SET enable_seqscan = off")
    with EventQuery(settings) as query:
        assert searches == answers(query)
        assert {"parcel"} == {event.event_name for event in query.events(text="parcel", name=["parcel", "invoice"])}
        assert 2 == query.statistics(text="where my").count
        assert ["invoice", "parcel"] == sorted(event.event_name for event in query.stream("task", text="where my"))


def test_what_failed_and_what_was_logged_is_found_too(dsn, settings):
    """Words of errors and of bodies; a phrase within one of them."""
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        store.log_task_event(
            event_name="failed", error_type="TimeoutError", error_message="payment gateway timeout", wait=True
        )
        store.log_system_event(event_name="configured", data={"retries": "no more than five"}, wait=True)
    searches = {
        "timeout": {"failed"}, "TimeoutError": {"failed"}, '"gateway timeout"': {"failed"}, "five": {"configured"},
        "retries": set(), '"timeouterror payment"': {"failed"},
    }  # fmt: skip

    for create in (lambda kind, settings: None, indexes.create):
        create("text", settings)
        with EventQuery(settings) as query:
            assert searches == {text: {event.event_name for event in query.events(text=text)} for text in searches}


def test_long_texts_are_found_too(dsn, settings):
    """Words of one row in different parts of it, and in its columns; a phrase in one part; what must be missing, in all
    of them."""
    noise = [f"{number:x} " * 200 for number in range(10, 90)]
    said = {
        "history": {"input": ["Where is my parcel?", *noise, "A refund, then."], "output": "agreed"},
        "prompt": {"input": "You answer calmly. " + " ".join(noise), "output": ["short", "invoice"]},
        "answer": {"input": "a question", "output": ["The refund is", *noise, "late"]},
        "short": {"input": "parcel", "output": "refund"},
    }
    searches = {
        "parcel": {"history", "short"}, "parcel refund": {"history", "short"}, "refund -parcel": {"answer"},
        "refund -agreed": {"answer", "short"}, "calmly invoice": {"prompt"}, "calmly or late": {"prompt", "answer"},
        '"refund is"': {"answer"}, '"refund then" -invoice': {"history"}, "-refund": {"prompt"},
        "parcel agreed or late question": {"history", "answer"}, '"parcel refund"': set(), "nowhere": set(),
    }  # fmt: skip
    exporter = PostgresSpanExporter(dsn)
    exporter.export(
        [
            ReadableSpan(
                name, SpanContext(7, number, False, TraceFlags(1)), resource=Resource({}),
                attributes={"otel_pg.category": "task", **{f"{k}.value": json.dumps(v) for k, v in texts.items()}},
                start_time=int(NOW.timestamp() * 1e9), end_time=int(NOW.timestamp() * 1e9) + 1,
            )
            for number, (name, texts) in enumerate(said.items(), 1)
        ]
    )  # fmt: skip
    exporter.shutdown()
    assert exporter.last_error is None

    def answers():
        with EventQuery(settings) as query:
            for text, names in searches.items():
                limits = {"start": NOW - timedelta(hours=1), "end": NOW + timedelta(hours=1)}
                assert names == {event.event_name for event in query.task_events(text=text)}, text
                assert names == {event.event_name for event in query.events(text=text, **limits)}, text
                assert set() == {event.event_name for event in query.events(text=text, end=limits["start"])}, text

    answers()
    indexes.create("text", settings)
    answers()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET enable_seqscan = off")
    answers()
    found = plan_of_parts(settings, "task", text="parcel refund")
    assert "contents_p" in found
    assert {name for name in names_in(found) if "contents" in name} <= names_of_indexes(settings), found


@pytest.mark.parametrize(("few", "some"), [(5000, 20_000), (100, 20_000), (100, 200)])
def test_words_of_parts_that_a_list_names_are_found(dsn, settings, monkeypatch, few, some):
    """By the ids of these parts; by an index, where they are too many for that; in the rows, where they are more. The
    row itself names none of them."""
    monkeypatch.setattr(search, "_FEW_PARTS", few)
    monkeypatch.setattr(search, "_SOME_PARTS", some)
    end = [{"n": f"{number} {'y' * 300}"} for number in range(60)]
    many = {f"often {number}" for number in range(120)}
    said = {
        name: [*({"n": f"{name} part{part} {'x' * 300}"} for part in range(4)), *end] for name in (*many, "seldom 0")
    }
    said["neither"] = end
    exporter = PostgresSpanExporter(dsn)
    exporter.export(
        [
            ReadableSpan(
                name, SpanContext(7, number, False, TraceFlags(1)), resource=Resource({}),
                attributes={"otel_pg.category": "task", "input.value": json.dumps(value)},
                start_time=int(NOW.timestamp() * 1e9), end_time=int(NOW.timestamp() * 1e9) + 1,
            )
            for number, (name, value) in enumerate(said.items(), 1)
        ]
    )  # fmt: skip
    exporter.shutdown()
    assert exporter.last_error is None
    with psycopg.connect(dsn) as connection:
        named = connection.execute(
            "SELECT count(*) FROM otel.contents c JOIN otel.task_events e ON c.content_id = ANY(e.input_contents)"
            " WHERE c.body LIKE '%often%' OR c.body LIKE '%seldom%'"
        )
        assert named.fetchone() == (0,)
    searches = {
        "often": many, "seldom": {"seldom 0"}, "-often": {"seldom 0", "neither"}, "-often -seldom": {"neither"},
        "seldom or often": {"seldom 0", *many}, "seldom part3": {"seldom 0"}, "never": set(),
    }  # fmt: skip
    for _ in range(2):
        with EventQuery(settings) as query:
            for text, names in searches.items():
                assert names == {event.event_name for event in query.task_events(text=text, limit=1000)}, text
                assert names == {event.event_name for event in query.stream(text=text)}, text
                assert len(names) == query.statistics(text=text).total_events, text
            assert many == {event.event_name for event in query.tail(from_start=True, follow=False, text="often")}
        indexes.create("text", settings)


def test_with_the_index_every_row_is_stored_whatever_it_says(dsn, settings):
    """NUL, lone surrogates, escapes of both, no JSON, and more words than an index holds: all in their rows."""
    migrate.up(settings)
    indexes.create("text", settings)
    hostile = [
        "nul \0 word", '{"nul": "\\u0000 word"}', '["\\ud800 word"]', "lone \ud800 word", '"\\\\u0000 word"',
        '{"a": 1e999}', "[" * 5000 + "]" * 5000, f"{LONG} word", '["word", "' + "\\n" * 100_000 + '"]',
        "w" * 100_000, "-", "",
        '["' + '", "'.join(f"https://h{n}.example/p{n}/q-{n}" for n in range(20_000)) + '"]',
        " ".join(f"{chr(0x4E00 + n % 20_000)}{n}" for n in range(50_000)),
    ]  # fmt: skip
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter := PostgresSpanExporter(dsn=dsn, shared_text_length=0)))
    for number, text in enumerate(hostile):
        attributes = {"input.value": text, "output.value": text, "openinference.span.kind": "TOOL"}
        provider.get_tracer("t").start_span(f"say {number}", attributes=attributes).end()
    assert provider.force_flush()
    provider.shutdown()
    with EventStore(dsn=dsn, shared_text_length=0, health_monitoring=False) as store:
        for text in hostile:
            store.log_task_event(
                event_name="all", input=text, output=text, data={"text": text}, error_type=text[:100],
                error_message=text, wait=True,
            )  # fmt: skip

    assert {"stored": len(hostile)} == {
        name: count for name, count in exporter.counts.items() if count and name in KEPT
    }
    with EventQuery(settings) as query:
        stored = {event.event_name for event in query.agent_events()}
        assert {f"say {number}" for number in range(len(hostile))} == stored
        found = {event.event_name for event in query.agent_events(text="word")}
        assert {"say 0", "say 4", "say 8"} <= found
        tailed = {event.event_name for event in query.tail(from_start=True, follow=False, text="word")}
        assert found | {"all"} == tailed
        assert found == {trace.root.event_name for trace in query.traces(text="word")}
        assert len(found) == sum(tool.count for tool in query.usage("tools", text="word"))
        assert len(hostile) == len(query.task_events(name="all"))


KEPT = ("stored", "dropped", "dead", "rejected")
