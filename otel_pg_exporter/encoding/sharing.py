"""Long texts that rows refer to, so that what many rows say is stored once a day: table `contents`."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from .binary_copy import NULL, jsonb, uuids
from .pieces import pieces
from .sources import Source
from .values import dump_plain

__all__ = ["CONTENTS", "Sharing"]

CONTENTS = "contents"
"""The table."""
_DAY_US = 86_400_000_000
_LENGTH = 4
"""Bytes before the text of a field."""


class Sharing:
    """Takes long texts out of rows.

    Args:
        least: size of a text that is shared, characters; 0 shares none.
    """

    def __init__(self, least: int) -> None:
        self.least = least or float("inf")
        """Characters of the shortest text that is shared."""

    def is_long(self, size: int) -> bool:
        """A text of this size is shared."""
        return size >= self.least

    def content(self, field: bytes, time_us: int, found: list[Source]) -> tuple[bytes, bytes]:
        """The columns of an input or output, and of its contents, which are put to those found; one of both is NULL."""
        if not self.is_long(len(field) - _LENGTH):
            return field, NULL
        return NULL, uuids(_shared(field[_LENGTH:].decode(), time_us // _DAY_US, found))

    def attributes(self, attributes: dict[str, Any], time_us: int, found: list[Source]) -> tuple[dict[str, Any], bytes]:
        """Attributes without their long texts, and the column that says where these are."""
        long = {
            key: value
            for key, value in attributes.items()
            if type(value) is str and self.is_long(len(value)) and dump_plain(value) is not None
        }
        if not long:
            return attributes, NULL
        day = time_us // _DAY_US
        ids = {key: [one.hex() for one in _shared(value, day, found)] for key, value in long.items()}
        return {**attributes, **dict.fromkeys(long)}, jsonb(orjson.dumps(ids))


def _shared(text: str, day: int, found: list[Source]) -> list[bytes]:
    ids = []
    for piece in pieces(text):
        identity = hashlib.sha256(piece.encode()).digest()[:16]
        ids.append(identity)
        # another day is another row: each goes with the partition of its day
        key = identity + day.to_bytes(4, "big", signed=True)
        found.append(Source(CONTENTS, key, {"content_id": identity.hex(), "day": day, "body": piece}))
    return ids
