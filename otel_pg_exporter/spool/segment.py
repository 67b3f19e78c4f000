"""One file of the spool: batches behind each other, written and read by the one process that holds its lock."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..encoding.tables import COLUMNS
from ..errors import SpoolError
from .records import BATCH, END, FILE, ROW, Found, record, scan

if sys.platform != "win32":
    import fcntl

__all__ = ["Extent", "Segment", "parts_of"]

FORMAT = 1
_HEADER = record(FILE, orjson.dumps({"format": FORMAT, "columns": {t: list(c) for t, c in COLUMNS.items()}}))
_NEW_SECONDS = 60.0
"""So old is a file without a beginning at most, unless its process was killed before it wrote one."""
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(slots=True)
class Extent:
    """Where a batch lies in its file."""

    start: int
    end: int
    rows: int


class Segment:
    """An open file of the spool.

    The lock (flock) is dropped by the kernel when the process dies, however it dies: then the next
    process may take the file over.
    """

    def __init__(self, path: Path, descriptor: int, columns: Any) -> None:
        self.path = path
        self.columns = columns
        """Table → columns of the rows, in order: those of the version that wrote them."""
        self.pending: OrderedDict[uuid.UUID, Extent] = OrderedDict()
        """Complete batches that wait to be stored, oldest first."""
        self.held: dict[uuid.UUID, Extent] = {}
        """Batches that the program is still writing, or storing by itself."""
        self.is_sealed = False
        """Nothing will be appended any more."""
        self.is_taken_over = False
        """It is of a process that has ended."""
        self.damaged = 0
        """Bytes that are no whole records."""
        self.size = 0
        self._descriptor = descriptor

    @classmethod
    def create(cls, folder: Path, name: str) -> Segment:
        """Make a new file, readable by this user alone.

        Raises:
            OSError: the file cannot be made.
        """
        path = folder / name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o600)
        segment = cls(path, descriptor, COLUMNS)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # another process may be looking at it, for a moment
            if os.fstat(descriptor).st_nlink == 0:  # and has taken it for one that was left behind
                raise FileNotFoundError(f"{path} was removed")
            segment.append(_HEADER)
        except BaseException:  # a file system that has no locks, or an interruption
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return segment

    @classmethod
    def take_over(cls, path: Path) -> Segment | None:
        """Open a file whose process has ended; None if it is in use, or gone.

        Raises:
            OSError: the file cannot be read.
            SpoolError: the file is none of the spool's, or a newer version's.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | _NO_FOLLOW)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(descriptor)
            is_new = found.st_size == 0 and time.time() - found.st_mtime < _NEW_SECONDS
            # removed by the process that held it until now, or just made by one that is about to lock it
            if found.st_nlink == 0 or is_new:
                raise BlockingIOError
            segment = cls._read(path, descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return segment

    @classmethod
    def _read(cls, path: Path, descriptor: int) -> Segment:
        size = os.fstat(descriptor).st_size
        found = scan(lambda length, offset: os.pread(descriptor, length, offset), size)
        columns, parts, damaged = parts_of(path, size, found)
        segment = cls(path, descriptor, columns)
        segment.pending.update(parts)
        segment.size, segment.damaged = size, damaged
        segment.is_sealed = segment.is_taken_over = True
        return segment

    def append(self, data: bytes) -> int:
        """Write at the end, whole or not at all; gives the offset.

        Raises:
            OSError: the disk is full, or another reason of the system's.
        """
        start, view = self.size, memoryview(data)
        try:
            while view:
                written = os.pwrite(self._descriptor, view, self.size)
                self.size += written
                view = view[written:]
        except OSError:
            self.cut(start)
            raise
        return start

    def cut(self, start: int) -> None:
        """Take back what was appended from this offset on."""
        self.size = start
        os.ftruncate(self._descriptor, start)

    @property
    def is_open(self) -> bool:
        """It can still be written and read."""
        return self._descriptor >= 0

    @property
    def is_removed(self) -> bool:
        """Somebody has deleted the file: only this process can still read it."""
        return self.is_open and os.fstat(self._descriptor).st_nlink == 0

    @property
    def rows_waiting(self) -> int:
        """Rows of complete batches that wait to be stored."""
        return sum(extent.rows for extent in self.pending.values())

    @property
    def is_done(self) -> bool:
        """Nothing in it is needed any more, and nothing will be added."""
        return self.is_sealed and not self.pending and not self.held

    def read(self, extent: Extent) -> bytes:
        """The records of one batch."""
        return os.pread(self._descriptor, extent.end - extent.start, extent.start)

    def sync(self) -> None:
        """Wait until what was appended survives a power cut."""
        os.fdatasync(self._descriptor)

    def remove(self) -> None:
        """Delete the file: all of it is stored, or given up."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Leave the file to the next process."""
        # forgotten first: a child that is forked meanwhile must not close a number that is another file's by then
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would leave the lock to a forked copy
            os.close(descriptor)

    def abandon(self) -> None:
        """After a fork: drop the child's copy, the file stays the parent's."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def parts_of(path: Path, size: int, whole: Iterable[Found]) -> tuple[Any, list[tuple[uuid.UUID, Extent]], int]:
    """What a file of this size holds, by its whole records: columns, batches, and bytes that are damaged.

    A batch without its last record was being written when its process was killed: what there is of it
    is a batch too, for none of it can have been stored before it was complete. An empty file was being made.
    In a file of refused rows several parts may be of one batch.

    Raises:
        SpoolError: it is none of the spool's files, or a newer version's.
    """
    parts: list[tuple[uuid.UUID, Extent]] = []
    columns, damaged, good, current = None if size else COLUMNS, 0, 0, None
    for found in whole:
        damaged += found.skipped
        good = found.end
        if found.kind in (FILE, BATCH):
            try:
                head = orjson.loads(found.payload)
                if found.kind == FILE:
                    columns = _columns(path, head)
                else:
                    current = Extent(found.start, found.end, 0)
                    parts.append((uuid.UUID(head["id"]), current))
            except (ValueError, TypeError, KeyError, AttributeError) as error:  # whole, and yet nothing of ours
                raise SpoolError(f"{path} is not a file of the spool: {type(error).__name__}: {error}") from None
        elif current is not None:
            current.end = found.end
            current.rows += found.kind == ROW
            if found.kind == END:
                current = None
    if columns is None:
        raise SpoolError(f"{path} is not a file of the spool, or its beginning is damaged")
    if current is not None:
        current.end = size  # with the beginning of a record, if one was cut off
    return columns, parts, damaged + size - good


def _columns(path: Path, head: Any) -> Any:
    if head["format"] > FORMAT:
        raise SpoolError(f"{path} has format {head['format']}; this version reads up to {FORMAT}: update it")
    return head["columns"]
