"""Long texts that rows refer to, so that what many rows say is stored once a day: table `contents`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
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
_OF_TENANT = "tenant.id"
"""By which the views know whose a row is."""
_LENGTH = 4
"""Bytes before the text of a field."""
_FEW, _LEAST, _ONE_IN, _MOST = 16, 4, 8, 32
"""Parts of which one list may consist, at least and at most, and one part in so many ends a list."""


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

    def content(self, column: str, field: bytes, time_us: int, found: list[Source]) -> tuple[bytes, bytes]:
        """The fields of a column, input or output, and of its contents, which are put to those found; one is NULL."""
        if not self.is_long(len(field) - _LENGTH):
            return field, NULL
        day = time_us // _DAY_US
        cut = pieces(field[_LENGTH:].decode(), is_history=column == "input")
        return NULL, uuids(_listed(_shared(cut, day, found), day, found))

    def attributes(self, attributes: dict[str, Any], time_us: int, found: list[Source]) -> tuple[dict[str, Any], bytes]:
        """Attributes without their long texts, and the column that says where these are."""
        long = {
            key: value
            for key, value in attributes.items()
            if type(value) is str and self.is_long(len(value)) and key != _OF_TENANT and dump_plain(value) is not None
        }
        if not long:
            return attributes, NULL
        day = time_us // _DAY_US
        shared = {key: _in_short(_shared(pieces(value), day, found), day, found) for key, value in long.items()}
        ids = {key: [identity.hex() for identity in named] for key, named in shared.items()}
        return {**attributes, **dict.fromkeys(long)}, jsonb(orjson.dumps(ids))


def _shared(texts: Iterable[str], day: int, found: list[Source]) -> list[bytes]:
    ids = []
    for piece in texts:
        identity = hashlib.sha256(piece.encode()).digest()[:16]
        ids.append(identity)
        found.append(_source(identity, day, body=piece))
    return ids


def _in_short(ids: list[bytes], day: int, found: list[Source]) -> list[bytes]:
    """The same, as one list if these are few: most attributes are sent again as they are."""
    return [_list_of(ids, day, found)] if 1 < len(ids) <= _FEW else _listed(ids, day, found)


def _listed(ids: list[bytes], day: int, found: list[Source]) -> list[bytes]:
    """Ids of lists in place of those of parts, and of the parts after the last list.

    A list ends after a part by chance, wherever it began, as parts do: so the lists of a history stay what they were.
    """
    listed, begin = [], 0
    for end, identity in enumerate(ids, 1):
        if end - begin >= _LEAST and (identity[0] % _ONE_IN == 0 or end - begin == _MOST):
            listed.append(_list_of(ids[begin:end], day, found))
            begin = end
    return listed + ids[begin:]


def _list_of(ids: list[bytes], day: int, found: list[Source]) -> bytes:
    # no text in UTF-8 has that byte
    identity = hashlib.sha256(b"\xff" + b"".join(ids)).digest()[:16]
    found.append(_source(identity, day, parts=[one.hex() for one in ids]))
    return identity


def _source(identity: bytes, day: int, **content: Any) -> Source:
    # another day is another row: each goes with the partition of its day
    key = identity + day.to_bytes(4, "big", signed=True)
    return Source(CONTENTS, key, {"content_id": identity.hex(), "day": day, **content})
