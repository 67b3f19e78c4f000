"""A span that is still open becomes a row of `open_spans`: what is known of it by now, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ..routing import route
from ..routing.conventions import column_sources
from . import values
from .flattened import part_of
from .treatment import Treatment

__all__ = ["open_row"]

_IDS = ("agent_id", "task_id", "session_id", "user_id")
_TENANT = "tenant.id"
_I64_MIN, _I64_MAX = -(1 << 63), (1 << 63) - 1


def open_row(span: Any, treatment: Treatment) -> dict[str, Any]:
    """The row of one of the SDK's spans, by column; `time_us` is its start in microseconds since 1970.

    It is routed, and rid of what must not be stored, as the finished span will be.

    Raises:
        ValueError: it has no start that a row can hold.
    """
    context, parent, start = span.context, span.parent, span.start_time
    if type(start) is not int or not _I64_MIN <= start <= _I64_MAX:
        raise ValueError(f"a span that starts at {start!r:.40}")
    # copied in one step: the program may set others meanwhile
    attributes = treatment.scrubber.attributes(span.attributes.copy())
    routed = route(attributes, kind=span.kind.value + 1, is_root=parent is None, rules=treatment.rules)
    sources = column_sources(treatment.sources[routed.category], tuple(attributes))
    name = _text(treatment.scrubber.part("name", span.name)) or ""
    row = {column: _text(_filling(attributes, sources.get(column, ""))) for column in _IDS}
    if row["agent_id"] is None and routed.action == "invoke":
        row["agent_id"] = name or None
    return {
        **row,
        "trace_id": f"{context.trace_id:032x}",
        "span_id": _signed(context.span_id),
        "parent_span_id": None if parent is None else _signed(parent.span_id),
        "time_us": start // 1000,
        "start_unix_nano": start,
        "category": routed.category,
        "event_type": _text(routed.event_type) or "",
        "event_name": name,
        "service_name": service_name(span, treatment),
        "tenant_id": _text(attributes[_TENANT]) if _TENANT in attributes else _of_resource(span, treatment, _TENANT),
        "attributes": orjson.Fragment(values.dump(attributes, "attributes", [])),
    }


def service_name(span: Any, treatment: Treatment) -> str | None:
    """The service.name of a span's resource."""
    return _of_resource(span, treatment, "service.name")


def _of_resource(span: Any, treatment: Treatment, key: str) -> str | None:
    named = {key: span.resource.attributes.get(key)}
    return _text(treatment.scrubber.attributes(named).get(key))


def _filling(attributes: Mapping[str, Any], source: str) -> Any:
    key, sign, part = source.partition("#")
    return part_of(attributes.get(key), part) if sign else attributes.get(key)


def _text(value: Any) -> str | None:
    """As in a text column of the event tables."""
    if type(value) is int and abs(value) <= _I64_MAX:
        value = str(value)
    return values.clean_text(value, "", []) if type(value) is str and value else None


def _signed(span_id: int) -> int:
    return span_id - (1 << 64) if span_id > _I64_MAX else span_id
