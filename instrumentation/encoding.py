"""Any Python value as bounded and redacted JSON text or attribute value; hostile values cannot raise here."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import islice
from json.encoder import encode_basestring
from typing import Any, Final, TypeAlias

from .capture import CaptureSettings, settings
from .guard import tell
from .objects import enum_value, fields_of, is_written_by_str, number_of_numpy, text_of
from .plain_values import JSON_STARTS, NAMING, plain_json
from .redaction import REDACTED
from .signal_handlers import is_interruption

Primitive: TypeAlias = "str | bool | int | float"
AttributeValue: TypeAlias = "Primitive | list[str] | list[bool] | list[int] | list[float]"

_PRIMITIVES = (str, bool, int, float)
_INT64: Final = 1 << 63
# Redaction must see a secret whole even where the text is cut in the middle of it.
_LOOK_AHEAD = 4_096
# Room for the marker and the closing bracket of each container that is open when the length is used up.
_RESERVE = 48

# JSON text is taken apart, as the exporter does, where it may hold a secret: if it is no longer than this.
_MAX_JSON, _NO_LIMIT = 1 << 20, 1 << 40

_CONTAINERS = frozenset({dict, list, tuple})
_SEQUENCES: tuple[type[Any], ...] = (
    list, tuple, set, frozenset, deque, type({}.keys()), type({}.values()), type({}.items()),
)  # fmt: skip


def plain(text: str) -> str:
    """The text as an exact `str` that every exporter can send: NUL and lone surrogates become U+FFFD."""
    if type(text) is not str:
        text = str.__str__(text)
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean_text(text: str, limit: int) -> str:
    """The text plain, redacted, and cut to about `limit` characters with a marker that says how much went."""
    text, length = _beginning(text, limit, settings())
    if length <= limit or (length <= limit + _LOOK_AHEAD and len(text) <= limit):
        return text
    return f"{text[:limit]}… [{length - limit} more characters]"


def _beginning(text: str, limit: int, limits: CaptureSettings) -> tuple[str, int]:
    """What may be shown of a text, without secrets and not cut yet; and how long the whole is."""
    if (whole := _json_without_secrets(text, limit, limits)) is not None:
        return whole, len(whole)
    return limits.redactor.text(plain(text[: limit + _LOOK_AHEAD])), len(text)


def _json_without_secrets(text: str, limit: int, limits: CaptureSettings) -> str | None:
    """JSON text that may hold secrets where it is not cut, whole and without them; None for any other text."""
    if text[:1] not in JSON_STARTS or len(text) > _MAX_JSON:
        return None
    if not limits.redactor.may_change(text[: limit + _LOOK_AHEAD]):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    whole = limits._replace(max_length=_NO_LIMIT, max_string=_NO_LIMIT, max_items=_NO_LIMIT, max_depth=64)
    written = _Writer(whole).value(value, 0)
    return limits.redactor.without_own(written if REDACTED in written else plain(text))


def name_text(value: object) -> str:
    """A name or an id as text: at most 1,024 characters, whatever `value` is."""
    return clean_text(value if type(value) is str else text_of(value), 1_024)


def json_text(value: object, limit: int | None = None) -> str:
    """The value as JSON text of at most `limit` (`max_length`) characters, cut inside values. Never raises."""
    limits = settings()
    if limit is not None:
        limits = limits._replace(max_length=limit)
    if type(value) in _CONTAINERS and (written := plain_json(value, limits, _RESERVE)) is not None:  # type: ignore[arg-type]
        return written
    text = _Writer(limits).value(value, 0)
    if len(text) > limits.max_length:  # brackets and markers alone fill a very small limit
        # Escaping JSON text again doubles it at most: it holds no raw control characters.
        text = encode_basestring(text[: limits.max_length // 2 - 3] + "…")
    return text


def attribute_value(value: object) -> AttributeValue | None:
    """The value as every SDK version takes it: a primitive, a list of one primitive type, else JSON text.

    None for None: a span has no attribute then. Ints beyond 64 bits become text, and so does what is a text in JSON:
    bytes, and objects that are shown by their `repr()`.
    """
    kind = type(value)
    if kind is str:
        return clean_text(value, settings().max_length)  # type: ignore[arg-type]
    if value is None:
        return None
    if issubclass(kind, Enum):
        return attribute_value(enum_value(value))
    if issubclass(kind, _PRIMITIVES):
        return _primitive(value)
    if kind is list or kind is tuple:
        items = _primitive_list(value)  # type: ignore[arg-type]
        if items is not None:
            return items
    if (number := number_of_numpy(value)) is not None:
        return number
    if is_written_by_str(kind):
        return clean_text(text_of(value), settings().max_length)
    text = json_text(value)
    return str(json.loads(text)) if text[:1] == '"' else text


def named_value(key: str, value: object) -> AttributeValue | None:
    """`attribute_value`, or `[redacted]` when the key is the name of a secret."""
    if value is None or value is True or value is False or not settings().redactor.is_secret(key):
        return attribute_value(value)
    return REDACTED


def clean_attributes(attributes: object) -> dict[str, AttributeValue]:
    """A user's mapping as attributes; entries that cannot be read are left out. What is no mapping is told."""
    cleaned: dict[str, AttributeValue] = {}
    if attributes is None:
        return cleaned
    if not isinstance(attributes, Mapping):
        tell(f"attributes=<{type(attributes).__name__:.64}> is left out; allowed is a mapping")
    else:
        for key, given in islice(attributes.items(), 1_024):
            name = name_text(key)
            value = named_value(name, given)
            if name and value is not None:
                cleaned[name] = value
    return cleaned


def _primitive_list(values: Sequence[object]) -> list[str] | list[bool] | list[int] | list[float] | None:
    """The values as a list attribute, or None when they do not make one and belong into JSON text."""
    limits = settings()
    if not 0 < len(values) <= limits.max_items:
        return None
    kind = type(values[0])
    if kind not in _PRIMITIVES or any(type(value) is not kind for value in values):
        return None
    if kind is str and any(limits.redactor.is_secret(text) for text in values if isinstance(text, str)):
        return None  # ["--password", "..."]: the JSON writer knows what to hide
    cleaned: list[Any] = [_primitive(value) for value in values]
    if any(type(value) is not kind for value in cleaned):
        return None
    return cleaned if sum(len(str(value)) for value in cleaned) <= limits.max_length else None


def _primitive(value: Any) -> Primitive:
    kind = type(value)
    if kind is bool:
        return value is True
    if issubclass(kind, str):
        return clean_text(str.__str__(value), settings().max_length)
    if issubclass(kind, int):
        number = int.__pos__(value)
        return number if -_INT64 <= number < _INT64 else _int_text(number).strip('"')
    return float.__pos__(value)


def _int_text(number: int) -> str:
    if number.bit_length() <= 256:
        return int.__repr__(number)
    return f'"<int of {number.bit_length()} bits>"'


class _Writer:
    """Writes one value. `_left` is the number of characters that may still be written."""

    def __init__(self, limits: CaptureSettings) -> None:
        self._limits = limits
        self._left = limits.max_length - _RESERVE
        self._open: set[int] = set()

    def value(self, value: object, depth: int) -> str:
        try:
            return self._value(value, depth)
        except BaseException as failure:
            if is_interruption(failure):
                raise
            return self._spend(encode_basestring(f"<{type(value).__name__[:64]}: cannot be read>"))

    def _spend(self, text: str) -> str:
        self._left -= len(text)
        return text

    def _value(self, value: Any, depth: int) -> str:
        kind = type(value)
        if kind is str:
            return self._string(value)
        if value is None:
            return self._spend("null")
        if kind is bool:
            return self._spend("true" if value else "false")
        if kind is int:
            return self._spend(_int_text(value))
        if issubclass(kind, Enum):
            return self._value(enum_value(value), depth)
        if issubclass(kind, str):
            return self._string(str.__str__(value))
        if issubclass(kind, int):
            return self._spend(_int_text(int.__pos__(value)))
        if issubclass(kind, float):
            return self._spend(_float_text(float.__pos__(value)))
        if issubclass(kind, (bytes, bytearray, memoryview)):
            return self._bytes(value)
        fields = fields_of(value, kind)
        if fields is not None:
            return self._nested(value, depth, len(fields), self._mapping, iter(fields))
        if issubclass(kind, dict):
            return self._nested(value, depth, dict.__len__(value), self._mapping, iter(dict.items(value)))
        for base in _SEQUENCES:
            if issubclass(kind, base):
                return self._nested(value, depth, base.__len__(value), self._sequence, base.__iter__(value))
        if issubclass(kind, Mapping):
            pairs = ((key, value[key]) for key in value)
            return self._nested(value, depth, len(value), self._mapping, pairs)
        if (number := number_of_numpy(value)) is not None:
            return self._value(number, depth)
        return self._string(text_of(value))

    def _nested(
        self,
        value: object,
        depth: int,
        size: int,
        write: Callable[[Iterator[Any], int, int], str],
        items: Iterator[Any],
    ) -> str:
        if id(value) in self._open:
            return self._spend(f'"<{_short_name(value)}: contains itself>"')
        if depth >= self._limits.max_depth:
            return self._spend(f'"<{_short_name(value)} of {size}>"')
        self._open.add(id(value))
        self._left -= _RESERVE
        try:
            return write(items, size, depth + 1)
        finally:
            self._open.discard(id(value))

    def _mapping(self, pairs: Iterable[tuple[object, object]], size: int, depth: int) -> str:
        parts: list[str] = []
        names: set[str] = set()
        redactor = self._limits.redactor
        pairs = [*_until_it_breaks(islice(pairs, self._limits.max_items))]
        # {"name": "DB_PASSWORD", "value": "..."}: forms, headers and container definitions look so.
        hide_value = any(
            type(value) is str and key in NAMING and redactor.is_secret(value[:256])
            for key, value in pairs
            if type(key) is str or type(key) is bytes
        )
        for key, value in pairs:
            if self._left <= 0:
                break
            raw = text_of(key) if type(key) is not bytes else key[:256].decode("latin-1")
            name = plain(raw[:256])
            secret = redactor.is_secret(name)
            name = redactor.text(name)
            while name in names:
                name += "'"
            names.add(name)
            label = encode_basestring(name) + ":"
            if len(label) > self._left:
                break
            self._spend(label)
            if (secret or (hide_value and name in {"value", "Value"})) and not (
                value is None or value is True or value is False
            ):
                parts.append(label + self._spend(f'"{REDACTED}"'))
            else:
                parts.append(label + self.value(value, depth))
        if len(parts) < size:
            parts.append(f'"…":"{size - len(parts)} more"')
        return "{" + ",".join(parts) + "}"

    def _sequence(self, items: Iterable[object], size: int, depth: int) -> str:
        parts: list[str] = []
        hide_next = False
        redactor = self._limits.redactor
        for item in _until_it_breaks(islice(items, self._limits.max_items)):
            if self._left <= 0:
                break
            if hide_next and item is not None:
                parts.append(self._spend(f'"{REDACTED}"'))
            else:
                parts.append(self.value(item, depth))
            # ("password", "..."), [b"x-api-key", b"..."], ["--token", "..."].
            hide_next = False
            if (size == 2 and not parts[1:]) or (type(item) is str and item[:1] == "-"):
                text = item[:256].decode("latin-1") if type(item) is bytes else item
                hide_next = type(text) is str and "=" not in text and redactor.is_secret(text[:256])
        if len(parts) < size:
            parts.append(f'"… {size - len(parts)} more"')
        return "[" + ",".join(parts) + "]"

    def _bytes(self, value: Any) -> str:
        size = value.nbytes if type(value) is memoryview else len(value)
        if type(value) is not memoryview:
            head = bytes(value[: self._limits.max_string + _LOOK_AHEAD])
            try:
                # A character cut in half at the end is no reason to call it binary.
                text = head.decode() if len(head) == size else head.decode(errors="ignore")
            except UnicodeDecodeError:
                text = "\0"
            if "\0" not in text:
                return self._string(text, size)
        return self._spend(f'"<{size} bytes>"')

    def _string(self, text: str, size: int | None = None) -> str:
        limit = max(0, min(self._limits.max_string, self._left))
        shown, length = _beginning(text, limit, self._limits)
        size = length if size is None else size
        encoded = encode_basestring(shown[:limit])
        if len(encoded) > limit + 2 and len(encoded) > self._left:
            limit = max(0, self._left // 6)  # control characters take six
            encoded = encode_basestring(shown[:limit])
        if len(shown) > limit or size > max(limit + _LOOK_AHEAD, length):
            cut = max(size - limit, len(shown) - limit)
            encoded = f'{encoded[:-1]}… [{cut} more characters]"'
        return self._spend(encoded)


def _float_text(number: float) -> str:
    if math.isfinite(number):
        return float.__repr__(number)
    return '"NaN"' if math.isnan(number) else '"Infinity"' if number > 0 else '"-Infinity"'


def _short_name(value: object) -> str:
    return "".join(letter for letter in type(value).__name__[:64] if letter.isalnum() or letter == "_")


def _until_it_breaks(items: Iterable[Any]) -> Iterator[Any]:
    """The items up to the first failure, such as a dictionary that another thread changes meanwhile."""
    try:
        yield from items
    except Exception as error:
        if is_interruption(error):
            raise
