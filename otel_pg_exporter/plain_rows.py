"""The row of a plain span, the short way.

Nearly all spans are plain: made by the SDK, with values that JSON and Postgres hold as they are. They are
read where the SDK keeps them, without copies, and what follows from their shape is not decided again.
Whatever is unusual, or not where it is expected, leaves the span to `RowEncoder.span`, that takes every
span and takes more than twice the time. A plain span gets the same row from both, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link
from opentelemetry.trace.span import DEFAULT_TRACE_STATE

from .binary_copy import NULL, jsonb, text
from .columns import as_content, as_text, known_text, text_field
from .routing import RULES, Rule
from .rows import Row, RowEncoder
from .shapes import NAME, Layout, Shape, Shapes, Unusual, layout_of
from .values import dump_plain, is_plain, is_plain_float

__all__ = ["SpanEncoder"]

# The number of columns; trace_id, span_id, batch_id, batch_index, time, trace_flags, start_unix_nano,
# end_unix_nano, duration_ns, parent_span_id and parent_is_remote, each after its length.
_FRONT = ">h i16s iQ i16s ii iq ii iq iq iq".replace(" ", "")
_ROOT = Struct(_FRONT + "ii").pack
_CHILD = Struct(_FRONT + "iQi?").pack
_EPOCH_2000_US = 946_684_800_000_000
_I32_MAX = (1 << 31) - 1
_ERROR = 2
_NO_OUTCOME = 3 * NULL
_MAX_LAYOUTS = 4096


class SpanEncoder:
    """Encodes spans, the plain ones quickly."""

    def __init__(self, rules: Sequence[Rule] = RULES) -> None:
        self._any = RowEncoder(rules)
        self._shapes = Shapes(self._any.plans.deciding)
        self._layouts: dict[tuple[Any, ...], Layout] = {}

    def span(self, span: ReadableSpan, batch_id: bytes, index: int) -> Row:
        """Encode a span as row number `index` of a batch."""
        try:
            return self.plain(span, batch_id, index)
        except Exception:  # whatever it is, the other encoder knows what to do
            return self._any.span(span, batch_id, index)

    def plain(self, span: Any, batch_id: bytes, index: int) -> Row:
        """Encode a plain span.

        Raises:
            Exception: of any kind, if the span is not plain.
        """
        bounded, events, links = span._attributes, span._events, span._links
        if type(span) is not ReadableSpan or bounded.dropped or events.dropped or links.dropped:
            raise Unusual
        attributes: dict[str, Any] = bounded._dict
        shape = self._shapes[(*attributes, *map(type, attributes.values()))]
        parent, status, name, start, end = span._parent, span._status, span._name, span._start_time, span._end_time
        code = status._status_code._value_
        choice = (shape, span._kind._value_, code, parent is None, shape.deciding(attributes))
        layout = self._layouts.get(choice) or self._learn(choice, attributes)

        trace_id, span_id, _, flags, state, _ = span._context
        if not type(start) is int is type(end) or not (state is DEFAULT_TRACE_STATE or not state):
            raise Unusual
        time_us = start // 1000
        front = (
            layout.count, 16, trace_id.to_bytes(16, "big"), 8, span_id, 16, batch_id, 4, index,
            8, time_us - _EPOCH_2000_US, 4, flags & _I32_MAX, 8, start, 8, end, 8, end - start,
        )  # fmt: skip
        if parent is None:
            packed = _ROOT(*front, -1, -1)
        else:
            packed = _CHILD(*front, 8, parent[1], 1, parent[2])
        origin = self._any.sources.origin(span._resource, span._instrumentation_scope)
        named = known_text(name) or _text(name)
        encoded = _attributes(attributes, shape)
        if layout.takes_name:
            attributes = {**attributes, NAME: name}
        rest = layout.rest.copy()
        rest[1::2] = *map(text_field, layout.texts(attributes)), *[form(attributes[key]) for key, form in layout.forms]
        row = (
            packed,
            origin.fields,
            named,
            encoded,
            self._events(events._dq) if events._dq else NULL,
            self._links(links._dq) if links._dq else NULL,
            as_content(attributes.get(layout.input)),
            as_content(attributes.get(layout.output)),
            _outcome(layout, status, code, events._dq, attributes) if layout.has_outcome else _NO_OUTCOME,
            *rest,
        )
        return layout.table, b"".join(row), time_us, origin.sources

    def _learn(self, choice: tuple[Any, ...], attributes: dict[str, Any]) -> Layout:
        _, kind, code, is_root, _ = choice
        layout = layout_of(self._any.plans.span(attributes, kind + 1, is_root, code), code)
        if len(self._layouts) >= _MAX_LAYOUTS:
            self._layouts.clear()
        self._layouts[choice] = layout
        return layout

    def _events(self, events: Iterable[Any]) -> bytes:
        items = []
        for event in events:
            name, time, bounded = event._name, event._timestamp, event._attributes
            if type(event) is not Event or type(name) is not str or type(time) is not int or bounded.dropped:
                raise Unusual
            attributes = bounded._dict
            shape = self._shapes[(*attributes, *map(type, attributes.values()))]
            item = {"name": name, "time_unix_nano": time, "attributes": attributes}
            if shape.order:
                item["order"] = shape.order
            if shape.floats or shape.arrays:
                _check(attributes, shape)
            items.append(item)
        return _json(items)
    
    def _links(self, links: Iterable[Any]) -> bytes:
        items = []
        for link in links:
            trace_id, span_id, is_remote, flags, state, is_valid = link._context
            bounded = link._attributes
            if not is_valid or type(link) is not Link or bounded.dropped or type(is_remote) is not bool:
                raise Unusual
            if not (state is DEFAULT_TRACE_STATE or not state):
                raise Unusual
            attributes = bounded._dict
            shape = self._shapes[(*attributes, *map(type, attributes.values()))]
            item = {
                "trace_id": "%032x" % trace_id,
                "span_id": "%016x" % span_id,
                "trace_flags": int(flags),
                "trace_state": "",
                "is_remote": is_remote,
                "attributes": attributes,
            }
            if shape.order:
                item["order"] = shape.order
            if shape.floats or shape.arrays:
                _check(attributes, shape)
            items.append(item)
        return _json(items)


def _attributes(attributes: dict[str, Any], shape: Shape) -> bytes:
    if shape.floats or shape.arrays:
        _check(attributes, shape)
    return _json(attributes)


def _check(attributes: dict[str, Any], shape: Shape) -> None:
    for key in shape.floats:
        if not is_plain_float(attributes[key]):
            raise Unusual
    for key in shape.arrays:
        if not is_plain(attributes[key]):
            raise Unusual


def _json(value: Any) -> bytes:
    encoded = dump_plain(value)
    if encoded is None:
        raise Unusual
    return jsonb(encoded)


def _outcome(layout: Layout, status: Any, code: int, events: Any, attributes: dict[str, Any]) -> bytes:
    described = error_message = _text(status._description) if status._description else NULL
    error_type = NULL
    if code == _ERROR:
        for event in reversed(events):
            if event._name == "exception" and (found := event._attributes._dict):
                error_type = as_text(found.get("exception.type"))
                error_message = as_text(found.get("exception.message"))
                break
    else:
        error_message = NULL
    if layout.error_type:
        error_type = as_text(attributes[layout.error_type])
    if layout.error_message:
        error_message = as_text(attributes[layout.error_message])
    return described + error_type + error_message


def _text(value: Any) -> bytes:
    """A text that is not empty and holds no NUL."""
    if type(value) is not str or not value or "\0" in value:
        raise Unusual
    return text(value)
