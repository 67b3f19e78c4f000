"""The row of a plain span, the short way.

Nearly all spans are plain: made by the SDK, with values that JSON and Postgres hold as they are. They are
read where the SDK keeps them, without copies, and what follows from their shape is not decided again.
Anything unusual, or not where it is expected, raises, and leaves the span to `RowEncoder.span`, which takes
every span in about twice the time. A plain span gets the same row from both, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace.span import DEFAULT_TRACE_STATE
from orjson import dumps

from .binary_copy import NULL, jsonb_start, text, text_start
from .columns import as_text, content, known_text, text_field
from .layouts import NAME, Layout, Shape, Shapes, Unusual, layout_of
from .plain_parts import BACKSLASH, NUL, Orders, events_json, links_json
from .presumed import seems_json
from .row_identity import EPOCH_2000_US
from .rows import Row, RowEncoder
from .treatment import Treatment
from .values import is_plain, is_plain_float

__all__ = ["SpanEncoder"]

# The number of columns; trace_id, span_id, batch_id, batch_index, time, trace_flags, start_unix_nano,
# end_unix_nano and duration_ns, each after its length; the start of attributes. Bytes are packed quicker than numbers.
_FRONT = Struct(">h 4s16s 4sQ 4s16s 4si 4sq 4si 4sq 4sq 4sq ib".replace(" ", "")).pack
_4, _8, _16 = (length.to_bytes(4, "big") for length in (4, 8, 16))
_PARENT = Struct(">iQi?").pack  # parent_span_id, parent_is_remote
_NO_PARENT = 2 * NULL
_NO_CONTENTS = (4 * NULL,)
_I32_MAX = (1 << 31) - 1
_ERROR = 2
_MAX_LAYOUTS = 4096


class SpanEncoder:
    """Encodes the spans of one batch after another, the plain ones quickly.

    Args:
        treatment: what the rows are made by.
        presumes: inputs and outputs that seem to be JSON are taken for it: see `presumed`.
    """

    def __init__(self, treatment: Treatment | None = None, *, presumes: bool = False) -> None:
        self._presumes = presumes
        self._careful = RowEncoder(treatment)
        self._scrubber = self._careful.scrubber
        self._shapes = Shapes(self._careful.plans.deciding, self._scrubber)
        self._orders = Orders(self._scrubber)
        self._long = self._careful.sharing.least
        self._layouts: dict[tuple[Any, ...], Layout] = {}
        self._resource: Any = None
        self._scope: Any = None
        self._origin: Any = None
        """Of this resource and scope, the last ones: mostly the next span has them too."""

    def span(self, span: ReadableSpan, batch_id: bytes, index: int) -> Row:
        """Encode a span as row number `index` of a batch."""
        try:
            return self.plain(span, batch_id, index)
        except Exception:  # of whatever kind: the careful encoder knows what to do, or says what is wrong
            return self._careful.span(span, batch_id, index)

    def plain(self, span: Any, batch_id: bytes, index: int) -> Row:
        """Encode a plain span.

        Raises:
            Exception: of any kind, if the span is not plain.
        """
        bounded, events, links = span._attributes, span._events, span._links
        if type(span) is not ReadableSpan or bounded.dropped or events.dropped or links.dropped:
            raise Unusual
        attributes, events, links = bounded._dict, events._dq, links._dq
        parent, status, name, start, end = span._parent, span._status, span._name, span._start_time, span._end_time
        trace_id, span_id, _, flags, state, _ = span._context  # type: ignore[misc]  # None is unusual
        if not type(start) is int is type(end) or (state is not DEFAULT_TRACE_STATE and state):
            raise Unusual
        shape = self._shapes[(*attributes, *map(type, attributes.values()))]
        for key in shape.floats:
            if not 0 < attributes[key] < 1e15 and not is_plain_float(attributes[key]):
                raise Unusual
        for key in shape.arrays:
            if not is_plain(attributes[key], 1):
                raise Unusual
        code = status._status_code._value_
        choice = (shape, span._kind._value_, code, parent is None, shape.deciding(attributes))
        layout = self._layouts.get(choice) or self._learn(choice, attributes)
        kept, contents = self._contents(layout, attributes) if layout.contents else (attributes, _NO_CONTENTS)
        encoded = dumps(kept)
        if BACKSLASH in encoded and NUL in encoded:
            raise Unusual
        if len(encoded) >= self._long and any(
            type(value) is str and len(value) >= self._long for value in kept.values()
        ):
            raise Unusual
        texts = [name]
        happened = events_json(events, self._orders, texts) if events else b""
        linked = links_json(links, self._orders, texts) if links else b""
        if not self._scrubber.is_idle:
            self._look(texts, attributes, shape, status._description if code else None)

        time_us = start // 1000
        resource, scope = span._resource, span._instrumentation_scope
        if resource is not self._resource or scope is not self._scope:
            self._origin = self._careful.sources.origin(resource, scope)
            self._resource, self._scope = resource, scope
        origin = self._origin
        row = [
            _FRONT(
                layout.count, _16, trace_id.to_bytes(16, "big"), _8, span_id, _16, batch_id, _4, index,
                _8, time_us - EPOCH_2000_US, _4, flags & _I32_MAX, _8, start, _8, end, _8, end - start,
                len(encoded) + 1, 1,
            ),
            encoded,
            jsonb_start[len(happened)] if events else NULL,
            happened,
            jsonb_start[len(linked)] if links else NULL,
            linked,
            _NO_PARENT if parent is None else _PARENT(8, parent[1], 1, parent[2]),
            origin.fields,
            known_text(name) or _name(name),
            *contents,
        ]  # fmt: skip
        if layout.has_outcome:
            row.append(_outcome(layout, status, code, events, attributes))
        if layout.takes_name:
            attributes = {**attributes, NAME: name}
        varying = [*map(text_field, layout.texts(attributes))]
        for key, form in layout.forms:
            varying.append(form(attributes[key]))
        if layout.costing:
            varying.append(layout.costing(attributes, start))
        varying += layout.constants
        row += layout.rest(varying)
        numbers = layout.numbers(varying) if layout.numbers else None
        return layout.table, b"".join(row), time_us, origin.sources, layout.kind(varying), end - start, numbers

    def _look(self, texts: list[Any], attributes: dict[str, Any], shape: Shape, described: str | None) -> None:
        """See to it that there is no secret in any text of a span."""
        texts += shape.texts(attributes)
        texts += map(str, map(attributes.__getitem__, shape.arrays))
        if described:
            texts.append(described)
        if self._scrubber.suspects_any(texts):
            raise Unusual

    def _contents(self, layout: Layout, attributes: dict[str, Any]) -> tuple[dict[str, Any], Sequence[bytes]]:
        """The attributes without what the columns of input and output keep, and these columns."""
        kept = attributes.copy()
        fields: list[bytes] = []
        for key, place in layout.contents:
            value = attributes.get(key)
            if self._presumes and seems_json(value):
                raw = value.encode()
                start, is_whole = text_start(len(raw)), True
            else:
                field, is_whole = content(value)
                start, raw = field[:4], field[4:]
            if len(raw) >= self._long:
                raise Unusual
            if is_whole and place is not NULL:
                kept[key] = None
            fields += start, raw, place if is_whole else NULL
        return kept, fields

    def _learn(self, choice: tuple[Any, ...], attributes: dict[str, Any]) -> Layout:
        _, kind, code, is_root, _ = choice
        layout = layout_of(self._careful.plans.span(attributes, kind + 1, is_root, code), code)
        if len(self._layouts) >= _MAX_LAYOUTS:
            self._layouts.clear()
        self._layouts[choice] = layout
        return layout


def _outcome(layout: Layout, status: Any, code: int, events: Sequence[Any], attributes: dict[str, Any]) -> bytes:
    """The columns status_message, error_type and error_message."""
    described = _text(status._description) if code and status._description else NULL
    error_type, error_message = NULL, described if code == _ERROR else NULL
    for event in reversed(events) if code == _ERROR else ():
        # the last exception that the span recorded says what its error was
        if event._name == "exception" and (found := event._attributes._dict):
            error_type = as_text(found.get("exception.type"))
            error_message = as_text(found.get("exception.message"))
            break
    if layout.error_type:
        error_type = as_text(attributes[layout.error_type])
    if layout.error_message:
        error_message = as_text(attributes[layout.error_message])
    return described + error_type + error_message


def _name(value: Any) -> bytes:
    _text(value)
    return as_text(value)  # which keeps it


def _text(value: Any) -> bytes:
    """A text that is not empty and holds no NUL."""
    if type(value) is not str or not value or "\0" in value:
        raise Unusual
    return text(value)
