"""Rows become the SDK's own spans and log records again, equal to those that were exported."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timezone
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
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

from . import values
from .columns import CONTENTS, original

__all__ = ["attributes_of", "decode_row", "list_of", "log_record", "resource", "scope", "span"]


def decode_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of an event table with its values as they were: in order, with what the fixups restore."""
    decoded = dict(row)
    decoded["time"] = row["time"].astimezone(timezone.utc)
    attributes = row["attributes"]
    for column in CONTENTS:
        if (stored := row[column]) is not None:
            decoded[column] = _content(stored)
            if (place := row[f"{column}_attribute"]) is not None:
                attributes = {**attributes, [*attributes][place]: original(stored)}
    decoded["attributes"] = values.in_order(attributes, row["attribute_order"])
    values.restore(decoded, row["fixups"])
    for column in ("events", "links"):
        for item in decoded[column] or ():
            item["attributes"] = values.in_order(item["attributes"], item.pop("order", None))
    return decoded


def _content(stored: str) -> Any:
    try:
        return values.load(stored)
    except ValueError:  # JSON that only PostgreSQL reads, such as 1e999, or a text in the spool that is taken for JSON
        return stored


def span(decoded: Mapping[str, Any], its_resource: Resource, its_scope: InstrumentationScope | None) -> ReadableSpan:
    """The span of a decoded row."""
    trace_id = decoded["trace_id"].int
    state = TraceState.from_header([decoded["trace_state"] or ""])
    flags = TraceFlags(decoded["trace_flags"])
    context = SpanContext(trace_id, _unsigned(decoded["span_id"]), False, flags, state)
    parent = None
    if decoded["parent_span_id"] is not None:
        parent = SpanContext(trace_id, _unsigned(decoded["parent_span_id"]), decoded["parent_is_remote"], flags, state)
    code = StatusCode(decoded["status_code"])
    return ReadableSpan(
        name=decoded["event_name"],
        context=context,
        parent=parent,
        resource=its_resource,
        attributes=attributes_of(decoded["attributes"], decoded["dropped_attributes"]),
        events=list_of([_event(item) for item in decoded["events"] or ()], decoded["dropped_events"]),
        links=list_of([_link(item) for item in decoded["links"] or ()], decoded["dropped_links"]),
        kind=SpanKind(decoded["kind"] - 1),
        # the constructor of Status drops a description that goes with no error
        status=Status(code, decoded["status_message"]) if code is StatusCode.ERROR else Status(code),
        start_time=decoded["start_unix_nano"],
        end_time=decoded["end_unix_nano"],
        instrumentation_scope=its_scope,
    )


def log_record(
    decoded: Mapping[str, Any], its_resource: Resource, its_scope: InstrumentationScope | None
) -> ReadableLogRecord:
    """The log record of a decoded row."""
    number = decoded["severity_number"]
    context = SpanContext(
        decoded["trace_id"].int, _unsigned(decoded["span_id"]), False, TraceFlags(decoded["trace_flags"])
    )
    record = LogRecord(
        timestamp=decoded["start_unix_nano"],
        observed_timestamp=decoded["observed_unix_nano"],
        context=set_span_in_context(NonRecordingSpan(context)),
        severity_text=decoded["severity_text"],
        severity_number=None if number is None else SeverityNumber(number),
        body=decoded["body"],
        attributes=attributes_of(decoded["attributes"], decoded["dropped_attributes"]),
        event_name=decoded["event_name"] or None,
    )
    return ReadableLogRecord(record, its_resource, its_scope)


def resource(row: Mapping[str, Any] | None) -> Resource:
    """The SDK's Resource of a row of `resources`; an empty one if the row is gone."""
    if row is None:
        return Resource({})
    restored = _restored(row)
    return Resource(restored["attributes"], restored["schema_url"])


def scope(row: Mapping[str, Any]) -> InstrumentationScope:
    """The SDK's InstrumentationScope of a row of `scopes`."""
    restored = _restored(row)
    return InstrumentationScope(restored["name"], restored["version"], restored["schema_url"], restored["attributes"])


def _restored(row: Mapping[str, Any]) -> dict[str, Any]:
    restored = dict(row)
    restored["attributes"] = values.in_order(row["attributes"], row["attribute_order"])
    values.restore(restored, row["fixups"])
    return restored


def attributes_of(attributes: Mapping[str, Any], dropped: int | None) -> BoundedAttributes:
    """Attributes as a span or log record has them, with how many its SDK has dropped."""
    bounded = BoundedAttributes(immutable=False)
    # past its checks, which differ from one SDK to the next: what was stored is what comes back
    bounded._dict = {key: tuple(value) if isinstance(value, list) else value for key, value in attributes.items()}
    bounded.dropped = dropped or 0
    return bounded


def list_of(items: list[Any], dropped: int | None) -> Any:
    """Events or links as a span has them, with how many its SDK has dropped."""
    bounded: Any = BoundedList.from_seq(max(len(items), 1), items)
    bounded.dropped = dropped or 0
    return bounded


def _event(item: Mapping[str, Any]) -> Event:
    return Event(
        item["name"], attributes_of(item["attributes"], item.get("dropped_attributes")), item["time_unix_nano"]
    )


def _link(item: Mapping[str, Any]) -> Link:
    context = SpanContext(
        int(item["trace_id"], 16),
        int(item["span_id"], 16),
        item["is_remote"],
        TraceFlags(item["trace_flags"]),
        TraceState.from_header([item["trace_state"]]),
    )
    return Link(context, attributes_of(item["attributes"], item.get("dropped_attributes")))


def _unsigned(span_id: int) -> int:
    return span_id & ((1 << 64) - 1)
