"""The short way to a row gives what the careful encoder gives, and is the one that usual spans take."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from otel_pg_exporter.encoding.plain_rows import SpanEncoder
from otel_pg_exporter.encoding.presumed import with_json
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.encoding.tables import COLUMNS
from otel_pg_exporter.routing.conventions import SOURCES

BATCH_ID = bytes(range(16))
PLAIN, PRESUMING, CAREFUL = SpanEncoder(), SpanEncoder(presumes=True), RowEncoder()
RESOURCE, SCOPE = Resource({"service.name": "s"}), InstrumentationScope("tests")


def rows(span: ReadableSpan) -> tuple[Any, Any]:
    """The row by either encoder; the first is None if the span is not plain."""
    try:
        plain = PLAIN.plain(span, BATCH_ID, 7)
    except Exception:
        plain = None
    return plain, CAREFUL.span(span, BATCH_ID, 7)


def bounded(attributes: dict[str, Any], dropped: int = 0) -> BoundedAttributes:
    """Attributes as the SDK holds them, but not cleaned by it."""
    made = BoundedAttributes(immutable=False)
    made._dict, made.dropped = dict(attributes), dropped
    return made


def listed(items: list[Any], dropped: int = 0) -> Any:
    made: Any = BoundedList.from_seq(10, items)
    made.dropped = dropped
    return made


def looked_into(row: Any) -> Any:
    """A row that was made presuming, once PostgreSQL has refused it."""
    table, data, *rest = row
    return table, with_json(data, COLUMNS[table]), *rest


class Word(str):
    """A text of another type."""


AROUND = {f"otel_pg.around.{name}": name for name in ("task_id", "agent_id", "agent_name", "session_id", "user_id")}

mostly = st.sampled_from  # hypothesis likes the first ones best
texts = st.text(max_size=8) | st.text(st.characters(exclude_categories=()), max_size=8)
contents = st.sampled_from(
    ['{"a": [1, 2.5, "x"]}', "[1", "1e999", '"\\u0000"', '"\\ud800"', "plain", "null", "1 2", ""]
)
scalars = st.one_of(
    texts, contents, st.booleans(), st.none(), st.integers(-(2**70), 2**70), st.integers(-2, 2), st.floats(),
    st.sampled_from([0.5, -0.0, 1e16, -1e15, "\0", "\ud800", b"x", Word("w"), "0000", "\\u0000"]),
)  # fmt: skip
nested = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6) | st.dictionaries(
    texts, scalars, max_size=2
)
values = st.one_of(texts, contents, st.integers(0, 9), scalars, nested)
KNOWN = sorted({key for columns in SOURCES.values() for keys in columns.values() for key in keys})
OPERATIONS = ["chat", "execute_tool", "invoke_agent", "invoke_workflow", "new"]
DECIDING = {
    "gen_ai.operation.name": mostly(OPERATIONS),
    "openinference.span.kind": mostly(["LLM", "AGENT", "CHAIN", "TOOL"]),
    "otel_pg.category": mostly(["task", "agent", "deployment", "system", "odd"]),
    "otel_pg.status": mostly(["started", "odd"]),
    "celery.action": mostly(["run", "apply_async"]),
}
keys = st.sampled_from(KNOWN) | texts
attributes = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    st.fixed_dictionaries({}, optional=DECIDING),
    st.dictionaries(keys, st.one_of(texts, contents, st.integers(0, 9), st.floats(0, 1)), max_size=6),
    st.just({}) | st.dictionaries(keys, values, max_size=3),
)
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1) | st.integers(-1, 2**129),
    st.integers(1, 2**64 - 1) | st.integers(-1, 2**65),
    st.booleans(),
    st.integers(0, 3).map(TraceFlags) | st.integers(-1, 2**33).map(TraceFlags),
    st.none() | st.just(TraceState([("a", "b")])) | st.just(TraceState()),
)
drops = st.just(0) | st.integers(0, 2**40)
holders = st.builds(bounded, attributes, drops) | st.none() | attributes
times = st.integers(0, 2**62) | st.integers(-(2**64), 2**64) | st.sampled_from([None, 1.5, True])
names = texts | st.sampled_from(["exception", "n", "x" * 300, Word("w"), None, 5])
exceptions = st.fixed_dictionaries({}, optional={"exception.type": values, "exception.message": values})
events = st.builds(Event, names, holders, times) | st.builds(
    Event, st.just("exception"), exceptions.map(bounded), st.integers(0, 2**62)
)
links = st.builds(Link, contexts, holders)
OWN = SpanContext(0xABC, 2**64 - 2, False, TraceFlags(1))
USUAL: dict[str, Any] = {
    "name": "n",
    "context": OWN,
    "parent": SpanContext(0xABC, 5, True, TraceFlags(1)),
    "resource": RESOURCE,
    "attributes": bounded({"session.id": "s", "b": 1, "a": 0.5}),
    "events": listed([Event("exception", bounded({"exception.type": "E", "exception.message": "m"}), 5)]),
    "links": listed([Link(OWN, bounded({}))]),
    "start_time": 5,
    "end_time": 7,
}
ODD = {
    "name": names,
    "context": contexts | st.none(),
    "parent": contexts | st.none(),
    "attributes": holders,
    "events": st.builds(listed, st.lists(events, max_size=3), drops) | st.lists(events, max_size=2),
    "links": st.builds(listed, st.lists(links, max_size=2), drops) | st.lists(links, max_size=2),
    "kind": st.sampled_from(SpanKind),
    "status": st.builds(Status, st.sampled_from(StatusCode)) | st.builds(Status, st.just(StatusCode.ERROR), texts),
    "start_time": times,
    "end_time": times,
    "instrumentation_scope": st.none() | st.just(SCOPE),
}
odd_parts = st.one_of([st.tuples(st.just(part), value) for part, value in ODD.items()])
spans = st.lists(odd_parts, max_size=3).map(lambda odd: ReadableSpan(**{**USUAL, **dict(odd)}))


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(span=spans)
@pytest.mark.filterwarnings("ignore")
def test_any_span_has_the_same_row_by_either_encoder(span):
    """Where the short way answers, its row is that of the careful encoder, byte for byte."""
    plain, careful = rows(span)

    assert plain is None or careful == plain
    assert careful == PLAIN.span(span, BATCH_ID, 7)
    assert careful == looked_into(PRESUMING.span(span, BATCH_ID, 7))


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(found=attributes, name=texts.filter(bool), is_error=st.booleans(), is_root=st.booleans())
def test_spans_with_any_attributes_have_the_same_row(found, name, is_error, is_root):
    """Spans that are usual but for their attributes have the same row by either encoder."""
    context = SpanContext(0xABC, 0xDEF, False, TraceFlags(1))
    exception = Event("exception", bounded({"exception.type": "E", "exception.message": name}), 5)
    plain, careful = rows(
        ReadableSpan(
            name, context, None if is_root else context, RESOURCE, bounded(found),
            listed([exception, Event("e", bounded(found), 6)]), listed([Link(context, bounded(found))]),
            status=Status(StatusCode.ERROR, "E: m") if is_error else Status(), start_time=5, end_time=7,
        )
    )  # fmt: skip

    assert plain is None or careful == plain


json_pieces = st.sampled_from(
    ['{"', '["', '[{"', '"', "}", "]", "a", ",", ":", '":', "1e999", "\\u0000", "\\ud800", "\\n", "\\", "\0", "\n",
     "é", "\ud800"]
)  # fmt: skip
nearly_json = st.lists(json_pieces, max_size=6).map("".join) | st.builds(
    lambda start, pieces, end: start + "".join(pieces) + end,
    st.sampled_from(['{"', '["', '[{"']), st.lists(json_pieces, max_size=4), st.sampled_from("]}"),
)  # fmt: skip


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(given_in=nearly_json, given_back=nearly_json)
def test_what_was_taken_for_json_is_once_it_was_looked_into(given_in, given_back):
    """A span whose input and output may be JSON has the same row in the end, whether one looked first or not."""
    found = {"gen_ai.operation.name": "chat", "input.value": given_in, "output.value": given_back}
    span = ReadableSpan(**{**USUAL, "attributes": bounded(found)})

    assert CAREFUL.span(span, BATCH_ID, 7) == looked_into(PRESUMING.span(span, BATCH_ID, 7))


def levels(count: int) -> Any:
    """Arrays in arrays."""
    return (levels(count - 1),) if count else "bottom"


@pytest.mark.parametrize(
    "parts",
    [
        *({"attributes": bounded({"b": 1, "a": levels(count)})} for count in (7, 8, 9, 10)),
        {"attributes": bounded({"a": "name\0"}), "name": "name\0"},
        {"attributes": bounded({"a": (0.5, -0.0)})},
        {"attributes": bounded({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.id": ""})},
        {"attributes": bounded({"gen_ai.operation.name": "invoke_agent"}), "name": ""},
        {"attributes": bounded({"exception.message": "attribute"}), "status": Status(StatusCode.ERROR, "d")},
        {"attributes": bounded({"error.type": ""}), "status": Status(StatusCode.ERROR, "d")},
        {"attributes": bounded({"session.id": ("a", "b")})},
        *(
            {"attributes": bounded({"gen_ai.operation.name": operation, **AROUND, **own})}
            for operation in ("chat", "invoke_agent")
            for own in ({}, {"gen_ai.agent.id": "a"}, {"gen_ai.agent.name": "n"}, {"session.id": "s"})
        ),
        {"attributes": bounded({"celery.action": "run", **AROUND})},
        {"attributes": bounded({"http.request.method": "GET", **AROUND})},
        *(
            {"attributes": bounded({"openinference.span.kind": "LLM", "llm.invocation_parameters": said})}
            for said in ('{"model": "gpt-5"}', '{"model": 5}', '{"model": ["a\\u0000"]}', "{}", "no JSON", 5)
        ),
        {"status": Status(StatusCode.ERROR, "d\0")},
        {"status": Status(StatusCode.ERROR, "d"), "events": listed([Event("exception", bounded({}), 5)])},
        {"start_time": 2**70, "end_time": 5},
        {"start_time": -(2**63), "end_time": 2**63 - 1},
        {"parent": SpanContext(1, 2, None)},
    ],
    ids=lambda parts: " ".join(parts),
)
def test_spans_at_the_edge_have_the_same_row(parts):
    """Values that one more or one less would make usual or unusual."""
    span = ReadableSpan(**{**USUAL, **parts})
    plain, careful = rows(span)

    assert plain is None or careful == plain


def test_the_spans_of_real_libraries_have_the_same_row(emitted):
    """So do those that libraries emitted; one that was made odd on purpose does not go the short way."""
    both = [(span.name, *rows(span)) for span in emitted[0]]

    assert [careful for _, plain, careful in both if plain] == [plain for _, plain, _ in both if plain]
    assert {name for name, plain, _ in both if plain is None} <= {"consume"}


@pytest.fixture
def usual():
    """Spans as programs make them, through the SDK that is installed."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("tests", "1.0")
    call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.input_tokens": 5,
        "operation.cost": 0.1,
        "input.value": "[1]",
    }
    with tracer.start_as_current_span("root", kind=SpanKind.SERVER) as root:
        with tracer.start_as_current_span("chat", attributes=call, links=[Link(root.get_span_context(), {"a": 1})]):
            root.add_event("progress", {"step": 1, "of": "three", "ratios": (0.25, 0.5)})
        with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}) as span:
            span.set_attributes({"é": "ü", "tags": ["a", "b"], "output.value": "plain", "b": True})
        with pytest.raises(ValueError, match="no"), tracer.start_as_current_span("failing"):
            raise ValueError("no")
        with tracer.start_as_current_span("refused", attributes={"error.type": "E"}) as span:
            span.set_status(StatusCode.ERROR)
    return memory.get_finished_spans()


def test_usual_spans_go_the_short_way(usual):
    """Roots and children, with events, links, numbers, arrays and exceptions, take the short way to the same row."""
    found = [(span.name, *rows(span)) for span in usual]

    assert [(name, careful) for name, _, careful in found] == [(name, plain) for name, plain, _ in found]
    assert {"root", "chat", "agent", "failing", "refused"} == {name for name, *_ in found}
