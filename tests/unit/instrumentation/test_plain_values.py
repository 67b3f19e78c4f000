"""The short way to JSON text gives what the careful writer gives, and is the one that usual values take."""

from __future__ import annotations

import enum
import importlib.util
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from instrumentation.capture import CaptureSettings
from instrumentation.encoding import _RESERVE, _Writer
from instrumentation.plain_values import plain_json
from instrumentation.redaction import Redactor

_spec = importlib.util.spec_from_file_location("by_look", Path(__file__).with_name("test_redaction.py"))
_examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_examples)
BY_KEY, BY_LOOK = _examples.BY_KEY, [text for text, _ in _examples.BY_LOOK]


class Place(NamedTuple):
    """No plain tuple."""

    x: int


class Word(str):
    """No plain text."""


class Colour(enum.IntEnum):
    """No plain number."""

    RED = 1


def both(value: Any, limits: CaptureSettings) -> tuple[str | None, str]:
    """What the short way gives, None if it gives nothing, and what the careful writer gives."""
    return plain_json(value, limits, _RESERVE), _Writer(limits).value(value, 0)


secrets = st.sampled_from(
    [*BY_KEY, *BY_LOOK, "password", "name", "key", "value", "--token", "-p", "token", "=", "EMP-77"]
)
texts = st.text(max_size=6) | secrets | st.text(st.characters(exclude_categories=()), max_size=40)
scalars = st.one_of(
    texts, st.integers(-9, 9), st.integers(-(2**70), 2**70), st.floats(), st.none(), st.booleans(),
    st.sampled_from(["\0", "\ud800", "ü", b"password", Word("w"), Colour.RED, Place(1), {1}]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(texts | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
limits = st.builds(
    CaptureSettings,
    max_length=st.integers(64, 900) | st.just(16_384),
    max_string=st.integers(16, 40) | st.just(4_096),
    max_items=st.integers(1, 4) | st.just(100),
    max_depth=st.integers(1, 4) | st.just(8),
    redactor=st.sampled_from([Redactor(), Redactor(("ü",), (re.compile(r"^EMP-\d+$"),)), Redactor(is_on=False)]),
)


@effort(max_examples=1500, deadline=None)
@given(value=st.lists(values, max_size=4) | st.dictionaries(texts, values, max_size=4), limits=limits)
def test_any_value_has_the_same_text_by_either_way(value, limits):
    """Where the short way answers, it is what the careful writer writes."""
    short, careful = both(value, limits)

    assert short is None or short == careful


@pytest.mark.parametrize("name", BY_KEY)
def test_what_goes_by_the_name_of_a_secret_is_left_to_the_careful_writer(name):
    """As a key, as the first of two, as the value of a name, and as an option."""
    for value in ({name: "x"}, [name, "x"], {"a": {"name": name, "value": "x"}}, ["run", f"--{name}", "x"]):
        assert both(value, CaptureSettings())[0] is None


@pytest.mark.parametrize("text", BY_LOOK, ids=range(len(BY_LOOK)))
def test_what_looks_like_a_secret_is_left_to_the_careful_writer(text):
    """As a value and as a key, among others."""
    assert both({"a": "b", "c": text, "d": 1}, CaptureSettings())[0] is None
    assert both({"a": "b", text: [1]}, CaptureSettings())[0] is None


@pytest.mark.parametrize(
    "value",
    [
        {}, [], (), {"text": "some text", "number": 5}, [1, 2.5, None, True, False, "ü", "a\nb", '"'],
        {"question": "Which?", "filters": {"stars": 4, "near": ["metro", "park"], "range": (1, 2)}},
        {"name": "anna", "key": "k", "tokens": 5}, [[[[[[[1]]]]]]],
    ],
    ids=str,
)  # fmt: skip
def test_usual_values_go_the_short_way(value):
    """They have the same text by either way."""
    short, careful = both(value, CaptureSettings())

    assert short == careful


def test_a_value_that_refers_to_itself_many_times_is_given_up_soon():
    """It is neither followed for ever nor written at length."""
    wide: list[Any] = []
    for _ in range(7):
        wide = [wide] * 100
    itself: list[Any] = []
    itself += [itself] * 100

    assert both(wide, CaptureSettings())[0] is None
    assert both(itself, CaptureSettings())[0] is None
