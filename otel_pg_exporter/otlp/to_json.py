"""OTLP/JSON of spans and log records.

Source: OpenTelemetry protocol, "JSON Protobuf Encoding": the JSON mapping of protobuf with lowerCamelCase
names, ids as hexadecimal text, 64-bit integers as decimal text, bytes as base64, enums as numbers.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.trace import ReadableSpan

from ..encoding import values

__all__ = ["encode"]

Json = dict[str, Any]
_HAS_IS_REMOTE, _IS_REMOTE = 0x100, 0x200
_I64 = 1 << 63
_MOST_DEPTH = 100
"""Values that lie deeper become JSON text: readers of protobuf stop before."""
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def encode(spans: Sequence[ReadableSpan], logs: Sequence[ReadableLogRecord]) -> Json:
    """One document with `resourceSpans` and `resourceLogs`, grouped by resource and scope."""
    document: Json = {}
    if spans:
        document["resourceSpans"] = _grouped(spans, "scopeSpans", "spans", _span)
    if logs:
        document["resourceLogs"] = _grouped(logs, "scopeLogs", "logRecords", _log)
    return document


def _grouped(
    records: Iterable[Any], scopes_key: str, records_key: str, encode_one: Callable[[Any], Json]
) -> list[Json]:
    groups: dict[Any, dict[Any, list[Any]]] = {}
    known: dict[tuple[int, int], list[Any]] = {}  # by identity: hashing a Resource serialises it
    for record in records:
        origin = id(record.resource), id(record.instrumentation_scope)
        if origin not in known:
            known[origin] = groups.setdefault(record.resource, {}).setdefault(record.instrumentation_scope, [])
        known[origin].append(record)
    return [
        {
            "resource": {"attributes": _attributes(resource.attributes)},
            scopes_key: [
                {"scope": _scope(scope), records_key: [*map(encode_one, members)]}
                | ({"schemaUrl": scope.schema_url} if scope and scope.schema_url else {})
                for scope, members in scopes.items()
            ],
        }
        | ({"schemaUrl": resource.schema_url} if resource.schema_url else {})
        for resource, scopes in groups.items()
    ]


def _scope(scope: Any) -> Json:
    if scope is None:
        return {}
    encoded = {"name": scope.name, "version": scope.version, "attributes": _attributes(scope.attributes)}
    return {key: value for key, value in encoded.items() if value}


def _span(span: ReadableSpan) -> Json:
    context, parent, status = span.context, span.parent, span.status
    encoded = {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "traceState": context.trace_state.to_header(),
        "parentSpanId": f"{parent.span_id:016x}" if parent else "",
        "flags": _HAS_IS_REMOTE | (_IS_REMOTE if parent and parent.is_remote else 0),
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time or 0),
        "endTimeUnixNano": str(span.end_time or 0),
        "attributes": _attributes(span.attributes),
        "droppedAttributesCount": span.dropped_attributes,
        "events": [
            {
                "timeUnixNano": str(event.timestamp),
                "name": event.name,
                "attributes": _attributes(event.attributes),
                "droppedAttributesCount": event.dropped_attributes,
            }
            for event in span.events
        ],
        "droppedEventsCount": span.dropped_events,
        "links": [
            {
                "traceId": f"{link.context.trace_id:032x}",
                "spanId": f"{link.context.span_id:016x}",
                "traceState": link.context.trace_state.to_header(),
                "attributes": _attributes(link.attributes),
                "droppedAttributesCount": link.dropped_attributes,
                "flags": _HAS_IS_REMOTE | (_IS_REMOTE if link.context.is_remote else 0),
            }
            for link in span.links
        ],
        "droppedLinksCount": span.dropped_links,
    }
    outcome = {"code": status.status_code.value, "message": status.description}
    encoded["status"] = {key: value for key, value in outcome.items() if value}
    return {key: value for key, value in encoded.items() if value or key in {"traceId", "spanId", "status"}}


def _log(readable: ReadableLogRecord) -> Json:
    record = readable.log_record
    encoded = {
        "timeUnixNano": str(record.timestamp or 0),
        "observedTimeUnixNano": str(record.observed_timestamp or 0),
        "severityNumber": getattr(record.severity_number, "value", 0),
        "severityText": record.severity_text,
        "body": None if record.body is None else _value(record.body),
        "attributes": _attributes(record.attributes),
        "droppedAttributesCount": readable.dropped_attributes,
        "flags": int(record.trace_flags or 0),
        "traceId": f"{record.trace_id:032x}" if record.trace_id else "",
        "spanId": f"{record.span_id:016x}" if record.span_id else "",
        "eventName": record.event_name,
    }
    return {key: value for key, value in encoded.items() if value}


def _attributes(attributes: Mapping[str, Any] | None, depth: int = 0) -> list[Json]:
    return [{"key": key, "value": _value(value, depth)} for key, value in (attributes or {}).items()]


def _value(value: Any, depth: int = 0) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, int):
        if -_I64 <= value < _I64:
            return {"intValue": str(value)}
        return {"stringValue": str(values.clean(value, (), []))}  # OTLP has no larger integers
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _NOT_FINITE[str(value)]}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, Mapping | Sequence) and depth >= _MOST_DEPTH:
        return {"stringValue": values.dump(value, "", []).decode()}
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": _attributes(value, depth + 1)}}
    if isinstance(value, Sequence):
        return {"arrayValue": {"values": [_value(item, depth + 1) for item in value]}}
    return {} if value is None else {"stringValue": str(value)}
