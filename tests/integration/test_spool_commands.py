"""otel-pg spool: what waits can be seen, stored, and taken out as OTLP/JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid

import psycopg
import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from otel_pg_exporter.config import Settings
from otel_pg_exporter.encoding.batches import encode_batch
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.reading.wire_rows import read_records
from otel_pg_exporter.spool import Spool

PRODUCER = uuid.UUID(int=5)


def batch_of(count, sequence):
    spans = [
        ReadableSpan(
            "n",
            SpanContext(sequence, number, False, TraceFlags(1)),
            resource=Resource({}),
            attributes={"otel_pg.category": "task"},
            start_time=1,
            end_time=2,
        )
        for number in range(1, count + 1)
    ]
    return encode_batch(spans, RowEncoder().span, producer_id=PRODUCER, sequence=sequence, signal="span")


def otel_pg(*arguments, dsn, spool_dir, command="spool"):
    environment = {**os.environ, "OTEL_EXPORTER_POSTGRES_DSN": dsn, "EVENT_SPOOL_DIR": str(spool_dir)}
    return subprocess.run(
        [sys.executable, "-m", "otel_pg_exporter.cli", command, *arguments],
        capture_output=True, text=True, check=False, env=environment, timeout=120,
    )  # fmt: skip


@pytest.fixture
def left_behind(dsn, tmp_path):
    """A spool that a program has left: seven waiting spans and a dead one."""
    spool = Spool(Settings(dsn=dsn, spool_dir=str(tmp_path)))
    spool.put(batch_of(4, 1))
    spool.put(batch_of(3, 2))
    spool.set_aside(batch_of(1, 3), "violates a rule")
    spool.close()
    return {"dsn": dsn, "spool_dir": tmp_path}


def test_status_says_what_waits_and_what_was_refused(left_behind):
    """Numbers, files and reasons; exit code 1 as long as something lies there."""
    done = otel_pg("status", **left_behind)
    found = json.loads(otel_pg("status", "--json", **left_behind).stdout)

    assert 1 == done.returncode
    assert "7 records wait, 1 refused" in done.stdout
    assert "refused: violates a rule" in done.stdout
    assert (7, 1, 2) == (found["waiting"], found["dead"], len(found["files"]))


def test_each_refused_row_of_a_batch_is_told_and_given(dsn, tmp_path):
    """They lie in a file as batches of one id: all of them count, and come out, and a reason is said once."""
    spool = Spool(Settings(dsn=dsn, spool_dir=str(tmp_path)))
    batch = batch_of(5, 1)
    for _ in range(3):
        spool.set_aside(batch.take_out("task_events", 0), "violates a rule")
    spool.set_aside(batch.take_out("task_events", 0), "violates another")
    spool.close()
    found = {"dsn": dsn, "spool_dir": tmp_path}

    told = otel_pg("status", **found).stdout
    given = [json.loads(line) for line in otel_pg("export", "--dead", **found).stdout.splitlines()]

    assert "0 records wait, 4 refused" in told
    assert "1 batch, 4 records" in told
    assert ["    refused: violates a rule (×3)", "    refused: violates another"] == told.splitlines()[2:]
    spans = [scope["spans"] for document in given for each in document["resourceSpans"] for scope in each["scopeSpans"]]
    assert [f"{number:016x}" for number in range(1, 5)] == [span["spanId"] for some in spans for span in some]
    assert "4 rows were refused and lie in the spool" in otel_pg(command="doctor", **found).stdout


def test_what_is_stored_does_not_wait(left_behind, tmp_path_factory):
    """A file that a killed program left holds what it had stored, too: nobody has to do anything about that."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "spool"
    shutil.copytree(left_behind["spool_dir"], elsewhere)
    otel_pg("replay", dsn=left_behind["dsn"], spool_dir=elsewhere)

    done = otel_pg("status", **left_behind)
    found = json.loads(otel_pg("status", "--json", **left_behind).stdout)
    health = json.loads(otel_pg("--json", command="health", **left_behind).stdout)

    assert "0 records wait, 1 refused" in done.stdout
    assert "7 of the records are stored" in done.stdout
    assert "" == done.stderr
    assert (0, [0, 0], [7, 1]) == (
        found["waiting"], [file["waiting"] for file in found["files"]], [file["rows"] for file in found["files"]]
    )  # fmt: skip
    assert (0, 1) == (health["spool_depth"], health["spool_refused"])


def test_health_tells_what_waits(left_behind):
    """Also while the database is away; what waits does not make it unhealthy."""
    nowhere = {"dsn": "host=127.0.0.1 port=9", "spool_dir": left_behind["spool_dir"]}
    spool = Spool(Settings(dsn=nowhere["dsn"], spool_dir=str(nowhere["spool_dir"])))
    spool.put(batch_of(5, 1))
    spool.close()

    for where, code, depth, refused in ((left_behind, 0, 7, 1), (nowhere, 1, 5, 0)):
        done = otel_pg("--json", command="health", **where)
        found = json.loads(done.stdout)
        assert (code, depth, refused) == (done.returncode, found["spool_depth"], found["spool_refused"])
    assert "spool_depth          7" in otel_pg(command="health", **left_behind).stdout


def test_one_is_said_as_one(dsn, tmp_path):
    """A record waits, two wait."""
    spool = Spool(Settings(dsn=dsn, spool_dir=str(tmp_path)))
    spool.put(batch_of(1, 1))
    spool.close()
    first, second = otel_pg("status", dsn=dsn, spool_dir=tmp_path).stdout.splitlines()

    assert first.endswith(": 1 record waits, 0 refused")
    assert "  1 batch, 1 record, " in second


def test_an_empty_spool_is_fine(dsn, tmp_path):
    """With nothing there status says so and exits with 0."""
    done = otel_pg("status", dsn=dsn, spool_dir=tmp_path / "none")

    assert (0, "") == (done.returncode, done.stderr)
    assert "0 records wait" in done.stdout
    assert not (tmp_path / "none").exists()


def test_replay_stores_what_waits(left_behind):
    """Everything that waited is in the tables, once; what was refused stays aside."""
    done = otel_pg("replay", **left_behind)

    assert (0, "stored 7, stored before 0\n", "") == (done.returncode, done.stdout, done.stderr)
    with psycopg.connect(left_behind["dsn"]) as connection:
        assert (7,) == connection.execute("SELECT count(*) FROM otel.task_events").fetchone()
    assert "0 records wait, 1 refused" in otel_pg("status", **left_behind).stdout


def test_replay_tells_of_a_file_that_cannot_be_read(left_behind):
    """The others are stored, and it is not well: nobody is to believe that all is."""
    (path,) = left_behind["spool_dir"].rglob("*.seg")
    (damaged := path.with_stem("0" * 20 + "-damaged")).write_bytes(b"no file of the spool")

    done = otel_pg("replay", **left_behind)

    assert done.returncode == 1
    assert done.stdout.startswith("stored ")
    assert f"{damaged} is not a file of the spool" in done.stderr


def test_what_is_no_file_keeps_nobody_waiting(left_behind):
    """A pipe, a folder, a link to what has no end: each is named, and what can be read is counted."""
    (path,) = left_behind["spool_dir"].rglob("*.seg")
    os.mkfifo(path.with_stem("0-pipe"))
    path.with_stem("1-folder").mkdir()
    path.with_stem("2-link").symlink_to("/dev/zero")

    done = otel_pg("status", **left_behind)

    assert 1 == done.returncode
    assert "7 records wait, 1 refused" in done.stdout
    for name in ("0-pipe", "1-folder", "2-link"):
        assert name in done.stdout


def test_replay_says_what_is_in_the_way(left_behind):
    """What takes a person is one line and exit code 1, soon: nothing is waited for. Nothing is taken away."""
    with psycopg.connect(left_behind["dsn"]) as connection:
        connection.execute("REVOKE ALL ON DATABASE " + connection.info.dbname + " FROM public")
        connection.execute("ALTER SCHEMA otel RENAME TO away")
        connection.execute("CREATE SCHEMA otel")
        connection.execute("CREATE TABLE otel.schema_migrations (version int, name text, applied_at timestamptz)")
        connection.execute("INSERT INTO otel.schema_migrations VALUES (9999, 'later', now())")

    begun = time.monotonic()
    done = otel_pg("replay", "--timeout", "600", **left_behind)

    assert time.monotonic() - begun < 300
    assert (1, "") == (done.returncode, done.stdout)
    (line,) = done.stderr.splitlines()
    assert "has migration 9999" in line
    assert "7 records wait" in otel_pg("status", **left_behind).stdout


def test_replay_says_what_it_waits_for(left_behind, tmp_path):
    """After two seconds, so that nobody sits before a silent terminal for a minute."""
    spool = Spool(Settings(dsn="host=127.0.0.1 port=9", spool_dir=str(tmp_path)))
    spool.put(batch_of(5, 1))
    spool.close()

    done = otel_pg("replay", "--timeout", "4", dsn="host=127.0.0.1 port=9", spool_dir=tmp_path)

    waiting, error = done.stderr.splitlines()
    assert (1, "") == (done.returncode, done.stdout)
    assert waiting.startswith("cannot reach host=127.0.0.1 port=9")
    assert waiting.endswith("; waiting for up to 2 s more")
    assert error.startswith("Error: cannot reach host=127.0.0.1 port=9")


def test_export_gives_what_the_program_exported(left_behind):
    """Each batch is a line of OTLP/JSON; --dead gives the refused rows alone."""
    lines = otel_pg("export", **left_behind).stdout.splitlines()
    dead = otel_pg("export", "--dead", **left_behind).stdout.splitlines()

    def count(line):
        return sum(len(s["spans"]) for r in json.loads(line)["resourceSpans"] for s in r["scopeSpans"])

    assert [4, 3, 1] == [count(line) for line in lines]
    assert [1] == [count(line) for line in dead]


@pytest.mark.parametrize("signal", ["span", "log"])
def test_a_record_that_never_reached_a_database_is_read_back_without_loss(emitted, signal):
    """Every real record, encoded for COPY and read back from those bytes, is the one that was encoded."""
    records, encoder = emitted[signal == "log"], getattr(RowEncoder(), signal)
    to_bytes = {"span": encode_spans, "log": encode_logs}[signal]
    batch = encode_batch(records, encoder, producer_id=PRODUCER, sequence=1, signal=signal)

    back = read_records(batch)

    assert len(records) == len(back)
    assert sorted(to_bytes([record]).SerializeToString(deterministic=True) for record in records) == sorted(
        to_bytes([record]).SerializeToString(deterministic=True) for record in back
    )
