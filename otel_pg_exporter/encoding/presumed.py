"""Texts that seem to be JSON, and that only PostgreSQL looks into.

Whoever wants to know whether a text is JSON has to parse it, which takes a tenth of what it takes to encode a span, and
PostgreSQL does it anyway. So a text that begins and ends as objects and lists do is taken for JSON. When the server
refuses a batch for what it holds, the texts in it are looked into, and those that are no JSON become the JSON strings
that they would have been at once; from then on their program looks first.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any, TypeGuard

from orjson import dumps, loads

from .binary_copy import json
from .columns import CONTENTS

__all__ = ["seems_json", "with_json"]

_STARTS = frozenset({'{"', '["'})
_ENDS = frozenset("]}")
_OPENINGS = frozenset({b"{", b"["})
_COUNT_BYTES = 2
_LENGTH = Struct(">i").unpack_from


def seems_json(value: Any) -> TypeGuard[str]:
    """The value is a text that looks like a JSON object or list, with nothing in it that calls for a closer look: NUL,
    or `\\u…`, which a column of type json takes, but its readers may not."""
    return (
        type(value) is str
        and (value[:2] in _STARTS or value[:3] == '[{"')
        and value[-1] in _ENDS
        and "\0" not in value
        and ("\\" not in value or "\\u" not in value)
    )


def with_json(row: bytes, columns: Sequence[str]) -> bytes:
    """An encoded row with JSON as input and output: the very same row if they were that."""
    parts, begin = list[bytes](), 0
    place, wanted = _COUNT_BYTES, {columns.index(column) for column in CONTENTS if column in columns}
    for number in range(max(wanted, default=-1) + 1):
        (length,) = _LENGTH(row, place)
        end = place + 4 + max(0, length)
        if number in wanted and not _is_json(text := row[place + 4 : end]):
            parts += row[begin:place], json(dumps(text.decode()))
            begin = end
        place = end
    return b"".join((*parts, row[begin:])) if parts else row


def _is_json(text: bytes) -> bool:
    if text[:1] not in _OPENINGS:  # NULL, or looked into already
        return True
    try:
        loads(text)
    except ValueError:
        return False
    return True
