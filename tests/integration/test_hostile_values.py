"""Values that Postgres, JSON or readers choke on are stored and come back, or the row says what is gone."""

from __future__ import annotations

import json
import math
from enum import Enum
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags

from otel_pg_exporter.exporter import PostgresLogRecordExporter, PostgresSpanExporter
from otel_pg_exporter.query import EventQuery

TRACE_ID = 0xABCD
texts = st.text(st.characters(exclude_categories=()), max_size=12)
keys = texts.filter(bool)  # the SDK drops an empty key
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    texts,
    st.binary(max_size=12),
    st.sampled_from(["", "\0", "\ud800", "a\udfffb", "null", "NaN", '{"a": "\\u0000"}', "1e999", -0.0, 1e300, 5e-324]),
)
nested = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
attributes = st.dictionaries(keys, nested, max_size=6)
nanoseconds = st.integers(-(2**62), 2**62)


class Store:
    """A database that many examples use, each with a trace of its own; by chance a name is that of a secret, and
    none is looked for."""

    def __init__(self, dsn: str) -> None:
        self.spans = PostgresSpanExporter(dsn, redact=False, export_timeout_millis=20_000)
        self.logs = PostgresLogRecordExporter(dsn, redact=False)
        self.query = EventQuery(dsn=dsn)
        self.trace_id = TRACE_ID

    def span_back(self, **parts: Any) -> tuple[ReadableSpan, ReadableSpan]:
        """A span, and the same one read back."""
        self.trace_id += 1
        parts = {"name": "n", "start_time": 1, "end_time": 2, "resource": Resource({}), **parts}
        span = ReadableSpan(context=SpanContext(self.trace_id, 7, False, TraceFlags(1)), **parts)
        self.spans.export([span])
        assert self.spans.last_error is None
        (back,) = self.query.trace(f"{self.trace_id:032x}").to_readable_spans()
        return span, back

    def body_back(self, body: Any) -> tuple[Any, Any]:
        """The body of a log record read back, and the row's fixups."""
        self.trace_id += 1
        record = LogRecord(timestamp=1, observed_timestamp=1, body=body, attributes={}, event_name="e")
        record.trace_id, record.span_id, record.trace_flags = self.trace_id, 7, TraceFlags(1)
        self.logs.export([ReadableLogRecord(record, Resource({}))])
        assert self.logs.last_error is None
        trace = self.query.trace(f"{self.trace_id:032x}")
        return trace.to_log_records()[0].log_record.body, next(trace.walk())[1].row["fixups"]

    def close(self) -> None:
        self.spans.shutdown()
        self.logs.shutdown()
        self.query.close()


@pytest.fixture
def store(dsn):
    opened = Store(dsn)
    yield opened
    opened.close()


def same(left: Any, right: Any) -> bool:
    """Equal in type and value; NaN equals NaN, 0.0 does not equal -0.0, a tuple equals a list."""
    if isinstance(left, dict):
        return isinstance(right, dict) and [*left] == [*right] and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return isinstance(right, list | tuple) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return (
            type(right) is float
            and (left == right or (left != left and right != right))
            and (math.copysign(1, left) == math.copysign(1, right) or left != left)
        )
    return type(left) is type(right) and left == right


many = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@many
@given(attributes=attributes, name=texts, start=nanoseconds, end=nanoseconds)
def test_a_span_with_any_attributes_comes_back(store, attributes, name, start, end):
    """Attributes, name and times come back in type, value and order; durations may be negative."""
    span, back = store.span_back(attributes=attributes, name=name, start_time=start, end_time=end)

    assert same(dict(span.attributes), dict(back.attributes))
    assert (name, start, end) == (back.name, back.start_time, back.end_time)


@many
@given(body=nested)
def test_a_log_record_with_any_body_comes_back(store, body):
    """The body of a log record comes back in type and value."""
    back, _ = store.body_back(body)

    assert same(body, back)


@many
@given(attributes=attributes, name=texts, description=texts)
def test_events_links_and_status_come_back(store, attributes, name, description):
    """Span events, links and the status description come back as they were."""
    span, back = store.span_back(
        events=[Event(name, attributes, 5), Event("plain", {"b": 1, "a": 2}, 6)],
        links=[Link(SpanContext(1, 2, True), attributes)],
        status=Status(StatusCode.ERROR, description),
    )

    assert [(e.name, e.timestamp) for e in span.events] == [(e.name, e.timestamp) for e in back.events]
    assert all(same(dict(a.attributes), dict(b.attributes)) for a, b in zip(span.events, back.events, strict=True))
    assert same(dict(span.links[0].attributes), dict(back.links[0].attributes))
    assert (description or None) == (back.status.description or None)


@pytest.mark.parametrize(
    "value",
    [
        "a\0b",
        "x\ud800",
        float("nan"),
        float("-inf"),
        -0.0,
        2**70,
        -(2**64),
        10**5000,
        b"\0\xff",
        1e22,
        {"b": {"\0": 1}},
    ],
    ids=lambda value: repr(value)[:12] if not isinstance(value, int) else f"{value.bit_length()} bits",
)
def test_a_row_says_what_postgres_cannot_hold(store, value):
    """A value that jsonb cannot hold as it is has a fixup that names its path, and comes back exactly."""
    span, back = store.span_back(attributes={"plain": 1, "odd": value})

    node = next(store.query.trace(f"{store.trace_id:032x}").walk())[1]
    assert any(fixup[0][:2] == ["attributes", "odd"] for fixup in node.row["fixups"])
    assert same(dict(span.attributes), dict(back.attributes))


def test_a_string_of_ten_megabytes_comes_back(store):
    """10 MB of text is an ordinary value, plain or with a NUL in it."""
    text = "0123456789" * 1_000_000

    span, back = store.span_back(attributes={"plain": text, "nul": text + "\0"})

    assert dict(span.attributes) == dict(back.attributes)


def test_a_thousand_levels_come_back(store):
    """A body of depth 1,000 comes back; neither writer nor reader recurses."""
    deep: Any = "bottom"
    for level in range(1000):
        deep = {"b": deep, "a": level} if level % 2 else [deep]

    back, fixups = store.body_back(deep)

    assert {"deep"} <= {fixup[1] for fixup in fixups}
    for _ in range(1000):
        assert type(deep) is type(back)
        deep, back = (deep["b"], back["b"]) if isinstance(deep, dict) else (deep[0], back[0])
    assert deep == back


def test_what_cannot_come_back_is_marked_as_lost(store):
    """A value that contains itself, or is of no OpenTelemetry type, is stored as text and the row says so."""
    cycle: list[Any] = [1]
    cycle.append(cycle)

    back, fixups = store.body_back({"cycle": cycle, "object": SpanContext})

    assert {"cycle", "object"} <= {fixup[1] for fixup in fixups}
    assert back["cycle"][0] == 1


@pytest.mark.parametrize("name", [None, 5, 2.5, True])
def test_a_name_that_is_no_text_comes_back(store, name):
    """A span name of another type is stored as text and comes back as it was."""
    span, back = store.span_back(name=name)

    assert same(span.name, back.name)


class Key(str, Enum):
    """What str() of a member says is its name in the program, not its text."""

    MODEL = "model"
    ORDER = "order"


def test_keys_that_are_members_of_enums_come_back_as_texts(store):
    """Of attributes, of events and links, of resources, in values and in bodies: orjson takes texts alone."""
    named = {Key.MODEL: "m", "nested": {Key.ORDER: [Key.MODEL]}}
    event, link = Event("e", named, 1), Link(SpanContext(1, 2, False), named)

    _, back = store.span_back(attributes=named, events=[event], links=[link], resource=Resource({Key.MODEL: "r"}))
    body, _ = store.body_back(named)

    expected = {"model": "m", "nested": {"order": ["model"]}}
    assert same(expected, dict(back.attributes))
    assert same(expected, body)
    assert [expected, expected] == [dict(back.events[0].attributes), dict(back.links[0].attributes)]
    assert {"model": "r"} == dict(back.resource.attributes)


@pytest.mark.parametrize("times", [(None, None), (1.5, 2.5), (2**70, 2**70), (5, None), (None, 5)])
def test_odd_times_do_not_keep_a_span_out(store, times):
    """Times that are missing, fractional or beyond 64 bits are stored and come back as they were."""
    _, back = store.span_back(start_time=times[0], end_time=times[1])

    assert times == (back.start_time, back.end_time)


def test_an_order_of_three_hundred_attributes_is_kept(store):
    """The order of many attributes is kept, and so the OTLP encoding is the same byte for byte."""
    span, back = store.span_back(attributes={f"key{(i * 7919) % 300}": i for i in range(300)})

    assert encode_spans([span]).SerializeToString() == encode_spans([back]).SerializeToString()


def test_odd_records_share_a_batch_with_plain_ones(store, dsn):
    """One batch of the worst values and plain spans is stored whole."""
    odd = [float("nan"), "\0", "\ud800", b"\xff", 2**80, {"a": {"b": None}}]
    spans = [
        ReadableSpan("n", SpanContext(1, i + 1, False), attributes={"v": value, "i": i}, start_time=i, end_time=i)
        for i, value in enumerate(odd * 20)
    ]

    store.spans.export(spans)

    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM otel.events").fetchone() == (len(spans),)


@pytest.mark.parametrize("filling", ["", "x" * 20_000], ids=["in the row", "in contents"])
@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 123456789012345678901234])
def test_whole_numbers_of_any_size_in_json_text_come_back(store, number, filling):
    """An input of JSON text has the numbers that the text has, and no float in place of a large one."""
    said = {"id": number, "ratio": 0.1, "said": filling}
    span, back = store.span_back(attributes={"gen_ai.operation.name": "chat", "input.value": json.dumps(said)})
    (event,) = store.query.agent_events()

    assert same(said, event.input)
    assert span.attributes == dict(back.attributes)


def test_a_number_of_ten_thousand_digits_keeps_no_trace_from_being_exported(store):
    """Python does not write it in decimal digits; in OTLP it is a text."""
    store.span_back(attributes={"n": 1 << 40_000})
    for document in (*store.query.otlp_documents(), store.query.trace(f"{store.trace_id:032x}").to_otlp_json()):
        (span,) = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
        assert [{"key": "n", "value": {"stringValue": hex(1 << 40_000)}}] == span["attributes"]


@pytest.mark.parametrize("body", [1 << 40_000, {"n": [1 << 40_000]}, [b"\0", 1 << 40_000]], ids=["bare", "map", "list"])
def test_a_log_record_with_such_a_number_is_shown_by_it(store, body):
    """One without a name is known by its body, in lists of events and in the tree of its trace."""
    record = LogRecord(timestamp=1, observed_timestamp=1, body=body, attributes={})
    record.trace_id, record.span_id, record.trace_flags = TRACE_ID, 7, TraceFlags(1)
    store.logs.export([ReadableLogRecord(record, Resource({}))])

    (event,) = store.query.events()
    trace = store.query.trace(f"{TRACE_ID:032x}")
    assert hex(1 << 40_000)[:40] in event.title
    assert hex(1 << 40_000)[:40] in str(trace)
    assert hex(1 << 40_000)[:40] in trace._repr_html_()


def test_spans_share_a_resource_that_is_not_equal_to_itself(store):
    """NaN is not: in OTLP they stand under one resource and scope all the same."""
    odd = {"load": float("nan")}
    shared = {"resource": Resource(odd), "instrumentation_scope": InstrumentationScope("s", attributes=odd)}
    contexts = [SpanContext(TRACE_ID, number, False, TraceFlags(1)) for number in (1, 2, 3)]
    store.spans.export([ReadableSpan(name="n", context=each, start_time=1, end_time=2, **shared) for each in contexts])

    trace = store.query.trace(f"{TRACE_ID:032x}")
    (resource,) = trace.to_otlp_json()["resourceSpans"]
    (scope,) = resource["scopeSpans"]
    assert 3 == len(scope["spans"])
    assert 1 == len({id(span.resource) for span in trace.to_readable_spans()})
