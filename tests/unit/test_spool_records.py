"""Records of a spool file: what is whole is read, and nothing else."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_pg_exporter.spool.records import BATCH, OVERHEAD, ROW, record, records, scan

payloads = st.lists(st.binary(max_size=60), min_size=1, max_size=6)


def read(data: bytes) -> list[bytes]:
    return [found.payload for found in records(data)]


@given(payloads)
def test_what_was_written_is_read(written):
    """All payloads come back in order, each with its place."""
    data = b"".join(record(ROW, payload) for payload in written)

    found = list(records(data))

    assert written == [item.payload for item in found]
    assert [0] * len(written) == [item.skipped for item in found]
    assert data == b"".join(record(item.kind, item.payload) for item in found)
    assert len(data) == found[-1].end


@given(payloads, st.data())
def test_a_file_cut_off_anywhere_gives_its_whole_records(written, data):
    """Cut at any byte, every record that ends before it is read, and no other."""
    whole = [record(ROW, payload) for payload in written]
    cut = data.draw(st.integers(0, sum(map(len, whole))))

    ends = [sum(map(len, whole[: number + 1])) for number in range(len(whole))]
    complete = [payload for payload, end in zip(written, ends, strict=True) if end <= cut]

    assert complete == read(b"".join(whole)[:cut])


@settings(max_examples=300)
@given(payloads, st.data())
def test_a_flipped_bit_costs_one_record(written, data):
    """One wrong bit anywhere loses the record it is in, and never gives a wrong one."""
    whole = [record(ROW, payload) for payload in written]
    stream = bytearray(b"".join(whole))
    bit = data.draw(st.integers(0, len(stream) * 8 - 1))
    stream[bit // 8] ^= 1 << bit % 8
    ends = [sum(map(len, whole[: number + 1])) for number in range(len(whole))]
    hit = next(number for number, end in enumerate(ends) if bit // 8 < end)

    assert written[:hit] + written[hit + 1 :] == read(bytes(stream))


@given(st.binary(max_size=400))
def test_noise_holds_no_record(noise):
    """What was never written is never read."""
    assert [] == read(noise)


def test_a_length_that_lies_is_not_believed():
    """A record that claims to be longer than the file is skipped, and costs no memory."""
    lying = bytearray(record(BATCH, b"x" * 10))
    lying[5:9] = (1 << 31).to_bytes(4, "big")

    assert [b"next"] == read(bytes(lying) + record(ROW, b"next"))


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_a_record_costs_a_fixed_number_of_bytes(size):
    """Beside its payload a record takes the same room whatever its size."""
    assert OVERHEAD + size == len(record(ROW, os.urandom(size)))


@settings(max_examples=300)
@given(payloads, st.integers(1, 120), st.data())
def test_a_file_is_read_the_same_piece_by_piece(written, window, data):
    """However short the pieces are, and whatever was damaged: the same records, at the same places."""
    stream = bytearray(b"".join(record(ROW, payload) for payload in written))
    start = data.draw(st.integers(0, len(stream)))
    noise = data.draw(st.binary(max_size=30))
    stream[start : start + len(noise)] = noise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("otel_pg_exporter.spool.records._WINDOW_BYTES", window)
        found = list(scan(lambda length, offset: bytes(stream[offset : offset + length]), len(stream)))

    assert list(records(bytes(stream))) == found
