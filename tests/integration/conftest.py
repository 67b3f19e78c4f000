"""Spans and log records that real libraries emitted, as the SDK's own objects."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from harness.patience import be_patient
from harness.rows import Rows
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
from psycopg.conninfo import conninfo_to_dict

from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.writing.delivery import Delivery

FOLDER = Path(__file__).parents[1] / "fixtures" / "spans"


_DAY_SECONDS, _LONGEST_TEST_SECONDS = 86_400, 15


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """Nothing is in a hurry, and nothing looks after the tables, but where a test says so."""
    with pytest.MonkeyPatch.context() as patch:  # of its own: a test may undo what it has patched itself
        be_patient(patch.setattr)
        yield


@pytest.fixture(autouse=True)
def _one_day() -> None:
    """No midnight comes in the middle of a test, which may ask twice what day it is; nor does the server's."""
    if (left := _DAY_SECONDS - time.time() % _DAY_SECONDS) < _LONGEST_TEST_SECONDS:
        time.sleep(left + 0.1)


class Outage:
    """The database takes no connections, and those that it had are cut."""

    def __init__(self, server_dsn: str, dsn: str) -> None:
        self._server_dsn, self._name = server_dsn, conninfo_to_dict(dsn)["dbname"]

    def begin(self) -> None:
        with psycopg.connect(self._server_dsn, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{self._name}" ALLOW_CONNECTIONS false')
            connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._name}'")

    def end(self) -> None:
        with psycopg.connect(self._server_dsn, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{self._name}" ALLOW_CONNECTIONS true')


@pytest.fixture
def outage(server_dsn: str, dsn: str) -> Iterator[Outage]:
    """An outage of the test's own database; over at the latest when the test is."""
    made = Outage(server_dsn, dsn)
    yield made
    made.end()


@pytest.fixture
def rows(dsn: str) -> Iterator[Rows]:
    """A database whose event tables are filled by the test."""
    made = Rows(dsn)
    yield made
    made.connection.close()


@pytest.fixture
def delivery(dsn: str, tmp_path: Path) -> Iterator[Delivery]:
    """Into the test's own database, with a spool of its own."""
    opened = Delivery(Database(Settings.from_env(dsn=dsn, spool_dir=str(tmp_path))))
    yield opened
    opened.close(5)
    opened.database.close()


@pytest.fixture(params=sorted(path.stem for path in FOLDER.glob("*.json")))
def library(request: pytest.FixtureRequest) -> str:
    """The name of a file of fixtures, each in turn."""
    return request.param


@pytest.fixture
def emitted(library: str) -> tuple[list[ReadableSpan], list[ReadableLogRecord]]:
    """What that library emitted."""
    return load(library)


@pytest.fixture
def all_emitted() -> list[tuple[list[ReadableSpan], list[ReadableLogRecord]]]:
    """What all of them emitted."""
    return [load(path.stem) for path in sorted(FOLDER.glob("*.json"))]


def load(library: str) -> tuple[list[ReadableSpan], list[ReadableLogRecord]]:
    data = json.loads((FOLDER / f"{library}.json").read_text("utf-8"))
    return [*map(_span, data["spans"])], [*map(_log, data["logs"])]


def _span(data: dict[str, Any]) -> ReadableSpan:
    return ReadableSpan(
        name=data["name"],
        context=_context(data["context"]),
        parent=data["parent"] and _context(data["parent"]),
        resource=Resource(_value(data["resource"]), data["resource_schema_url"]),
        attributes=_attributes(data),
        events=_list(
            [Event(e["name"], _attributes(e), e["time_unix_nano"]) for e in data["events"]],
            data["dropped_events"],
        ),
        links=_list([Link(_context(k["context"]), _attributes(k)) for k in data["links"]], data["dropped_links"]),
        kind=SpanKind[data["kind"]],
        status=Status(StatusCode[data["status"]["code"]], data["status"]["description"]),
        start_time=data["start_time_unix_nano"],
        end_time=data["end_time_unix_nano"],
        instrumentation_scope=_scope(data["scope"]),
    )


def _log(data: dict[str, Any]) -> ReadableLogRecord:
    context = SpanContext(int(data["trace_id"], 16), int(data["span_id"], 16), False, TraceFlags(data["trace_flags"]))
    record = LogRecord(
        timestamp=data["time_unix_nano"],
        observed_timestamp=data["observed_time_unix_nano"],
        context=set_span_in_context(NonRecordingSpan(context)),
        severity_text=data["severity_text"],
        severity_number=data["severity_number"] and SeverityNumber(data["severity_number"]),
        body=_value(data["body"]),
        attributes=_attributes(data),
        event_name=data["event_name"],
    )
    return ReadableLogRecord(record, Resource(_value(data["resource"])), _scope(data["scope"]))


def _scope(data: dict[str, Any]) -> InstrumentationScope:
    return InstrumentationScope(data["name"], data["version"], data["schema_url"], _value(data["attributes"]))


def _context(data: dict[str, Any]) -> SpanContext:
    return SpanContext(
        int(data["trace_id"], 16),
        int(data["span_id"], 16),
        data["is_remote"],
        TraceFlags(data["trace_flags"]),
        TraceState.from_header([data["trace_state"]]),
    )


def _attributes(data: dict[str, Any]) -> BoundedAttributes:
    attributes = BoundedAttributes(attributes=_value(data["attributes"]))
    attributes.dropped = data.get("dropped_attributes", 0)
    return attributes


def _list(items: list[Any], dropped: int) -> Any:
    bounded: Any = BoundedList.from_seq(max(1, len(items)), items)
    bounded.dropped = dropped
    return bounded


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"$bytes"}:
            return base64.b64decode(value["$bytes"])
        if set(value) == {"$float"}:
            return float(value["$float"])
        return {key: _value(item) for key, item in value.items()}
    return [_value(item) for item in value] if isinstance(value, list) else value
