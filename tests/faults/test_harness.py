"""The harness itself: the judge finds what is wrong, the wire knows messages, the cluster dies and comes back."""

from __future__ import annotations

import socket
import threading
import time

import harness.wire
import psycopg
import pytest
from harness import payload
from harness.cuts import CutAt, Recorder
from harness.delays import apart_from_delays
from harness.frames import CLIENT, SERVER, Conversation
from harness.judge import VoidRunError
from harness.workload import Workload, wait_until


def stored(dsn, folder, seed, **arguments):
    """The journal of a program that stored its spans and ended by itself."""
    with Workload(dsn, folder, seed, **arguments) as load:
        assert 0 == load.wait(60), load.output.read_text()
    return load


@pytest.fixture
def clean(dsn, tmp_path, seed):
    """A run to which nothing happened: 400 spans."""
    load = stored(dsn, tmp_path, seed, rate=4000, count=400, acknowledge_seconds=0.05)
    assert "" == apart_from_delays(load.output.read_text())
    return load


def test_a_run_to_which_nothing_happened_is_clean(clean, dsn, judge):
    """400 spans with nasty values are stored whole and in order, and the judge has no complaint."""
    judge.read_journal(clean.journal)

    verdict = judge.verdict(dsn, clean.spool)

    print(verdict)
    assert {} == verdict.wrongs
    assert (400, 400, 400, 400) == tuple(verdict.sizes.values())[:4]
    assert 400 == sum(judge.reports[0]["counts"].get(fate, 0) for fate in ("stored", "replayed", "duplicate"))
    assert judge.reports[0]["is_flushed"]
    assert 0 < judge.reports[0]["end_us"]["p50"] <= judge.reports[0]["end_us"]["longest"]


TAMPERED = {
    "lost_acknowledged": "DELETE FROM {table} WHERE span_id = {one}",
    "lost_silently": "DELETE FROM {table} WHERE span_id = {one}",
    "duplicated": "INSERT INTO {table} SELECT * FROM {table} WHERE span_id = {one}",
    "spurious": "UPDATE {table} SET span_id = 100000 WHERE span_id = {one}",
    "corrupted": "UPDATE {table} SET attributes = attributes || '{{\"more\": 1}}' WHERE span_id = {one}",
    "reordered": "UPDATE {table} SET batch_index = batch_index + 100000 WHERE span_id = {one}",
    "orphans": "DELETE FROM otel.event_batches WHERE batch_id = (SELECT batch_id FROM {table} WHERE span_id = {one})",
}


def test_the_judge_sees_each_thing_that_may_be_wrong_with_a_row(clean, dsn, judge):
    """One row of 400 is tampered with, in one way after another: each is found and named."""
    judge.read_journal(clean.journal)
    tables = ("events", "event_batches")
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table in tables:
            connection.execute(f"CREATE TABLE {table} AS TABLE otel.{table}")
        # not the last of its batch, which comes last with a larger number too
        others = "SELECT FROM otel.events o WHERE o.batch_id = e.batch_id AND o.span_id > e.span_id"
        chosen = f"SELECT span_id FROM otel.events e WHERE EXISTS ({others}) ORDER BY 1 OFFSET 9 LIMIT 1"
        one = connection.execute(chosen).fetchone()[0]
        for wrong, statement in TAMPERED.items():
            assert {} == judge.verdict(dsn, clean.spool).wrongs

            connection.execute(statement.format(table="otel.events", one=one))

            assert wrong in judge.verdict(dsn, clean.spool).wrongs
            for table in tables:
                connection.execute(f"TRUNCATE otel.{table}; INSERT INTO otel.{table} TABLE {table}")


def test_one_lost_and_one_stored_twice_are_two_faults(clean, dsn, judge):
    """What equal counters would hide: as many rows as spans, but not the same."""
    judge.read_journal(clean.journal)
    with psycopg.connect(dsn) as connection:
        connection.execute("DELETE FROM otel.events WHERE span_id = (SELECT min(span_id) FROM otel.events)")
        one = "SELECT max(span_id) FROM otel.events"
        connection.execute(f"INSERT INTO otel.events SELECT * FROM otel.events WHERE span_id = ({one})")

    verdict = judge.verdict(dsn)

    assert 400 == verdict.sizes["stored"]
    assert {"lost_acknowledged": 1, "lost_silently": 1, "duplicated": 1} == verdict.wrongs


def test_a_declared_drop_is_no_silent_loss(dsn, judge, seed):
    """What the product says that it gave up is missing, and not lost silently; one more than it says is."""
    trace_id = payload.producer_trace(seed, "p")
    judge.accept((trace_id, number) for number in range(1, 4))
    judge.declared = 3
    assert {} == judge.verdict(dsn).wrongs
    assert 3 == len(judge.verdict(dsn).missing)

    judge.declared = 2

    assert {"lost_silently": 1} == judge.verdict(dsn).wrongs


def test_a_run_without_its_fault_is_void(clean, dsn, judge):
    """A run about cuts in which nothing was cut is no proof, and is refused; so is one without a span."""
    with pytest.raises(VoidRunError, match="nothing was accepted"):
        judge.verdict(dsn)
    judge.read_journal(clean.journal)
    judge.saw("cut", 2)

    with pytest.raises(VoidRunError, match="cut happened 2 times of 3"):
        judge.verdict(dsn, cut=3)
    assert {} == judge.verdict(dsn, cut=2).wrongs


def test_a_conversation_is_cut_into_messages_wherever_the_network_has_cut_it():
    """The same messages come out byte by byte and at once, with the one byte that answers an SSLRequest."""
    client = bytes.fromhex("0000000804d2162f") + b"\0\0\0\x09\0\3\0\0\0" + b"Q\0\0\0\x0dSELECT 1\0"
    server = b"N" + b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
    at_once, in_bytes = Conversation(), Conversation()

    whole = [*at_once.feed(CLIENT, client), *at_once.feed(SERVER, server)]
    bytewise = [frame for byte in client for frame in in_bytes.feed(CLIENT, bytes((byte,)))]
    bytewise += [frame for byte in server for frame in in_bytes.feed(SERVER, bytes((byte,)))]

    assert ["ssl", "startup", "Q", "answer", "R", "Z"] == [frame.kind for frame in whole]
    assert whole == bytewise
    assert client + server == b"".join(frame.raw for frame in whole)


def test_a_wire_forwards_everything(wire):
    """Through the wire a connection works as without it, and each message is seen."""
    wire.meddler = recorder = Recorder()

    with psycopg.connect(wire.conninfo) as connection:
        assert (100_000,) == connection.execute("SELECT length(repeat('x', 100000))").fetchone()
        assert 100_000 == len(connection.execute("SELECT repeat('x', 100000)").fetchone()[0])

    assert wait_until(lambda: recorder.frames[-1].kind == "X", 30)
    assert ["ssl", "answer", "startup", "R"] == [frame.kind for frame in recorder.frames][:4]


@pytest.mark.parametrize("is_forwarded", [False, True])
def test_a_cut_comes_before_or_after_its_message(wire, dsn, is_forwarded):
    """A cut at a message of the client resets the connection, and the server has got that message or has not."""
    with psycopg.connect(wire.conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (n int)")
        wire.meddler = cut = CutAt(CLIENT, 0, is_forwarded)
        cut.arm()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("INSERT INTO t VALUES (1)")

    assert 1 == cut.count
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows = lambda: connection.execute("SELECT count(*) FROM t").fetchone()[0]  # noqa: E731
        assert wait_until(lambda: rows() == is_forwarded, 30)


def test_a_wire_refuses_swallows_delays_and_recovers(wire):
    """Refused means at once, swallowed means no answer, and delayed means late; then all is as before."""
    wire.refuse()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(wire.conninfo)

    wire.restore()
    wire.swallow()
    with pytest.raises(psycopg.OperationalError, match="timeout"):
        psycopg.connect(wire.conninfo, connect_timeout=2)

    wire.restore()
    with psycopg.connect(wire.conninfo) as connection:
        wire.delay = 0.3
        begun = time.monotonic()
        connection.execute("SELECT 1")
        assert time.monotonic() - begun > 0.3


def test_a_connection_that_is_being_made_when_a_wire_refuses_is_reset(wire, monkeypatch):
    """On a busy machine the way to the server takes its time; no connection may come through afterwards."""
    under_way, refused, connect = threading.Event(), threading.Event(), harness.wire._connected

    def late(upstream):
        under_way.set()
        assert refused.wait(30)
        return connect(upstream)

    monkeypatch.setattr("harness.wire._connected", late)
    with socket.create_connection(("127.0.0.1", wire.port), timeout=30) as client:
        assert under_way.wait(30)
        wire.refuse()
        refused.set()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_flapping_wire_goes_up_and_down(wire):
    """Connections are refused and taken in turn, and taken when it is over."""
    found = set()
    with wire.flapping(0.1, 0.1):
        deadline = time.monotonic() + 10
        while len(found) < 2 and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", wire.port)).close()
                found.add("taken")
            except OSError:
                found.add("refused")
            time.sleep(0.01)

    assert {"taken", "refused"} == found
    psycopg.connect(wire.conninfo).close()


def test_a_cluster_is_killed_silenced_and_started_again(cluster):
    """After SIGKILL to all processes what was committed is there; while silent nothing is answered."""
    dsn = cluster.database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert ("on", "on") == (
            connection.execute("SHOW fsync").fetchone()[0],
            connection.execute("SHOW synchronous_commit").fetchone()[0],
        )
        connection.execute("CREATE TABLE t AS SELECT 1")
        cluster.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn)

    cluster.start()

    with psycopg.connect(dsn) as connection:
        assert (1,) == connection.execute("SELECT count(*) FROM t").fetchone()
    with cluster.silent(), pytest.raises(psycopg.OperationalError, match="timeout"):
        psycopg.connect(dsn, connect_timeout=2)
    psycopg.connect(dsn).close()
