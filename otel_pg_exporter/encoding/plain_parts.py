"""Events and links of a plain span, as JSON text for their columns.

The loops over values are written out twice: a call for each of them would take longer than what it does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.sdk.trace import Event
from opentelemetry.trace import Link
from opentelemetry.trace.span import DEFAULT_TRACE_STATE
from orjson import dumps

from ..routing.conventions import EVENT_CONTENTS, EVENT_MESSAGES
from .layouts import Unusual
from .scrubbing import Scrubber
from .values import SCALARS, is_plain, key_order

__all__ = ["BACKSLASH", "NUL", "Orders", "events_json", "links_json"]

BACKSLASH, NUL = ord("\\"), b"\\u0000"
"""Of NUL in JSON text, which jsonb cannot hold. A byte is found ten times faster than a word, if it is a number."""
_TEXTLESS = SCALARS - {str}
_MAX_ORDERS = 4096


class Orders(dict[tuple[str, ...], str | None]):
    """Keys of an event or a link → their order, as `key_order` says it.

    Raises:
        Unusual: by their names some of them must not be stored, or fill a column of the span.
    """

    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def __missing__(self, keys: tuple[str, ...]) -> str | None:
        if self._scrubber.wants(keys) or not EVENT_CONTENTS.keys().isdisjoint(keys):
            raise Unusual
        if len(self) >= _MAX_ORDERS:
            self.clear()
        order = self[keys] = key_order(keys)
        return order


def events_json(events: Iterable[Any], orders: Orders, texts: list[str]) -> bytes:
    """The column `events`; the texts in it are put to the others."""
    items = []
    for event in events:
        name, bounded = event._name, event._attributes
        if type(event) is not Event or type(name) is not str or name in EVENT_MESSAGES or bounded.dropped:
            raise Unusual
        attributes = bounded._dict
        item = {"name": name, "time_unix_nano": event._timestamp, "attributes": attributes}
        if order := orders[tuple(attributes)]:
            item["order"] = order
        items.append(item)
        texts.append(name)
        for value in attributes.values():
            if type(value) is str:
                texts.append(value)
            elif type(value) not in _TEXTLESS:
                _check(value, texts)
    encoded = dumps(items)
    if BACKSLASH in encoded and NUL in encoded:
        raise Unusual
    return encoded


def links_json(links: Iterable[Any], orders: Orders, texts: list[str]) -> bytes:
    """The column `links`; the texts in it are put to the others."""
    items = []
    for link in links:
        trace_id, span_id, is_remote, flags, state, _ = link._context
        bounded = link._attributes
        if type(link) is not Link or bounded.dropped or (state is not DEFAULT_TRACE_STATE and state):
            raise Unusual
        attributes = bounded._dict
        item = {
            "trace_id": trace_id.to_bytes(16, "big").hex(),
            "span_id": span_id.to_bytes(8, "big").hex(),
            "trace_flags": flags | 0,  # a plain int, that JSON takes
            "trace_state": "",
            "is_remote": is_remote,
            "attributes": attributes,
        }
        if order := orders[tuple(attributes)]:
            item["order"] = order
        items.append(item)
        for value in attributes.values():
            if type(value) is str:
                texts.append(value)
            elif type(value) not in _TEXTLESS:
                _check(value, texts)
    encoded = dumps(items)
    if BACKSLASH in encoded and NUL in encoded:
        raise Unusual
    return encoded


def _check(value: Any, texts: list[str]) -> None:
    if not is_plain((value,)):
        raise Unusual
    if type(value) is not float:
        texts.append(str(value))
