"""The power fails while threads record: with durability `power` all that had ended is on the disk.

Each power cut is one of many that could come at that moment: what was not waited for is there in part, or not at all.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import threading
import time

import pytest
from harness import broken
from harness.disk import Disk
from harness.evidence import identity_of
from harness.killing import Killer
from harness.workload import wait_until
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_pg_exporter import configure
from otel_pg_exporter.config import Settings
from otel_pg_exporter.spool import Spool

NOWHERE = "host=127.0.0.1 port=9 user=u dbname=d"
CUTS = int(os.environ.get("FAULTS_CUTS", "60"))


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    """Files of the spool that are soon full."""
    monkeypatch.setattr(Spool, "segment_bytes", 1 << 15)


@pytest.fixture
def disk(tmp_path):
    """All that is written below the test's folder."""
    (tmp_path / "disk").mkdir()
    with Disk(tmp_path / "disk") as listening:
        yield listening


def recovered(folder):
    """Ids of all that the next process finds, as it finds them."""
    spool = Spool(Settings(dsn=NOWHERE, spool_dir=str(folder)))
    found = set()
    while waiting := spool.oldest():
        if batch := spool.load(waiting):
            found |= {identity_of(row) for rows in batch.rows.values() for row in rows}
        spool.done(waiting)
    spool.close()
    return found


def cut_again_and_again(disk, folder, seed, durability):
    """Numbers of records that each of many power cuts has lost, though they had ended."""
    telemetry = configure(
        dsn=NOWHERE, durability=durability, spool_dir=str(folder / "disk" / "state" / "spool"),
        tracer_provider=TracerProvider(shutdown_on_exit=False),
        logger_provider=LoggerProvider(shutdown_on_exit=False),
    )  # fmt: skip
    tracer, logger = telemetry.tracer_provider.get_tracer("x"), telemetry.logger_provider.get_logger("x")
    ended, is_over, choose = [], threading.Event(), random.Random(seed)

    def spans():
        while not is_over.wait(0.002):
            span = tracer.start_span("s", attributes={"text": "x" * 700})
            span.end()
            ended.append((span.get_span_context().trace_id, span.get_span_context().span_id))

    def logs():
        for number in range(1, 1 << 30):
            if is_over.wait(0.002):
                return
            context = set_span_in_context(NonRecordingSpan(SpanContext(7, number, False, TraceFlags(1))))
            logger.emit(LogRecord(context=context, event_name="l", body="x" * 700))
            ended.append((7, number))

    threads = [threading.Thread(target=work) for work in (spans, spans, logs)]
    for thread in threads:
        thread.start()
    lost = []
    try:
        for number in range(CUTS):
            assert number != 5 or wait_until(lambda: ended, 60)  # which a slow disk confirms late
            time.sleep(choose.uniform(0, 0.02))
            expected = set(ended)
            disk.after_power_cut(choose, folder / "clone")
            clone = folder / "clone" / "state" / "spool"
            lost.append(len(expected - recovered(clone) if clone.exists() else expected))
            shutil.rmtree(folder / "clone")
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
        telemetry.shutdown()
    print(
        f"{len(ended)} records, {CUTS} power cuts, {disk.torn} sectors and {disk.missing} names gone, lost {max(lost)}"
    )
    return lost


def test_what_had_ended_survives_a_power_cut(disk, tmp_path, seed):
    """Spans and log records, of several threads, over several files: none is lost by any of the cuts."""
    lost = cut_again_and_again(disk, tmp_path, seed, "power")

    assert [0] * CUTS == lost
    assert disk.torn, "no cut came while something was written"


@pytest.mark.parametrize(
    ("build", "durability"), [("no_fdatasync", "power"), ("no_folder_sync", "power"), (None, "process")]
)
def test_a_disk_that_is_not_waited_for_loses(disk, tmp_path, seed, monkeypatch, build, durability):
    """The counterparts: without fdatasync, without fsync of the folder, and in `process` mode, which promises less."""
    if build:
        broken.BUILDS[build](monkeypatch.setattr)

    assert max(cut_again_and_again(disk, tmp_path, seed, durability))


CALL = re.compile(r"(?P<name>\w+)\((?P<descriptor>\w+)(<(?P<path>[^>]*)>)?,? ?(?P<rest>.*)\) += (?P<answer>-?\d+)")


def calls(trace):
    """What the kernel was asked for and answered, by thread, in the order of the answers."""
    begun = {}
    for line in trace.read_text("utf-8", "replace").splitlines():
        thread, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix("<unfinished ...>")
            continue
        if text.startswith("<... "):
            text = begun.pop(thread) + text.partition("resumed>")[2]
        if call := CALL.match(text):
            yield thread, call


def unconfirmed(trace):
    """How many records were said to have ended, and those of them that the disk did not have."""
    dirty, wrote, named, ended, wrong = {}, {}, {}, 0, []
    for thread, call in calls(trace):
        name, path, rest = call["name"], call["path"] or "", call["rest"]
        if name == "pwrite64" and path.endswith(".seg"):
            dirty[thread] = wrote[thread] = path
            named.setdefault(path, False)
        elif name == "fdatasync" and call["answer"] == "0" and dirty.get(thread) == path:
            dirty[thread] = ""
        elif name == "fsync" and call["answer"] == "0":
            named.update((each, True) for each in named if os.path.dirname(each) == path)
        elif name == "write" and path.endswith(".journal"):
            if rest.startswith('"i '):
                dirty[thread] = None  # nothing is written yet of this one
            elif rest.startswith('"a '):
                ended += 1
                if dirty[thread] != "" or not named[wrote[thread]]:  # another thread may be starting the next file
                    wrong.append(rest)
    return ended, wrong


@pytest.mark.services
@pytest.mark.parametrize("build", [None, "no_fdatasync", "no_folder_sync"])
def test_the_kernel_confirms_each_record_before_it_has_ended(tmp_path, seed, build):
    """By strace: a write, then fdatasync = 0, then end() returns; and for each new file fsync of its folder."""
    trace = tmp_path / "trace"
    prefix = ("strace", "-f", "-y", "-qq", "-s", "16", "-e", "trace=pwrite64,fdatasync,fsync,write", "-o", str(trace))
    with Killer(NOWHERE, tmp_path, seed) as killer:
        killer.options |= {"durability": "power", "segment_bytes": 1 << 15, "threads": 2, "count": 50}
        if build:
            killer.options["broken"] = build
        assert 0 == killer.start("traced", prefix).wait(120), killer.output.read_text()

    ended, wrong = unconfirmed(trace)

    print(f"{ended} records, {len(wrong)} of them unconfirmed")
    assert 200 == ended
    assert (build is not None) == bool(wrong)
