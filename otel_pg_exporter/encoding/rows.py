"""A span or a log record becomes a row: the bytes that binary COPY writes into one of the event tables.

Values are cleaned here, once, so that no row can fail on the server for what it holds. This is the
path that every record takes: what follows from a record's shape comes from its `Plan`, neighbouring
columns that are always there are packed together, and anything unusual leaves for a slower function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from types import MappingProxyType
from typing import Any, TypeAlias

import orjson
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.trace import ReadableSpan

from ..routing.conventions import EVENT_CONTENTS, EVENT_MESSAGES
from . import values
from .binary_copy import NULL, boolean, int2, int4, int8, jsonb, label, text
from .columns import as_content, as_int8, as_text, as_texts, content, known_text
from .flattened import gathered
from .plans import Fields, Plan, Plans
from .row_identity import EPOCH_2000_US, duration_ns
from .sharing import Sharing
from .sources import Source, SourceCache
from .treatment import Treatment

__all__ = ["Kind", "Numbers", "Row", "RowEncoder"]

# trace_id, span_id, batch_id, batch_index, time, trace_flags, each after its length
_IDENTITY = Struct(">i16siqi16siiiqii").pack
_TIMES = Struct(">iqiqiq").pack  # start_unix_nano, end_unix_nano, duration_ns
_I32_MAX, _I64_MIN, _I64_MAX = (1 << 31) - 1, -(1 << 63), (1 << 63) - 1
_U64, _U128 = (1 << 64) - 1, (1 << 128) - 1
_ERROR = 2

Kind: TypeAlias = tuple[str, bytes, bytes, bytes, bytes]
"""What a row is counted with: its table, and the fields event_type, status, agent_id and agent_name."""

Numbers: TypeAlias = tuple[bytes, bytes, bytes]
"""The fields input_tokens, output_tokens and cost."""

Row: TypeAlias = tuple[str, bytes, int, tuple[Source, ...], Kind, int | None, Numbers | None]
"""Table, encoded fields, value of the column `time` in µs since 1970, what the row refers to, what it is counted
with, its duration in ns, and what it adds to the sums, if anything."""


class RowEncoder:
    """Encodes the records of one batch after another, and keeps what they share."""

    def __init__(self, treatment: Treatment | None = None) -> None:
        treatment = treatment or Treatment()
        self.scrubber = treatment.scrubber
        self.plans = Plans(treatment)
        self.sources = SourceCache(self.scrubber)
        self.sharing = Sharing(treatment.shared_text_length)

    def span(self, span: ReadableSpan, batch_id: bytes, index: int) -> Row:
        """Encode a span as row number `index` of a batch."""
        span = self.scrubber.span(span)
        fixups: values.Fixups = []
        context, parent, status = span.context, span.parent, span.status
        attributes = _as_dict(span.attributes)
        code = status.status_code.value
        plan = self.plans.span(attributes, span.kind.value + 1, parent is None, code)
        row = plan.row.copy()

        start, end = span.start_time, span.end_time
        if type(start) is int is type(end) and min(start, end) >= _I64_MIN and max(start, end) <= _I64_MAX:
            row["start_unix_nano"] = _TIMES(8, start, 8, end, 8, _within_64_bits(end - start))
            row["end_unix_nano"] = row["duration_ns"] = b""
        else:
            start = _odd_times(row, start, end, fixups)
        time_us = start // 1000
        _identify(row, context, batch_id, index, time_us)
        if parent is not None:
            row["parent_span_id"] = int8(_signed(parent.span_id))
            row["parent_is_remote"] = boolean(bool(parent.is_remote))
        if events := span.events:
            row["events"] = _events(events, fixups)
        if links := span.links:
            row["links"] = _links(links, fixups)
        if code:
            _outcome(row, status, events, fixups)
        if context is not None and context.trace_state:
            header = context.trace_state.to_header()
            row["trace_state"] = label(values.clean_text(header, "trace_state", fixups))
        if dropped := span.dropped_attributes:
            row["dropped_attributes"] = _count(dropped)
        if dropped := span.dropped_events:
            row["dropped_events"] = _count(dropped)
        if dropped := span.dropped_links:
            row["dropped_links"] = _count(dropped)
        told = _told(events) if events else {}
        return self._finish(plan, row, span, attributes, span.name, time_us, fixups, told)

    def log(self, readable: ReadableLogRecord, batch_id: bytes, index: int) -> Row:
        """Encode a log record as row number `index` of a batch."""
        readable = self.scrubber.log(readable)
        fixups: values.Fixups = []
        record = readable.log_record
        attributes = _as_dict(record.attributes)
        name = record.event_name
        number: Any = record.severity_number
        severity = getattr(number, "value", number)
        plan = self.plans.log(attributes, name if isinstance(name, str) else None, severity)
        row = plan.row.copy()

        timestamp = _nanoseconds(record.timestamp, "start_unix_nano", fixups)
        observed = _nanoseconds(record.observed_timestamp, "observed_unix_nano", fixups)
        if timestamp is not None:
            row["start_unix_nano"] = int8(timestamp)
        if observed is not None:
            row["observed_unix_nano"] = int8(observed)
        if (duration := attributes.get("otel_pg.duration_ns")) is not None:
            row["duration_ns"] = as_int8(duration)
        time_us = (timestamp or observed or 0) // 1000
        _identify(row, record, batch_id, index, time_us)
        if severity is not None:
            row["severity_number"] = int2(severity)
        if record.severity_text is not None:
            row["severity_text"] = label(values.clean_text(record.severity_text, "severity_text", fixups))
        if (body := record.body) is not None:
            row["body"] = jsonb(values.dump(body, "body", fixups))
        if dropped := readable.dropped_attributes:
            row["dropped_attributes"] = _count(dropped)
        # no event name and an empty one are the same in OTLP
        return self._finish(plan, row, readable, attributes, name or "", time_us, fixups)

    def _finish(
        self,
        plan: Plan,
        row: Fields,
        record: ReadableSpan | ReadableLogRecord,
        attributes: dict[str, Any],
        name: Any,
        time_us: int,
        fixups: values.Fixups,
        told: Mapping[str, Any] = MappingProxyType({}),
    ) -> Row:
        origin = self.sources.origin(record.resource, record.instrumentation_scope)
        row["resource_id"] = origin.fields
        row["scope_id"] = row["service_name"] = b""
        row["event_name"] = known if (known := known_text(name)) else _name(name, fixups)
        kept = attributes
        shared: list[Source] = []
        for column, value in told.items():
            row[column], row[f"{column}_contents"] = self.sharing.content(column, as_content(value), time_us, shared)
        for column, key, place in plan.contents:
            field, is_whole = content(attributes[key])
            row[column], row[f"{column}_contents"] = self.sharing.content(column, field, time_us, shared)
            if is_whole and place is not NULL:
                row[f"{column}_attribute"] = place
                kept = {**kept, key: None}
        encoded = None
        long: list[Source] = []
        if values.is_plain(kept.values()):
            lean, row["attribute_contents"] = self.sharing.attributes(kept, time_us, long)
            encoded = values.dump_plain(lean)
        if encoded is None:
            row["attribute_contents"] = NULL
            row["input_attribute"] = row["output_attribute"] = NULL
            # the cleaned keys have an order of their own, which goes into the fixups
            encoded = orjson.dumps(values.clean(attributes, ("attributes",), fixups))
            row["attribute_order"] = NULL
        else:
            shared += long
        row["attributes"] = jsonb(encoded)
        row.update(zip(plan.text_columns, as_texts(plan.text_values(attributes)), strict=True))
        for column, key, form in plan.columns:
            row[column] = form(attributes[key])
        for column, start in plan.gathered:
            field = as_content(gathered(attributes, start))
            row[column], row[f"{column}_contents"] = self.sharing.content(column, field, time_us, shared)
        if plan.costing:
            row["cost"] = plan.costing(attributes, time_us * 1000)
        if plan.name_column:
            row[plan.name_column] = as_text(name)
            if plan.name_column == "agent_name" and row["agent_id"] is NULL:
                row["agent_id"] = row["agent_name"]
        if fixups:
            row["fixups"] = jsonb(orjson.dumps(fixups))
        kind = plan.table, row["event_type"], row["status"], row["agent_id"], row.get("agent_name", NULL)
        numbers = (row["input_tokens"], row["output_tokens"], row["cost"]) if plan.has_numbers else None
        data = b"".join(row.values())
        return plan.table, data, time_us, (*origin.sources, *shared), kind, duration_ns(data), numbers


def _as_dict(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        # .copy() of the SDK's mapping copies the dict inside; dict() would lock it for each key
        copied = attributes.copy()  # type: ignore[union-attr]
    except AttributeError:
        return dict(attributes or {})
    return copied if type(copied) is dict else dict(copied)


def _identify(row: Fields, context: Any, batch_id: bytes, index: int, time_us: int) -> None:
    trace_id = span_id = flags = 0
    if context is not None:
        trace_id, span_id, flags = context.trace_id or 0, context.span_id or 0, int(context.trace_flags or 0)
    row["trace_id"] = _IDENTITY(
        16, (trace_id & _U128).to_bytes(16, "big"), 8, _signed(span_id), 16, batch_id, 4, index,
        8, time_us - EPOCH_2000_US, 4, flags & _I32_MAX,
    )  # fmt: skip
    row["span_id"] = row["batch_id"] = row["batch_index"] = row["time"] = row["trace_flags"] = b""


def _outcome(row: Fields, status: Any, events: Sequence[Any], fixups: values.Fixups) -> None:
    if status.description:
        row["status_message"] = text(values.clean_text(status.description, "status_message", fixups))
    if status.status_code.value != _ERROR:
        return
    row["error_message"] = row["status_message"]
    for event in reversed(events):
        # the last exception that the span recorded says what its error was
        if event.name == "exception" and event.attributes:
            row["error_type"] = as_text(event.attributes.get("exception.type"))
            row["error_message"] = as_text(event.attributes.get("exception.message"))
            return


def _name(name: Any, fixups: values.Fixups) -> bytes:
    cleaned = values.clean_text(name, "event_name", fixups)
    return as_text(cleaned) if cleaned is name and name else text(cleaned)


def _events(events: Sequence[Any], fixups: values.Fixups) -> bytes:
    items = []
    for event in events:
        name, time, attributes = event.name, event.timestamp, _as_dict(event.attributes)
        item: dict[str, Any] = {"name": name, "time_unix_nano": time, "attributes": attributes}
        if dropped := getattr(event, "dropped_attributes", 0):
            item["dropped_attributes"] = dropped
        items.append(item)
    return _items(items, "events", fixups)


def _told(events: Sequence[Any]) -> dict[str, Any]:
    """Input and output that events of a span tell: the first that is whole, else all messages."""
    whole: dict[str, Any] = {}
    messages: dict[str, list[Any]] = {}
    for event in events:
        attributes = event.attributes or {}
        for name in EVENT_CONTENTS.keys() & attributes.keys():
            whole.setdefault(EVENT_CONTENTS[name], attributes[name])
        if event.name in EVENT_MESSAGES and attributes:
            column, role = EVENT_MESSAGES[event.name]
            messages.setdefault(column, []).append({**({"role": role} if role else {}), **attributes})
    return {**messages, **whole}


def _links(links: Sequence[Any], fixups: values.Fixups) -> bytes:
    items = []
    for link in links:
        context, attributes = link.context, _as_dict(link.attributes)
        item: dict[str, Any] = {
            "trace_id": "%032x" % (context.trace_id & _U128),
            "span_id": "%016x" % (context.span_id & _U64),
            "trace_flags": int(context.trace_flags),
            "trace_state": context.trace_state.to_header() if context.trace_state else "",
            "is_remote": context.is_remote,
            "attributes": attributes,
        }
        if dropped := link.dropped_attributes:
            item["dropped_attributes"] = dropped
        items.append(item)
    return _items(items, "links", fixups)


def _items(items: list[dict[str, Any]], column: str, fixups: values.Fixups) -> bytes:
    """Events or links as JSON, each with the order of its attributes."""
    encoded = None
    try:
        for item in items:
            attributes = item["attributes"]
            if len(attributes) > 1 and (order := values.key_order(tuple(attributes))):
                item["order"] = order
            if not values.is_plain(attributes.values()) or type(item.get("name", "")) is not str:
                break
        else:
            encoded = values.dump_plain(items)
    except (TypeError, UnicodeEncodeError):
        pass  # a key is not text, or holds a surrogate
    if encoded is None:
        for place, item in enumerate(items):
            item.pop("order", None)  # the cleaned keys get theirs in the fixups
            for key in item:
                item[key] = values.clean(item[key], (column, place, key), fixups)
        encoded = orjson.dumps(items)
    return jsonb(encoded)


def _odd_times(row: Fields, start: Any, end: Any, fixups: values.Fixups) -> int:
    """Times that are missing, no whole numbers or beyond 64 bits; gives what stands for the start."""
    start = _nanoseconds(start, "start_unix_nano", fixups)
    end = _nanoseconds(end, "end_unix_nano", fixups)
    if start is not None:
        row["start_unix_nano"] = int8(start)
    if end is not None:
        row["end_unix_nano"] = int8(end)
        if start is not None:
            row["duration_ns"] = int8(_within_64_bits(end - start))
    return start if start is not None else end or 0


def _nanoseconds(value: Any, column: str, fixups: values.Fixups) -> int | None:
    if type(value) is int and _I64_MIN <= value <= _I64_MAX:
        return value
    if value is None:
        return None
    fixups.append(fixup := [[column], "value", None])
    fixup[2] = values.clean(value, (len(fixups) - 1, 2), fixups)
    try:
        return _within_64_bits(int(value))
    except (TypeError, ValueError, OverflowError):
        return None


def _within_64_bits(value: int) -> int:
    return max(_I64_MIN, min(_I64_MAX, value))


def _signed(span_id: int) -> int:
    span_id &= _U64
    return span_id - (1 << 64) if span_id > _I64_MAX else span_id


def _count(dropped: int) -> bytes:
    return int4(min(dropped, _I32_MAX))
