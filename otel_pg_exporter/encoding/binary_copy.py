"""PostgreSQL's binary COPY format: each field is its length in bytes, then its bytes.

Source: PostgreSQL documentation, COPY, "Binary Format"; the forms of the types are those of their
send and receive functions. Every function gives one field with its length; `NULL` is a field too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct, pack

__all__ = [
    "HEADER",
    "NULL",
    "TRAILER",
    "boolean",
    "float8",
    "int2",
    "int4",
    "int8",
    "json",
    "jsonb",
    "jsonb_start",
    "label",
    "numeric",
    "text",
    "text_start",
    "uuid",
    "uuids",
]

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Signature, flags, and the length of a header extension that is not there."""
TRAILER = b"\xff\xff"
"""Stands where the field count of another row would stand."""
NULL = b"\xff\xff\xff\xff"

_LENGTH = Struct(">i").pack
_INT2, _INT4, _INT8, _FLOAT8 = (Struct(f">i{code}").pack for code in "hiqd")
_MAX_STARTS = 4096
_UUID = _LENGTH(16)
_UUID_ARRAY = Struct(">iiiIii").pack
_UUID_OID = 2950
_LABEL_LENGTH = 200
_BOOLEAN = {False: b"\0\0\0\1\0", True: b"\0\0\0\1\1"}


class _Starts(dict[int, bytes]):
    def __missing__(self, length: int) -> bytes:
        start = pack(">ib", length + 1, 1)
        if len(self) < _MAX_STARTS:
            self[length] = start
        return start


jsonb_start = _Starts()
"""What stands before JSON text in a jsonb column, by its length in bytes; 1 is the version of the format. Looked up in
half the time that packing takes."""
text_start = _LENGTH
"""Gives what stands before text, and before JSON text in a json column, from its length in bytes."""


def int2(value: int) -> bytes:
    """A smallint."""
    return _INT2(2, value)


def int4(value: int) -> bytes:
    """An integer."""
    return _INT4(4, value)


def int8(value: int) -> bytes:
    """A bigint."""
    return _INT8(8, value)


def float8(value: float) -> bytes:
    """A double precision number."""
    return _FLOAT8(8, value)


def numeric(value: int, scale: int = 0) -> bytes:
    """A numeric: the value without its point, and how many decimal digits come after that."""
    sign, rest = (0x4000, -value) if value < 0 else (0, value)
    spare = -scale % 4
    rest *= 10**spare
    digits: list[int] = []
    while rest:
        rest, digit = divmod(rest, 10_000)
        digits.append(digit)
    weight = len(digits) - 1 - (scale + spare) // 4
    return pack(f">ihhHh{len(digits)}h", 8 + 2 * len(digits), len(digits), weight, sign, scale, *reversed(digits))


def boolean(value: bool) -> bytes:
    """A boolean."""
    return _BOOLEAN[value]


def uuid(value: bytes) -> bytes:
    """A uuid, from its 16 bytes."""
    return _UUID + value


def uuids(values: Sequence[bytes]) -> bytes:
    """An array of uuid of one dimension, from 16 bytes each; one value at least."""
    array = _UUID_ARRAY(20 + 20 * len(values), 1, 0, _UUID_OID, len(values), 1)
    return array + b"".join([_UUID + value for value in values])


def text(value: str) -> bytes:
    """A text, which must hold neither NUL nor lone surrogates."""
    raw = value.encode()
    return _LENGTH(len(raw)) + raw


def label(value: str) -> bytes:
    """A text that often occurs again, such as a name."""
    return _label(value) if len(value) <= _LABEL_LENGTH else text(value)


_label = lru_cache(maxsize=8192)(text)


def json(value: bytes) -> bytes:
    """JSON text for a json column, that keeps it as it is."""
    return _LENGTH(len(value)) + value


def jsonb(value: bytes) -> bytes:
    """JSON text for a jsonb column."""
    return jsonb_start[len(value)] + value
