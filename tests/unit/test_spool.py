"""The spool: what is put in comes out, also of another process, within its limit and closed to others."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tracemalloc
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from otel_pg_exporter.config import Settings
from otel_pg_exporter.encoding.batches import Batch, encode_batch
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.errors import ConfigurationError, SpoolError
from otel_pg_exporter.spool import Journal, Spool
from otel_pg_exporter.spool.contents import decode, encode
from otel_pg_exporter.spool.folder import spool_path
from otel_pg_exporter.spool.inspection import batches_in, look
from otel_pg_exporter.spool.records import BATCH, ROW, record, records
from otel_pg_exporter.spool.segment import Segment, parts_of

ENCODER = RowEncoder()


def span(number: int, size: int = 10) -> ReadableSpan:
    return ReadableSpan(
        name="n",
        context=SpanContext(7, number, False, TraceFlags(1)),
        resource=Resource({"service.name": "s"}),
        attributes={"otel_pg.category": ("task", "agent")[number % 2], "text": "x" * size},
        start_time=number * 1000,
        end_time=number * 1000 + 5,
    )


def batch_of(*numbers: int, sequence: int = 1, size: int = 10) -> Batch:
    spans = [span(number, size) for number in numbers]
    return encode_batch(spans, ENCODER.span, producer_id=uuid.UUID(int=5), sequence=sequence, signal="span")


def same(left: Batch, right: Batch) -> bool:
    parts = ("id", "producer_id", "sequence", "signal", "rows", "sources", "days", "first_us", "last_us")
    return all(getattr(left, part) == getattr(right, part) for part in parts)


@pytest.fixture
def settings(tmp_path):
    return Settings(dsn="dbname=x", spool_dir=str(tmp_path / "spool"))


@pytest.fixture
def spool(settings):
    opened = Spool(settings)
    yield opened
    opened.close()


def waiting_ids(spool: Spool) -> list[uuid.UUID]:
    found = []
    while waiting := spool.oldest():
        found.append(waiting.id)
        spool.done(waiting)
    return found


def test_a_batch_is_the_same_after_the_disk():
    """Id, producer, rows of each table, what they refer to and their times come back."""
    batch = batch_of(*range(1, 9))

    read, damaged = decode(encode(batch))

    assert same(batch, read)
    assert read.was_spooled
    assert 0 == damaged


def test_the_oldest_batch_comes_first_and_only_once(spool):
    """Batches come in the order in which they were put, each until it is done."""
    batches = [batch_of(number) for number in range(1, 6)]
    for batch in batches:
        spool.put(batch)

    assert spool.oldest() == spool.oldest()
    assert [batch.id for batch in batches] == waiting_ids(spool)
    assert [] == list(spool.folder.iterdir())


def test_the_next_process_gets_what_was_left(settings):
    """What a closed spool still held is taken over by the next one, oldest first."""
    first = Spool(settings)
    batches = [batch_of(number) for number in range(1, 4)]
    for batch in batches:
        first.put(batch)
    first.close()

    second = Spool(settings)

    loaded = second.load(second.oldest())
    assert same(batches[0], loaded)
    assert [batch.id for batch in batches] == waiting_ids(second)
    second.close()


def test_a_file_in_use_is_left_to_its_process(spool, settings):
    """A second spool of the same database does not touch the files of one that is open."""
    spool.put(batch_of(1))
    other = Spool(settings)

    assert other.oldest() is None

    other.close()
    assert spool.oldest() is not None


def test_a_killed_process_leaves_its_batch(settings):
    """After kill -9 the lock is free and the batch is there."""
    program = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from test_spool import *\n"
        "s = Spool(Settings(dsn='dbname=x', spool_dir=sys.argv[1])); s.put(batch_of(1, 2))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", program, settings.spool_dir, os.path.dirname(__file__)]

    killed = subprocess.run(command, check=False)

    assert -9 == killed.returncode
    heir = Spool(settings)
    assert 2 == len(heir.load(heir.oldest()))
    heir.close()


def test_each_database_has_a_folder_of_its_own(settings):
    """Another database, schema or prefix never gets these batches; another password does."""
    folder = Spool(settings).folder
    given = {"spool_dir": settings.spool_dir}

    assert folder != Spool(Settings(dsn="dbname=y", **given)).folder
    assert folder != Spool(Settings(dsn="dbname=x", schema="other", **given)).folder
    assert folder != Spool(Settings(dsn="dbname=x", table_prefix="a_", **given)).folder
    uris = [Settings(dsn=f"postgresql://u:{word}@h/d", **given) for word in ("one", "two")]
    assert Spool(uris[0]).folder == Spool(uris[1]).folder


def test_a_tilde_is_the_users_home(tmp_path, monkeypatch):
    """As in EVENT_DATA_DIR: a file of variables has no shell that would expand it."""
    monkeypatch.setenv("HOME", str(tmp_path))

    assert spool_path(Settings(dsn="dbname=x", spool_dir="~/kept")).parent == tmp_path / "kept"


def test_a_folder_is_where_it_was_when_it_was_named(tmp_path, monkeypatch):
    """A program that goes to another folder before its first batch spools where it said, as the commands look."""
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({"EVENT_SPOOL_DIR": "kept", "EVENT_DATA_DIR": "data"})
    monkeypatch.chdir("/")

    assert tmp_path / "kept" == spool_path(settings).parent
    assert str(tmp_path / "data") == settings.data_dir


def test_a_folder_that_nobody_can_find_is_told(tmp_path, monkeypatch):
    """The program is in a folder that is gone: a path from there leads nowhere, a whole one does."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    with pytest.raises(ConfigurationError, match="EVENT_SPOOL_DIR='kept' is not allowed; allowed is a whole path"):
        Settings.from_env({"EVENT_SPOOL_DIR": "kept"})
    assert "/kept" == Settings.from_env({"EVENT_SPOOL_DIR": "/kept"}).spool_dir


def test_who_looks_at_a_large_file_needs_little_memory(spool, settings):
    """Of a file, which may have a quarter of a gigabyte, one batch is in memory at a time, or a window of some."""
    for number in range(1, 13):
        spool.put(batch_of(number, size=1_500_000))
    tracemalloc.start()
    try:
        files = look(settings)
        rows = sum(len(batch) for file in files for batch in batches_in(file))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (12, 12) == (sum(file.rows for file in files), rows)
    assert 16_000_000 < max(file.size for file in files)
    assert most < 12_000_000


def test_nobody_else_can_read_the_spool(spool):
    """Folder 0700, those that are made above it too, and files 0600, whatever the umask."""
    assert not spool.folder.parent.exists()
    before = os.umask(0)
    try:
        spool.put(batch_of(1))
    finally:
        os.umask(before)

    for folder in (spool.folder, spool.folder.parent):
        assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    assert [0o600] == [stat.S_IMODE(path.stat().st_mode) for path in spool.folder.iterdir()]


def test_a_link_in_place_of_the_folder_is_refused(spool, tmp_path):
    """A folder that somebody else made into a link is not written to."""
    spool.folder.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    spool.folder.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SpoolError, match="is a link"):
        spool.put(batch_of(1))

    assert [] == list((tmp_path / "elsewhere").iterdir())


def limited(tmp_path, policy: str) -> Spool:
    return Spool(Settings(dsn="x=y", spool_dir=str(tmp_path), spool_max_bytes=300_000, spool_policy=policy))


def test_a_full_spool_gives_up_the_oldest_and_counts_them(tmp_path):
    """With drop-oldest the newest batches stay, within the limit, and of each other one a word for the ledger."""
    spool = limited(tmp_path, "drop-oldest")
    batches = [batch_of(number, size=20_000) for number in range(1, 41)]
    for batch in batches:
        spool.put(batch)
        assert sum(path.stat().st_size for path in spool.folder.iterdir()) <= 300_000

    waiting = []
    while found := spool.oldest():
        waiting.append(spool.load(found))
        spool.done(found)
    kept = [batch.id for batch in waiting if len(batch)]
    told = [batch for batch in waiting if not len(batch)]

    assert [batch.id for batch in batches][-len(kept) :] == kept
    assert len(kept) >= 8
    assert 40 - len(kept) == spool.counts["dropped"] == sum(batch.dropped for batch in told)
    assert {batch.id for batch in batches} - {*kept} == {batch.id for batch in told}


def test_a_batch_that_is_larger_than_the_spool_pushes_nothing_out(tmp_path):
    """It could not be kept if all others gave way; what is too small is said."""
    spool = limited(tmp_path, "drop-oldest")
    first = batch_of(1, size=20_000)
    spool.put(first)

    with pytest.raises(SpoolError, match=r"too small: a batch of \d+ bytes is more than EVENT_SPOOL_MAX_BYTES=300000"):
        spool.put(batch_of(*range(2, 40), size=20_000))

    assert first.id == spool.oldest().id
    assert 0 == spool.counts["dropped"]


def test_a_full_spool_refuses_the_newest(tmp_path):
    """With drop-newest the first batches stay, and the caller learns that there is no room."""
    spool = limited(tmp_path, "drop-newest")
    batches = [batch_of(number, size=20_000) for number in range(1, 41)]
    for batch in batches[:8]:
        spool.put(batch)

    with pytest.raises(SpoolError, match="EVENT_SPOOL_MAX_BYTES=300000"):
        [spool.put(batch) for batch in batches[8:]]

    kept = waiting_ids(spool)
    assert 8 <= len(kept) < 40
    assert [batch.id for batch in batches][: len(kept)] == kept
    assert 0 == spool.counts["dropped"]


def test_what_a_damaged_file_still_holds_is_read(settings):
    """Zeros over a part of a file cost the rows there; the batches around it come back whole."""
    first = Spool(settings)
    batches = [batch_of(*range(1, 20), sequence=number) for number in range(1, 4)]
    for batch in batches:
        first.put(batch)
    first.close()
    (path,) = first.folder.iterdir()
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    path.write_bytes(data)

    second = Spool(settings)
    rows = []
    while waiting := second.oldest():
        rows.append(len(second.load(waiting)))
        second.done(waiting)

    assert [19, 19] == [rows[0], rows[2]]
    assert 0 < 19 - rows[1] == second.counts["damaged"]


def test_a_file_that_was_cut_off_says_so_once_and_counts_what_can_be_counted(settings, heard):
    """Cut in the middle of a row: what is whole is read, the row counted, and the log names file and bytes."""
    first = Spool(settings)
    first.put(batch_of(1, 2, 3, 4))
    first.close()
    (path,) = first.folder.iterdir()
    data = path.read_bytes()
    rows = [found for found in records(data) if found.kind == ROW]
    path.write_bytes(data[: rows[2].end - 1])

    second = Spool(settings)
    waiting = second.oldest()
    batch = second.load(waiting)
    second.load(second.oldest())

    assert (2, 1) == (len(batch), batch.dropped)
    (said,) = heard
    lost = rows[2].end - 1 - rows[2].start
    assert f"{path} is damaged: {lost:,} of its {path.stat().st_size:,} bytes cannot be read" in said
    assert said.endswith("2 records are left")
    second.close()


@pytest.mark.parametrize("goes_on", [True, False])
def test_what_waits_in_a_folder_that_somebody_deletes_is_written_anew(settings, heard, goes_on):
    """With the next batch, or when the program ends: only the process that has the file open can read it."""
    spool = Spool(settings)
    batches = [batch_of(number, sequence=number) for number in range(1, 5)]
    for batch in batches[:3]:
        spool.put(batch)
    shutil.rmtree(settings.spool_dir)
    if goes_on:
        spool.put(batches[3])
    spool.close()

    heir = Spool(settings)
    assert [batch.id for batch in batches[: 4 if goes_on else 3]] == waiting_ids(heir)
    assert 1 == len(heard)
    assert "was removed; its 3 records are written anew" in heard[0]


def test_a_journal_leaves_a_file_that_somebody_has_deleted(settings):
    """Its next batch is in another file, and what waited in the one before too."""
    spool = Spool(settings)
    journal = Journal(spool, is_synced=False)
    batches = []
    for number in range(1, 3):
        batch = Batch(uuid.uuid4(), uuid.UUID(int=5), number, "span")
        row = ENCODER.span(span(number), batch.id.bytes, 0)
        journal.append(batch, row)
        batch.add(row[0], row[1], row[3])
        spool.release(journal.complete(batch))
        batches.append(batch.id)
        if number == 1:
            shutil.rmtree(settings.spool_dir)
    spool.close()

    assert batches == waiting_ids(Spool(settings))


@pytest.mark.parametrize("content", [b"", b"not ours", os.urandom(5000)], ids=["empty", "text", "noise"])
def test_a_foreign_file_is_left_alone(settings, content):
    """A file that is none of the spool's is neither read nor removed, and stops nobody."""
    spool = Spool(settings)
    spool.put(batch_of(1))
    foreign = spool.folder / "0-foreign.seg"
    foreign.write_bytes(content)
    spool.close()

    other = Spool(settings)

    assert 1 == len(waiting_ids(other))
    assert content == foreign.read_bytes()
    other.close()


def test_a_newer_format_waits_for_a_newer_version(settings, monkeypatch):
    """A file of a later version is left as it is."""
    from otel_pg_exporter.spool import segment

    spool = Spool(settings)
    newer = segment._HEADER.replace(b'"format":1', b'"format":2')
    monkeypatch.setattr(segment, "_HEADER", segment.record(segment.FILE, newer[13:]))
    spool.put(batch_of(1))
    spool.close()

    other = Spool(settings)
    assert other.oldest() is None
    assert 1 == len(list(other.folder.iterdir()))
    with pytest.raises(SpoolError, match="has format 2"):
        Segment.take_over(next(other.folder.iterdir()))


def test_a_disk_that_is_full_in_the_middle_of_a_batch_leaves_none_of_it(spool, monkeypatch):
    """When a write fails the file is as before, and the next batch can be written."""
    spool.put(batch_of(1))
    (path,) = spool.folder.iterdir()
    before, real = path.read_bytes(), os.pwrite

    def failing(descriptor, data, offset):
        if offset > len(before):
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:50], offset)

    monkeypatch.setattr(os, "pwrite", failing)
    with pytest.raises(SpoolError, match="No space left"):
        spool.put(batch_of(*range(2, 50)))
    monkeypatch.undo()

    assert before == path.read_bytes()
    spool.put(batch_of(3))
    assert 2 == len(waiting_ids(spool))


def test_a_batch_that_was_being_written_is_read_as_far_as_it_goes(settings):
    """Rows that a killed process wrote one by one are a batch with the id that was announced."""
    spool = Spool(settings)
    journal = Journal(spool, is_synced=False)
    batch = Batch(uuid.uuid4(), uuid.UUID(int=5), 1, "span")
    for number in range(3):
        row = ENCODER.span(span(number), batch.id.bytes, number)
        journal.append(batch, row)
        batch.add(row[0], row[1], row[3])
    spool.close()

    heir = Spool(settings)
    read = heir.load(heir.oldest())

    assert same(batch, read)
    heir.close()


def test_a_held_batch_waits_only_when_it_is_released(spool):
    """What its writer is still storing is not handed out; released, it waits like any other; done, it is gone."""
    journal = Journal(spool, is_synced=True)
    batches = []
    for number in range(2):
        batch = Batch(uuid.uuid4(), uuid.UUID(int=5), number, "span")
        row = ENCODER.span(span(number), batch.id.bytes, 0)
        journal.append(batch, row)
        batch.add(row[0], row[1], row[3])
        batches.append((batch, journal.complete(batch)))

    assert spool.oldest() is None

    spool.release(batches[0][1])
    spool.done(batches[1][1])
    assert [batches[0][0].id] == waiting_ids(spool)


def test_a_forked_child_leaves_the_spool_to_its_parent(spool):
    """A child has no batches of its parent's, and does not keep the parent's files locked."""
    spool.put(batch_of(1))
    child = os.fork()
    if not child:
        os._exit(spool.oldest() is not None)

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert 1 == len(waiting_ids(spool))


def test_a_file_that_is_just_being_made_is_left_alone_without_a_word(spool, settings, caplog):
    """Between its creation and its lock it is empty; whoever looks at it then neither complains nor keeps its lock."""
    spool.put(batch_of(1))
    (spool.folder / "01-new.seg").touch()
    other = Spool(settings)

    assert other.oldest() is None

    assert "" == caplog.text
    Segment.create(spool.folder, "02-new.seg").close()
    other.close()


def test_a_journal_goes_on_in_another_file_when_the_spool_was_closed(spool, settings):
    """What comes after the end is kept for the next process."""
    journal, batch = Journal(spool, False), batch_of(1, 2)
    (table, (row, _)) = next((table, [*rows, None]) for table, rows in batch.rows.items() if rows)
    journal.append(batch, (table, row, 0, ()))
    spool.close()

    journal.append(batch, (table, row, 0, ()))

    spool.close()
    heir = Spool(settings)
    assert 2 == sum(1 for _ in heir.folder.glob("*.seg"))
    assert heir.oldest() is not None
    assert 2 == heir.rows_waiting
    heir.close()


def descriptors(spool: Spool) -> int:
    """Those of files in its folder; others are opened and closed by threads of anybody's."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # it has just been closed
            found += os.readlink(f"/proc/self/fd/{name}").startswith(str(spool.folder.resolve()))
    return found


def failing(number: int) -> Any:
    def write(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    return write


def test_a_file_that_cannot_be_begun_leaves_nothing(spool, monkeypatch):
    """On a full disk neither a descriptor nor an empty file is left of each attempt."""
    monkeypatch.setattr(os, "pwrite", failing(errno.ENOSPC))

    for number in range(5):
        with pytest.raises(SpoolError, match="No space left"):
            spool.put(batch_of(number))

    assert (0, []) == (descriptors(spool), list(spool.folder.iterdir()))
    monkeypatch.undo()
    spool.put(batch_of(1))
    assert 1 == len(waiting_ids(spool))


@pytest.mark.parametrize(("error", "is_given_up"), [(errno.ENOSPC, True), (errno.EIO, False), (errno.EROFS, False)])
def test_the_oldest_is_given_up_for_room_alone(tmp_path, monkeypatch, error, is_given_up):
    """A disk that is broken is no reason to take away what lies on it."""
    spool = limited(tmp_path, "drop-oldest")
    for number in range(1, 11):
        spool.put(batch_of(number, size=20_000))
    monkeypatch.setattr(os, "pwrite", failing(error))

    with pytest.raises(SpoolError):
        spool.put(batch_of(11))

    monkeypatch.undo()
    assert is_given_up == bool(spool.counts["dropped"])


def test_files_are_few_however_much_waits(tmp_path):
    """Each may be as large as all before it, up to a quarter of the limit; so a full spool has 9 at most."""
    spool = Spool(Settings(dsn="x=y", spool_dir=str(tmp_path), spool_max_bytes=64_000_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("otel_pg_exporter.spool.store._FIRST_SEGMENT_BYTES", 1_000_000)
        for number in range(600):
            spool.put(batch_of(number, size=100_000))

    sizes = [path.stat().st_size for path in sorted(spool.folder.iterdir())]
    spool.close()
    assert len(sizes) <= 9
    assert max(sizes) < 64_000_000 / 4 + 200_000


def test_files_of_many_programs_are_taken_over_a_few_at_a_time(settings):
    """What a hundred short programs left is stored oldest first, and costs a handful of descriptors."""
    batches = [batch_of(number) for number in range(100)]
    for batch in batches:
        left = Spool(settings)
        left.put(batch)
        left.close()
    most, found = 0, []

    heir = Spool(settings)
    while waiting := heir.oldest():
        most = max(most, descriptors(heir))
        found.append(waiting.id)
        heir.done(waiting)

    assert [batch.id for batch in batches] == found
    assert 1 <= most <= 5
    heir.close()


def test_a_file_of_stored_batches_goes_when_the_spool_closes(settings):
    """A journal that has nothing left to store leaves nothing to the next process."""
    spool = Spool(settings)
    journal = Journal(spool, is_synced=False)
    batch = Batch(uuid.uuid4(), uuid.UUID(int=5), 1, "span")
    journal.append(batch, ENCODER.span(span(1), batch.id.bytes, 0))
    spool.done(journal.complete(batch))
    folder = spool.folder
    assert 1 == len(list(folder.iterdir()))

    spool.close()

    assert [] == list(folder.iterdir())


def test_a_batch_that_is_held_can_be_read_again(settings):
    """What is on disk only, because too much waits in memory, comes back as it was written."""
    spool = Spool(settings)
    journal = Journal(spool, is_synced=False)
    batch = Batch(uuid.uuid4(), uuid.UUID(int=5), 1, "span")
    for number in range(3):
        row = ENCODER.span(span(number), batch.id.bytes, number)
        journal.append(batch, row)
        batch.add(row[0], row[1], row[3])
    held = journal.complete(batch)

    assert batch.rows == spool.load(held).rows
    assert spool.oldest() is None
    spool.close()


def test_a_file_whose_process_was_killed_before_it_wrote_is_taken_for_empty_and_removed_in_time(spool, settings):
    """For a minute it may be one that is just being made; later it goes, and nobody complains meanwhile."""
    spool.put(batch_of(1))
    left = spool.folder / f"{1:020d}-0.seg"
    left.touch(0o600)
    assert ([], 0) == parts_of(left, 0, records(b""))[1:]
    assert Spool(settings).oldest() is None
    assert left.exists()

    os.utime(left, (0, 0))

    assert Spool(settings).oldest() is None
    assert not left.exists()


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_a_disk_that_confirms_nothing_has_nothing_of_the_row(settings, monkeypatch, call):
    """The row is going to be in another batch; the rows before it stay where they are."""
    spool, batch = Spool(settings), batch_of()
    journal = Journal(spool, is_synced=True)
    rows = [ENCODER.span(span(number), batch.id.bytes, number) for number in range(2)]
    if call == "fdatasync":
        journal.append(batch, rows[0])
        batch.add(rows[0][0], rows[0][1])

    def failing(descriptor):
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(SpoolError, match="the disk does not confirm"):
        journal.append(batch, rows[1])
    monkeypatch.undo()

    journal.complete(batch)
    spool.close()
    waiting = (after := Spool(settings)).oldest()
    assert (call == "fdatasync") == (waiting is not None)
    assert waiting is None or len(after.load(waiting)) == 1
    after.close()


def test_a_disk_without_locks_leaves_nothing_of_an_attempt(spool, monkeypatch):
    """As NFS may be: neither a descriptor nor a file for each batch of an outage."""

    def refuse(descriptor, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)

    for number in range(5):
        with pytest.raises(SpoolError, match="No locks"):
            spool.put(batch_of(number))

    assert (0, []) == (descriptors(spool), list(spool.folder.iterdir()))


def cannot_remove(monkeypatch, error):
    def unlink(path, missing_ok=False):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(Path, "unlink", unlink)


def test_a_file_that_cannot_be_removed_stops_nothing(settings, monkeypatch, heard):
    """Its batches are stored, and so are those of others; none comes a second time."""
    before = Spool(settings)
    before.put(batch_of(1))
    before.close()
    heir = Spool(settings)
    heir.put(batch_of(2, sequence=2))
    cannot_remove(monkeypatch, errno.EPERM)

    assert 2 == len(waiting_ids(heir))
    heir._looked_at = float("-inf")
    assert heir.oldest() is None
    assert ["a file of the spool cannot be removed: [Errno 1] Operation not permitted"] == heard
    heir.close()


def test_what_cannot_be_removed_is_not_given_up_for_room(tmp_path, monkeypatch):
    """There would be no more room than before."""
    spool = limited(tmp_path, "drop-oldest")
    cannot_remove(monkeypatch, errno.ENOSPC)  # as on a disk that copies on write
    refused = 0

    for number in range(1, 40):
        try:
            spool.put(batch_of(number, size=20_000))
        except SpoolError:
            refused += 1

    assert (refused > 10, 0) == (True, spool.counts["dropped"])
    assert 39 - refused == spool.rows_waiting


def test_a_loss_is_counted_though_the_ledger_cannot_be_told(tmp_path, monkeypatch):
    """Another program may have taken the room that was made."""
    counted = []
    spool = limited(tmp_path, "drop-oldest")
    spool._on_loss = lambda batch_id, rows, reason: counted.append(rows)

    def refuse(batch):
        raise SpoolError("no room")

    monkeypatch.setattr(spool, "put_notice", refuse)
    for number in range(1, 40):
        spool.put(batch_of(number, size=20_000))

    assert spool.counts["dropped"] == sum(counted) > 0


def test_a_full_disk_gives_up_the_oldest_for_a_new_file_too(settings, monkeypatch):
    """What another process left there gives way, as the policy says, though nothing can be begun."""
    before = Spool(settings)
    before.put(batch_of(1))
    before.close()
    heir = Spool(settings)
    assert heir.oldest()
    create, left = Segment.create, set(heir.folder.iterdir())

    def full(folder, name):
        if left <= set(folder.iterdir()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(folder, name)

    monkeypatch.setattr(Segment, "create", full)

    heir.put(batch_of(2))

    assert 1 == heir.counts["dropped"]
    heir.close()


def test_a_size_that_cannot_be_asked_for_is_none(spool, monkeypatch):
    """A handle of NFS may have become stale: that is no reason to lose the batch."""
    spool.put(batch_of(1))
    spool._measured_at = float("-inf")
    stat = Path.stat

    def stale(path, **how):
        if path.suffix == ".seg":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", stale)
    spool.put(batch_of(2))

    assert 2 == len(waiting_ids(spool))


@pytest.mark.parametrize("payload", [b"{}", b"[]", b"1", b"not json", b'{"id": 5}', b'{"id": "x"}'])
def test_a_file_of_whole_records_that_say_nothing_is_left_alone(settings, payload, heard):
    """Its checksums are right, and it is none of ours: it is said, and nothing else waits for it."""
    before = Spool(settings)
    before.put(batch_of(1))
    before.close()
    (path,) = before.folder.iterdir()
    path.with_name(f"0{path.name}").write_bytes(path.read_bytes() + record(BATCH, payload))
    heir = Spool(settings)

    assert 1 == len(waiting_ids(heir))
    assert 1 == sum("left alone" in line for line in heard)
    heir.close()


def test_an_interruption_before_the_first_byte_leaves_a_batch_that_can_be_read(settings, monkeypatch):
    """Ctrl-C in the middle of the first row of a batch: the next one begins it anew."""
    spool = Spool(settings)
    journal, batch = Journal(spool, False), Batch(uuid.uuid4(), uuid.uuid4(), 1, "span")
    row = ENCODER.span(span(1), batch.id.bytes, 0)

    def interrupted(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(os, "pwrite", interrupted)
        journal.append(batch, row)  # with the head of the file: another, then
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(spool, "append", interrupted)
        journal.append(batch, row)
    journal.append(batch, row)
    batch.add_row(row)
    journal.complete(batch)
    spool.close()

    heir = Spool(settings)
    waiting = heir.oldest()
    assert waiting is not None
    assert 1 == len(heir.load(waiting))
    heir.close()
