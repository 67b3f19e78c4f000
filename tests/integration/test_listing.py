"""What the command line asks, asked from Python: traces, ids, usage, and all events one by one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from math import inf
from uuid import UUID

import pytest
from harness.plans import asked
from harness.rows import DAY, NOW

from otel_pg_exporter import AsyncEventQuery, EventQuery, EventStore
from otel_pg_exporter.config import Settings
from otel_pg_exporter.errors import QueryError
from otel_pg_exporter.reading import listing, questions
from otel_pg_exporter.sql_files import Names


@pytest.fixture
def stored(dsn):
    """Ten traces: a task with a call of a model, for one of three agents."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

    from otel_pg_exporter import PostgresSpanExporter

    class Collected(SpanExporter):
        spans: list = []  # noqa: RUF012

        def export(self, spans):
            self.spans = [*self.spans, *spans]

    collected, provider = Collected(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(collected))
    tracer = provider.get_tracer("tests")
    for number in range(10):
        with tracer.start_as_current_span(f"task {number}", attributes={"otel_pg.category": "task"}):
            attributes = {"gen_ai.operation.name": "chat", "gen_ai.agent.id": f"agent {number % 3}",
                          "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": number}  # fmt: skip
            with tracer.start_as_current_span("chat", attributes=attributes):
                pass
    exporter = PostgresSpanExporter(dsn)
    exporter.export(collected.spans)
    exporter.shutdown()
    return dsn


def test_pages_of_traces_neither_repeat_nor_skip(stored):
    """Through the cursor, newest first, each with its own totals."""
    with EventQuery(dsn=stored) as query:
        found, cursor = [], None
        while True:
            page = query.traces(limit=3, cursor=cursor)
            assert len(page) <= 3
            found += page
            if (cursor := page.next_cursor) is None:
                break

        assert [f"task {number}" for number in reversed(range(10))] == [trace.root.event_name for trace in found]
        assert list(reversed(range(10))) == [trace.input_tokens for trace in found]
        assert {2} == {trace.spans for trace in found}
        assert page.to_dicts()[-1]["event_name"] == "task 0"
        assert [trace.trace_id for trace in found[:2]] == [trace.trace_id for trace in query.traces("task", limit=2)]
        assert [] == list(query.traces("agent"))


@pytest.mark.parametrize("is_looked_for_near_alone", [False, True])
def test_a_span_whose_parent_is_stored_is_no_root(rows, monkeypatch, is_looked_for_near_alone):
    """However long before it its parent began, in whichever table; one whose parent is not stored is one. A build that
    looks for parents among the newest rows alone lists one more."""
    rows.make_partitions({DAY - 40})
    ages = {"lost": None, "near": timedelta(hours=1), "days ago": timedelta(days=1), "weeks ago": timedelta(days=40)}
    for number, (name, age) in enumerate(ages.items(), 1):
        if age is not None:
            table = ("task_events", "agent_events", "deployment_events")[number % 3]
            rows.add(table, event_name=f"parent, {name}", time=NOW - age, trace_id=UUID(int=number), span_id=number)
        remote = {"parent_span_id": number, "parent_is_remote": True}
        moment = NOW if age else NOW - timedelta(minutes=1)
        rows.add("task_events", event_name=name, time=moment, trace_id=UUID(int=number), span_id=100 + number, **remote)
    rows.add("events", event_name="local", trace_id=UUID(int=9), parent_span_id=1, parent_is_remote=False)
    rows.add("events", event_name="a log record", record="log")
    if is_looked_for_near_alone:
        monkeypatch.setattr(listing, "_have_parents", lambda names, rows: iter(()))
    named = {name for name, age in ages.items() if age is None} | {
        f"parent, {name}" for name, age in ages.items() if age
    }

    with EventQuery(dsn=rows.connection.info.dsn) as query:
        newest = {trace.root.event_name for trace in query.traces(limit=1)}
        found = {trace.root.event_name for trace in query.traces()}

    assert found == named
    assert newest == ({"weeks ago"} if is_looked_for_near_alone else {"lost"})


def test_roots_are_found_by_their_index(rows, dsn):
    """Without a look at other spans, and among the newest partitions first."""
    rows.make_partitions(range(DAY - 60, DAY - 1))
    rows.add("task_events", 6000, parent_span_id=1, parent_is_remote=False)
    rows.add("task_events", 3, event_name="root", trace_id="$md5(i::text)::uuid")
    rows.connection.execute("ANALYZE")

    told, page = asked(Settings(dsn=dsn), listing.traces(Names("otel"), "task", {"limit": 2}))

    assert ["root"] * 2 == [trace.root.event_name for trace in page]
    _, how, _ = told[0]
    ((index,),) = rows.fetch(
        "SELECT indexname FROM pg_indexes WHERE tablename = %s AND indexdef LIKE '%%parent_is_remote%%'",
        f"task_events_p{NOW:%Y%m%d}",
    )
    assert f" {index} " in how, how
    assert f"_p{NOW - timedelta(days=5):%Y%m%d}" not in how


def test_no_day_before_the_start_is_looked_into(rows, dsn):
    """Of two hours, two days are asked alone, however few rows they have; of ten days, the two weeks then, and of all
    days only who asks for those."""
    rows.make_partitions(range(DAY - 60, DAY - 1))
    rows.add("task_events", 2, event_name="root", trace_id="$md5(i::text)::uuid")

    for start, looks in ((NOW - timedelta(hours=2), 1), (NOW - timedelta(days=10), 2), (NOW - timedelta(days=30), 3)):
        for ask in (listing.traces, questions.events):
            told, page = asked(Settings(dsn=dsn), ask(Names("otel"), "task", {"start": start}))
            asked_for = [statement for statement, _, _ in told if " AS order_key" in statement]

            assert (2, looks) == (len(page), len(asked_for)), (start, ask)


def test_usage_is_summed_for_each_agent_and_model(stored):
    """An agent without runs of its own has the tokens of its calls."""
    with EventQuery(dsn=stored) as query:
        agents = {usage.name: usage for usage in query.usage("agents", by="tokens")}
        assert {"agent 0": 18, "agent 1": 12, "agent 2": 15} == {n: u.input_tokens for n, u in agents.items()}
        assert ["agent 0", "agent 2", "agent 1"] == list(agents)
        assert {0} == {usage.count for usage in agents.values()}
        (model,) = query.usage("models", agent="agent 1")
        assert ("m", 3, 12) == (model.name, model.count, model.input_tokens)
        assert 1 == len(query.usage("agents", limit=1))


def test_agents_are_told_apart_by_their_names(rows, dsn):
    """Some libraries make an id for each run, others give all agents one; of some rows an id is all that is known."""
    for agent_id, agent_name in (("run 1", "anna"), ("run 2", "anna"), ("agent", "bob"), ("agent", "carl")):
        rows.add("agent_events", action="invoke", agent_id=agent_id, agent_name=agent_name)
    rows.add("agent_events", action="llm", agent_id="run 2", input_tokens=5)
    rows.add("agent_events", action="invoke", agent_id="nameless")

    with EventQuery(dsn=dsn) as query:
        found = {one.name: (one.count, one.input_tokens) for one in query.usage("agents")}

    assert {"anna": (2, 5), "bob": (1, 0), "carl": (1, 0), "nameless": (1, 0)} == found


def test_sums_of_tokens_may_be_larger_than_a_column_holds(rows, dsn):
    """Each of two calls states as many tokens as a bigint holds: neither a list of traces nor usage fails for that."""
    largest = (1 << 63) - 1
    rows.add("agent_events", 2, action="llm", agent_id="a", model="m", input_tokens=largest, output_tokens=largest)

    with EventQuery(dsn=dsn) as query:
        (trace, _), (agent,), (model,) = query.traces(), query.usage("agents", by="tokens"), query.usage("models")
        for each in (trace, agent, model):
            assert (2 * largest, 2 * largest) == (each.input_tokens, each.output_tokens)


def test_asyncio_gets_the_same_answers(stored):
    """Of the three that it has."""
    with EventQuery(dsn=stored) as query:
        traces, usage = query.traces(limit=4), query.usage("models")

    async def ask():
        async with AsyncEventQuery(dsn=stored) as query:
            found = await query.traces(limit=4)
            return found, await query.usage("models"), await query.trace_id(found[0].trace_id)

    found, used, trace_id = asyncio.run(ask())
    assert (list(traces), traces.next_cursor, usage) == (list(found), found.next_cursor, used)
    assert traces[0].trace_id == trace_id


def test_a_stream_gives_all_in_order_and_its_connection_back(stored):
    """Also one that is left in the middle."""
    with EventQuery(dsn=stored, pool_max_size=2) as query:
        every = list(query.stream())
        assert 20 == len(every)
        assert every == sorted(every, key=lambda event: event.time)
        assert ["chat"] * 10 == [event.event_name for event in query.stream("agent")]
        for _ in range(5):  # more than there are connections
            left = query.stream()
            next(left)
            left.close()
        documents = list(query.otlp_documents(records=8, limit=18))
        sizes = [sum(len(scope["spans"]) for group in d["resourceSpans"] for scope in group["scopeSpans"])
                 for d in documents]  # fmt: skip
        assert [8, 8, 2] == sizes


NOT_UNDERSTOOD = [
    (lambda query: query.traces(order_by="cost"), "unknown filter 'order_by'"),
    (lambda query: query.traces(limit=0), "limit=0"),
    (lambda query: query.usage("users"), "kind='users' is not allowed; allowed are: agents, tools, models"),
    (lambda query: query.usage("tools", by="name"), "by='name' is not allowed; allowed are: count, errors, p95"),
    (lambda query: query.trace_id(""), "allowed are 32 hex digits, or the first of them"),
    (lambda query: query.trace_id(7), "trace id 7 is not allowed; allowed are 32 hex digits"),
    (lambda query: query.trace_id("0"), "trace 0: nothing is stored"),
    (lambda query: next(query.stream(color="red")), "unknown filter 'color'"),
]


def test_what_is_not_understood_is_named(dsn):
    """With what is allowed; the id of zeros, of log records outside of traces, is no trace."""
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        store.log_system_event(event_name="outside", wait=True)
    with EventQuery(dsn=dsn) as query:
        for ask, said in NOT_UNDERSTOOD:
            with pytest.raises(QueryError) as raised:
                ask(query)
            assert said in str(raised.value)


def test_costs_add_up_as_they_are_written(rows, dsn):
    """In lists of traces and of usage as in statistics: infinite ones count in none; a sum may be beyond a float."""
    trace = UUID(int=7)
    for cost in (0.1, 0.1, 0.1, "Infinity", "NaN", None):
        rows.add("agent_events", trace_id=str(trace), agent_id="anna", action="llm", model="m", cost=cost)
    for _ in range(2):
        rows.add("agent_events", agent_id="bob", action="llm", model="n", cost=1.5e308)

    with EventQuery(dsn=dsn) as query:
        assert {"anna": 0.3, "bob": inf} == {one.name: one.cost for one in query.usage("agents")}
        assert {"m": 0.3, "n": inf} == {one.name: one.cost for one in query.usage("models")}
        assert 0.3 == next(one.cost for one in query.traces() if one.trace_id == trace.hex)
        assert {"anna": 0.3, "bob": inf} == {
            name: group.cost for name, group in query.statistics("agent", exact=True).by_agent.items()
        }
