"""`otel-pg indexes`, and lists by the words of what was said."""

from __future__ import annotations

import json

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_pg_exporter import PostgresSpanExporter
from otel_pg_exporter.sql_files import EVENT_TABLES


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_they_are_made_listed_and_dropped(otel_pg, demo):
    """A line for each index and table: off, or how many partitions have it, and its size."""
    listed = otel_pg("indexes", "list").output.splitlines()
    assert ["index", "table", "partitions", "indexed", "size"] == listed[0].split()
    assert ["attributes", "events", "1", "off"] == listed[1].split()
    assert 1 + 5 * len(EVENT_TABLES) + 1 == len(listed)  # text has one of the parts of long texts too

    assert "later partitions come with it" in otel_pg("indexes", "create", "text").output
    assert ["text", "agent_events", "1", "1"] == otel_pg("indexes", "list").output.splitlines()[7].split()[:4]
    rows = lines(otel_pg("indexes", "list", "--json"))
    told = {(row["index"], row["is_on"], row["indexed"]) for row in rows}
    others = ("attributes", "session", "task", "user")
    assert [*((name, False, 0) for name in others), ("text", True, 1)] == sorted(
        told, key=lambda one: one[1:] + one[:1]
    )
    assert all((row["bytes"] > 0) == row["is_on"] for row in rows)

    assert "is gone" in otel_pg("indexes", "drop", "text").output
    assert {False} == {row["is_on"] for row in lines(otel_pg("indexes", "list", "--json"))}


def test_what_it_does_not_know_is_wrong_usage(otel_pg):
    """With what there is."""
    for command in ("create", "drop"):
        assert "attributes" in otel_pg("indexes", command, "body", code=2).output


def test_lists_and_exports_take_words(otel_pg, dsn, tmp_path):
    """Traces by what their root says, events by what they say; what has no words is refused in one line."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(PostgresSpanExporter(dsn=dsn)))
    tracer = provider.get_tracer("t")
    tool = {"openinference.span.kind": "TOOL", "output.value": "It arrives tomorrow"}
    with tracer.start_as_current_span(
        "root", attributes={"input.value": '{"question": "Where is my parcel?"}', **tool}
    ):
        tracer.start_span("leaf", attributes={"input.value": "a parcel of yours", **tool}).end()
    tracer.start_span("other", attributes={"input.value": "my invoice", **tool}, context=Context()).end()
    provider.shutdown()

    def names(*options):
        return {row["event_name"] for row in lines(otel_pg("ls", *options, "--json"))}

    assert {"root", "leaf"} == names("--events", "--text", "PARCEL tomorrow")
    assert {"root"} == names("--text", "parcel")
    assert {"root"} == names("--events", "--text", '"my parcel"')
    assert {"other"} == names("--text", "arrives -parcel")
    assert set() == names("--text", "question")
    assert [] == lines(otel_pg("errors", "--text", "parcel", "--json"))
    otel_pg("export", "-o", str(tmp_path / "said.jsonl"), "--text", "parcel or invoice")
    assert 3 == (tmp_path / "said.jsonl").read_text("utf-8").count('"spanId"')
    assert "allowed are 1 to 20 words" in otel_pg("ls", "--text", "!", code=2).output
