"""What lies in a spool's folder, for people: looking takes nothing away from the programs that use it."""

from __future__ import annotations

import os
import stat
import uuid
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..config import Settings
from ..encoding.batches import Batch
from ..errors import SpoolError
from .contents import decode
from .folder import spool_path
from .records import REASON, Found, scan
from .segment import parts_of
from .store import DEAD_SUFFIX, SUFFIX

__all__ = ["SpoolFile", "batches_in", "look"]

_WITHOUT_WAITING = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True)
class SpoolFile:
    """One file of a spool."""

    path: Path
    size: int
    """Bytes."""
    batches: int
    rows: int
    damaged: int
    """Bytes that are no whole records."""
    is_dead: bool
    """It holds rows that PostgreSQL refused."""
    reasons: tuple[str, ...] = ()
    """Why, if it does."""
    error: str | None = None
    """Why it cannot be read."""
    rows_of: Mapping[uuid.UUID, int] = field(default_factory=dict)
    """Records of each batch."""

    def waiting(self, stored: Container[uuid.UUID]) -> int:
        """Records that wait to be stored; none where they were refused.

        Args:
            stored: ids of batches that need not: a file goes as a whole, when the last of its batches is stored.
        """
        return 0 if self.is_dead else sum(rows for batch, rows in self.rows_of.items() if batch not in stored)


def look(settings: Settings) -> list[SpoolFile]:
    """The files of one database's spool, oldest first."""
    folder = spool_path(settings)
    if not folder.is_dir():
        return []
    paths = sorted(path for path in folder.iterdir() if path.suffix in (SUFFIX, DEAD_SUFFIX))
    return [_described(path) for path in paths]


def batches_in(file: SpoolFile) -> Iterator[Batch]:
    """The batches of a file that can be read."""
    with _opened(file.path) as (read, size):
        columns, parts, _ = parts_of(file.path, size, scan(read, size))
        extents = [extent for _, extent in parts] if file.is_dead else dict(parts).values()
        for extent in extents:
            batch, _ = decode(read(extent.end - extent.start, extent.start))
            batch.columns = columns
            yield batch


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Callable[[int, int], bytes], int]]:
    """What gives so many bytes from an offset of a file, and its size: it need not fit into memory."""
    # what is no file, such as a pipe, would be waited for
    descriptor = os.open(path, os.O_RDONLY | _WITHOUT_WAITING)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SpoolError(f"{path} is no file")
        yield lambda length, offset: os.pread(descriptor, length, offset), found.st_size
    finally:
        os.close(descriptor)


def _described(path: Path) -> SpoolFile:
    is_dead = path.suffix == DEAD_SUFFIX
    reasons = []

    def noted(whole: Iterable[Found]) -> Iterator[Found]:
        for found in whole:
            if found.kind == REASON:
                reasons.append(found.payload.decode("utf-8", "replace"))
            yield found

    try:
        with _opened(path) as (read, size):
            _, parts, damaged = parts_of(path, size, noted(scan(read, size)))
    except (OSError, SpoolError) as error:
        return SpoolFile(path, 0, 0, 0, 0, is_dead, error=str(error))
    rows_of: Counter[uuid.UUID] = Counter()
    for batch, extent in parts:
        rows_of[batch] = extent.rows + (rows_of[batch] if is_dead else 0)  # each row that was refused is a part
    return SpoolFile(path, size, len(rows_of), rows_of.total(), damaged, is_dead, tuple(reasons), rows_of=rows_of)
