"""Batches reach the tables once, whatever PostgreSQL does meanwhile; what it refuses is set aside."""

from __future__ import annotations

import errno
import gc
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress

import psycopg
import pytest
from harness.patience import PATIENT
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanContext, TraceFlags

from otel_pg_exporter import configure, migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.database.connecting import connect
from otel_pg_exporter.encoding.batches import encode_batch
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.errors import DatabaseUnavailable
from otel_pg_exporter.host import diagnostics
from otel_pg_exporter.processors.durable import DurableSpanProcessor
from otel_pg_exporter.schema import partitions
from otel_pg_exporter.spool.contents import decode
from otel_pg_exporter.spool.records import records
from otel_pg_exporter.spool.segment import parts_of
from otel_pg_exporter.writing.delivery import Delivery

PRODUCER = uuid.UUID(int=5)
SECONDS = 60
"""For a batch; none takes long, on a machine that does not stall."""


def batch_of(count, sequence=1, name="n"):
    now = time.time_ns()
    records = [
        ReadableSpan(
            name=name,
            context=SpanContext(sequence + 1, number + 1, False, TraceFlags(1)),
            resource=Resource({"service.name": "s"}),
            attributes={"otel_pg.category": "task", "number": number},
            start_time=now,
            end_time=now + number,
        )
        for number in range(count)
    ]
    return encode_batch(records, RowEncoder().span, producer_id=PRODUCER, sequence=sequence, signal="span")


def ledger(dsn, what="sequence, spooled"):
    with psycopg.connect(dsn) as connection:
        return connection.execute(f"SELECT {what} FROM otel.event_batches ORDER BY ctid").fetchall()


def spans_stored(dsn):
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT trace_id, span_id FROM otel.task_events").fetchall()


def wait_until(is_so):
    give_up_at = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < give_up_at, "it never became so"
        time.sleep(0.02)


def test_what_comes_during_an_outage_is_stored_afterwards_in_order(delivery, dsn, outage):
    """Batches of an outage wait on disk, and are stored once, in their order, when it is over."""
    delivery.deliver(batch_of(3, 1), SECONDS)
    outage.begin()

    fates = [delivery.deliver(batch_of(3, number), SECONDS) for number in range(2, 12)]

    assert ["spooled"] * 10 == fates
    assert "not currently accepting connections" in delivery.last_error
    outage.end()
    wait_until(lambda: not delivery.spool.rows_waiting)
    assert [(1, False), *((number, True) for number in range(2, 12))] == ledger(dsn)
    assert 33 == len(spans_stored(dsn)) == len(set(spans_stored(dsn)))
    assert {"stored": 3, "spooled": 30, "replayed": 30} == delivery.counts
    assert delivery.last_error is None
    assert "stored" == delivery.deliver(batch_of(3, 12), SECONDS)
    assert [] == list(delivery.spool.folder.iterdir())


def test_another_cause_of_an_outage_is_said_at_once(delivery, dsn, outage, heard):
    """Within the minute, too, as it wants another repair; ways in which a server comes and goes are one cause."""
    delivery.deliver(batch_of(3, 1), SECONDS)
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE otel.task_events ADD COLUMN mine text NOT NULL DEFAULT 'so far'")
        connection.execute("ALTER TABLE otel.task_events ALTER COLUMN mine DROP DEFAULT")
    outage.begin()
    for number in range(2, 5):
        delivery.deliver(batch_of(3, number), SECONDS)
    assert ["events are kept in"] == [line[:18] for line in heard]
    outage.end()

    wait_until(lambda: any("column mine of yours" in line for line in heard))


@pytest.mark.parametrize("how", ["DROP SCHEMA otel CASCADE", "TRUNCATE otel.resources, otel.scopes"])
def test_tables_that_were_made_anew_get_again_what_rows_refer_to(delivery, dsn, how):
    """Between two batches, so that none fails: a program remembers what it has stored in tables that are gone."""
    delivery.deliver(batch_of(3, 1), SECONDS)
    with psycopg.connect(dsn) as connection:
        connection.execute(how)
    migrate.up(dsn=dsn)
    partitions.ahead(delivery.database, 1)

    assert "stored" == delivery.deliver(batch_of(3, 2), SECONDS)

    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT resource FROM otel.spans ORDER BY time DESC LIMIT 1").fetchone()
    assert ({"service.name": "s"},) == found


def test_what_a_program_left_behind_is_stored_by_the_next(dsn, tmp_path, outage):
    """A program that ends during an outage loses nothing: the next one stores its batches."""
    settings = Settings.from_env(dsn=dsn, spool_dir=str(tmp_path))
    outage.begin()
    first = Delivery(Database(settings))
    first.deliver(batch_of(5, 1), SECONDS)
    first.close(1)
    outage.end()

    second = Delivery(Database(settings))
    second.deliver(batch_of(5, 2), SECONDS)

    assert second.wait_until_empty(60)
    second.close(1)
    second.database.close()
    assert {(1, True), (2, False)} == set(ledger(dsn))
    assert 10 == len(set(spans_stored(dsn)))


def test_a_batch_whose_attempt_hangs_at_the_end_is_spooled_and_stored_once(dsn, tmp_path, monkeypatch):
    """Time is up while the server is slow: the next program has the batch, and learns if it was stored after all."""
    settings = Settings.from_env(dsn=dsn, spool_dir=str(tmp_path))
    slow = Delivery(Database(settings))
    has_begun, goes_on, store = threading.Event(), threading.Event(), type(slow._sink).store

    def store_slowly(*given):
        has_begun.set()
        goes_on.wait(60)
        return store(*given[:3], time.monotonic() + 30)

    monkeypatch.setattr(slow._sink, "store", lambda *given: store_slowly(slow._sink, *given))
    hanging = threading.Thread(target=slow.deliver, args=(batch_of(5, 1), SECONDS))
    hanging.start()
    has_begun.wait(60)

    slow.close(0.1)

    assert [] != list(tmp_path.rglob("*.seg"))
    goes_on.set()
    hanging.join()
    heir = Delivery(Database(settings))
    heir.deliver(batch_of(1, 2), SECONDS)
    assert heir.wait_until_empty(60)
    heir.close(1)
    assert 6 == len(spans_stored(dsn)) == len(set(spans_stored(dsn)))
    for each in (slow, heir):
        each._sink.close()
        each.database.close()


def test_a_batch_that_was_stored_before_it_was_spooled_is_not_stored_twice(delivery, dsn):
    """The spool may hold what the tables have already: the ledger tells, and the file goes."""
    batch = batch_of(5)
    delivery.deliver(batch, SECONDS)
    delivery.spool.put(batch)

    delivery.deliver(batch_of(1, 2), SECONDS)

    assert delivery.wait_until_empty(60)
    assert 6 == len(spans_stored(dsn))
    assert 5 == delivery.counts["duplicate"]


def test_without_room_on_disk_batches_wait_in_memory(dsn, tmp_path, outage):
    """When the spool cannot be written a batch tries the tables until its time is up, then it is lost and counted."""
    (tmp_path / "file").touch()
    delivery = Delivery(Database(Settings.from_env(dsn=dsn, spool_dir=str(tmp_path / "file"))))
    outage.begin()

    with pytest.raises(DatabaseUnavailable, match="cannot reach"):  # not that the time ran out
        delivery.deliver(batch_of(5, 1), 1.5)

    outage.end()
    assert "stored" == delivery.deliver(batch_of(2, 2), SECONDS)
    delivery.close(1)
    delivery.database.close()
    assert [(2, 5)] == ledger(dsn, "sequence, dropped_before")


def test_room_on_disk_is_noticed_while_a_batch_waits_in_memory(dsn, tmp_path, outage):
    """A batch that neither the tables nor the disk takes goes to whichever takes it first."""
    folder = tmp_path / "spool"
    folder.touch()
    delivery = Delivery(Database(Settings.from_env(dsn=dsn, spool_dir=str(folder))))
    outage.begin()
    room = threading.Timer(1.0, folder.unlink)
    room.start()

    fate = delivery.deliver(batch_of(5), SECONDS)

    outage.end()
    assert "spooled" == fate
    assert delivery.wait_until_empty(60) or delivery.replay_now(60)
    delivery.close(1)
    delivery.database.close()
    assert 5 == len(spans_stored(dsn))


def test_while_the_replay_finds_the_server_away_no_batch_tries_it(delivery, outage, monkeypatch):
    """Batches go to the spool at once, however long it takes: an attempt would keep records in memory."""
    monkeypatch.setattr("otel_pg_exporter.writing.delivery._BLOCKED_SECONDS", 60.0)
    outage.begin()
    assert "spooled" == delivery.deliver(batch_of(1, 1), SECONDS)
    tried = []
    store = delivery._sink.store
    monkeypatch.setattr(delivery._sink, "store", lambda *given: tried.append(given) or store(*given))

    for sequence in range(2, 6):
        until = delivery._blocked_until
        assert "spooled" == delivery.deliver(batch_of(1, sequence), SECONDS)
        wait_until(lambda until=until: delivery._blocked_until > until)  # each attempt of the replay begins it anew

    outage.end()
    assert [] == tried
    assert delivery.replay_now(60)
    assert "stored" == delivery.deliver(batch_of(1, 6), SECONDS)
    assert 1 == len(tried)


def test_a_batch_is_on_disk_as_a_whole_or_not_at_all(dsn, tmp_path, outage, monkeypatch):
    """When the disk takes records again in the middle of a batch, those before are not forgotten."""
    delivery = Delivery(Database(Settings.from_env(dsn=dsn, spool_dir=str(tmp_path), durability="process")))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(DurableSpanProcessor(delivery, batch_size=100, delay_millis=60_000))
    tracer = provider.get_tracer("x")
    outage.begin()
    real, calls = os.pwrite, iter(range(1000))

    def failing(*given):
        if next(calls) in (1, 6):  # the first is the beginning of the file
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*given)

    monkeypatch.setattr(os, "pwrite", failing)
    for _ in range(20):
        tracer.start_span("work", attributes={"otel_pg.category": "task"}).end()
    provider.force_flush(20_000)

    outage.end()
    assert delivery.replay_now(60)
    provider.shutdown()
    delivery.close(1)
    delivery.database.close()
    assert 20 == len(spans_stored(dsn))


def test_one_bad_row_in_512_costs_only_itself(delivery, dsn, monkeypatch, caplog):
    """511 rows are stored, one is set aside with its reason, in no more than 20 attempts."""
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE otel.task_events ADD CONSTRAINT no CHECK (attributes->>'number' <> '300')")
    attempts = []
    store = type(delivery._sink).store
    monkeypatch.setattr(type(delivery._sink), "store", lambda *given: attempts.append(1) or store(*given))

    fate = delivery.deliver(batch_of(512), SECONDS)

    assert "stored" == fate
    assert len(attempts) <= 20
    stored = spans_stored(dsn)
    assert set(range(1, 513)) - {301} == {span_id for _, span_id in stored}
    assert 511 == len(stored)
    assert "Failing row" not in caplog.text
    assert 1 == delivery.counts["dead"]
    (path,) = delivery.spool.folder.iterdir()
    data = path.read_bytes()
    _, [(_, extent)], _ = parts_of(path, len(data), records(data))
    dead, _ = decode(data[extent.start : extent.end])
    assert 1 == len(dead)
    assert b'violates check constraint "no"' in path.read_bytes()
    delivery.deliver(batch_of(1, 2), SECONDS)
    assert 1 == sum(dead_before for (dead_before,) in ledger(dsn, "dead_before"))


DURABLE = """
import os, sys, time
from opentelemetry import trace
from otel_pg_exporter import configure
t = configure(dsn=sys.argv[1], spool_dir=sys.argv[2], durability=sys.argv[3], batch_timeout_millis=50)
tracer = trace.get_tracer("x")
number = 0
while True:
    with tracer.start_as_current_span("work") as span:
        pass
    context = span.get_span_context()
    os.write(1, b"%032x%016x\\n" % (context.trace_id, context.span_id))
"""


def killed_while_writing(dsn, folder, durability):
    """Ids of the spans whose end() had returned when the program was killed."""
    with (folder / "told").open("wb") as told:  # a pipe would fill up and hold the program back
        program = subprocess.Popen([sys.executable, "-c", DURABLE, dsn, str(folder / "spool"), durability], stdout=told)
        deadline = time.monotonic() + 60
        while (folder / "told").stat().st_size < 300 * 49 and time.monotonic() < deadline:
            time.sleep(0.01)
        program.kill()
        program.wait()
    return {line for line in (folder / "told").read_bytes().split(b"\n") if len(line) == 48}


@pytest.mark.parametrize("durability", ["process", "power"])
def test_what_has_ended_survives_a_kill(dsn, tmp_path, durability):
    """With a durable mode every span whose end() returned before kill -9 is stored, once."""
    ended = killed_while_writing(dsn, tmp_path, durability)

    heir = Delivery(Database(Settings.from_env(dsn=dsn, spool_dir=str(tmp_path / "spool"))))
    heir.deliver(batch_of(1), SECONDS)
    assert heir.wait_until_empty(60)
    heir.close(1)
    heir.database.close()

    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT trace_id, span_id FROM otel.events WHERE event_name = 'work'").fetchall()
    stored = {b"%032x%016x" % (trace_id.int, span_id & (1 << 64) - 1) for trace_id, span_id in rows}
    assert len(ended) > 100
    assert set() == ended - stored
    assert len(rows) == len(stored)


def test_memory_mode_does_lose_what_has_just_ended(dsn, tmp_path):
    """The counterpart: without a durable mode the same kill costs spans, so the test above can fail."""
    ended = killed_while_writing(dsn, tmp_path, "memory")

    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT trace_id, span_id FROM otel.events WHERE event_name = 'work'").fetchall()
    stored = {b"%032x%016x" % (trace_id.int, span_id & (1 << 64) - 1) for trace_id, span_id in rows}
    assert ended - stored


def test_a_forked_child_has_a_producer_of_its_own(dsn, tmp_path):
    """Spans queued before a fork are stored once, by the parent; the child's own are stored too."""
    program = PATIENT + (
        "import os, sys; from opentelemetry import trace; from otel_pg_exporter import configure\n"
        "t = configure(dsn=sys.argv[1], spool_dir=sys.argv[2]); tracer = trace.get_tracer('x')\n"
        "tracer.start_span('stored').end(); t.force_flush()\n"
        "tracer.start_span('queued').end()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    tracer.start_span('child').end(); ok = t.force_flush(); t.shutdown(); os._exit(not ok)\n"
        "code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "tracer.start_span('parent').end(); print(code, t.force_flush())"
    )

    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, dsn, str(tmp_path)],  # of fork() itself
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ("0 True\n", "") == (done.stdout, done.stderr)
    with psycopg.connect(dsn) as connection:
        names = connection.execute("SELECT event_name FROM otel.events ORDER BY 1").fetchall()
        producers = connection.execute("SELECT count(DISTINCT producer_id) FROM otel.event_batches").fetchone()
    assert [("child",), ("parent",), ("queued",), ("stored",)] == names
    assert (2,) == producers


def test_a_silent_server_does_not_keep_a_program_from_ending(tmp_path):
    """With a server that accepts and never answers a program with 10,000 queued spans ends in time; all are spooled."""
    program = (
        "import socket, sys, time; from opentelemetry import trace; from otel_pg_exporter import configure\n"
        "s = socket.create_server(('127.0.0.1', 0), backlog=50)\n"
        "t = configure(host='127.0.0.1', port=s.getsockname()[1], database='d', user='u', spool_dir=sys.argv[1],\n"
        "              connect_timeout_seconds=60, export_timeout_millis=25_000)\n"
        "tracer = trace.get_tracer('x')\n"
        "for _ in range(10_000): tracer.start_span('s').end()\n"
        "import atexit; begun = time.monotonic()\n"
        "t.shutdown(); print(time.monotonic() - begun, t.counts['spooled'])"
    )

    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)

    seconds, spooled = done.stdout.split()
    assert float(seconds) < 15  # 4.5 s, and what a busy machine adds
    assert "10000" == spooled


@pytest.mark.parametrize("durability", ["memory", "process"])
def test_what_is_left_at_the_end_without_room_on_disk_is_counted(tmp_path, durability):
    """The server is silent and the spool cannot be written: each record that the program leaves is known to be lost."""
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        telemetry = configure(
            dsn=f"host=127.0.0.1 port={silent.getsockname()[1]} user=u dbname=d", durability=durability, batch_size=10,
            spool_dir=str(tmp_path / "file"), tracer_provider=TracerProvider(shutdown_on_exit=False),
            logger_provider=LoggerProvider(shutdown_on_exit=False),
        )  # fmt: skip
        tracer = telemetry.tracer_provider.get_tracer("x")
        for _ in range(95):
            tracer.start_span("s").end()

        telemetry.shutdown(1_000)

        assert {"dropped": 95} == telemetry.counts
        assert 95 == sum(telemetry.progress["failed"].values())


@pytest.mark.parametrize(("seconds", "records"), [(0.02, 1000), (3600, 10)])
def test_a_redact_that_is_slow_does_not_keep_a_program_from_ending(dsn, tmp_path, seconds, records):
    """It may ask a model, or a service that hangs. What it has not come to in time is lost, and counted."""
    let_go = threading.Event()
    telemetry = configure(
        dsn=dsn, spool_dir=str(tmp_path), batch_timeout_millis=60_000,
        redact=lambda key, text: let_go.wait(seconds) or text,
        tracer_provider=TracerProvider(shutdown_on_exit=False), logger_provider=LoggerProvider(shutdown_on_exit=False),
    )  # fmt: skip
    tracer = telemetry.tracer_provider.get_tracer("x")
    for _ in range(records):
        tracer.start_span("s", attributes={"a": "text"}).end()
    begun = time.monotonic()

    telemetry.shutdown(2_000)

    assert time.monotonic() - begun < 15  # 2 s, and what a busy machine adds
    assert telemetry.counts["dropped"] > 0
    assert records == sum(count for fate, count in telemetry.counts.items() if fate != "replayed")  # spooled before
    let_go.set()


def test_an_attempt_to_connect_that_fails_leaves_no_descriptor(tmp_path):
    """Each of an outage would leave one until Python looks for cycles, which may take minutes."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        settings = Settings.from_env(
            dsn=f"host=127.0.0.1 port={silent.getsockname()[1]} user=u", spool_dir=str(tmp_path)
        )
        gc.disable()
        try:
            for _ in range(2):
                with pytest.raises(DatabaseUnavailable):
                    connect(settings.conninfo, settings, time.monotonic() + 0.1)
            assert 0 == sum(map(is_connected_to(silent.getsockname()), os.listdir("/proc/self/fd")))
        finally:
            gc.enable()


def is_connected_to(address):
    """Whether a descriptor is; others may be opened at any time, by threads of anybody's."""

    def asked(descriptor):
        with suppress(OSError), socket.socket(fileno=os.dup(int(descriptor))) as found:
            return address == found.getpeername()
        return False

    return asked


def test_threads_that_store_at_once_count_each_record(tmp_path, monkeypatch):
    """Counters are added to in many threads."""
    delivery = Delivery(Database(Settings(dsn="dbname=x", spool_max_bytes=0)))
    monkeypatch.setattr(delivery, "_deliver", lambda *given: "stored")
    monkeypatch.setattr(delivery, "_look_for_leftovers", lambda: None)
    monkeypatch.setattr(delivery, "_start_embedded", lambda: None)
    batches = [[batch_of(1) for _ in range(2_000)] for _ in range(6)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            threads = [
                threading.Thread(target=lambda own=own: [delivery.deliver(b, 1) for b in own]) for own in batches
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert {"stored": 5 * 6 * 2_000} == delivery.counts


def test_two_batches_at_once_tell_the_ledger_of_a_loss_once(delivery, dsn, monkeypatch):
    """One of the spool and a new one, of the same producer."""
    delivery.deliver(batch_of(1, 1), SECONDS)
    delivery.drop(PRODUCER, "span", 5, "lost", "encoding")
    both = threading.Barrier(2)
    sinks = [delivery._sink, delivery._replay._sink]
    for sink in sinks:

        def stored(*given, store=sink.store):
            both.wait(SECONDS)
            return store(*given)

        monkeypatch.setattr(sink, "store", stored)
    threads = [
        threading.Thread(target=delivery._send, args=(sink, batch_of(1, number), time.monotonic() + SECONDS))
        for number, sink in enumerate(sinks, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 5 == sum(dropped for (dropped,) in ledger(dsn, "dropped_before"))


def end_while_it_hangs(delivery, hanging, goes_on):
    """The program ends, and the next one stores what it has left."""
    delivery.close(0.1)
    heir = Delivery(Database(delivery.database.settings))
    assert heir.replay_now(SECONDS)
    heir.close(1)
    heir.database.close()
    goes_on.set()
    hanging.join()
    delivery.database.close()


def test_what_hangs_at_the_end_still_tells_of_losses(dsn, tmp_path, monkeypatch):
    """The batch in the spool has it with it, whether the attempt that hangs gets through or not."""
    settings = Settings.from_env(dsn=dsn, spool_dir=str(tmp_path))
    delivery, goes_on = Delivery(Database(settings)), threading.Event()
    delivery.drop(PRODUCER, "span", 5, "lost", "encoding")
    monkeypatch.setattr(delivery._sink, "store", lambda *given: goes_on.wait(SECONDS))
    hanging = threading.Thread(target=delivery.deliver, args=(batch_of(1), SECONDS))
    hanging.start()
    wait_until(lambda: delivery._account._telling)

    end_while_it_hangs(delivery, hanging, goes_on)

    assert [(5,)] == ledger(dsn, "dropped_before")


def test_what_hangs_at_the_end_and_finds_no_room_is_told_as_a_loss(dsn, tmp_path, monkeypatch):
    """Under the number of its batch, that would else be missing."""
    settings = Settings.from_env(dsn=dsn, spool_dir=str(tmp_path), spool_max_bytes=1_000)
    delivery, goes_on, has_begun = Delivery(Database(settings)), threading.Event(), threading.Event()
    monkeypatch.setattr(delivery._sink, "store", lambda *given: has_begun.set() or goes_on.wait(SECONDS))
    hanging = threading.Thread(target=delivery.deliver, args=(batch_of(7, 3), SECONDS))
    hanging.start()
    has_begun.wait(SECONDS)

    end_while_it_hangs(delivery, hanging, goes_on)

    assert 7 == delivery.counts["dropped"]
    assert [(3, 0, 7)] == ledger(dsn, "sequence, stored, dropped_before")


@pytest.fixture
def small(dsn, tmp_path):
    """A delivery whose spool has room for a few batches, and gives up the oldest."""
    settings = Settings.from_env(dsn=dsn, spool_dir=str(tmp_path), spool_max_bytes=300_000)
    delivery = Delivery(Database(settings))
    yield delivery
    delivery.close(1)
    delivery.database.close()


def lose_the_answer(monkeypatch, sink):
    """The next batch is stored, and its COMMIT is answered by nobody."""
    store = sink.store

    def once(*given):
        monkeypatch.setattr(sink, "store", store)
        store(*given)
        raise DatabaseUnavailable("server closed the connection unexpectedly")

    monkeypatch.setattr(sink, "store", once)


def put_out_the_oldest(delivery):
    """More than there is room for."""
    for number in range(2, 30):
        delivery.deliver(batch_of(3, number, "n" * 6_000), SECONDS)
    return 28 * 3


def test_what_was_stored_before_the_spool_gave_it_up_is_no_loss(small, dsn, outage, monkeypatch):
    """The answer to its COMMIT got lost, so that it went to the spool: the ledger tells that the tables have it."""
    lose_the_answer(monkeypatch, small._sink)
    assert "spooled" == small.deliver(batch_of(14), SECONDS)
    outage.begin()
    given = 14 + put_out_the_oldest(small)
    assert 14 < (given_up := small.counts["dropped"])

    outage.end()
    assert small.replay_now(SECONDS)

    lost = given - len(spans_stored(dsn))
    assert given_up - 14 == lost == small.counts["dropped"] == small.failures["spool_full"] > 0
    assert lost == sum(told for (told,) in ledger(dsn, "dropped_before"))


def test_what_is_stored_while_the_spool_gives_it_up_is_no_loss(small, dsn, outage, monkeypatch):
    """Whoever stores the oldest batch has it in hand already."""
    outage.begin()
    small.deliver(batch_of(14), SECONDS)
    store, has_begun, goes_on = small._replay._sink.store, threading.Event(), threading.Event()

    def slowly(batch, *given):
        if len(batch) == 14 and not has_begun.is_set():
            has_begun.set()
            goes_on.wait(SECONDS)
        return store(batch, *given)

    monkeypatch.setattr(small._replay._sink, "store", slowly)
    assert has_begun.wait(SECONDS)
    given = 14 + put_out_the_oldest(small)
    given_up = small.counts["dropped"]

    outage.end()
    goes_on.set()
    assert small.replay_now(SECONDS)

    assert given_up - 14 == small.counts["dropped"] == given - len(spans_stored(dsn)) > 0


def test_a_loss_of_which_the_ledger_was_told_twice_is_one(small, dsn, monkeypatch):
    """The answer to the first telling got lost: that the ledger has the batch's row does not mean it was stored."""
    lose_the_answer(monkeypatch, small._replay._sink)

    small.give_up(batch_of(14), "too many wait in memory")
    assert small.replay_now(SECONDS)

    assert 14 == small.counts["dropped"]
    assert [(0, 14)] == ledger(dsn, "stored, dropped_before")


def test_what_was_stored_before_its_time_ran_out_is_no_loss(dsn, tmp_path, monkeypatch):
    """Nobody answered its COMMIT, and it found no room on the disk."""
    settings = Settings.from_env(dsn=dsn, spool_dir=str(tmp_path), spool_max_bytes=1_000)
    delivery = Delivery(Database(settings))
    store = delivery._sink.store

    def unanswered(*given, **more):
        with suppress(DatabaseUnavailable):
            store(*given, **more)
        raise DatabaseUnavailable("server closed the connection unexpectedly")

    monkeypatch.setattr(delivery._sink, "store", unanswered)
    with pytest.raises(DatabaseUnavailable):
        delivery.deliver(batch_of(7, 3), 0.5)
    assert 7 == delivery.counts["dropped"] == delivery.failures["unreachable"]

    assert delivery.replay_now(SECONDS)

    assert 0 == delivery.counts["dropped"] == delivery.failures["unreachable"]
    assert [(3, 7, 0)] == ledger(dsn, "sequence, stored, dropped_before")
    delivery.close(1)
    delivery.database.close()


@pytest.mark.parametrize("durability", ["memory", "process"])
def test_a_handler_of_the_log_that_raises_costs_no_record(dsn, tmp_path, outage, durability, monkeypatch):
    """Each line about an outage is said while a batch is on its way to the spool."""
    monkeypatch.setattr(diagnostics, "_said", {})

    class Broken(logging.Handler):
        def emit(self, record):
            raise ValueError("a handler")

    handler = Broken()
    logging.getLogger().addHandler(handler)
    telemetry = configure(
        dsn=dsn, durability=durability, spool_dir=str(tmp_path), tracer_provider=TracerProvider(shutdown_on_exit=False),
        logger_provider=LoggerProvider(shutdown_on_exit=False),
    )  # fmt: skip
    try:
        outage.begin()
        telemetry.tracer_provider.get_tracer("x").start_span("s").end()
        assert not telemetry.force_flush()
        outage.end()
        assert telemetry.delivery.replay_now(SECONDS)
    finally:
        logging.getLogger().removeHandler(handler)
        telemetry.shutdown()

    with psycopg.connect(dsn) as connection:
        assert (1,) == connection.execute("SELECT count(*) FROM otel.events").fetchone()
