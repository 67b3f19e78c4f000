"""`otel-pg export` and `import`: out of the tables and into them, once."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import duckdb
import psycopg
import pyarrow.parquet
import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource

from otel_pg_exporter import EventQuery, EventStore, PostgresLogRecordExporter
from otel_pg_exporter.encoding.batches import new_batch_id
from otel_pg_exporter.writing import importing

PROGRAM = str(Path(sys.executable).with_name("otel-pg"))
SPAN = {"traceId": "ab" * 16, "spanId": "cd" * 8, "name": "x", "startTimeUnixNano": "1790000000000000000"}


def document(**changed) -> bytes:
    spans = [{**SPAN, **changed}]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


@pytest.fixture
def into_another(otel_pg):
    """The same commands on other tables of the same database."""
    return lambda *arguments, **options: otel_pg("--schema", "another", *arguments, **options)


def test_what_is_exported_and_imported_is_exported_again_byte_for_byte(otel_pg, into_another, demo, dsn, tmp_path):
    """Spans and log records, with values that neither JSON nor jsonb holds; once, however often it is imported."""
    deep: object = "end"
    for _ in range(150):
        deep = [deep]
    values = (float("nan"), -0.0, 1 << 70, b"\0\xff", "\0\ud800 \x1b", "=1+1", {"z": 1, "a": [None, True]}, deep)
    records = [LogRecord(timestamp=1_790_000_000_000_000_000 + n, body=body) for n, body in enumerate(values)]
    records += [LogRecord(timestamp=first, observed_timestamp=5, body=None) for first in (0, 1)]  # 0 is none in OTLP
    exporter = PostgresLogRecordExporter(dsn)
    exporter.export([ReadableLogRecord(record, Resource({"service.name": "odd"}), None) for record in records])
    exporter.shutdown()
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"

    otel_pg("export", "-o", str(first))
    done = into_another("import", str(first))
    again = into_another("import", str(first), "--json")
    into_another("export", "-o", str(second))

    assert "stored 20, imported before 0\n" == done.stdout
    assert {"stored": 0, "known": 20} == json.loads(again.stdout)
    assert first.read_bytes() == second.read_bytes()
    assert b"\x1b" not in first.read_bytes()


def test_a_document_is_known_however_it_is_written(otel_pg, demo, tmp_path):
    """On one line or many, in a file or through a pipe: its batches have the ids of its content."""
    exported = otel_pg("export").stdout
    pretty = tmp_path / "pretty.json"
    pretty.write_text(f"\n{json.dumps(json.loads(exported), indent=2, sort_keys=True)}", "utf-8")

    assert "stored 10," in otel_pg("--schema", "another", "import", "-", stdin=exported.encode()).stdout
    assert "stored 0, imported before 10\n" == otel_pg("--schema", "another", "import", str(pretty)).stdout

    # a pipe with a name, as `<(zcat events.jsonl.gz)` is; and what is named twice
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = threading.Thread(target=lambda: pipe.write_text(exported, "utf-8"))
    writer.start()
    assert "stored 10, imported before 0\n" == otel_pg("--schema", "third", "import", str(pipe)).stdout
    writer.join()
    twice = otel_pg("--schema", "fourth", "import", "-", "-", stdin=exported.encode()).stdout
    assert "stored 10, imported before 0\n" == twice


def test_an_import_that_was_interrupted_goes_on(otel_pg, tmp_path):
    """Documents that were stored are not stored again; those after them are."""
    first, all_of_it = tmp_path / "first.jsonl", tmp_path / "all.jsonl"
    first.write_bytes(document())
    all_of_it.write_bytes(document() + b"\n" + document(spanId="ef" * 8))

    otel_pg("import", str(first))

    assert "stored 1, imported before 1\n" == otel_pg("import", str(all_of_it)).stdout
    assert 2 == len(otel_pg("ls", "--events", "--json").stdout.splitlines())


def test_ids_that_are_not_of_the_content_would_store_twice(otel_pg, tmp_path, monkeypatch):
    """The broken build that the tests above condemn."""
    monkeypatch.setattr(importing, "derived_batch_id", lambda millis, digest: new_batch_id())
    file = tmp_path / "one.json"
    file.write_bytes(document())

    otel_pg("import", str(file))

    assert "stored 1, imported before 0\n" == otel_pg("import", str(file)).stdout


def test_another_exporters_documents_are_taken(otel_pg, tmp_path):
    """Numbers as numbers, no flags, unknown fields, no resource or scope; what the Collector's file exporter writes."""
    attributes = [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}, {"key": "empty", "value": {}}]
    log = {"timeUnixNano": 1790000000000000001, "severityNumber": 9, "body": {"stringValue": "hello"}}
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [log]}]}]}
    lines = [document(kind=0, unknown={"a": 1}, attributes=attributes), json.dumps(logs).encode(), b""]
    file = tmp_path / "collector.json"
    file.write_bytes(b"\n".join(lines))

    assert "stored 2," in otel_pg("import", str(file)).stdout

    events = [json.loads(line) for line in otel_pg("ls", "--events", "--json").stdout.splitlines()]
    assert [("log", "hello"), ("span", None)] == [(event["record"], event["body"]) for event in events]
    assert "agent" == events[1]["category"]


BAD = [
    (b'{"resourceSpans": [', "line 2, column 20: this is no JSON"),
    (b"\xff\xfe", "line 2"),
    (b'{"resourceMetrics": []}', "line 2: this is no OTLP/JSON: neither resourceSpans nor resourceLogs is in it; "),
    (document().replace(b"scopeSpans", b"instrumentationLibrarySpans"), "instrumentationLibrarySpans cannot be stored"),
    (document().replace(b"scopeSpans", b"scope_spans"), "[0].scope_spans cannot be stored; allowed is scopeSpans"),
    (b"[1]", "line 2: this is no OTLP/JSON"),
    (document(traceId="xyz"), "spans[0].traceId is 'xyz'; allowed are 32 hex digits"),
    (document(spanId=""), "spans[0]: a span needs a traceId and a spanId that are not zero"),
    (document(name=7), "spans[0].name is 7; allowed is a text"),
    (document(kind=9), "spans[0]: ValueError: 8 is not a valid SpanKind"),
    (document(startTimeUnixNano="soon"), "startTimeUnixNano is 'soon'; allowed is a whole number"),
    (document(startTimeUnixNano=True), "startTimeUnixNano is True; allowed is a whole number"),
    (document(attributes={"a": 1}), "spans[0].attributes is {'a': 1}; allowed is a list"),
    (document(attributes=[{"key": "a", "value": "b"}]), "attributes[0].value is 'b'; allowed is an object with one"),
    (document(attributes=[{"key": "a", "value": {"intValue": 1.5}}]), "value.intValue is 1.5; allowed is a whole"),
    (document(attributes=[{"key": "a", "value": {"bytesValue": "%"}}]), "value.bytesValue is '%'; allowed is base64"),
    (document(events=[[]]), "spans[0].events[0] is []; allowed is an object"),
    (document(status="ok"), "spans[0].status is 'ok'; allowed is an object"),
]


def test_bad_input_is_named_and_nothing_is_stored(otel_pg, tmp_path):
    """File, line and what is wrong, in one line; what stood before it is not stored either."""
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_bytes(document())
    for line, said in BAD:
        bad.write_bytes(document(spanId="ef" * 8) + b"\n" + line + b"\n")

        done = otel_pg("import", str(good), str(bad), code=1)

        (told,) = done.stderr.splitlines()
        assert told.startswith(f"Error: {bad}, line 2")
        assert said in told
    assert "" == otel_pg("ls", "--events").stdout


def test_what_is_no_file_is_named(otel_pg, tmp_path):
    """On the way in and on the way out; an export that fails leaves no file."""
    assert "nowhere.json: No such file or directory" in otel_pg("import", str(tmp_path / "nowhere.json"), code=1).stderr
    target = tmp_path / "no" / "where.csv"
    assert f"Error: {target}: No such file or directory\n" == otel_pg("export", "-o", str(target), code=1).stderr
    otel_pg("export", "--trace", "abc", "-o", str(tmp_path / "x.csv"), code=1)
    assert [] == list(tmp_path.iterdir())


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1"]


def test_csv_holds_no_formula_and_no_escape(otel_pg, dsn):
    """A text that a spreadsheet would run has an apostrophe before it; a number that is negative has none."""
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        for text in [*FORMULAS, 'a,"b"\nc', "\x1b[2Jx\x9b", "plain"]:
            store.log_task_event(event_name=text, duration_seconds=1, wait=True)

    text = otel_pg("export", "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(text)))

    names = [row["event_name"] for row in rows]
    assert [f"'{formula}".replace("\r", "\N{REPLACEMENT CHARACTER}") for formula in FORMULAS] == names[: len(FORMULAS)]
    assert ['a,"b"\nc', "\ufffd[2Jx\ufffd", "plain"] == names[len(FORMULAS) :]
    assert {"1000000000"} == {row["duration_ns"] for row in rows}
    assert not {"\x1b", "\x9b", "\r"} & set(text)


def test_parquet_and_csv_hold_the_events_that_were_asked_for(otel_pg, demo, tmp_path):
    """By the name of the file; a category has its own columns; nothing is a file without rows."""
    events, agents, none = (tmp_path / name for name in ("all.parquet", "agents.parquet", "none.parquet"))

    otel_pg("export", "-o", str(events))
    otel_pg("export", "-o", str(agents), "--category", "agent", "--trace", demo[:20])
    otel_pg("export", "-o", str(none), "--service", "another")
    otel_pg("export", "-o", str(tmp_path / "three.csv"), "--limit", "3")

    assert 10 == pyarrow.parquet.read_table(events).num_rows
    table = pyarrow.parquet.read_table(agents)
    assert 8 == table.num_rows
    assert "tool_name" in table.column_names
    assert "queue" not in table.column_names
    assert 0 == pyarrow.parquet.read_table(none).num_rows
    assert 4 == len((tmp_path / "three.csv").read_text("utf-8").splitlines())


def test_old_events_are_read_from_parquet_without_a_server(otel_pg, demo, tmp_path):
    """What docs/scale.md says of a cold tier: DuckDB's SQL over a file for each category, JSON too."""
    cold = tmp_path / "2026-11.parquet"
    otel_pg("export", "-o", str(cold), "--category", "agent")

    calls = duckdb.sql(
        f"SELECT tool_name, count(*), avg(duration_ns) > 0, max(attributes ->> 'gen_ai.operation.name')"
        f" FROM '{cold}' WHERE action = 'tool' GROUP BY 1 ORDER BY 1"
    ).fetchall()

    assert [("book", 2, True, "execute_tool"), ("search", 3, True, "execute_tool")] == calls


@pytest.mark.parametrize("name", ["x.xlsx", "d", "x.csv.gz"])
def test_a_name_that_says_no_format_is_refused(otel_pg, monkeypatch, tmp_path, name):
    """It and the endings that do are named, and no file is made; --format will do instead."""
    monkeypatch.chdir(tmp_path)

    done = otel_pg("export", "-o", name, code=2)

    assert f"Error: {name} is not allowed; allowed are names in .csv, .json, .jsonl, .parquet, or" in done.stderr
    assert [] == list(tmp_path.iterdir())
    otel_pg("export", "-o", name, "--format", "csv")
    assert "event_name" in (tmp_path / name).read_text("utf-8")


def test_a_file_that_cannot_be_written_is_named(otel_pg, tmp_path):
    """Where its folder is a file, and where it is not there."""
    (tmp_path / "file").touch()
    for folder, why in (("file", "Not a directory"), ("nowhere", "No such file or directory")):
        output = str(tmp_path / folder / "x.jsonl")
        done = otel_pg("export", "-o", output, code=1)
        assert f"Error: {output}: {why}" == done.output.strip()


@pytest.mark.parametrize("absent", ["pyarrow", "pyarrow.parquet"])
def test_without_pyarrow_it_says_what_to_install(otel_pg, monkeypatch, tmp_path, absent):
    """One line, and no file."""
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    monkeypatch.setitem(sys.modules, absent, None)

    done = otel_pg("export", "-o", str(tmp_path / "x.parquet"), code=1)

    assert done.stderr.endswith("Run: pip install pyarrow\n")
    assert [] == list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_number_of_events(dsn):
    """Many events, read one by one, take the memory of a few."""
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        store.log_task_event(event_name="x" * 2000, wait=True)
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TEMP TABLE one AS SELECT * FROM otel.task_events")
        names = [column.name for column in connection.execute("SELECT * FROM one LIMIT 0").description]
        listed = ", ".join("number" if name == "batch_index" else f'"{name}"' for name in names)
        copied = f"SELECT {listed} FROM one, generate_series(1, 4999) AS number"
        connection.execute(f"INSERT INTO otel.task_events {copied}")

    def peak(limit):
        tracemalloc.start()
        with EventQuery(dsn=dsn) as query:
            assert limit == sum(1 for _ in query.stream(limit=limit))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    small = peak(2100)
    assert peak(5000) < 1.3 * small
    with EventQuery(dsn=dsn) as query:  # what it must not be: all of them at once
        tracemalloc.start()
        kept = list(query.stream())
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert 5000 == len(kept)
    assert most > 1.6 * small


def test_progress_is_told_on_a_terminal_only(demo, dsn, tmp_path):
    """stderr in a pipe stays empty; stdout holds nothing but the data."""
    command = [PROGRAM, "--dsn", dsn, "export"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env={**os.environ})

    assert "" == done.stderr
    assert json.loads(done.stdout)["resourceSpans"]


def test_what_is_no_file_is_written_to_and_not_replaced(demo, otel_pg, tmp_path):
    """A pipe that somebody reads from; and of a link what it leads to."""
    pipe, real, link = tmp_path / "pipe", tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    os.mkfifo(pipe)
    real.touch()
    link.symlink_to(real)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text("utf-8")))
    reader.start()

    otel_pg("export", "-o", str(pipe), "--format", "otlp")
    otel_pg("export", "-o", str(link))

    reader.join(30)
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert [otel_pg("export").stdout] == read == [real.read_text("utf-8")]


def test_what_lies_where_the_file_is_written_first_is_not_written_to(demo, otel_pg, tmp_path):
    """What an export that was killed has left, or somebody's link to another file."""
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "all.jsonl.part").symlink_to(tmp_path / "precious")

    otel_pg("export", "-o", str(tmp_path / "all.jsonl"))

    assert "mine" == (tmp_path / "precious").read_text()
    assert not (tmp_path / "all.jsonl").is_symlink()
    assert otel_pg("export").stdout == (tmp_path / "all.jsonl").read_text("utf-8")


def test_a_dash_is_stdout(demo, otel_pg, tmp_path, monkeypatch):
    """As it is stdin for import; no file is called so."""
    monkeypatch.chdir(tmp_path)
    done = otel_pg("export", "-o", "-", "--format", "csv")

    assert otel_pg("export", "--format", "csv").stdout == done.stdout
    assert [] == [*tmp_path.iterdir()]
