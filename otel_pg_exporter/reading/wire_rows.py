"""Rows as they were encoded for COPY, read back without a database: for what waits, or died, in the spool."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from struct import unpack
from typing import Any

import orjson
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.trace import ReadableSpan

from ..encoding.batches import Batch
from ..encoding.contents import by_id, put_back
from ..encoding.readable import decode_row, log_record, resource, scope, span
from ..encoding.row_identity import EPOCH_2000_US
from ..encoding.sharing import CONTENTS
from ..encoding.sources import NO_SCOPE, Source
from ..otlp.to_json import encode

__all__ = ["read_records", "read_row", "to_otlp_json"]

_UUIDS = frozenset({"trace_id", "batch_id", "resource_id", "scope_id"})
_UUID_ARRAYS = frozenset({"input_contents", "output_contents"})
_JSON = frozenset({"attributes", "body", "events", "links", "fixups", "attribute_contents"})
_NUMBERS = {2: ">h", 4: ">i", 8: ">q"}
_ARRAY_START = 24
"""Where the first value of an array lies in its field, each after its length."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NOT_TEXT = frozenset(
    {
        "span_id", "batch_index", "trace_flags", "kind", "status_code", "parent_span_id", "start_unix_nano",
        "end_unix_nano", "duration_ns", "observed_unix_nano", "severity_number", "dropped_attributes",
        "dropped_events", "dropped_links", "attempt", "input_tokens", "output_tokens", "cache_read_tokens",
        "cache_write_tokens", "reasoning_tokens", "input_attribute", "output_attribute",
    }
)  # fmt: skip


def read_row(data: bytes, columns: Sequence[str]) -> dict[str, Any]:
    """Column → value, as a query of the stored row would give it."""
    return {column: _value(column, field) for column, field in zip(columns, _fields(data), strict=True)}


def read_records(batch: Batch) -> list[ReadableSpan | ReadableLogRecord]:
    """The SDK's objects of a batch, table by table."""
    records: list[ReadableSpan | ReadableLogRecord] = []
    contents = by_id(_content(source) for source in batch.sources.values() if source.table == CONTENTS)
    for table, rows in batch.rows.items():
        for data in rows:
            row = read_row(data, batch.columns[table])
            put_back([row], contents)
            decoded = decode_row(row)
            build = span if decoded["record"] == "span" else log_record
            records.append(build(decoded, *_origin(batch.sources, decoded)))
    return records


def to_otlp_json(batch: Batch) -> dict[str, Any]:
    """A batch in OTLP's JSON encoding."""
    records = read_records(batch)
    spans = [record for record in records if isinstance(record, ReadableSpan)]
    return encode(spans, [record for record in records if isinstance(record, ReadableLogRecord)])


def _fields(data: bytes) -> Iterator[bytes | None]:
    (count,) = unpack(">h", data[:2])
    position = 2
    for _ in range(count):
        (length,) = unpack(">i", data[position : position + 4])
        position += 4
        yield None if length < 0 else data[position : position + length]
        position += max(0, length)


def _value(column: str, field: bytes | None) -> Any:
    if field is None:
        return None
    if column in _UUIDS:
        return uuid.UUID(bytes=field)
    if column in _UUID_ARRAYS:
        return [uuid.UUID(bytes=field[place : place + 16]) for place in range(_ARRAY_START, len(field), 20)]
    if column in _JSON:
        return _as_jsonb(orjson.loads(field[1:]))
    if column == "time":
        return _EPOCH + timedelta(microseconds=unpack(">q", field)[0] + EPOCH_2000_US)
    if column == "parent_is_remote":
        return field != b"\0"
    if column == "cost":
        return unpack(">d", field)[0]
    return unpack(_NUMBERS[len(field)], field)[0] if column in _NOT_TEXT else field.decode()


def _as_jsonb(value: Any) -> Any:
    """With the keys of each object in jsonb's order, which the stored orders refer to."""
    if isinstance(value, dict):
        ordered = sorted(value, key=lambda key: (len(raw := key.encode()), raw))
        return {key: _as_jsonb(value[key]) for key in ordered}
    return [_as_jsonb(item) for item in value] if isinstance(value, list) else value


def _origin(sources: Mapping[bytes, Source], decoded: Mapping[str, Any]) -> tuple[Any, Any]:
    its_resource = resource(_source(sources[decoded["resource_id"].bytes]))
    scope_id = decoded["scope_id"].bytes
    return its_resource, None if scope_id == NO_SCOPE else scope(_source(sources[scope_id]))


def _content(source: Source) -> dict[str, Any]:
    row = source.row
    parts = row.get("parts") and [*map(uuid.UUID, row["parts"])]
    return {"content_id": uuid.UUID(row["content_id"]), "body": row.get("body"), "parts": parts}


def _source(source: Source) -> dict[str, Any]:
    fixups = source.row["fixups"]
    attributes = _as_jsonb(orjson.loads(source.row["attributes"]))
    return {**source.row, "attributes": attributes, "fixups": fixups and orjson.loads(fixups)}
