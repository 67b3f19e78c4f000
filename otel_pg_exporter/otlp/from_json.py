"""OTLP/JSON becomes the SDK's spans and log records again: the way back of `to_json`.

Source: as there. Strict about what would be stored wrongly: an id of another length, a number that is none,
a value of no known kind. Fields that it does not know are passed over, as the protocol asks for.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from ..encoding.readable import attributes_of, list_of
from ..errors import InvalidEventError

__all__ = ["logs", "spans"]

Json: TypeAlias = Mapping[str, Any]
_HEX = re.compile(r"[0-9a-fA-F]*")
_DIGITS = re.compile(r"-?\d{1,20}")
_SAMPLED, _FLAGS, _IS_REMOTE = 1, 0xFF, 0x200
_MOST_DEPTH = 200
"""Of a value: what the standard library's recursion can bear, with some to spare."""
_KNOWN = ("resourceSpans", "resourceLogs")
_OTHER_FORMS = ("instrumentationLibrarySpans", "instrumentationLibraryLogs", "scope_spans", "scope_logs")
"""Of OTLP before its version 1, and as protobuf writes names: what is in there would be passed over."""


def spans(document: Any) -> Iterator[ReadableSpan]:
    """The spans of a document.

    Raises:
        InvalidEventError: it is no OTLP/JSON; the message says where in it and what is wrong.
    """
    _check(document)
    yield from _records(document, "resourceSpans", "scopeSpans", "spans", _span)


def logs(document: Any) -> Iterator[ReadableLogRecord]:
    """The log records of a document; raises as `spans`."""
    _check(document)
    yield from _records(document, "resourceLogs", "scopeLogs", "logRecords", _log)


def _check(document: Any) -> None:
    if not isinstance(document, Mapping) or not any(name in document for name in _KNOWN):
        other = next((name for name in ("resourceMetrics", "resource_spans", "data") if _has(document, name)), None)
        found = f"; {other} cannot be stored" if other else ""
        raise InvalidEventError(f"this is no OTLP/JSON: neither resourceSpans nor resourceLogs is in it{found}")


def _has(document: Any, name: str) -> bool:
    return isinstance(document, Mapping) and name in document


def _records(document: Json, resources_key: str, scopes_key: str, records_key: str, build: Any) -> Iterator[Any]:
    for place, group in _objects(document, resources_key, ""):
        if other := next((name for name in _OTHER_FORMS if name in group), None):
            raise InvalidEventError(f"{place}.{other} cannot be stored; allowed is {scopes_key}")
        described = _object(group, "resource", place)
        attributes = _attributes(described, f"{place}.resource")
        resource = Resource(attributes, _text(group, "schemaUrl", place))
        for scope_place, members in _objects(group, scopes_key, place):
            scope = _scope(members, scope_place)
            for record_place, record in _objects(members, records_key, scope_place):
                try:
                    yield build(record, record_place, resource, scope)
                except InvalidEventError:
                    raise
                except (TypeError, ValueError, KeyError, OverflowError) as error:
                    raise InvalidEventError(f"{record_place}: {type(error).__name__}: {error}") from None


def _scope(members: Json, place: str) -> InstrumentationScope | None:
    described = _object(members, "scope", place)
    schema_url = _text(members, "schemaUrl", place)
    if not described and not schema_url:
        return None
    version = _text(described, "version", f"{place}.scope") or None
    attributes = _attributes(described, f"{place}.scope")
    return InstrumentationScope(_text(described, "name", f"{place}.scope"), version, schema_url, attributes)


def _span(data: Json, place: str, resource: Resource, scope: InstrumentationScope | None) -> ReadableSpan:
    flags = _whole(data, "flags", place)
    state = TraceState.from_header([_text(data, "traceState", place)])
    trace_id, span_id = _id(data, "traceId", 32, place), _id(data, "spanId", 16, place)
    if not trace_id or not span_id:
        raise InvalidEventError(f"{place}: a span needs a traceId and a spanId that are not zero")
    # what was exported was sampled, also where the exporter does not tell
    own_flags = TraceFlags(flags & _FLAGS or _SAMPLED)
    parent_id = _id(data, "parentSpanId", 16, place)
    parent = SpanContext(trace_id, parent_id, bool(flags & _IS_REMOTE), own_flags, state) if parent_id else None
    outcome = _object(data, "status", place)
    code = StatusCode(_whole(outcome, "code", f"{place}.status"))
    message = _text(outcome, "message", f"{place}.status") or None
    events = [_event(item, where) for where, item in _objects(data, "events", place)]
    links = [_link(item, where) for where, item in _objects(data, "links", place)]
    return ReadableSpan(
        name=_text(data, "name", place),
        context=SpanContext(trace_id, span_id, False, own_flags, state),
        parent=parent,
        resource=resource,
        attributes=_bounded(data, place),
        events=list_of(events, _whole(data, "droppedEventsCount", place)),
        links=list_of(links, _whole(data, "droppedLinksCount", place)),
        # unspecified is internal, as the protocol says
        kind=SpanKind(max(0, _whole(data, "kind", place) - 1)),
        status=Status(code, message) if code is StatusCode.ERROR else Status(code),
        start_time=_whole(data, "startTimeUnixNano", place) or None,
        end_time=_whole(data, "endTimeUnixNano", place) or None,
        instrumentation_scope=scope,
    )


def _event(data: Json, place: str) -> Event:
    return Event(_text(data, "name", place), _bounded(data, place), _whole(data, "timeUnixNano", place))


def _link(data: Json, place: str) -> Link:
    flags = _whole(data, "flags", place)
    context = SpanContext(
        _id(data, "traceId", 32, place),
        _id(data, "spanId", 16, place),
        bool(flags & _IS_REMOTE),
        TraceFlags(flags & _FLAGS),
        TraceState.from_header([_text(data, "traceState", place)]),
    )
    return Link(context, _bounded(data, place))


def _log(data: Json, place: str, resource: Resource, scope: InstrumentationScope | None) -> ReadableLogRecord:
    number = _whole(data, "severityNumber", place)
    if not 0 <= number <= 24:
        raise InvalidEventError(f"{place}.severityNumber is {number}; allowed are 0 to 24")
    flags = TraceFlags(_whole(data, "flags", place) & _FLAGS)
    context = SpanContext(_id(data, "traceId", 32, place), _id(data, "spanId", 16, place), False, flags)
    record = LogRecord(
        timestamp=_whole(data, "timeUnixNano", place) or None,
        observed_timestamp=_whole(data, "observedTimeUnixNano", place) or None,
        context=set_span_in_context(NonRecordingSpan(context)),
        severity_text=_text(data, "severityText", place) or None,
        severity_number=SeverityNumber(number) if number else None,
        body=_value(data["body"], f"{place}.body", 0) if data.get("body") is not None else None,
        attributes=_bounded(data, place),
        event_name=_text(data, "eventName", place) or None,
    )
    return ReadableLogRecord(record, resource, scope)


def _bounded(data: Json, place: str) -> Any:
    return attributes_of(_attributes(data, place), _whole(data, "droppedAttributesCount", place))


def _attributes(data: Json, place: str) -> dict[str, Any]:
    return _pairs(data, "attributes", place, 0)


def _pairs(data: Json, key: str, place: str, depth: int) -> dict[str, Any]:
    pairs = {}
    for where, item in _objects(data, key, place):
        pairs[_text(item, "key", where)] = _value(item.get("value"), f"{where}.value", depth)
    return pairs


def _value(data: Any, place: str, depth: int) -> Any:
    if data is None or data == {}:
        return None
    if depth > _MOST_DEPTH:
        raise InvalidEventError(f"{place:.200}… is deeper than {_MOST_DEPTH} levels")
    if not isinstance(data, Mapping) or len(data) != 1:
        raise InvalidEventError(f"{place} is {data!r:.60}; allowed is an object with one value, such as stringValue")
    ((kind, value),) = data.items()
    if kind == "stringValue" and isinstance(value, str):
        return value
    if kind == "boolValue" and isinstance(value, bool):
        return value
    if kind == "intValue":
        return _whole(data, kind, place)
    if kind == "doubleValue" and isinstance(value, int | float | str) and not isinstance(value, bool):
        return float(value)
    if kind == "bytesValue" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            raise InvalidEventError(f"{place}.bytesValue is {value!r:.60}; allowed is base64") from None
    if kind == "arrayValue" and isinstance(value, Mapping):
        items = value.get("values") or []
        if isinstance(items, list):
            return [_value(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(items)]
    if kind == "kvlistValue" and isinstance(value, Mapping):
        return _pairs(value, "values", place, depth + 1)
    raise InvalidEventError(f"{place}.{kind} is {value!r:.60}, which is no value of OTLP")


def _objects(data: Json, key: str, place: str) -> Iterator[tuple[str, Json]]:
    items = data.get(key)
    where = f"{place}.{key}" if place else key
    if items is None:
        return
    if not isinstance(items, list):
        raise InvalidEventError(f"{where} is {items!r:.60}; allowed is a list")
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise InvalidEventError(f"{where}[{index}] is {item!r:.60}; allowed is an object")
        yield f"{where}[{index}]", item


def _object(data: Json, key: str, place: str) -> Json:
    value = data.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidEventError(f"{place}.{key} is {value!r:.60}; allowed is an object")
    return value


def _text(data: Json, key: str, place: str) -> str:
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidEventError(f"{place}.{key} is {value!r:.60}; allowed is a text")
    return value


def _whole(data: Json, key: str, place: str) -> int:
    """A number, that JSON may hold as text."""
    value = data.get(key)
    if value is None:
        return 0
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise InvalidEventError(f"{place}.{key} is {value!r:.60}; allowed is a whole number")


def _id(data: Json, key: str, digits: int, place: str) -> int:
    value = _text(data, key, place)
    if value and (len(value) != digits or not _HEX.fullmatch(value)):
        raise InvalidEventError(f"{place}.{key} is {value!r:.60}; allowed are {digits} hex digits")
    return int(value or "0", 16)
