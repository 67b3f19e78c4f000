"""Shapes of events: what is refused, and that what is accepted reaches its column."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_pg_exporter import AgentEvent, DeploymentEvent, SystemEvent, TaskEvent
from otel_pg_exporter.errors import EventStoreError, InvalidEventError, shown
from otel_pg_exporter.events.event_types import occasion
from otel_pg_exporter.events.shapes import SHAPES
from otel_pg_exporter.routing import CATEGORIES, route
from otel_pg_exporter.routing.conventions import SOURCES

NOW = datetime(2026, 11, 23, 12, 30, 0, 5, tzinfo=timezone.utc)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
COLUMN_OF = {"deployment_id": "pipeline_run_id"}
WITHOUT_COLUMN = {"event_name", "event_type", "status", "timestamp", "duration_seconds", "data", "target"}


def filled(category: str) -> dict[str, object]:
    """A value for each field of a shape, in the form that it keeps."""
    special = {
        "status": "cancelled", "timestamp": NOW, "duration_seconds": 1.5, "data": {"k": [1]}, "attempt": 2,
        "cost": 0.25, "input": {"a": 1}, "output": [2], "build_result": "success", "test_result": "failure",
        "result": "skip",
    }  # fmt: skip
    names = [each.name for each in fields(SHAPES[category])]
    return {name: special.get(name, 7 if name.endswith("_tokens") else f"a {name}") for name in names}


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_field_has_a_column_of_its_table(category):
    """What is given in a field is an attribute that fills the column of the same name."""
    for name, value in filled(category).items():
        if name in WITHOUT_COLUMN | {"action"}:
            continue
        attributes = SHAPES[category](event_name="x", **{name: value}).attributes()
        sources = SOURCES[category][COLUMN_OF.get(name, name)]

        assert set(sources) & set(attributes), name
        assert category == route(attributes, event_name="x").category


@pytest.mark.parametrize("category", CATEGORIES)
def test_what_is_given_is_kept(category):
    """Each field holds what it was given, and the attributes name type and status."""
    given_fields = filled(category)

    event = SHAPES[category](**given_fields)

    assert given_fields == {name: getattr(event, name) for name in given_fields}
    assert "a event_type" == event.attributes()["otel_pg.event_type"]
    assert "cancelled" == event.attributes()["otel_pg.status"]
    assert 1_500_000_000 == event.attributes()["otel_pg.duration_ns"]
    with pytest.raises(FrozenInstanceError):
        event.status = "error"


@pytest.mark.parametrize(
    ("shape", "field", "value", "allowed"),
    [
        (SystemEvent, "event_name", "", "one character or more"),
        (SystemEvent, "event_name", None, "one character or more"),
        (SystemEvent, "event_type", 1, "one character or more"),
        (SystemEvent, "status", "success", "started, completed, error, cancelled"),
        (SystemEvent, "status", ["error"], "started, completed, error, cancelled"),
        (SystemEvent, "timestamp", NOW.replace(tzinfo=None), "a datetime with a time zone"),
        (SystemEvent, "timestamp", "2026-11-23", "a datetime with a time zone"),
        (SystemEvent, "timestamp", NOW.replace(year=1600), "1678 to 2261"),
        (SystemEvent, "user_id", 7.5, "a text, a whole number or a UUID"),
        (SystemEvent, "data", [1], "a mapping"),
        (SystemEvent, "data", {1: 2}, "keys are texts"),
        (SystemEvent, "data", {"a": {"b": {1, 2}}}, "not set"),
        (SystemEvent, "data", {"a": b"x"}, "not bytes"),
        (TaskEvent, "duration_seconds", -0.1, "a number from 0"),
        (TaskEvent, "duration_seconds", math.nan, "a number from 0"),
        (TaskEvent, "duration_seconds", math.inf, "a number from 0"),
        (TaskEvent, "duration_seconds", True, "a number from 0"),
        (TaskEvent, "attempt", 0, "a whole number from 1"),
        (TaskEvent, "attempt", 1 << 31, "to 2147483647"),
        (TaskEvent, "attempt", 1.0, "a whole number from 1"),
        (TaskEvent, "task_id", 1.0, "a text, a whole number or a UUID"),
        (TaskEvent, "input", object(), "not object"),
        (AgentEvent, "input_tokens", -1, "a whole number from 0"),
        (AgentEvent, "output_tokens", 1 << 63, "a whole number from 0"),
        (AgentEvent, "cost", "0.1", "a number from 0"),
        (AgentEvent, "action", "", "one character or more"),
        (DeploymentEvent, "result", "passed", "success, failure, error, timeout, cancellation, skip"),
        (DeploymentEvent, "test_result", "", "success, failure"),
        (DeploymentEvent, "pull_request", False, "a text, a whole number or a UUID"),
    ],
)
def test_an_error_names_shape_field_value_and_what_is_allowed(shape, field, value, allowed):
    """Nothing that its column could not hold as meant becomes an event."""
    with pytest.raises(InvalidEventError) as caught:
        shape(**{"event_name": "x", field: value})

    assert str(caught.value).startswith(f"{shape.__name__}.{field}={shown(value)} is not allowed; allowed is ")
    assert allowed in str(caught.value)
    assert isinstance(caught.value, EventStoreError)
    assert isinstance(caught.value, ValueError)


def test_data_that_contains_itself_is_refused():
    """A circle ends in an error, not in an endless loop."""
    data: dict[str, object] = {}
    data["self"] = data

    with pytest.raises(InvalidEventError, match="100 levels"):
        SystemEvent(event_name="x", data=data)


def test_what_happens_to_the_original_later_does_not_change_the_event():
    """Data, input and output are copies."""
    inner = [1]

    event = TaskEvent(event_name="x", data={"a": inner}, input=inner, output=(inner,))
    inner.append(2)

    assert ({"a": [1]}, [1], [[1]]) == (event.data, event.input, event.output)


@given(st.dictionaries(st.text(), JSON))
def test_any_json_is_data(data):
    """NUL, lone surrogates, NaN, huge integers: all that JSON in Python knows is accepted and kept."""
    assert repr(data) == repr(SystemEvent(event_name="x", data=data).data)


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (SystemEvent(event_name="x"), "completed"),
        (SystemEvent(event_name="x", error_type="OSError"), "error"),
        (TaskEvent(event_name="x", error_message="no"), "error"),
        (TaskEvent(event_name="x", error_message="no", status="completed"), "completed"),
        (DeploymentEvent(event_name="x", result="failure"), "error"),
        (DeploymentEvent(event_name="x", result="timeout"), "error"),
        (DeploymentEvent(event_name="x", result="cancellation"), "cancelled"),
        (DeploymentEvent(event_name="x", result="skip"), "completed"),
        (DeploymentEvent(event_name="x", error_type="OSError"), "error"),
    ],
)
def test_a_status_that_is_left_out_follows_from_errors_and_results(event, status):
    """And one that is given stands."""
    assert status == event.status


@pytest.mark.parametrize(
    ("given_fields", "action"),
    [
        ({}, "invoke"),
        ({"tool_name": "search", "model": "gpt-5"}, "tool"),
        ({"model": "gpt-5"}, "llm"),
        ({"output_tokens": 0}, "llm"),
        ({"reasoning_tokens": 7}, "llm"),
        ({"cost": 0.5}, "llm"),
        ({"action": "create", "model": "gpt-5"}, "create"),
    ],
)
def test_an_agents_action_follows_from_what_it_used(given_fields, action):
    """And one that is given stands; the route takes it over."""
    event = AgentEvent(event_name="x", **given_fields)

    assert action == event.action
    assert action == route(event.attributes(), event_name="x").action


def test_a_timestamp_is_exact_to_the_microsecond():
    """Also before 1970 and in another time zone."""
    east = timezone(timedelta(hours=5, minutes=30))
    early = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc)

    assert 1_795_437_000_000_005_000 == SystemEvent(event_name="x", timestamp=NOW).start_unix_nano
    assert 1_795_437_000_000_005_000 == SystemEvent(event_name="x", timestamp=NOW.astimezone(east)).start_unix_nano
    assert -1000 == SystemEvent(event_name="x", timestamp=early).start_unix_nano
    assert SystemEvent(event_name="x").start_unix_nano is None


def test_numbers_become_texts_where_an_id_is_meant():
    """A pull request is 42 or '42', a task's id often a UUID."""
    assert "42" == DeploymentEvent(event_name="x", pull_request=42).pull_request
    assert str(UUID(int=1)) == TaskEvent(event_name="x", task_id=UUID(int=1)).task_id
    agent = AgentEvent(event_name="x", agent_id=UUID(int=1), user_id=7, session_id=8)
    assert (str(UUID(int=1)), "7", "8") == (agent.agent_id, agent.user_id, agent.session_id)


class Word(str, Enum):
    ERROR = "error"
    NIGHTLY = "nightly"


class Number(int, Enum):
    TWO = 2


@pytest.mark.parametrize("shape", SHAPES.values())
def test_none_counts_as_left_out(shape):
    """Of every field but the name, so that a program may hand on what it was given itself."""
    others = {field.name: None for field in fields(shape) if field.name != "event_name"}

    assert shape(event_name="x") == shape(event_name="x", **others)
    with pytest.raises(InvalidEventError, match="event_name=None is not allowed"):
        shape(event_name=None)


def test_members_of_enums_count_as_their_values():
    """str() of them is their name: a status would be one that nobody knows."""
    event = TaskEvent(
        event_name=Word.NIGHTLY, event_type=Word.NIGHTLY, status=Word.ERROR, task_id=Number.TWO, queue=Word.NIGHTLY,
        attempt=Number.TWO,
    )  # fmt: skip

    assert ("nightly", "nightly", "error") == (event.event_name, event.event_type, event.status)
    assert ("2", "nightly", 2) == (event.task_id, event.queue, event.attempt)
    assert {type(value) for value in event.attributes().values()} == {str, int}


def test_numbers_of_other_kinds():
    """PostgreSQL's numeric comes as Decimal, a sum of pandas as numpy's."""
    numpy = pytest.importorskip("numpy")
    event = AgentEvent(
        event_name="x", input_tokens=numpy.int64(5), cost=numpy.float32(0.5), duration_seconds=Decimal("1.5")
    )

    assert (5, 0.5, 1.5) == (event.input_tokens, event.cost, event.duration_seconds)
    assert [int, float, float] == [type(it) for it in (event.input_tokens, event.cost, event.duration_seconds)]
    with pytest.raises(InvalidEventError):
        AgentEvent(event_name="x", cost=Decimal("NaN"))


def test_an_event_of_another_category_is_shown_in_short():
    """Cut where it says so, with what is wanted instead."""
    shown = "event=TaskEvent(event_name='a long name', event_type='task_execut… is not allowed"
    with pytest.raises(InvalidEventError) as refused:
        AgentEvent.of(TaskEvent(event_name="a long name"), {})
    assert f"{shown}; allowed is an AgentEvent, or its fields" == str(refused.value)
    with pytest.raises(InvalidEventError, match=r"^event='x' with task_id=… is not allowed; allowed is a TaskEvent,"):
        TaskEvent.of("x", {"task_id": "1"})


class Unrepresented:
    """As an object of an ORM's, whose repr asks a database that is gone."""

    def __repr__(self):
        raise OSError("no connection")


def levels(count):
    value: list[object] = []
    for _ in range(count):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        (lambda wrong: TaskEvent(event_name="x", input=wrong), "TaskEvent.input"),
        (lambda wrong: TaskEvent(event_name="x", data={"a": wrong}), "TaskEvent.data"),
        (lambda wrong: TaskEvent.of(wrong, {}), "event"),
        (occasion, "event "),
        (occasion("task:started").event, "payload"),
        (lambda wrong: occasion("system:event").event({"data": {"a": wrong}}), "SystemEvent.data"),
    ],
)
@pytest.mark.parametrize("value", [Unrepresented(), levels(3_000)], ids=["no repr", "too deep for one"])
def test_a_value_that_cannot_be_shown_is_named_by_its_type(call, wrong, value):
    """What comes of its repr is the program's own error, of another class than is caught for a wrong event."""
    with pytest.raises(InvalidEventError, match=f"^{wrong}.*allowed|^{wrong}.*known"):
        call(value)


class Hostile:
    """Raises whatever is asked of it."""

    def __init__(self, error):
        self._error = error

    def __repr__(self):
        raise self._error

    @property
    def __class__(self):
        raise self._error


@pytest.mark.parametrize("error", [RuntimeError(), SystemExit(3), GeneratorExit()], ids=repr)
def test_what_raises_when_it_is_looked_at_is_no_event(error):
    """The one error that is promised, whatever the object does."""
    for field in ("event_name", "task_id"):
        with pytest.raises(InvalidEventError, match=field):
            TaskEvent(**{"event_name": "e", field: Hostile(error)})
