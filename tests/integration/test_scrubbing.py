"""Secrets of any library's records are in no row, no line of the log, no file of the spool and no repr."""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

import psycopg
import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags

from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.exporter import PostgresLogRecordExporter, PostgresSpanExporter
from otel_pg_exporter.host.diagnostics import logger
from otel_pg_exporter.query import EventQuery
from otel_pg_exporter.writing.delivery import Delivery

PLANTED = 1000
TABLES = (
    "events",
    "task_events",
    "agent_events",
    "deployment_events",
    "resources",
    "scopes",
    "event_batches",
    "contents",
)


def secret(number: int) -> str:
    """One that can be found again, and has no look of its own."""
    return f"planted{number:04d}{uuid.uuid5(uuid.NAMESPACE_OID, str(number)).hex}"


# how a secret comes along: a text, or a key and a value
TEXTS = [
    "postgresql://app:{}@db.example/x", "host=db user=app password={} dbname=x", "Authorization: Bearer {}",
    "curl -H 'x-api-key: {}' https://example.org", "https://example.org/cb?token={}&x=1", "deploy --password {} --now",
    "sk-proj-{}", "ghp_{}", "Cookie: session={}", '{{"user": "me", "config": {{"db_password": "{}"}}}}',
    '{{"headers": [["authorization", "{}"]]}}', '["--api-key", "{}"]', "RuntimeError: client_secret='{}' was refused",
    '{{"env": [{{"name": "DB_PASSWORD", "value": "{}"}}]}}', "eyJhbGciOi{}.eyJ{}.sig", "redis://:{}@cache/0",
]  # fmt: skip
CHAT = {"gen_ai.operation.name": "chat"}
KEYS = ["password", "http.request.header.authorization", "db.dsn", "OPENAI_API_KEY", "client_secret", "auth.token"]
CONTEXT = SpanContext(0xABC, 0xDEF, False, TraceFlags(1))
RESOURCE, SCOPE = Resource({"service.name": "s"}), InstrumentationScope("tests")


def a_span(**parts: Any) -> ReadableSpan:
    usual = {"name": "n", "context": CONTEXT, "resource": RESOURCE, "start_time": 5, "end_time": 7}
    return ReadableSpan(**{**usual, "instrumentation_scope": SCOPE, **parts})


def a_log(resource: Resource = RESOURCE, **parts: Any) -> ReadableLogRecord:
    return ReadableLogRecord(LogRecord(timestamp=5, **parts), resource, SCOPE)


def planted() -> tuple[list[Any], list[Any], list[str]]:
    """Spans and log records, and the secrets in them: one in each place of each kind, over and over."""
    spans, logs, secrets = [], [], []
    for number in range(PLANTED):
        hidden = secret(number)
        secrets.append(hidden)
        text = TEXTS[number % len(TEXTS)].format(*[hidden] * 2)
        key = KEYS[number % len(KEYS)]
        line = text if text[0] not in "[{" else TEXTS[0].format(hidden)  # prose is not taken apart as JSON text is
        trace = f"Traceback (most recent call last):\n  File 'x.py', line 1\n    connect()\nValueError: {line}"
        error = Event("exception", {"exception.message": text, "exception.stacktrace": trace}, 6)
        places = [
            lambda text=text: spans.append(a_span(name=text)),
            lambda text=text: spans.append(a_span(attributes={**CHAT, "input.value": text})),
            lambda key=key, hidden=hidden: spans.append(a_span(attributes={**CHAT, key: hidden})),
            lambda text=text: spans.append(a_span(attributes={"list": ("a", text)})),
            lambda error=error: spans.append(a_span(events=[error])),
            lambda key=key, hidden=hidden: spans.append(a_span(events=[Event("e", {key: hidden}, 6)])),
            lambda text=text: spans.append(a_span(links=[Link(CONTEXT, {"why": text})])),
            lambda text=text: spans.append(a_span(status=Status(StatusCode.ERROR, text))),
            lambda text=text: spans.append(a_span(resource=Resource({"process.command_line": text}))),
            lambda text=text: spans.append(
                a_span(instrumentation_scope=InstrumentationScope("s", attributes={"url": text}))
            ),
            lambda text=text: logs.append(a_log(body=text)),
            lambda key=key, hidden=hidden: logs.append(a_log(body={"deep": [{"er": {key: hidden}}]})),
            lambda text=text: logs.append(a_log(body=[{"m": ["x", text]}], event_name="e")),
            lambda text=text, trace=trace: logs.append(a_log(body="b", attributes={"exception.stacktrace": trace})),
            lambda text=text: logs.append(a_log(body=text.encode())),
        ]
        places[number % len(places)]()
    return spans, logs, secrets


def export(dsn: str, **options: Any) -> tuple[str, list[str]]:
    """Export what is planted; gives the repr of all that took part, and the secrets."""
    spans, logs, secrets = planted()
    exporters = PostgresSpanExporter(dsn, **options), PostgresLogRecordExporter(dsn, **options)
    exporters[0].export(spans)
    exporters[1].export(logs)
    shown = [repr(exporters), repr([exporter._pipeline._delivery.database.settings for exporter in exporters])]
    shown += [repr(exporter.last_error) for exporter in exporters]
    for exporter in exporters:
        exporter.shutdown()
    return "\n".join(shown), secrets


def stored(dsn: str) -> str:
    """Everything in every table, as text."""
    parts = []
    with psycopg.connect(dsn) as connection:
        for table in TABLES:
            parts += [row for (row,) in connection.execute(f"SELECT t::text FROM otel.{table} t")]
    return "\n".join(parts).replace("\\\\", "\\")


@pytest.fixture
def said():
    """All lines that this library logs, at DEBUG."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler, level = Keep(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def found_in(text: str, secrets: list[str]) -> int:
    return sum(hidden in text for hidden in secrets)


def test_no_planted_secret_is_stored_or_said(dsn, said):
    """Of 1,000 secrets in names, attributes, events, links, resources, scopes, errors and bodies none is found."""
    shown, secrets = export(dsn)

    rows = stored(dsn)
    assert 0 == found_in(rows, secrets)
    assert 0 == found_in(shown + "\n".join(said), secrets)
    assert rows.count("[redacted]") >= PLANTED


def test_with_redaction_off_they_are_found(dsn):
    """So the search above would have found them."""
    _, secrets = export_off(dsn)

    assert PLANTED - found_in(stored(dsn), secrets) <= PLANTED // 15  # those in bytes are base64


def export_off(dsn: str) -> tuple[str, list[str]]:
    spans, logs, secrets = planted()
    settings = Settings(dsn=dsn, redact=False)
    delivery = Delivery(Database(settings))
    PostgresSpanExporter(delivery=delivery).export(spans)
    PostgresLogRecordExporter(delivery=delivery).export(logs)
    delivery.close(5)
    delivery.database.close()
    return repr(settings), secrets


@pytest.mark.parametrize("is_on", [True, False], ids=["on", "off"])
def test_the_spool_holds_none(tmp_path, said, is_on, monkeypatch):
    """While PostgreSQL is away, secrets are not on disk either; with redaction off they are."""
    monkeypatch.setenv("EVENT_SPOOL_DIR", str(tmp_path))
    monkeypatch.setenv("EVENT_REDACT", str(is_on).lower())
    _, secrets = export("host=127.0.0.1 port=9 user=x dbname=y", export_timeout_millis=300)

    held = "\n".join(
        path.read_bytes().decode("latin-1").replace("\\\\", "\\") for path in tmp_path.rglob("*") if path.is_file()
    )
    assert held
    assert (found_in(held + "\n".join(said), secrets) == 0) is is_on


def test_json_text_stays_json_and_what_is_no_secret_stays(dsn):
    """Only the secret goes; its neighbours, and the column that is read from the text, are as they were."""
    exporter = PostgresSpanExporter(dsn)
    text = json.dumps({"user": "me", "n": [1, 2.5], "login": {"password": "hunter2", "host": "h"}})

    exporter.export([a_span(attributes={"gen_ai.operation.name": "chat", "input.value": text, "password": None})])

    exporter.shutdown()
    with EventQuery(dsn=dsn) as query:
        (row,) = query.agent_events()
    assert {"user": "me", "n": [1, 2.5], "login": {"password": "[redacted]", "host": "h"}} == row.input


def test_keys_and_patterns_of_the_user_hold(dsn, monkeypatch):
    """EVENT_REDACT_KEYS and EVENT_REDACT_PATTERNS mean here what they mean to the decorators."""
    monkeypatch.setenv("EVENT_REDACT_KEYS", "iban, tax id")
    monkeypatch.setenv("EVENT_REDACT_PATTERNS", r"\bEMP-\d+||^secretly .*$")
    exporter = PostgresSpanExporter(dsn)
    attributes = {
        "iban": "DE02",
        "note": "by EMP-77",
        "data": '{"taxId": "12"}',
        "plan": "secretly x",
        "other": "EMP-x",
    }

    exporter.export([a_span(attributes=attributes)])

    exporter.shutdown()
    with EventQuery(dsn=dsn) as query:
        (row,) = query.system_events()
    assert {
        "iban": "[redacted]",
        "note": "by [redacted]",
        "data": '{"taxId":"[redacted]"}',
        "plan": "[redacted]",
        "other": "EMP-x",
    } == row.attributes


def test_a_callback_has_the_last_word(dsn):
    """It is given each text and its key; a text that it fails on is taken out, and nothing is raised."""

    def redact(key: str, text: str) -> str:
        if key == "bad":
            raise RuntimeError("no")
        return text.replace("Ada", "A.") if key in {"who", "name", "body"} else text

    spans, logs = PostgresSpanExporter(dsn, redact=redact), PostgresLogRecordExporter(dsn, redact=redact)
    spans.export([a_span(name="Ada calls", attributes={"who": "Ada", "bad": "x", "n": 5, "other": "Ada"})])
    logs.export([a_log(body={"m": "Ada"}), a_log(body="Ada")])

    spans.shutdown()
    logs.shutdown()
    with EventQuery(dsn=dsn) as query:
        rows = [*query.system_events()]
    assert {"who": "A.", "bad": "[redacted]", "n": 5, "other": "Ada"} in [row.attributes for row in rows]
    assert "A. calls" in [row.event_name for row in rows]


def test_redact_may_also_be_the_setting_of_that_name(dsn):
    """False, as a YAML file and `configure(redact=False)` say it, switches the search off; True is the default."""
    for is_on in (False, True):
        exporter = PostgresSpanExporter(dsn, redact=is_on)
        exporter.export([a_span(attributes={"password": "hunter2"})])
        exporter.shutdown()

    with EventQuery(dsn=dsn) as query:
        assert ["[redacted]", "hunter2"] == sorted(row.attributes["password"] for row in query.system_events())


def test_content_can_be_left_out_as_a_whole(dsn, monkeypatch, emitted, library):
    """With EVENT_STORE_CONTENT=false no input, output, message or body is stored, and a count says so."""
    monkeypatch.setenv("EVENT_STORE_CONTENT", "false")
    spans, logs = PostgresSpanExporter(dsn), PostgresLogRecordExporter(dsn)
    spans.export(emitted[0])
    logs.export(emitted[1])

    spans.shutdown()
    logs.shutdown()
    with psycopg.connect(dsn) as connection:
        for table in TABLES[:4]:
            (kept,) = connection.execute(
                f"SELECT count(*) FROM otel.{table} WHERE input IS NOT NULL OR output IS NOT NULL OR body IS NOT NULL"
            ).fetchone()
            assert 0 == kept
    rows = stored(dsn)
    assert not any(
        words in rows for words in ("21 degrees", "Be brief", "Ask the weather", "It is 21", "support question")
    )
    if library in {"pydantic_ai", "traceloop", "langgraph_openinference", "openai_genai"}:
        with psycopg.connect(dsn) as connection:
            (gone,) = connection.execute("SELECT sum(dropped_attributes) FROM otel.agent_events").fetchone()
        assert gone > 0


def test_messages_that_are_events_of_a_span_are_content(dsn, monkeypatch):
    """Whose attributes have names that say little."""
    monkeypatch.setenv("EVENT_STORE_CONTENT", "false")
    said = [
        ("gen_ai.user.message", "content"),
        ("gen_ai.choice", "message"),
        ("gen_ai.choice", "tool.result"),
        ("gen_ai.content.prompt", "gen_ai.prompt"),
    ]
    exporter = PostgresSpanExporter(dsn)
    for name, key in said:
        event = Event(name, {key: "Ask the weather", "role": "user"}, 1)
        exporter.export([a_span(attributes={"gen_ai.operation.name": "chat"}, events=[event])])
    exporter.shutdown()

    rows = stored(dsn)
    assert "Ask the weather" not in rows
    assert all(name in rows for name, _ in said)


def test_content_is_in_the_rows_otherwise(dsn, emitted, library):
    """So the words looked for above are there."""
    exporter = PostgresSpanExporter(dsn)
    exporter.export(emitted[0])
    exporter.shutdown()
    if library in {"langgraph_openinference", "openai_genai", "traceloop"}:
        assert any(words in stored(dsn) for words in ("21 degrees", "Be brief", "It is 21"))


def test_values_that_hold_themselves_or_are_deep_do_no_harm(dsn):
    """They are stored as they were if they hold no secret, and without it if they do."""
    deep: Any = "bottom"
    for _ in range(500):
        deep = [deep]
    loop: list[Any] = ["x"]
    loop.append(loop)
    guilty: Any = {"password": "hunter2"}
    for _ in range(500):
        guilty = [guilty]
    exporter = PostgresLogRecordExporter(dsn)

    exporter.export([a_log(body=deep), a_log(body=loop), a_log(body=guilty)])

    assert {"stored": 3} == exporter.counts
    exporter.shutdown()
    assert "hunter2" not in stored(dsn)
    assert "bottom" in stored(dsn)
