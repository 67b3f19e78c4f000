"""Filters, orders and cursors: what is refused, and that nothing given becomes SQL."""

from __future__ import annotations

import base64
import re
from datetime import datetime, timedelta, timezone
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_pg_exporter.errors import QueryError
from otel_pg_exporter.reading.filters import COMMON, FILTERS, ORDERS, build_page, select_runs, trace_uuid
from otel_pg_exporter.routing import CATEGORIES, STATUSES
from otel_pg_exporter.sql_files import Names

NAMES = Names("otel")

NOW = datetime(2026, 11, 23, 12, 30, 0, 5, tzinfo=timezone.utc)
UUID_TEXT = str(UUID(int=0xABC))
INJECTION = "x'; DROP TABLE canary; --"


def a_cursor(*position: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def a_row(key: object) -> dict[str, object]:
    return {"order_key": key, "batch_id": uuid4(), "batch_index": 7}


@given(st.text(), st.sampled_from(["name", "action", "agent", "session"]))
def test_a_text_becomes_a_parameter_and_never_sql(text, name):
    """The conditions are the same whatever the text is."""
    page = build_page("agent", {name: text})

    assert page.conditions["agent"] == [FILTERS["agent"][name]]
    assert len(page.parameters[name]) == 1
    page.parameters[name][0].encode()
    assert "\0" not in page.parameters[name][0]


def test_every_filter_of_a_category_names_only_its_own_parameter():
    """No condition depends on another filter being given."""
    for category, conditions in FILTERS.items():
        for name, condition in conditions.items():
            own = {name} if condition != "{search}" else set()  # that depends on what is looked for
            assert set(re.findall(r"%\((\w+)\)s", condition)) == own, (category, name)


@pytest.mark.parametrize("value", [INJECTION, "", "TIME", "time desc", None, 1, ["time"], {"time": 1}, "\0"])
@pytest.mark.parametrize("option", ["order_by", "order_direction"])
def test_an_order_is_one_of_those_that_the_message_names(option, value):
    """An allow-list, compared exactly."""
    with pytest.raises(QueryError, match=r"allowed are: (time, duration|asc, desc)"):
        build_page(None, {}, **{option: value})


@pytest.mark.parametrize("order", ["input_tokens", "output_tokens", "cost"])
def test_an_agents_order_needs_the_agents_table(order):
    """Other tables have no such column."""
    assert build_page("agent", {}, order_by=order).key.startswith(f"coalesce({order}, ")
    for category in (None, "system", "task", "deployment"):
        with pytest.raises(QueryError, match=r"allowed are: time, duration$"):
            build_page(category, {}, order_by=order)


@pytest.mark.parametrize("limit", [0, -1, 10_001, 1.0, "5", None, True, INJECTION])
def test_a_limit_is_a_whole_number_from_1_to_10000(limit):
    """Anything else is refused before it reaches the server."""
    with pytest.raises(QueryError, match="1 to 10000"):
        build_page(None, {}, limit=limit)


@pytest.mark.parametrize("category", ["agents", "", INJECTION, 1, ["agent"]])
def test_a_category_is_one_of_four(category):
    """The message names them."""
    with pytest.raises(QueryError, match="system, task, agent, deployment"):
        build_page(category, {})


@pytest.mark.parametrize("name", [INJECTION, "tool", "queue", "branch", "limit", "order_key"])
def test_an_unknown_filter_is_refused_even_without_a_value(name):
    """A misspelt filter must not select everything."""
    for value in ("x", None):
        with pytest.raises(QueryError, match=r"unknown filter .* known are: event_type, name"):
            build_page(None, {name: value})


def test_a_start_after_its_end_is_refused():
    """It would select nothing, whatever is stored; the same moment twice is a stretch of no length."""
    later = NOW + timedelta(microseconds=1)
    with pytest.raises(QueryError, match=r"^start=2026\S+ is after end=2026\S+; allowed is one before it$"):
        build_page(None, {"start": later, "end": NOW})
    for end in (NOW, later, NOW.astimezone(timezone(timedelta(hours=-5)))):
        assert end == build_page(None, {"start": NOW, "end": end}).parameters["end"]


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), "2026-01-01", 1, NOW.date()])
@pytest.mark.parametrize("name", ["start", "end"])
def test_a_moment_needs_a_time_zone(name, value):
    """A naive datetime would mean another moment on another machine."""
    with pytest.raises(QueryError, match="datetime with a time zone"):
        build_page(None, {name: value})


@pytest.mark.parametrize("value", [1, b"name", ["a", 1], [None], NOW])
def test_a_text_filter_takes_a_text_or_several(value):
    """Lists, tuples and sets of texts, nothing else."""
    with pytest.raises(QueryError, match="a text, or a list of texts"):
        build_page(None, {"name": value})
    assert build_page(None, {"name": ("a", "b")}).parameters["name"] == ["a", "b"]
    assert build_page(None, {"name": {"a"}}).parameters["name"] == ["a"]


@pytest.mark.parametrize("name", ["task_id", "agent", "user", "pull_request", "deployment_id"])
def test_an_id_is_looked_for_as_it_is_logged(name):
    """A whole number, a UUID or a member of an enum is stored as a text, and is asked for as one."""
    category = "deployment" if name in {"pull_request", "deployment_id"} else "task"

    assert ["42"] == build_page(category, {name: 42}).parameters[name]
    assert ["a", "42", UUID_TEXT] == build_page(category, {name: ["a", 42, UUID(UUID_TEXT)]}).parameters[name]
    for wrong in (True, 1.5, b"a", [None], object()):
        with pytest.raises(QueryError, match="allowed is a text, a whole number, a UUID, or a list of them"):
            build_page(category, {name: wrong})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("status", "done", "='done' is not allowed; allowed are: started, completed, error, cancelled, suspended"),
        ("status", ["error", "Error"], "status='Error' is not allowed; allowed are: started,"),
        ("record", "event", "record='event' is not allowed; allowed are: span, log"),
        ("event_id", "x", "event_id='x' is not allowed; allowed is a UUID"),
        ("event_id", "x" * 99, f"event_id='{'x' * 58}… is not allowed; allowed is a UUID"),
    ],
)
def test_what_no_row_can_hold_is_refused(name, value, said):
    """An empty page would look as if there were no such events."""
    with pytest.raises(QueryError, match=re.escape(said)):
        build_page(None, {name: value})


def test_every_status_and_any_form_of_an_event_id_is_taken():
    """An id is stored in lower case."""
    asked = {"status": list(STATUSES), "record": ("span", "log"), "event_id": UUID_TEXT.upper()}

    parameters = build_page(None, asked).parameters

    assert (list(STATUSES), ["span", "log"], [UUID_TEXT]) == tuple(parameters[name] for name in asked)


def test_runs_have_one_of_four_categories():
    """As events have."""
    assert select_runs({"category": "task"}, 5)[1]["category"] == ["task"]
    with pytest.raises(QueryError, match="category='tasks' is not allowed; allowed are: system, task, agent, deploy"):
        select_runs({"category": "tasks"}, 5)


def test_attributes_are_compared_as_they_are_stored():
    """Bytes, NaN, NUL and large integers stand in jsonb in a form of their own."""
    given_attributes = {"b": b"\1", "f": float("nan"), "t": "a\0b", "i": 1 << 70, "s": "\\u0000"}

    stored = orjson.loads(build_page(None, {"attributes": given_attributes}).parameters["attributes"])

    assert stored == {"b": "AQ==", "f": "NaN", "t": "a�b", "i": str(1 << 70), "s": "\\u0000"}
    with pytest.raises(QueryError, match="a mapping"):
        build_page(None, {"attributes": '{"a": 1}'})


@pytest.mark.parametrize(
    "trace_id",
    ["", "f" * 31, "f" * 33, "g" * 32, "１" * 32, "1_" * 16, f"{{{'f' * 30}}}", "f" * 32 + "\n", 5, None, INJECTION],
)
def test_a_trace_id_is_32_hex_digits(trace_id):
    """Nothing else that uuid.UUID would take."""
    with pytest.raises(QueryError, match="32 hex digits"):
        trace_uuid(trace_id)
    with pytest.raises(QueryError):
        build_page(None, {"trace": [trace_id]})


def test_a_trace_id_may_be_a_uuid():
    """That is how SQL shows it."""
    assert trace_uuid("0AF7651916cd43dd8448eb211c80319c") == trace_uuid("0af76519-16cd-43dd-8448-eb211c80319c")
    stored = trace_uuid("0AF7651916cd43dd8448eb211c80319c")
    assert stored == trace_uuid(stored)
    asked = build_page(None, {"trace": [stored, stored.hex], "event_id": UUID(UUID_TEXT)}).parameters
    assert ([stored, stored], [UUID_TEXT]) == (asked["trace"], asked["event_id"])


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize(
    ("order", "key", "written"),
    [
        ("time", NOW, "2026-11-23T12:30:00.000005+00:00"),
        ("time", NOW.replace(microsecond=0, tzinfo=timezone(timedelta(hours=2))), "2026-11-23T10:30:00+00:00"),
        ("duration", -(1 << 63), str(-(1 << 63))),
        ("input_tokens", 5, "5"),
        ("cost", 0.1 + 0.2, "0.30000000000000004"),
        ("cost", float("-inf"), "-inf"),
        ("cost", float("nan"), "nan"),
    ],
)
def test_a_cursor_leads_back_to_its_row(order, key, written, direction):
    """Exactly: the key loses nothing on its way."""
    row = a_row(key)
    page = build_page("agent", {}, order_by=order, order_direction=direction)

    after = build_page("agent", {}, order_by=order, order_direction=direction, cursor=page.cursor(row)).parameters

    assert (after["after_key"], after["after_batch"], after["after_index"]) == (written, row["batch_id"], 7)


def test_a_cursor_belongs_to_one_order():
    """Another order or direction would skip rows without a word."""
    cursor = build_page(None, {}, order_by="time").cursor(a_row(NOW))

    for other in ({"order_by": "duration"}, {"order_direction": "asc"}):
        with pytest.raises(QueryError, match="the cursor belongs to order time desc"):
            build_page(None, {}, cursor=cursor, **other)


TIME_TEXT = NOW.isoformat()


@pytest.mark.parametrize(
    "cursor",
    [
        "", "garbage", "é", INJECTION, "A", 5, b"x", [], "e30", "W10",
        a_cursor("time", "desc", TIME_TEXT, UUID_TEXT),
        a_cursor("time", "desc", TIME_TEXT, UUID_TEXT, 1 << 31),
        a_cursor("time", "desc", TIME_TEXT, UUID_TEXT, -1),
        a_cursor("time", "desc", TIME_TEXT, UUID_TEXT, 1.5),
        a_cursor("time", "desc", TIME_TEXT, UUID_TEXT, True),
        a_cursor("time", "desc", TIME_TEXT, 5, 1),
        a_cursor("time", "desc", TIME_TEXT, "x", 1),
        a_cursor("time", "desc", "infinity", UUID_TEXT, 1),
        a_cursor("time", "desc", "2026-W10", UUID_TEXT, 1),
        a_cursor("time", "desc", "2026-01-01T00:00:00", UUID_TEXT, 1),
        a_cursor("time", "desc", None, UUID_TEXT, 1),
        *(a_cursor("cost", "desc", key, UUID_TEXT, 1) for key in ("1e400", "1e-400", "-1e400", " 5.0", "+5", "x", 5)),
        a_cursor("duration", "desc", str(1 << 63), UUID_TEXT, 1),
        a_cursor("duration", "desc", "1_0", UUID_TEXT, 1),
        a_cursor("duration", "desc", "１", UUID_TEXT, 1),
        a_cursor("duration", "desc", 5, UUID_TEXT, 1),
        a_cursor("duration", "desc", [5], UUID_TEXT, 1),
        a_cursor(["time"], "desc", TIME_TEXT, UUID_TEXT, 1),
        a_cursor(INJECTION, INJECTION, INJECTION, INJECTION, INJECTION),
    ],
)  # fmt: skip
def test_a_forged_cursor_is_refused(cursor):
    """Whatever it holds, it never reaches the server."""
    for order in ORDERS["agent"]:
        with pytest.raises(QueryError, match="cursor"):
            build_page("agent", {}, order_by=order, cursor=cursor)


@given(st.one_of(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(str)))
def test_any_text_as_a_cursor_is_refused_or_understood(text):
    """No other exception comes out."""
    for cursor in (text, base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode()):
        with pytest.raises(QueryError):
            build_page(None, {}, cursor=cursor)


def test_all_four_categories_have_the_common_filters():
    """So that `events()` means the same for each table."""
    assert set(FILTERS) == set(CATEGORIES)
    assert all(set(COMMON) <= set(filters) for filters in FILTERS.values())


@pytest.mark.parametrize(
    "text", ["", "  ", "\0", '"" - &|!', "x" * 1001, "é" * 501, None, 7, ["parcel"], b"parcel", {"parcel": 1}]
)
def test_a_text_to_look_for_has_words_and_fits(text):
    """Anything else is refused before it reaches the server; None is no filter, as of any other."""
    if text is None:
        assert "text" not in build_page(None, {"text": text}).parameters
        return
    with pytest.raises(QueryError, match="allowed are 1 to 20 words or phrases with a letter or a digit, of up to 1,0"):
        build_page(None, {"text": text})


@given(st.text())
def test_a_text_to_look_for_stays_a_parameter(text):
    """Whatever it is, the condition is that of any other text of as many words: nothing of it but parameters."""
    try:
        page = build_page("task", {"text": text})
    except QueryError:
        return
    alternatives = page.search.alternatives
    alike = " or ".join(" ".join("-parcel" if missing else "parcel" for missing, _ in terms) for terms in alternatives)
    assert build_page("task", {"text": alike}).where(NAMES, "task") == page.where(NAMES, "task")
    assert "{" not in page.where(NAMES, "task").replace("{4}", "")
    for term in page.search.parameters.values():
        assert "\0" not in term
        assert term.encode()


@pytest.mark.parametrize(
    ("text", "alternatives"),
    [
        ("parcel", [["parcel"]]), ("parcel late", [["parcel", "late"]]), ("a or b c", [["a"], ["b", "c"]]),
        ("a OR b", [["a"], ["b"]]), ("or a or or b or", [["a"], ["b"]]), ('"or"', [["or"]]), ("-or a", [["-or", "a"]]),
        ('-"a b" c', [["-a b", "c"]]), ('say"a b"or', [["say", "a b"]]), ("a-b --c", [["a-b", "-c"]]),
        ('"a b', [["a b"]]), ("a & | ! - b", [["a", "b"]]), ('a"or"b', [["a", "or", "b"]]),
    ],
)  # fmt: skip
def test_what_was_typed_is_read_as_postgresql_reads_it(text, alternatives):
    """Phrases, `or` between them, and `-` before what must be missing."""
    search = build_page("task", {"text": text}).search
    read = [["-" * missing + search.parameters[name][1:-1] for missing, name in terms] for terms in search.alternatives]

    assert alternatives == read


def test_so_many_words_are_looked_for_and_no_more():
    """Each is a condition of its own."""
    assert build_page("task", {"text": "w " * 20}).search
    with pytest.raises(QueryError, match="1 to 20 words"):
        build_page("task", {"text": "w " * 21})
