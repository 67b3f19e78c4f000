"""Inputs and outputs: valid JSON within limits, from any value, in bounded time."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import itertools
import json
import pathlib
import re
import signal
import sys
import threading
import time
import types
import unittest.mock
import uuid
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from instrumentation import attributes as names
from instrumentation import configure_capture, current, task
from instrumentation.capture import CaptureSettings, settings
from instrumentation.encoding import attribute_value, json_text


class Color(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Level(enum.IntEnum):
    HIGH = 3


class Word(str):
    """A str that would like to be another one."""

    def __str__(self) -> str:
        raise RuntimeError("never asked")

    __format__ = __repr__ = __str__  # type: ignore[assignment]


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Order:
    id: int
    password: str
    hidden: str = dataclasses.field(default="h", repr=False)
    lines: list[Any] = dataclasses.field(default_factory=list)


class Model:
    """As pydantic makes them: the names in `model_fields` of the class."""

    model_fields: ClassVar[dict[str, Any]] = {
        "a": types.SimpleNamespace(repr=True),
        "b": types.SimpleNamespace(repr=False),
    }

    def __init__(self) -> None:
        self.a, self.b = 1, 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (-0.5, -0.5),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (2**70, 2**70),
        (2**5000, "<int of 5001 bits>"),
        ('é\n"\\', 'é\n"\\'),
        ("a\0b", "a\ufffdb"),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        (Word("w"), "w"),
        (Color.RED, "red"),
        (Color.PAIR, "PAIR"),
        (Level.HIGH, 3),
        (b"text", "text"),
        (b"\xff\x00", "<2 bytes>"),
        (bytearray(b"x"), "x"),
        (memoryview(b"abc"), "<3 bytes>"),
        ((1, 2), [1, 2]),
        ({1}, [1]),
        (frozenset({"a"}), ["a"]),
        (collections.deque([1]), [1]),
        ({"a": 1}.keys(), ["a"]),
        ({1: "a", None: "b", (1, 2): "c", Color.RED: "d"}, {"1": "a", "None": "b", "(1, 2)": "c", "red": "d"}),
        ({1: "a", "1": "b"}, {"1": "a", "1'": "b"}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (Order(1, "pw"), {"id": 1, "password": "[redacted]", "lines": []}),
        (Order, f"<class '{__name__}.Order'>"),
        (Model(), {"a": 1}),
        (datetime.datetime(2026, 1, 2, 3, 4), "2026-01-02 03:04:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.timedelta(seconds=5), "0:00:05"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (decimal.Decimal("1.10"), "1.10"),
        (fractions.Fraction(1, 3), "1/3"),
        (ipaddress.ip_address("::1"), "::1"),
        (ValueError("bad"), "ValueError('bad')"),
        (range(3), "range(0, 3)"),
        (1 + 2j, "(1+2j)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values(value: Any, expected: Any) -> None:
    """Each kind of value has its JSON form."""
    assert json.loads(json_text(value)) == expected
    assert json.loads(json_text([value])) == [expected]


def raises(*args: object) -> Any:
    raise BaseException("hostile")


class Hostile:
    __repr__ = __str__ = __len__ = __bool__ = __eq__ = __iter__ = __getattr__ = raises
    __hash__ = None  # type: ignore[assignment]


class HostileDict(dict[Any, Any]):
    __len__ = __iter__ = items = keys = __getitem__ = __repr__ = raises


class HostileMapping(collections.UserDict[Any, Any]):
    __len__ = __iter__ = items = keys = __getitem__ = __repr__ = raises


class HostileProperty:
    __dataclass_fields__ = property(raises)
    model_fields = property(raises)


class Lies:
    """Says that it is something else."""

    __class__ = property(raises)  # type: ignore[assignment]


class LongRepr:
    def __repr__(self) -> str:
        return "r" * 10_000_000


class NoRepr:
    def __repr__(self) -> str:
        return 5  # type: ignore[return-value]


class HalfBroken:
    __slots__ = ("b",)

    model_fields: ClassVar[dict[str, Any]] = {"a": None, "b": None}
    a = 1


def deep(levels: int) -> Any:
    made: Any = "bottom"
    for level in range(levels):
        made = [made] if level % 2 else {"k": made}
    return made


def cyclic_dict() -> Any:
    made: dict[str, Any] = {}
    made["self"] = [made]
    return made


HOSTILE: dict[str, Callable[[], Any]] = {
    "raises everywhere": Hostile,
    "dict that raises": lambda: HostileDict(a=1),
    "mapping that raises": lambda: HostileMapping(a=1),
    "properties that raise": HostileProperty,
    "class that raises": Lies,
    "long repr": LongRepr,
    "repr is no text": NoRepr,
    "field that raises": HalfBroken,
    "depth 1,000": lambda: deep(1_000),
    "depth 100,000": lambda: deep(100_000),
    "cycle": cyclic_dict,
    "long list": lambda: list(range(10_000_000)),
    "long dict": lambda: dict.fromkeys(range(1_000_000)),
    "long text": lambda: "x" * 10_000_000,
    "long bytes": lambda: b"x" * 10_000_000,
    "long key": lambda: {"k" * 1_000_000: 1},
    "control characters": lambda: ["\x01" * 5_000] * 100,
    "wide": lambda: [["x" * 4_000] * 100] * 100,
    "wide dicts": lambda: {str(n): {str(m): "v" * 50 for m in range(100)} for n in range(100)},
    "lock": threading.Lock,
    "function": lambda: open,
    "mixed": lambda: {"good": 1, "bad": Hostile()},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_values_are_bounded(name: str) -> None:
    """No value raises, takes long, or makes more text than the limit; the text is valid JSON."""
    value = HOSTILE[name]()
    for wrapped in (value, [value], {"k": value}):
        begin = time.thread_time()
        text = json_text(wrapped)
        assert time.thread_time() - begin < 0.5
        assert len(text) <= 16_384
        json.loads(text)
        text.encode()
        assert attribute_value(wrapped) is not None


def test_what_has_not_been_fetched_is_not() -> None:
    """Fields of SQLAlchemy's dataclasses and models are descriptors, and ask the database where a value is missing."""
    asked: list[str] = []

    class Column:
        def __get__(self, instance: Any, owner: type) -> Any:
            asked.append("column")
            return self if instance is None else instance.__dict__["loaded"]

        def __set__(self, instance: Any, value: Any) -> None:
            instance.__dict__["loaded"] = value

    @dataclasses.dataclass
    class Row:
        loaded: Any = None
        expired: int = 0

    Row.loaded, Row.expired = Column(), Column()
    row = Row.__new__(Row)
    row.loaded = 5
    asked.clear()
    assert json.loads(json_text(row)) == {"loaded": 5, "expired": "<not read>"}

    def asks(self: object) -> str:
        asked.append("repr")
        return "rows"

    for module, name in (("django.db.models.query", "QuerySet"), ("mongoengine.queryset.base", "BaseQuerySet")):
        lazy = type("Orders", (type(name, (), {"__module__": module, "__repr__": asks}),), {})
        assert json_text(lazy()) == '"<Orders: not read>"'
        assert attribute_value(lazy()) == "<Orders: not read>"
    assert asked == []


def test_a_mock_notes_no_call_of_ours(recorded: Any) -> None:
    """Tests compare its calls with those of the program."""
    mock = unittest.mock.MagicMock()
    with task("t") as block:
        block.set("mock", mock)
    assert task(lambda x: x)(mock) is mock
    assert mock.mock_calls == []
    assert "MagicMock" in recorded.spans[1].attributes[names.INPUT_VALUE]


def test_one_bad_value_costs_no_other() -> None:
    """What cannot be read is named by its type, and what lies beside it is recorded."""
    assert json.loads(json_text(HOSTILE["mixed"]())) == {"good": 1, "bad": "<Hostile: no text>"}
    assert json.loads(json_text(HalfBroken())) == {"a": 1, "b": "<AttributeError>"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.text(st.characters()) | st.integers() | st.none(), inner)
            | st.tuples(inner, inner)
        ),
        max_leaves=60,
    ),
    st.sampled_from([64, 100, 300, 1_000, 16_384]),
)
@effort(max_examples=300, deadline=None)
def test_any_value_at_any_limit(value: Any, limit: int) -> None:
    """Whatever the value and the limit, the text is valid JSON, encodes, and keeps the limit."""
    text = json_text(value, limit)
    assert len(text) <= limit
    json.loads(text)
    text.encode()


def test_what_is_cut_says_so() -> None:
    """Strings, lists, mappings and depth are cut inside the value, with what is missing."""
    assert json.loads(json_text("x" * 5_000)) == "x" * 5_000
    configure_capture(max_string=4_096)
    assert json.loads(json_text("x" * 5_000)) == "x" * 4_096 + "… [904 more characters]"
    assert json.loads(json_text(list(range(150)))) == [*range(100), "… 50 more"]
    assert json.loads(json_text({str(n): n for n in range(150)}))["…"] == "50 more"
    assert json.loads(json_text(deep(19)))["k"][0]["k"][0]["k"][0]["k"] == ["<dict of 1>"]
    assert json.loads(json_text(cyclic_dict())) == {"self": ["<dict: contains itself>"]}
    twice = [1]
    assert json.loads(json_text([twice, twice])) == [[1], [1]]
    many = json.loads(json_text(["y" * 1_000] * 50))
    assert many[-1].endswith("more")
    assert len(many) > 10


def test_iterators_are_not_consumed(recorded: Any) -> None:
    """Generators, iterators and coroutine-like things come out of a recorded call as they went in."""

    @task
    def same(*things: Any) -> Any:
        return things

    def numbers() -> Any:
        yield 1

    given_things = numbers(), iter([1]), map(str, [1]), itertools.count()
    for thing, expected in zip(same(*given_things), (1, 1, "1", 0), strict=True):
        assert next(thing) == expected


def test_another_thread_changes_the_value() -> None:
    """A dictionary or set that changes while it is written is written in part, without raising."""

    class Growing:
        def __init__(self, owner: dict[Any, Any]) -> None:
            self.owner = owner

        def __repr__(self) -> str:
            self.owner[len(self.owner)] = 1
            return "growing"

    owner: dict[Any, Any] = {}
    owner["a"] = Growing(owner)
    owner["b"] = 1
    assert json.loads(json_text(owner))["a"] == "growing"


def test_numpy_values() -> None:
    """numpy's numbers and arrays have a form; a large array is not walked."""
    numpy = pytest.importorskip("numpy")
    numbers = [numpy.float64(0.5), numpy.float32(0.5), numpy.int64(3), numpy.uint8(3), numpy.bool_(True)]
    assert json_text(numbers) == "[0.5,0.5,3,3,true]"
    assert json_text({"a": numpy.float32("nan")}) == '{"a":"NaN"}'
    given = [attribute_value(number) for number in numbers]
    assert (given, [*map(type, given)]) == ([0.5, 0.5, 3, 3, True], [float, float, int, int, bool])
    assert json.loads(json_text(numpy.timedelta64(3, "ns"))) == "np.timedelta64(3,'ns')"
    assert json.loads(json_text(numpy.array([1, 2]))) == "array([1, 2])"
    assert len(json_text(numpy.zeros(10_000_000))) < 200


# What of a call is recorded.


@task
def example(a: int, /, b: str = "b", *rest: int, c: float = 1.0, **named: Any) -> dict[str, Any]:
    return {"sum": a}


@pytest.mark.parametrize(
    ("args", "named", "expected"),
    [
        ((1,), {}, {"a": 1}),
        ((1, "x", 2, 3), {"c": 0.5, "d": 4}, {"a": 1, "b": "x", "rest": [2, 3], "c": 0.5, "d": 4}),
        ((1,), {"b": "y"}, {"a": 1, "b": "y"}),
        ((1,), {"password": "pw"}, {"a": 1, "password": "[redacted]"}),
    ],
)
def test_inputs_by_name(recorded: Any, args: Any, named: Any, expected: Any) -> None:
    """Arguments are recorded by the names of their parameters, without defaults; the result as the output."""
    assert example(*args, **named) == {"sum": 1}
    assert json.loads(recorded.span.attributes[names.INPUT_VALUE]) == expected
    assert json.loads(recorded.span.attributes[names.OUTPUT_VALUE]) == {"sum": 1}


class Interrupting:
    """A signal comes while we look at it."""

    def __repr__(self) -> str:
        signal.raise_signal(signal.SIGUSR1)
        return "not interrupted"


def items(value: object) -> Iterator[object]:
    yield value


async def coroutine(value: object) -> None:
    raise AssertionError


CALLS: dict[str, Callable[[Any], object]] = {
    "argument": lambda value: task("t")(lambda x: None)(value),
    "argument in a list": lambda value: task("t")(lambda x: None)([1, {"k": value}]),
    "result": lambda value: task("t")(lambda: value)(),
    "argument of a coroutine": lambda value: asyncio.run(task("t")(coroutine)(value)),
    "item of a generator": lambda value: list(task("t", capture_input=False)(items)(value)),
    "output of a block": lambda value: current().output(value),
    "attribute": lambda value: current().set("k", value),
}


@pytest.mark.parametrize("error", [SystemExit(0), TimeoutError("limit")], ids=repr)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_a_signal_handler_raises_is_the_programs(recorded: Any, call: Any, error: BaseException) -> None:
    """`sys.exit` at SIGTERM and time limits reach the program, also where they interrupt us; blocks end."""

    def handler(*given: object) -> None:
        raise error

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(type(error)), task("outer"):
            call(Interrupting())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert current().name == "none"
    assert all(span.end_time for span in recorded.spans)
    assert recorded.named("outer").status.is_ok is isinstance(error, SystemExit)


class Looking:
    """Looks for its caller, as helpers that warn do, and fails."""

    def __repr__(self) -> str:
        caller = sys._getframe(1)
        raise ValueError(f"no repr for {caller.f_code.co_name}")


@pytest.mark.parametrize("call", [call for name, call in CALLS.items() if "coroutine" not in name])
def test_what_looks_for_its_caller_is_no_signal_handler(recorded: Any, call: Any) -> None:
    """What it raises stays with us."""
    with task("outer"):
        call(Looking())
    assert recorded.named("outer").status.is_ok


def test_two_arguments_of_one_name(recorded: Any) -> None:
    """Both are recorded, and secrets are taken out of both."""
    task("t")(lambda a, /, *args, **named: None)(1, 2, a=3, args=4)
    task("t")(lambda password, /, **named: None)("hunter2", password="hunter3")
    first, second = (json.loads(span.attributes[names.INPUT_VALUE]) for span in recorded.spans)
    assert first == {"a": 1, "args": [2], "a'": 3, "args'": 4}
    assert second == {"password": "[redacted]", "password'": "[redacted]"}


def test_nothing_is_not_recorded(recorded: Any) -> None:
    """No arguments and a result of None leave no attribute; an empty or false result does."""
    task("t")(lambda: None)()
    task("t")(lambda: 0)()
    nothing, zero = recorded.spans
    assert {names.INPUT_VALUE, names.OUTPUT_VALUE}.isdisjoint(nothing.attributes)
    assert zero.attributes[names.OUTPUT_VALUE] == "0"


def test_what_was_said_is_kept(recorded: Any) -> None:
    """output() in a function replaces what it returns, and input() its arguments."""

    @task
    def work(x: int) -> int:
        current().input("in")
        current().output("out")
        return x

    assert work(5) == 5
    assert recorded.span.attributes[names.INPUT_VALUE] == '"in"'
    assert recorded.span.attributes[names.OUTPUT_VALUE] == '"out"'


def test_inputs_are_those_at_the_start(recorded: Any) -> None:
    """What a function does to its arguments does not change the recorded input."""
    task("t")(lambda x: x.append(2))([1])
    assert recorded.span.attributes[names.INPUT_VALUE] == '{"x":[1]}'


@pytest.mark.parametrize("switch", [None, True, False])
@pytest.mark.parametrize("everywhere", [None, True, False])
def test_switches(recorded: Any, switch: bool | None, everywhere: bool | None) -> None:
    """A block's own switch counts, else that of the process, else content is recorded; for generators as well."""
    configure_capture(inputs=everywhere, outputs=everywhere)
    expected = switch if switch is not None else everywhere if everywhere is not None else True

    @task(capture_input=switch, capture_output=switch)
    def work(x: int) -> int:
        return x

    @task(capture_input=switch, capture_output=switch)
    def items(x: int) -> Any:
        yield x

    work(1)
    list(items(1))
    for span in recorded.spans:
        assert (names.INPUT_VALUE in span.attributes) is expected
        assert (names.OUTPUT_VALUE in span.attributes) is expected


def test_metadata_only(recorded: Any) -> None:
    """With content switched off for the process, input() and output() record nothing, unless the block insists."""
    configure_capture(inputs=False, outputs=False)
    with task("t") as block:
        block.input("a")
        block.output("b")
    with task("u", capture_input=True, capture_output=True) as block:
        block.input("a")
        block.output("b")
    plain, insists = recorded.spans
    assert {names.INPUT_VALUE, names.OUTPUT_VALUE}.isdisjoint(plain.attributes)
    assert {names.INPUT_VALUE, names.OUTPUT_VALUE} <= set(insists.attributes)


def test_nothing_is_read_when_switched_off(recorded: Any) -> None:
    """Arguments and results that are not recorded are not even looked at."""
    looked: list[int] = []

    class Seen:
        def __repr__(self) -> str:
            looked.append(1)
            return "seen"

    task("t", capture_input=False, capture_output=False)(lambda x: x)(Seen())
    assert looked == []
    task("t")(lambda x: x)(Seen())
    assert looked == [1, 1]


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment sets switches and length."""
    monkeypatch.setenv("EVENT_CAPTURE_INPUTS", "false")
    monkeypatch.setenv("EVENT_CAPTURE_OUTPUTS", "TRUE")
    monkeypatch.setenv("EVENT_CAPTURE_MAX_LENGTH", "1000")
    assert settings()[:3] == (False, True, 1_000)


def test_bad_environment(monkeypatch: pytest.MonkeyPatch, complaints_expected: pytest.LogCaptureFixture) -> None:
    """Each bad variable is one warning with its name and value; a switch that is neither is off."""
    monkeypatch.setenv("EVENT_CAPTURE_INPUTS", "perhaps")
    monkeypatch.setenv("EVENT_CAPTURE_MAX_LENGTH", "-5")
    assert settings()[:3] == (False, True, 16_384)
    messages = [record.getMessage() for record in complaints_expected.records]
    assert len(messages) == 2
    assert "EVENT_CAPTURE_MAX_LENGTH" in messages[0]
    assert "-5" in messages[0]
    assert "from 64 to" in messages[0]
    assert "EVENT_CAPTURE_INPUTS='perhaps'" in messages[1]


def test_a_switch_that_is_none(complaints_expected: pytest.LogCaptureFixture) -> None:
    """A text in place of True or False does not let content through, and is told."""
    configure_capture(inputs="no", outputs=0)  # type: ignore[arg-type]
    assert settings()[:2] == (False, False)
    assert complaints_expected.messages == ["inputs=<str> is neither True nor False; False is used"]


def test_configure(complaints_expected: pytest.LogCaptureFixture) -> None:
    """configure_capture changes what it is given and keeps the rest; what it cannot use is one warning."""
    configure_capture(max_length=500, max_string=100, max_items=3, max_depth=2)
    assert settings()[2:6] == (500, 100, 3, 2)
    assert json.loads(json_text([1, 2, 3, 4])) == [1, 2, 3, "… 1 more"]
    configure_capture(max_length=5, max_items="many", max_depth=True, redact_patterns=["("])  # type: ignore[arg-type]
    assert settings()[2:6] == (500, 100, 3, 2)
    assert len(complaints_expected.records) == 4
    assert isinstance(settings(), CaptureSettings)


def test_what_is_no_text_is_no_pattern(complaints_expected: pytest.LogCaptureFixture) -> None:
    """A pattern that is compiled, or a key that is no text, is one warning, and not taken in silence for none."""
    configure_capture(redact_patterns=[re.compile("x-[0-9]+"), "y-[0-9]+"], redact_keys=[1, "ssn"])  # type: ignore[list-item]
    assert settings().redactor.text("x-12345678901 y-12345678901") == "x-12345678901 [redacted]"
    assert settings().redactor.is_secret("ssn")
    assert [record.getMessage() for record in complaints_expected.records] == [
        "redact_keys=<int> is left out; allowed are texts",
        "redact_patterns=<Pattern> is left out; allowed are texts",
    ]
    configure_capture(redact_patterns="x-[0-9]+||y-[0-9]+")
    assert settings().redactor.text("x-12345678901 y-12345678901") == "[redacted] [redacted]"
