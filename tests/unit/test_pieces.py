"""Where a long text is cut: nothing of it is lost, and what is sent again falls into the same pieces."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_pg_exporter.encoding.pieces import pieces

STYLES = [{}, {"separators": (",", ":")}, {"indent": 1}, {"ensure_ascii": False}]


def messages(count, seed=1, size=700):
    chosen = random.Random(seed)
    return [
        {"role": chosen.choice(["user", "assistant"]), "content": "é\n" + chosen.randbytes(size // 2).hex()}
        for _ in range(count)
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3000),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(values, st.sampled_from(STYLES))
def test_the_pieces_of_json_are_the_text(value, style):
    """Without a gap, whatever white space there is."""
    text = json.dumps([value, value], **style)

    assert text == "".join(pieces(text))
    assert text == "".join(pieces(text, is_history=True))


@given(st.text(max_size=20_000) | st.text('[]{},:"\\n\n 1', max_size=6000))
def test_the_pieces_of_any_text_are_the_text(text):
    """Also of what only begins as JSON does."""
    assert text == "".join(pieces(text))
    assert all(pieces(text))


@pytest.mark.parametrize("style", STYLES)
def test_a_history_that_grows_keeps_its_pieces(style):
    """All but the last: what comes later moves no cut."""
    for size in (100, 700, 5000):
        history = messages(40, size=size)
        before = set()
        new = 0
        for turn in range(2, 41, 2):
            found = pieces(json.dumps({"messages": history[:turn], "model": "m"}, **style))
            if turn > 4 and sum(map(len, found)) > 5000:
                assert len(set(found) - before) <= 4, (size, turn)
            new += len(set(found) - before)
            before |= set(found)
        assert new < 120


@pytest.mark.parametrize("style", STYLES)
def test_a_turn_of_a_history_adds_a_piece_for_each_message(style):
    """What is shorter than a message stands with the one behind it."""
    history = [each for message in messages(40, size=300) for each in ({"role": "system"}, message)]
    before = {*pieces(json.dumps(history[:20], **style), is_history=True)}
    for turn in range(24, 81, 4):
        found = {*pieces(json.dumps(history[:turn], **style), is_history=True)}
        assert 2 == len(found - before)
        before |= found


def test_a_history_that_forgets_its_oldest_messages_is_the_same_from_its_first_message_on():
    """But for the beginning of the list."""
    history = messages(200, size=300)
    whole = {*pieces(json.dumps(history), is_history=True)}

    for lost in range(1, 20):
        assert 1 == len({*pieces(json.dumps(history[lost:]), is_history=True)} - whole)


@pytest.mark.parametrize(("size", "new"), [(200, 5), (400, 15), (1500, 8), (3000, 2)])
def test_a_history_that_forgets_its_oldest_messages_finds_its_pieces_again(size, new):
    """Soon after its beginning, and from its first long message on."""
    history = messages(200, size=size)
    whole = set(pieces(json.dumps(history)))

    assert all(len(set(pieces(json.dumps(history[lost:]))) - whole) <= new for lost in range(1, 20))


def test_small_values_stand_together_and_long_ones_alone():
    """So that a piece is worth its row."""
    small = pieces(json.dumps([{"n": number} for number in range(1000)]))
    long = pieces(json.dumps([1, 2, "x" * 5000, 3]))

    assert all(1024 <= len(piece) < 2100 for piece in small[:-1])
    assert ["[1, 2", ', "' + "x" * 5000 + '"', ", 3]"] == long


def test_what_is_long_inside_is_cut_inside():
    """Of the lists in an object, and of the objects in them."""
    tools = [{"name": f"t{number}", "description": "d" * 1200} for number in range(5)]
    with_tools = pieces(json.dumps({"tools": tools, "messages": messages(7)}))
    with_more = pieces(json.dumps({"tools": tools, "messages": messages(12)}))

    assert len(with_tools) > 6
    assert with_tools[:6] == with_more[:6]


def test_other_text_is_cut_between_lines():
    """As it is, or as JSON writes it; a text of one line is one piece."""
    lines = "".join(f"Thought {number}: {'so ' * 30}\n" for number in range(200))

    for text in (lines, json.dumps(lines)):
        found = pieces(text)
        assert len(found) > 4
        assert found[:2] == pieces(text[: len(text) // 2] + "something else")[:2]
    assert ["x" * 100_000] == pieces("x" * 100_000)


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, "[1, 2", "{1: 2}", "[1]]", "[", "{"])
def test_what_is_no_json_is_cut_like_text(text):
    """No error, however deep or broken it is."""
    assert text == "".join(pieces(text))
