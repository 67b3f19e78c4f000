"""Takes secrets, and content if it is not to be stored, out of spans and log records before they are encoded.

So neither a row nor the spool ever holds them. A record in which nothing has to go is handed on as it is; of
another one a stand-in is made that answers for what was changed, and asks the original for the rest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from ..errors import FAULTS
from ..host.diagnostics import warn
from ..redaction import REDACTED, Redactor, words_of
from ..routing.conventions import SOURCES, Sources
from ..suspicion import may_hold_secret
from .content_names import ContentNames
from .remembered import Remembered

__all__ = ["Redact", "Scrubber"]

Redact: TypeAlias = Callable[[str, str], str]
"""A user's own: is given the key (an attribute's, else name, status_message, body or event_name) and a text, and
returns the text as it may be stored."""

_MAX_DEPTH = 64
_MAX_KEYS = 8192
_LARGE_NUMBER = re.compile(r"[0-9]{19}")
_LONG, _MAX_INNOCENT = 256, 20_000
"""Characters from which a text is remembered, and how many are: some 3 MB."""
_LONG_VALUES = 16
"""Characters for each quotation mark of JSON text whose values are long."""
_VALUE_NAMES = ("value", "Value")
_JSON_STARTS = frozenset('{["')
# a union of types is made anew wherever it is written, in five times what asking for a tuple takes
_TEXTS, _SEQUENCES, _CONTAINERS = (str, bytes, bytearray), (list, tuple), (dict, list, tuple, Mapping)
_NUMBERS_OR_NONE = (int, float, type(None))
_PLAIN_NUMBERS = frozenset({int, float, bool, type(None)})


class _Changed:
    """Stands in for a record, or a part of one."""

    def __init__(self, original: Any, **changes: Any) -> None:
        self.__dict__.update(changes, _original=original)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class Scrubber:
    """Knows what must not be stored.

    Args:
        keys: names of secrets beside the built-in ones.
        patterns: regular expressions for secrets beside the built-in ones.
        redact: a callback that has the last word about each text.
        is_on: False lets secrets pass; a callback is asked all the same.
        keeps_content: False takes out inputs, outputs, messages, prompts and bodies.
        sources: which attributes fill `input` and `output`.
    """

    def __init__(
        self,
        keys: Iterable[str] = (),
        patterns: Iterable[str] = (),
        redact: Redact | None = None,
        *,
        is_on: bool = True,
        keeps_content: bool = True,
        sources: Sources = SOURCES,
    ) -> None:
        self._patterns = tuple(map(re.compile, patterns))
        keys = tuple(keys)
        self._redactor = Redactor(keys, self._patterns)
        self._redact, self._is_on, self._keeps_content = redact, is_on, keeps_content
        self._own_names = _own_names(keys)
        self._content = ContentNames(sources)
        self._known: dict[Any, bool] = {}
        self._wanted: dict[tuple[Any, ...], bool] = {}
        self._innocent = Remembered(_MAX_INNOCENT)
        """Long texts that hold none, by their hash: an agent sends them with every turn."""
        self._suspicious: str | None = None
        """The last long text that may hold one: it is asked for again before it is cleaned."""
        self.asks_program = redact is not None
        """A function of the program's has the last word, and may take its time."""
        self.is_idle = not is_on and redact is None and keeps_content
        """Nothing is ever taken out."""

    def ask(self, redact: Redact) -> bool:
        """Have a callback asked from now on, if there is none yet; False if there is another."""
        if self._redact is None:
            self._redact, self.asks_program, self.is_idle = redact, True, False
        return self._redact == redact

    def wants(self, keys: Iterable[Any]) -> bool:
        """True if something has to go because of an attribute's name alone."""
        shape = tuple(keys)
        known = self._wanted.get(shape)
        if known is None:
            known = any(map(self._goes, shape)) or any(self.suspects(str(key)) for key in shape)
            if len(self._wanted) >= _MAX_KEYS:
                self._wanted.clear()
            self._wanted[shape] = known
        return known

    def suspects(self, text: str) -> bool:
        """True if the text may hold a secret, and is none of the long ones in which none was found lately."""
        if not self._is_on:
            return False
        if len(text) < _LONG:
            return self._looks_like_one(text)
        if text is self._suspicious:
            return True
        digest = _digest(text)
        if digest in self._innocent:
            return False
        if self._long_one_suspects(text):
            self._suspicious = text
            return True
        self._innocent.update((digest,))
        return False

    def _long_one_suspects(self, text: str) -> bool:
        # what JSON holds is looked at value by value in the end: from the beginning, where they are long, for of a
        # history most came before, and are known
        has_long_values = len(text) > _LONG_VALUES * text.count('"')
        if not has_long_values and not self._looks_like_one(text):
            return False
        value = _json_of(text)
        if value is not None:
            return self._needs_change(value)
        return not has_long_values or self._looks_like_one(text)

    def _looks_like_one(self, text: str) -> bool:
        return (
            may_hold_secret(text)
            or any(pattern.search(text) for pattern in self._patterns)
            or (self._own_names is not None and self._own_names.search(text) is not None)
        )

    def suspects_any(self, texts: Sequence[str]) -> bool:
        """True if one of the texts may hold a secret, or a callback wants to see them all."""
        if self._redact is not None:
            return True
        if self._patterns or self._own_names is not None:
            return any(map(self.suspects, texts))
        return self._is_on and may_hold_secret("\n".join(texts))

    def _suspects_one_of(self, texts: Sequence[str]) -> bool:
        # together they may look like one that none of them holds
        has_own = self._patterns or self._own_names is not None
        return (has_own or (self._is_on and may_hold_secret("\n".join(texts)))) and any(map(self.suspects, texts))

    def span(self, span: Any) -> Any:
        """The span, as it may be stored."""
        if self.is_idle:
            return span
        status = span.status
        looked_at = (
            ("name", span.name, self.part("name", span.name)),
            ("events", span.events, self._parts(span.events)),
            ("links", span.links, self._parts(span.links)),
        )
        changes = {field: new for field, old, new in looked_at if new is not old}
        if (described := self.part("status_message", status.description)) is not status.description:
            changes["status"] = _Changed(status, description=described)
        return self._with_attributes(span, **changes)

    def log(self, readable: Any) -> Any:
        """The log record, as it may be stored."""
        if self.is_idle:
            return readable
        record, changes = readable.log_record, {}
        if self._redact is None and self._keeps_content:  # then a look at all of it together may do
            attributes = getattr(record.attributes, "_dict", record.attributes)  # the SDK's mapping locks itself
            if not self._needs_change([attributes, record.body, record.event_name, record.severity_text]):
                return readable
        for field in ("body", "event_name", "severity_text"):
            old = getattr(record, field)
            new = None if field == "body" and not self._keeps_content else self.part(field, old)
            if new is not old:
                changes[field] = new
        attributes = self.attributes(record.attributes)
        if attributes is not record.attributes:
            changes["attributes"] = attributes
        if not changes:
            return readable
        gone = len(record.attributes or ()) - len(attributes or ())
        return _Changed(
            readable, log_record=_Changed(record, **changes), dropped_attributes=readable.dropped_attributes + gone
        )

    def attributes(self, attributes: Any) -> Any:
        """Attributes, of whatever, as they may be stored; the very same if nothing has to go."""
        if self.is_idle or not attributes:
            return attributes
        kept = {}
        is_same = True
        for key, value in attributes.items():
            if not self._keeps_content and key in self._content:
                is_same = False
                continue
            name, new = self._member(key, value, attributes)
            is_same = is_same and new is value and name is key
            kept[name] = new
        return attributes if is_same else kept

    def text(self, key: str, text: str) -> str:
        """A text as it may be stored."""
        cleaned = text
        if self.suspects(text):
            cleaned = self._json(key, text) or self._redactor.text(text)
            self._suspicious = None
            if cleaned == text and len(text) >= _LONG:
                self._innocent.update((_digest(text),))  # what is found depends on nothing but the text
        if self._redact is not None:
            try:
                answer = self._redact(key, cleaned)
                cleaned = answer if isinstance(answer, str) else REDACTED
            except FAULTS as error:
                cleaned = REDACTED
                warn(f"the redact callback raised {type(error).__name__}; the text is taken out", topic="redact")
        return text if cleaned == text else cleaned

    def _goes(self, key: Any) -> bool:
        known = self._known.get(key) if type(key) is str else None
        if known is None:
            known = (self._is_on and self._is_secret(key)) or (not self._keeps_content and key in self._content)
            if type(key) is str:
                if len(self._known) >= _MAX_KEYS:
                    self._known.clear()
                self._known[key] = known
        return known

    def _is_secret(self, key: Any) -> bool:
        if isinstance(key, bytes):
            key = key[:256].decode("latin-1")
        return self._is_on and isinstance(key, str) and self._redactor.is_secret(key)

    def _with_attributes(self, holder: Any, **changes: Any) -> Any:
        old = holder.attributes
        new = self.attributes(old)
        if new is not old:
            gone = len(old) - len(new)
            changes.update(attributes=new, dropped_attributes=getattr(holder, "dropped_attributes", 0) + gone)
        return _Changed(holder, **changes) if changes else holder

    def _parts(self, parts: Sequence[Any]) -> Sequence[Any]:
        """Events or links."""
        new = []
        for part in parts:
            changes = {}
            name = getattr(part, "name", None)  # links have none
            if (cleaned := self.part("name", name)) is not name:
                changes["name"] = cleaned
            new.append(self._with_attributes(part, **changes))
        return parts if all(one is other for one, other in zip(parts, new, strict=True)) else new

    def part(self, key: str, value: Any) -> Any:
        """Any value; the very same if nothing in it has to go."""
        if type(value) in _PLAIN_NUMBERS:
            return value
        if self._redact is None and not self._needs_change(value):
            return value
        return self._rebuilt(key, value, 0)

    def _needs_change(self, value: Any) -> bool:
        # without recursion: a value may be thousands of levels deep, or hold itself
        work, seen = [value], set()
        short: list[str] = []
        while work:
            item = work.pop()
            if type(item) in _PLAIN_NUMBERS:
                continue
            if isinstance(item, _TEXTS):
                text = item if type(item) is str else _as_text(item)
                if len(text) < _LONG:
                    short.append(text)
                elif self.suspects(text):
                    return True
            elif isinstance(item, _CONTAINERS):
                if id(item) in seen:
                    continue
                seen.add(id(item))
                if isinstance(item, Mapping):
                    if self.wants(item) or _names_secret(item, self._is_secret):
                        return True
                    work.extend(item.values())
                else:
                    if any(self._hidden_places(item)):
                        return True
                    work.extend(item)
            elif not isinstance(item, _NUMBERS_OR_NONE) and self.suspects(_described(item)):
                return True
        return self._suspects_one_of(short)

    def _rebuilt(self, key: str, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(key, str.__str__(value))
        if isinstance(value, _NUMBERS_OR_NONE):
            return value
        if depth == 1 and self._redact is None and not self._needs_change(value):
            return value  # of a history most messages stay as they are
        if depth > _MAX_DEPTH:
            return REDACTED  # nobody looked into it
        if isinstance(value, _TEXTS):
            text = _as_text(value)
            cleaned = self.text(key, text)
            return value if cleaned == text else cleaned
        if isinstance(value, Mapping):
            members = (self._member(name, item, value, depth + 1) for name, item in value.items())
            new = dict(members)
            is_same = all(name in value and new[name] is value[name] for name in new)
            return value if is_same and len(new) == len(value) else new
        if isinstance(value, _SEQUENCES):
            hidden = self._hidden_places(value)
            items = [
                REDACTED if hides and item is not None else self._rebuilt(key, item, depth + 1)
                for item, hides in zip(value, hidden, strict=True)
            ]
            is_same = all(one is other for one, other in zip(items, value, strict=True))
            return value if is_same else type(value)(items) if type(value) in (list, tuple) else items
        text = _described(value)
        cleaned = self.text(key, text)
        return value if cleaned == text else cleaned

    def _member(self, name: Any, value: Any, around: Mapping[Any, Any], depth: int = 0) -> tuple[Any, Any]:
        """An item of a mapping: its key and its value, as they may be stored."""
        if value is None or value is True or value is False:
            return self._key(name), value
        if self._is_secret(name) or (name in _VALUE_NAMES and _names_secret(around, self._is_secret)):
            return self._key(name), value if value == REDACTED else REDACTED
        key = name if isinstance(name, str) else ""
        return self._key(name), self.part(key, value) if depth == 0 else self._rebuilt(key, value, depth)

    def _key(self, name: Any) -> Any:
        if type(name) is not str or not self.suspects(name):
            return name
        cleaned = self._redactor.text(name)
        return name if cleaned == name else cleaned

    def _hidden_places(self, items: Sequence[Any]) -> list[bool]:
        """Which items are values of secrets: ("password", "…"), ["--token", "…"]."""
        hidden = [False] * len(items)
        if not self._is_on:
            return hidden
        for place, item in enumerate(items[:-1]):
            is_name = (len(items) == 2 and isinstance(item, _TEXTS)) or (type(item) is str and item[:1] == "-")
            if is_name and "=" not in (text := _as_text(item)[:256]) and self._is_secret(text):
                hidden[place + 1] = items[place + 1] not in (None, REDACTED)
        return hidden

    def _json(self, key: str, text: str) -> str | None:
        """JSON text with secrets taken out, and still JSON; None if it is none."""
        if (value := _json_of(text)) is None:
            return None
        try:
            if not self._needs_change(value):
                return text
            if _LARGE_NUMBER.search(text) and (exact := self._exactly(key, text)) is not None:
                return exact
            new = self._rebuilt_without_callback(key, value)
            return text if new is value else orjson.dumps(new).decode()
        except (ValueError, TypeError, RecursionError):
            return None

    def _exactly(self, key: str, text: str) -> str | None:
        """The same where orjson would make floats of integers; None where it takes orjson."""
        try:
            value = json.loads(text)
            new = self._rebuilt_without_callback(key, value)
            return text if new is value else json.dumps(new, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (ValueError, TypeError, RecursionError):
            return None

    def _rebuilt_without_callback(self, key: str, value: Any) -> Any:
        # the callback is given the whole text afterwards
        if self._redact is None:
            return self._rebuilt(key, value, 0)
        return self._quiet()._rebuilt(key, value, 0)

    def _quiet(self) -> Scrubber:
        quiet = Scrubber.__new__(Scrubber)
        quiet.__dict__.update(self.__dict__, _redact=None)
        return quiet


def _json_of(text: str) -> Any:
    """What JSON text says; None if it is none, or no object, list or text."""
    try:
        return orjson.loads(text) if text.lstrip()[:1] in _JSON_STARTS else None
    except ValueError:
        return None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _own_names(keys: Sequence[str]) -> re.Pattern[str] | None:
    """What the user's own names of secrets look like in JSON text."""
    names = [r"[\W_]*".join(map(re.escape, words)) for words in map(words_of, keys) if words]
    return re.compile(f"(?i){'|'.join(names)}") if names else None


def _names_secret(item: Mapping[Any, Any], is_secret: Callable[[Any], bool]) -> bool:
    """{"name": "DB_PASSWORD", "value": "…"}: headers, forms and definitions of containers look so."""
    given = [item[name] for name in _VALUE_NAMES if name in item]
    if all(value in (None, True, False, REDACTED) for value in given):
        return False
    return any(is_secret(item.get(key)) for key in ("name", "key", "Name", "Key"))


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    return bytes(value).decode("utf-8", "replace")


def _described(value: Any) -> str:
    try:
        return str(value)
    except FAULTS:
        return ""
