"""Columns that are filled from attributes: which attribute is `routing`'s business, the form is decided here.

A value of the wrong form leaves its column NULL; it stands in `attributes` all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from orjson import loads

from . import values
from .binary_copy import NULL, float8, int4, int8, json, text_start

__all__ = [
    "CONTENTS", "FORMS", "Form", "as_content", "as_text", "as_texts", "content", "known_text",
    "original", "text_field",
]  # fmt: skip

Form: TypeAlias = Callable[[Any], bytes]
_I31, _I63 = (1 << 31) - 1, (1 << 63) - 1
CONTENTS = ("input", "output")
"""Columns for what work was given and gave back. They keep what is much text, so that it is stored once."""
_RESULTS = {"succeeded": "success", "failed": "failure"}
"""Words of `deployment.status`."""
_JSON_STARTS = frozenset('{["0123456789-tfn')


def as_text(value: Any) -> bytes:
    """A text column."""
    if type(value) is not str:
        if type(value) is not int or abs(value) > _I63:
            return NULL
        value = str(value)
    if not value:
        return NULL
    cleaned = value if value.isascii() and "\0" not in value else values.clean_text(value, "", [])
    raw = cleaned.encode()
    field = text_start(len(raw)) + raw
    # a text that had to be cleaned is not kept: the name of a record that is equal to it needs a fixup
    if len(value) <= _MAX_LENGTH and cleaned is value:
        if len(_texts) >= _MAX_TEXTS:
            _texts.clear()
        _texts[value] = field
    return field


class _Texts(dict[Any, bytes]):
    """Text → its field; one that is not there is encoded."""

    __missing__ = staticmethod(as_text)


_texts = _Texts()
# few enough to stay in the processor's cache: ids that never come again fill it too
_MAX_TEXTS, _MAX_LENGTH = 4096, 200
known_text = _texts.get
"""The field of a text that was met before, else None."""
text_field = _texts.__getitem__
"""The same as `as_text`, quicker for texts that were met before; TypeError for a list or a map."""


def as_texts(found: tuple[Any, ...]) -> list[bytes]:
    """Several text columns; those that were met before cost nearly nothing."""
    try:
        fields = [*map(_texts.get, found)]
    except TypeError:  # a list or a map, that no text column holds
        return [*map(as_text, found)]
    return [*map(as_text, found)] if None in fields else fields  # type: ignore[return-value]


def as_int4(value: Any) -> bytes:
    """A count in an integer column."""
    return int4(value) if type(value) is int and 0 <= value <= _I31 else NULL


def as_next_int4(value: Any) -> bytes:
    """A count that starts at 0 in a column that starts at 1."""
    return int4(value + 1) if type(value) is int and 0 <= value < _I31 else NULL


def as_int8(value: Any) -> bytes:
    """A count in a bigint column; some libraries give a whole number as a float."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return int8(value) if type(value) is int and 0 <= value <= _I63 else NULL


def as_float8(value: Any) -> bytes:
    """A number in a double precision column."""
    return float8(value) if type(value) in (int, float) and abs(value) < 1e300 else NULL


def content(value: Any) -> tuple[bytes, bool]:
    """Input or output: JSON text is kept as it is, any other value becomes JSON.

    Returns:
        The field, and whether `original` gives back the value, so that it need not stand among the attributes too.
    """
    if type(value) is str:
        if value[:1] in _JSON_STARTS and ("\\" not in value or "\\u0000" not in value):
            try:
                # orjson refuses what jsonb refuses: infinite numbers, lone surrogates, control characters
                loads(value)
            except ValueError:
                pass
            else:
                raw = value.encode()
                return text_start(len(raw)) + raw, value[0] in "{["
        if (encoded := values.dump_plain(value)) is not None:
            return json(encoded), True
    return NULL if value is None else json(values.dump(value, "", [])), False


def as_result(value: Any) -> bytes:
    """The outcome of a deployment or a step, in the words of `cicd.pipeline.result` if it is in others."""
    return as_text(_RESULTS.get(value, value) if type(value) is str else value)


def original(stored: str) -> str:
    """The text that `content` found to be restorable, from what it stored."""
    text: str = stored if stored[0] != '"' else loads(stored)
    return text


def as_content(value: Any) -> bytes:
    """The same for a value that remains among the attributes."""
    return content(value)[0]


FORMS: Mapping[str, Form] = {
    "input": as_content,
    "output": as_content,
    "attempt": as_int4,
    "input_tokens": as_int8,
    "output_tokens": as_int8,
    "cache_read_tokens": as_int8,
    "cache_write_tokens": as_int8,
    "reasoning_tokens": as_int8,
    "cost": as_float8,
    "result": as_result,
    "build_result": as_result,
    "test_result": as_result,
}
"""Column → form; the others are text."""
