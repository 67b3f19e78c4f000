"""How a spool file is written: records that each prove that they are whole.

    magic 4 bytes · kind 1 · length 4, big-endian · CRC-32 of kind, length and payload 4 · payload

A file that was cut off, or damaged in the middle, gives every record that is whole: after a record that
does not check, reading goes on at the next magic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from struct import Struct
from zlib import crc32

__all__ = [
    "BATCH", "END", "FILE", "OVERHEAD", "REASON", "ROW", "SOURCE", "Found",
    "begins", "record", "records", "scan",
]  # fmt: skip

FILE, BATCH, SOURCE, ROW, END, REASON = b"FBSREX"
"""Kinds: what the file is, a batch begins, a resource or scope, a row, a batch is complete, why it was set aside."""

_MAGIC = b"\xf5\x9cPg"  # no UTF-8, so that text in a payload never looks like it
_HEAD = Struct(">4sBII")
_CHECKED = Struct(">BI")
_WINDOW_BYTES = 1 << 20
OVERHEAD = _HEAD.size
"""Bytes of a record beside its payload."""


@dataclass(frozen=True, slots=True)
class Found:
    """A record in a file."""

    kind: int
    payload: bytes
    start: int
    """Offset of its first byte."""
    end: int
    """Offset after its last byte."""
    skipped: int
    """Bytes before it that are no whole record."""


def record(kind: int, payload: bytes) -> bytes:
    """One record."""
    check = crc32(payload, crc32(_CHECKED.pack(kind, len(payload))))
    return _HEAD.pack(_MAGIC, kind, len(payload), check) + payload


def begins(data: bytes, position: int, kind: int) -> bool:
    """Whether a record of this kind begins there, whole or not."""
    return data.startswith(_MAGIC + bytes((kind,)), position)


def records(data: bytes) -> Iterator[Found]:
    """All whole records in what was read from a file."""
    good, position = 0, 0
    while (position := data.find(_MAGIC, position)) >= 0 and position + OVERHEAD <= len(data):
        _, kind, length, check = _HEAD.unpack_from(data, position)
        start, end = position, position + OVERHEAD + length
        payload = data[start + OVERHEAD : end]
        if end > len(data) or crc32(payload, crc32(_CHECKED.pack(kind, length))) != check:
            position += 1
            continue
        yield Found(kind, payload, start, end, start - good)
        good = position = end


def scan(read: Callable[[int, int], bytes], size: int) -> Iterator[Found]:
    """The same for a file that need not fit into memory.

    Args:
        read: gives so many bytes from an offset.
        size: of the file.
    """
    good, length = 0, _WINDOW_BYTES
    while good < size:
        base, last = good, None
        for last in records(read(length, base)):
            good = base + last.end
            yield replace(last, start=base + last.start, end=good)
        if base + length >= size:
            return
        # a record that does not fit, or damage that goes on and on
        length = _WINDOW_BYTES if last else length * 2
