"""Batches: ids, counts, and partitions they need."""

from __future__ import annotations

import time
import uuid
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from otel_pg_exporter.encoding.batches import DAY_US, Batch, encode_batch, new_batch_id
from otel_pg_exporter.encoding.row_identity import batch_index
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.encoding.values import clean, in_order, key_order, restore
from otel_pg_exporter.schema.partitions import covering

NOW = datetime(2026, 11, 23, tzinfo=timezone.utc)


def test_a_batch_id_is_a_uuid_of_version_seven_and_holds_its_time():
    """The id alone gives the ledger's partition key."""
    before = time.time_ns() // 1_000_000
    ids = [new_batch_id() for _ in range(1000)]
    after = time.time_ns() // 1_000_000

    assert {7} == {i.version for i in ids}
    assert {uuid.RFC_4122} == {i.variant for i in ids}
    assert all(before <= i.int >> 80 <= after for i in ids)
    assert len(set(ids)) == 1000


@pytest.mark.parametrize("nanos", [-1, -(10**18), 10**19], ids=["1969", "1938", "2286"])
def test_a_clock_that_says_anything_makes_an_id_that_can_be_stored(monkeypatch, nanos):
    """Its time has a partition: from 1970 to 2262."""
    monkeypatch.setattr(time, "time_ns", lambda: nanos)

    batch = Batch(new_batch_id(), uuid.uuid4(), 1, "span")

    assert 7 == batch.id.version
    assert 0 <= batch.time_us <= (1 << 63) // 1000


@pytest.mark.parametrize("error", [ValueError, SystemExit, GeneratorExit])
def test_a_record_that_fails_is_set_aside(error):
    """Whatever its values raise when they are made a text; the others keep their positions."""

    def encode(record, batch_id, index):
        if record is None:
            raise error("no record")
        return "events", bytes([index]), 5 * DAY_US, (), ("events", b"", b"", b"", b""), None, None

    batch = encode_batch([1, None, 2], encode, producer_id=uuid.uuid4(), sequence=1, signal="span")

    assert batch.rows["events"] == [b"\0", b"\2"]
    assert [rejected.reason for rejected in batch.rejected] == [f"{error.__name__}: no record"]
    assert {5, batch.time_us // DAY_US} == batch.days


def test_what_rows_come_to_is_the_same_however_they_came_and_went():
    """Counted on the way, read from their bytes, and after one of them was taken out."""
    encoder = RowEncoder()
    ways = [Batch(uuid.UUID(int=1), uuid.UUID(int=2), 1, "span") for _ in range(2)]
    for number in range(6):
        span = ReadableSpan(
            name="call",
            context=SpanContext(1, number + 1, False, TraceFlags(1)),
            resource=Resource({"service.name": f"s{number % 2}"}),
            attributes={"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": number} if number % 3 else {},
            start_time=number * 3_600_000_000_000 // 2,
            end_time=number * 3_600_000_000_000 // 2 + number,
        )
        row = encoder.span(span, ways[0].id.bytes, number)
        ways[0].add_row(row)
        ways[1].add(row[0], row[1], row[3])

    assert sorted(ways[0].summaries()) == sorted(ways[1].summaries())
    assert len(ways[0].summaries()) == 6
    for batch in ways:
        batch.take_out("agent_events", 0)
    assert sorted(ways[0].summaries()) == sorted(ways[1].summaries())
    assert len(ways[0].summaries()) == 5


def test_days_near_now_get_a_partition_each_and_others_share_a_year():
    """A clock that is far off costs a few tables, not one for each day; ten years ahead are near, for they come."""
    today = (NOW - datetime(1970, 1, 1, tzinfo=timezone.utc)).days

    assert ("p20261123", (today * DAY_US, (today + 1) * DAY_US)) == covering(today, NOW)
    assert covering(100, NOW) == ("y1970", (0, 365 * DAY_US))
    assert covering(today - 367, NOW)[0] == "y2025"
    assert covering(today + 3653, NOW)[0] == "p20361123"
    assert covering(47_500, NOW)[0] == "y2100"


def as_jsonb(value):
    """The value with the keys of its maps sorted, as jsonb gives them back."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return {key: as_jsonb(value[key]) for key in keys}
    return [*map(as_jsonb, value)] if isinstance(value, list) else value


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(), max_size=80))
def test_the_order_of_keys_survives_the_sorting_of_jsonb(attributes):
    """Keys sorted as jsonb sorts them come back in the order they had."""
    stored = as_jsonb(attributes)

    assert [*attributes.items()] == [*in_order(stored, key_order(tuple(attributes))).items()]


def test_fixups_restore_what_was_cleaned():
    """Cleaning and restoring are inverse, also for keys that become equal."""
    value = {"a\0": 1, "a\ud800": [float("inf"), b"\0", {"deep": {"b": 1, "a": "\0"}}], "b": 2**90}
    fixups: list = []

    columns = {"attributes": as_jsonb(clean(value, ("attributes",), fixups))}
    restore(columns, fixups)

    assert value == columns["attributes"]
    assert [*value] == [*columns["attributes"]]


def test_beginnings_places_and_what_is_left_out_of_a_batch():
    """Rows are counted over all tables; what is left out is known by its index, which the others keep."""
    spans = [
        ReadableSpan(
            "n",
            SpanContext(1, number + 1, False, TraceFlags(1)),
            resource=Resource({}),
            attributes={"otel_pg.category": ("system", "task")[number % 2]},
            start_time=1,
            end_time=2,
        )
        for number in range(5)
    ]
    batch = encode_batch(spans, RowEncoder().span, producer_id=uuid.uuid4(), sequence=1, signal="span")

    beginning = batch.beginning(4)
    places = [batch.place(number) for number in range(5)]
    taken = batch.take_out("task_events", 0)
    batch.leave_out({4})

    assert [3, 1] == [len(beginning.rows[table]) for table in ("events", "task_events")]
    assert [("events", 0), ("events", 1), ("events", 2), ("task_events", 0), ("task_events", 1)] == places
    assert [1] == [batch_index(row) for rows in taken.rows.values() for row in rows]
    assert [0, 2, 3] == [batch_index(row) for rows in batch.rows.values() for row in rows]
    assert batch.id == taken.id == beginning.id
