"""Attribute values as JSON that jsonb holds, and back, without loss.

jsonb has no NaN, no bytes, no NUL, no lone surrogate, no -0.0, sorts the keys of an object and is
parsed by readers that stop at 64 bits or at some depth. A value that it cannot hold as it was goes in
cleaned, and a *fixup* says how to get the original back:

    [path, kind]  or  [path, kind, original]

`path` leads to the value from the name of its column (or from the index of the fixup that holds it).

    kind     in jsonb                        original
    float    "NaN", "Infinity" …, 0.0        the number's text
    bytes    base64 text                     –
    int      decimal or 0x… text             –
    text     U+FFFD for what cannot be held  base64 of the UTF-8 (surrogatepass)
    key      a key cleaned the same way      [[cleaned, base64] …], at the path of the object
    order    keys in jsonb's order           the order they had, as in attribute_order
    deep     "…"                             the value, that lies deeper than jsonb readers go
    value    text                            a JSON value that stood where text belongs
    object   str(value)                      lost: not a value of OpenTelemetry's types
    cycle    "…"                             lost: the value contains itself

How bytes and non-finite numbers look in JSON follows OpenTelemetry's specification for
non-OTLP exporters (common/README, "AnyValue representation for non-OTLP protocols").
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import copysign
from typing import Any, TypeAlias

import orjson

from ..errors import FAULTS

__all__ = [
    "SCALARS", "Fixups", "clean", "clean_text", "dump", "dump_attributes", "dump_plain", "in_jsonb", "in_order",
    "is_plain", "is_plain_float", "key_order", "load", "restore",
]  # fmt: skip

Json: TypeAlias = Any
Path: TypeAlias = tuple[Any, ...]
Fixups: TypeAlias = list[list[Any]]

MAX_DEPTH = 64
"""Deeper values are hoisted into a fixup: orjson writes 254 levels and reads 1,024."""

SCALARS = frozenset({str, int, bool, type(None)})
"""Types whose values are plain, but for NUL, surrogates and size."""
_SCALARS_OR_FLOAT = SCALARS | {float}
_ARRAYS = frozenset({tuple, list})
_HEX_BITS = 8192  # int() refuses decimal text of more than 4,300 digits
_U64, _I64 = 1 << 64, -(1 << 63)
_FIRST = 48
_BACKSLASH = ord("\\")
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * len(str(_U64 >> 1))
_UNHOLDABLE = re.compile("[\x00\ud800-\udfff]")


def is_plain(values: Iterable[Any], depth: int = 0) -> bool:
    """True if every value survives orjson → jsonb → orjson as it is, but for NUL, surrogates and size."""
    kinds = set(map(type, values))
    if kinds <= SCALARS:
        return True
    if float in kinds:
        for value in values:
            if type(value) is float and not is_plain_float(value):
                return False
    kinds -= _SCALARS_OR_FLOAT
    if not kinds <= _ARRAYS:
        return False
    return not kinds or (depth < 8 and all(is_plain(v, depth + 1) for v in values if type(v) in _ARRAYS))


def is_plain_float(value: float) -> bool:
    """True if the number survives orjson → jsonb → orjson as it is."""
    # above 1e16 orjson writes an exponent, and jsonb gives back an integer
    return -1e16 < value < 1e16 and (value != 0 or copysign(1, value) > 0)


def dump_plain(value: Json) -> bytes | None:
    """JSON text of a value whose parts are plain; None if it holds NUL, a surrogate or too large an integer."""
    try:
        text = orjson.dumps(value)
    except (TypeError, ValueError):
        return None
    # a byte is found ten times faster than a word, as a number
    return None if _BACKSLASH in text and b"\\u0000" in text else text


def dump(value: Json, column: str, fixups: Fixups) -> bytes:
    """JSON text of any value; what jsonb cannot hold is noted in `fixups` under the column's name."""
    text = dump_plain(value) if is_plain((value,)) else None
    return orjson.dumps(clean(value, (column,), fixups)) if text is None else text


def dump_attributes(attributes: Mapping[str, Any], column: str, fixups: Fixups) -> tuple[bytes, str | None]:
    """JSON text of attributes, and the order of their keys."""
    if not attributes:
        return b"{}", None
    if is_plain(attributes.values()) and (text := dump_plain(attributes)) is not None:
        return text, key_order(tuple(attributes))
    # the cleaned keys have an order of their own, which goes into the fixups
    return orjson.dumps(clean(attributes, (column,), fixups)), None


def load(text: bytes | str) -> Json:
    """Read what `dump` wrote, jsonb's own rendering of it, or JSON text from anywhere: whole numbers stay exact.

    Raises:
        ValueError: it is no JSON, or none that orjson reads.
    """
    value = orjson.loads(text)
    raw = text.encode() if isinstance(text, str) else text
    if _LONG_NUMBER in raw.translate(_DIGITS_AS_ZEROS):  # orjson makes floats of integers beyond 64 bits
        try:
            return json.loads(text)
        except (ValueError, RecursionError):  # more digits than Python reads, or too deep
            pass
    return value


@lru_cache(maxsize=4096)
def key_order(keys: tuple[str, ...]) -> str | None:
    """Where jsonb, that sorts keys by length and then by bytes, puts each key; None if just there.

    The n-th character stands for the n-th key: chr(48 + its position in jsonb). Positions that would
    fall on surrogates move up.

    Raises:
        TypeError: a key is not text.
        UnicodeEncodeError: a key holds a lone surrogate.
    """
    sorted_keys = in_jsonb(keys)
    if sorted_keys == [*keys]:
        return None
    position = {key: place for place, key in enumerate(sorted_keys)}
    return "".join(chr(_character(position[key])) for key in keys)


def in_jsonb(keys: Iterable[str]) -> list[str]:
    """Keys of an object in the order in which jsonb keeps them.

    Raises:
        TypeError: a key is not text.
        UnicodeEncodeError: a key holds a lone surrogate.
    """
    try:
        return sorted(keys, key=lambda key: (len(raw := key.encode()), raw))
    except AttributeError as error:
        raise TypeError(str(error)) from error


def in_order(stored: Mapping[str, Any], order: str | None) -> dict[str, Any]:
    """Undo jsonb's sorting."""
    if not order:
        return dict(stored)
    keys = list(stored)
    places = (ord(character) for character in order)
    return {(key := keys[c - _FIRST - (0x800 if c >= 0xE000 else 0)]): stored[key] for c in places}


def _character(position: int) -> int:
    code = position + _FIRST
    return code if code < 0xD800 else code + 0x800


def clean_text(value: Any, column: str, fixups: Fixups) -> str:
    """Text that Postgres can hold, for a text column; an original that differs goes into `fixups`."""
    if type(value) is not str and isinstance(value, str):
        value = str.__str__(value)
    if not isinstance(value, str):
        if value is None or isinstance(value, bool | int | float):
            fixups.append(fixup := [[column], "value", None])
            fixup[2] = clean(value, (len(fixups) - 1, 2), fixups)
        else:
            fixups.append([[column], "object", type(value).__name__])
        return "" if value is None else clean_text(_describe(value), column, [])
    cleaned = _printable(value)
    if cleaned is not value:
        fixups.append([[column], "text", _base64(value)])
    return cleaned


def restore(columns: dict[str, Any], fixups: Fixups | None) -> None:
    """Put the originals back into decoded columns, in place."""
    if not fixups:
        return
    # a fixup was noted before those inside it: the innermost comes first
    for fixup in reversed(fixups):
        path, kind, *rest = fixup
        root: Any = columns if isinstance(path[0], str) else fixups
        for step in path[:-1]:
            root = root[step]
        if isinstance(root, Mapping) and path[-1] not in root:
            continue
        root[path[-1]] = _original(kind, root[path[-1]], rest[0] if rest else None)


def _original(kind: str, stored: Any, original: Any) -> Any:
    if kind == "float":
        return float(original)
    if kind == "bytes":
        return base64.b64decode(stored)
    if kind == "int":
        return int(stored, 0)
    if kind == "text":
        return base64.b64decode(original).decode("utf-8", "surrogatepass")
    if kind == "order":
        return in_order(stored, original)
    if kind == "key":
        names = {cleaned: base64.b64decode(raw).decode("utf-8", "surrogatepass") for cleaned, raw in original}
        return {names.get(key, key): value for key, value in stored.items()}
    if kind in {"deep", "value"}:
        return original
    return stored


class _Leave:
    """Marks where a container ends, so that a value inside itself is told from one that occurs twice."""

    __slots__ = ("container",)

    def __init__(self, container: Any) -> None:
        self.container = container


def clean(value: Any, path: Path, fixups: Fixups) -> Json:
    """Rebuild a value from what jsonb can hold; `path` is where it lies, for the fixups."""
    # without recursion: a value may be thousands of levels deep
    result: list[Json] = [None]
    inside: set[int] = set()
    work: list[Any] = [(value, result, 0, path, 0)]
    while work:
        item = work.pop()
        if isinstance(item, _Leave):
            inside.discard(id(item.container))
            continue
        value, target, key, path, depth = item
        is_map = isinstance(value, Mapping)
        if not is_map and (isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence)):
            target[key] = _clean_scalar(value, path, fixups)
            continue
        if id(value) in inside:
            fixups.append([list(path), "cycle"])
            target[key] = "…"
            continue
        if depth == MAX_DEPTH:
            fixups.append(fixup := [list(path), "deep", None])
            target[key] = "…"
            target, key, path, depth = fixup, 2, (len(fixups) - 1, 2), 0
        inside.add(id(value))
        work.append(_Leave(value))
        if is_map:
            keys, cleaned = _clean_keys(value, path, fixups)
            container: Any = dict.fromkeys(cleaned)
            children: list[tuple[Any, Any]] = [*zip(cleaned, (value[k] for k in keys), strict=True)]
        else:
            container = [None] * len(value)
            children = [*enumerate(value)]
        target[key] = container
        work.extend((child, container, name, (*path, name), depth + 1) for name, child in reversed(children))
    return result[0]


def _clean_keys(value: Mapping[Any, Any], path: Path, fixups: Fixups) -> tuple[list[Any], list[str]]:
    keys, cleaned, renamed, taken = list(value), [], [], set[str]()
    for key in keys:
        text = str.__str__(key) if isinstance(key, str) else _describe(key)
        name = _printable(text)
        while name in taken:
            name += "�"
        taken.add(name)
        cleaned.append(name)
        if name != text:
            renamed.append([name, _base64(text)])
    if renamed:
        fixups.append([list(path), "key", renamed])
    if order := key_order(tuple(cleaned)):
        fixups.append([list(path), "order", order])
    return keys, cleaned


def _clean_scalar(value: Any, path: Path, fixups: Fixups) -> Json:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = str.__str__(value)
        cleaned = _printable(text)
        if cleaned is not text:
            fixups.append([list(path), "text", _base64(text)])
        return cleaned
    if isinstance(value, int):
        number = int.__index__(value)
        if _I64 <= number < _U64:
            return number
        fixups.append([list(path), "int"])
        return hex(number) if number.bit_length() > _HEX_BITS else str(number)
    if isinstance(value, float):
        return _clean_float(float.__float__(value), path, fixups)
    if isinstance(value, bytes | bytearray):
        fixups.append([list(path), "bytes"])
        return base64.b64encode(value).decode()
    fixups.append([list(path), "object", type(value).__name__])
    return _printable(_describe(value))


def _clean_float(number: float, path: Path, fixups: Fixups) -> Json:
    if number != number or number in (float("inf"), float("-inf")):
        text = "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"
        fixups.append([list(path), "float", text])
        return text
    if number == 0 and copysign(1, number) < 0:
        fixups.append([list(path), "float", "-0.0"])
        return 0.0
    if not -1e16 < number < 1e16:
        # jsonb would write all the digits and no point, and it would come back as an integer
        fixups.append([list(path), "float", repr(number)])
    return number


def _printable(text: str) -> str:
    """The very same object if Postgres can hold it."""
    try:
        text.encode()  # much faster than a regular expression
    except UnicodeEncodeError:
        return _UNHOLDABLE.sub("�", text)
    return text.replace("\0", "�") if "\0" in text else text


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()


def _describe(value: Any) -> str:
    try:
        return str(value)
    except FAULTS:
        return f"<{type(value).__name__}>"
