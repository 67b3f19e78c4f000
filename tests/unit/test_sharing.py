"""What a row names of its long texts: few ids, the same for what is sent again."""

from __future__ import annotations

import json
import random
from uuid import UUID

import pytest

from otel_pg_exporter.encoding.contents import by_id, put_back
from otel_pg_exporter.encoding.sharing import Sharing

DAY_US = 86_400_000_000
_ARRAY_START, _ID_STEP = 24 + 4, 20


def messages(count, size=400):
    chosen = random.Random(1)
    return [{"role": "user", "content": chosen.randbytes(size // 2).hex()} for _ in range(count)]


def named_by_input(value, found):
    """The ids in the column of an input's contents."""
    text = json.dumps(value).encode()
    field, column = Sharing(2048).content("input", len(text).to_bytes(4, "big") + text, DAY_US * 7, found)
    assert field == b"\xff\xff\xff\xff"
    return [UUID(bytes=column[at : at + 16]) for at in range(_ARRAY_START, len(column), _ID_STEP)]


def contents(found):
    """Rows of the table, as they are read."""
    return [
        {
            "content_id": UUID(source.row["content_id"]), "body": source.row.get("body"),
            "parts": [*map(UUID, source.parts)] or None,
        }
        for source in found
    ]  # fmt: skip


@pytest.mark.parametrize("count", [5, 8, 40, 900])
def test_a_row_names_lists_of_the_parts_and_is_made_whole_by_them(count):
    """One id for a list of eleven, about, and the parts that no list has yet."""
    found = []
    ids = named_by_input(messages(count), found)
    row = {"input_contents": ids, "input": None}

    put_back([row], by_id(contents(found)))

    assert messages(count) == json.loads(row["input"])
    assert len(ids) <= count / 4 + 32
    lists = [source for source in found if source.parts]
    assert all(4 <= len(source.parts) <= 32 for source in lists)
    assert bool(lists) == (count >= 40)


def test_a_history_that_grows_adds_its_messages_and_few_lists():
    """So a turn of two messages stores two parts."""
    history, known, lists = messages(200), set(), 0
    for turn in range(2, 201, 2):
        found = []
        named_by_input(history[:turn] if turn > 6 else history[:6], found)
        new = [source for source in found if source.id not in known]
        known.update(source.id for source in new)
        if turn > 6:
            assert 2 == sum(not source.parts for source in new)
            lists += sum(bool(source.parts) for source in new)
    assert 10 <= lists <= 40


def test_a_history_that_forgets_its_oldest_messages_names_the_same_lists_again():
    """From the first end of a list on that comes by chance."""
    history = messages(300)
    whole = {*named_by_input(history, [])}

    for lost in range(1, 20):
        assert len(whole & {*named_by_input(history[lost:], [])}) > len(whole) / 2


def test_an_attribute_of_few_parts_has_one_id():
    """The schemas of tools are sent again as they are."""
    found = []
    tools = json.dumps(messages(12, size=700))

    _, column = Sharing(2048).attributes({"tools": tools}, DAY_US * 7, found)

    (named,) = json.loads(column[5:])["tools"]
    assert found[-1].row["content_id"] == named
    assert [source.row["content_id"] for source in found[:-1]] == found[-1].parts
    assert len(found) > 3


def test_what_lacks_a_part_is_left_out():
    """No half text."""
    found = []
    ids = named_by_input(messages(40), found)
    rows = contents(found)
    listed = next(row["parts"] for row in rows if row["parts"])
    row = {"input_contents": ids, "input": None}

    put_back([row], by_id(each for each in rows if each["content_id"] != listed[1]))

    assert row["input"] is None


def test_whose_a_row_is_stays_in_the_row():
    """The views know it by this attribute, however long it is."""
    found = []
    kept, column = Sharing(32).attributes({"tenant.id": "t" * 36, "prompt": "p" * 36}, DAY_US, found)

    assert {"tenant.id": "t" * 36, "prompt": None} == kept
    assert b"prompt" in column
    assert b"tenant" not in column
