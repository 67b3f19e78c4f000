"""JSON text of plain values, the short way: what nearly all arguments and results are.

Plain are values of JSON's own types, within all limits, in which nothing is to be hidden. For them this writes what
the writer of `encoding` does, letter by letter, in less than half the time. Anything else is left to that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from json.encoder import encode_basestring
from typing import Any

from .capture import CaptureSettings
from .signal_handlers import is_interruption

__all__ = ["JSON_STARTS", "NAMING", "plain_json"]

_INT64 = 1 << 63
_MAX_NAME = 256
NAMING = frozenset({"name", "key", "Name", "Key", b"name", b"key"})
"""Members that say the name of what is in `value` or `Value` beside them."""
JSON_STARTS = frozenset("{[ \n\r\t")
"""What JSON text of an object or a list may begin with."""


class _Unusual(Exception):
    """Not plain."""


def plain_json(
    value: dict[str, Any] | list[Any] | tuple[Any, ...], limits: CaptureSettings, reserve: int
) -> str | None:
    """JSON text of a plain value; None if it is not plain.

    Args:
        value: what is to be written.
        limits: the settings in force.
        reserve: characters that the length must leave free for each container, and once more.
    """
    writer = _PlainWriter(limits, reserve)
    try:
        text = writer.nested(value, 0)
        texts = "\n".join(writer.texts)
        if not texts.isascii():
            texts.encode()
    except Exception as error:  # of whatever kind, such as of a mapping that another thread changes meanwhile
        if type(error) is not _Unusual and is_interruption(error):
            raise
        return None
    if "\0" in texts or not limits.redactor.leaves(writer.texts):
        return None
    return text


class _PlainWriter:
    """Writes one value and keeps its texts. Each container is copied first: no other thread can change it later."""

    def __init__(self, limits: CaptureSettings, reserve: int) -> None:
        self.texts: list[str] = []
        self._left = limits.max_length - reserve
        self._limits, self._reserve = limits, reserve
        self._is_secret, self._may_change = limits.redactor.is_secret, limits.redactor.may_change

    def nested(self, value: Any, depth: int) -> str:
        kind = type(value)
        if kind not in (dict, list, tuple) or len(value) > self._limits.max_items or depth >= self._limits.max_depth:
            raise _Unusual
        self._left -= self._reserve
        text = self._mapping(value.copy(), depth + 1) if kind is dict else self._sequence([*value], depth + 1)
        if len(text) > self._left:
            raise _Unusual
        return text

    def _mapping(self, pairs: dict[str, Any], depth: int) -> str:
        if ("value" in pairs or "Value" in pairs) and not NAMING.isdisjoint(pairs):
            raise _Unusual  # {"name": "DB_PASSWORD", "value": "..."}
        for name in pairs:
            if type(name) is not str or len(name) > _MAX_NAME or self._is_secret(name):
                raise _Unusual
        self.texts += pairs
        written = zip(map(encode_basestring, pairs), self._written(pairs.values(), depth), strict=True)
        return "{" + ",".join([f"{name}:{value}" for name, value in written]) + "}"

    def _sequence(self, items: list[Any], depth: int) -> str:
        for item in items:
            if type(item) is str and (item[:1] == "-" or (len(items) == 2 and self._is_secret(item[:_MAX_NAME]))):
                raise _Unusual  # ["--token", "..."], ("password", "...")
        return "[" + ",".join(self._written(items, depth)) + "]"

    def _written(self, values: Iterable[Any], depth: int) -> list[str]:
        written = []
        for value in values:
            kind = type(value)
            if kind is str:
                if len(value) > self._limits.max_string:
                    raise _Unusual
                if value[:1] in JSON_STARTS and self._may_change(value):
                    raise _Unusual
                self.texts.append(value)
                written.append(encode_basestring(value))
            elif kind is int:
                if not -_INT64 <= value < _INT64:
                    raise _Unusual
                written.append(int.__repr__(value))
            elif value is None:
                written.append("null")
            elif kind is bool:
                written.append("true" if value else "false")
            elif kind is float:
                if not math.isfinite(value):
                    raise _Unusual
                written.append(float.__repr__(value))
            else:
                written.append(self.nested(value, depth))
        return written
