"""What went in comes out: the OTLP encoding of what is read back equals that of what was exported."""

from __future__ import annotations

from collections import Counter

import psycopg
import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from psycopg.rows import dict_row

from otel_pg_exporter.exporter import PostgresLogRecordExporter, PostgresSpanExporter
from otel_pg_exporter.query import EventQuery

# Categories that the order of the rules gives, per file: spans, then log records.
TABLES = {
    "langgraph_openinference": ({"agent_events": 24, "task_events": 3}, {}),
    "logfire": ({"agent_events": 4, "events": 17}, {}),
    "openai_genai": ({"agent_events": 7, "events": 1}, {"agent_events": 6}),
    "pydantic_ai": ({"agent_events": 20}, {}),
    "run_celery": ({"events": 3, "task_events": 3}, {}),
    "run_langgraph": ({"agent_events": 8, "task_events": 1}, {}),
    "run_logfire": ({"events": 3}, {}),
    "run_mlflow": ({"agent_events": 3}, {}),
    "run_openai": ({"agent_events": 3}, {}),
    "run_pydantic_ai": ({"agent_events": 4}, {}),
    "system": ({"events": 15, "task_events": 4}, {"events": 1}),
    "traceloop": ({"agent_events": 6, "task_events": 3}, {}),
}


@pytest.fixture(params=[2048, 1], ids=["long texts shared", "all texts shared"])
def stored(request, dsn, emitted):
    """A library's records, exported."""
    spans, logs = emitted
    settings = {"shared_text_length": request.param}
    span_exporter, log_exporter = PostgresSpanExporter(dsn, **settings), PostgresLogRecordExporter(dsn, **settings)
    span_exporter.export(spans)
    log_exporter.export(logs)
    assert span_exporter.last_error is None
    assert log_exporter.last_error is None
    span_exporter.shutdown()
    log_exporter.shutdown()
    return dsn


def traces(dsn, records):
    """Read back, by trace, what belongs to these records."""
    with EventQuery(dsn=dsn) as query:
        return [query.trace(trace_id) for trace_id in dict.fromkeys(map(trace_id_of, records))]


def trace_id_of(record):
    context = record.log_record if hasattr(record, "log_record") else record.context
    return f"{context.trace_id:032x}"


def otlp_spans(spans):
    """One encoding for each span, by its id: the order in which spans are read back is no part of them."""
    return {span.context.span_id: encode_spans([span]).SerializeToString(deterministic=True) for span in spans}


def otlp_logs(logs):
    return sorted(encode_logs([log]).SerializeToString(deterministic=True) for log in logs)


def test_spans_come_back_as_they_were(stored, emitted):
    """Each real span is read back with the same OTLP encoding, byte for byte."""
    spans, _ = emitted

    back = [span for trace in traces(stored, spans) for span in trace.to_readable_spans()]

    assert len(spans) == len(back)
    assert otlp_spans(spans) == otlp_spans(back)


def test_log_records_come_back_as_they_were(stored, emitted):
    """Each real log record is read back with the same OTLP encoding, byte for byte."""
    _, logs = emitted

    back = [log for trace in traces(stored, logs) for log in trace.to_log_records()]

    assert otlp_logs(logs) == otlp_logs(back)


def test_each_record_goes_to_the_table_of_its_kind(stored, library, capsys):
    """Every record of a file lies in the table that the order of the rules gives; the table is printed."""
    found = {"span": Counter(), "log": Counter()}
    with psycopg.connect(stored, row_factory=dict_row) as connection:
        for table in ("events", "task_events", "agent_events", "deployment_events"):
            for row in connection.execute(f"SELECT record, count(*) AS n FROM otel.{table} GROUP BY record"):
                found[row["record"]][table] = row["n"]

    with capsys.disabled():
        print(f"\n  {library:<26} {dict(found['span'])} {dict(found['log']) or ''}")
    assert TABLES[library] == (dict(found["span"]), dict(found["log"]))


def test_only_what_jsonb_cannot_hold_is_flagged(stored, emitted):
    """Fixups stand where a value is none of JSON's, or where a map inside a value has another order than jsonb."""
    spans, logs = emitted

    flagged = {
        (node.name, kind)
        for trace in traces(stored, [*spans, *logs])
        for _, node in trace.walk()
        for _, kind, *_ in node.row["fixups"] or ()
    }

    assert {kind for name, kind in flagged if name != "consume"} <= {"order"}
    if "consume" in {span.name for span in spans}:
        assert {"float", "text"} <= {kind for name, kind in flagged if name == "consume"}
