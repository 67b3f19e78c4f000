"""A spool that is written row by row, before it is known whether PostgreSQL can take the batch."""

from __future__ import annotations

from contextlib import suppress

from ..encoding.batches import Batch
from ..encoding.rows import Row
from ..errors import SpoolError
from .contents import begin, end, row_records
from .folder import sync_folder
from .segment import Extent, Segment
from .store import Spool, Waiting

__all__ = ["Journal"]


class Journal:
    """Files of a spool that one writer appends to; not for two threads at once.

    Args:
        spool: whose folder and limits hold.
        is_synced: wait for the disk after each row and each new file, so that they survive a power cut.
    """

    def __init__(self, spool: Spool, is_synced: bool) -> None:
        self._spool, self._is_synced = spool, is_synced
        self._segment: Segment | None = None
        self._extent: Extent | None = None

    def append(self, batch: Batch, row: Row) -> None:
        """Write the next row of a batch.

        Raises:
            SpoolError: it cannot be written; the rows before it are still safe.
        """
        data = row_records(batch, row)
        if self._segment is not None and not self._segment.is_open:  # the spool was closed
            self._segment = self._extent = None
        if self._segment is None or (self._extent is None and not self._spool.takes_more(self._segment)):
            self._spool.seal(self._segment)
            self._segment = None
            self._segment = self._new_segment()
        # an interruption of the last attempt may have come before its first byte was written
        segment, is_first = self._segment, self._extent is None or not self._extent.rows
        if self._extent is None:
            # held before it is there: a spool that makes room must not take the file away
            self._extent = segment.held[batch.id] = Extent(segment.size, segment.size, 0)
        try:
            start = self._spool.append(segment, begin(batch) + data if is_first else data)
            if self._is_synced:
                self._sync(segment, start)
        except SpoolError:
            if is_first:
                self._extent = None
                segment.held.pop(batch.id)
            raise
        self._extent.end, self._extent.rows = segment.size, self._extent.rows + 1

    def complete(self, batch: Batch) -> Waiting | None:
        """The batch gets no more rows; None if none of it is on disk."""
        extent, self._extent = self._extent, None
        if extent is None or self._segment is None:
            return None
        try:
            self._spool.append(self._segment, end(batch))
            extent.end = self._segment.size
        except SpoolError:
            pass  # a batch without its end is read as far as it goes
        return Waiting(batch.id, self._segment)

    def _new_segment(self) -> Segment:
        segment = self._spool.new_segment()
        if self._is_synced:
            try:
                sync_folder(self._spool.folder)
            except SpoolError:
                self._spool.seal(segment)  # which removes it, for it is empty
                raise
        return segment

    def _sync(self, segment: Segment, start: int) -> None:
        try:
            segment.sync()
        except OSError as error:
            with suppress(OSError):
                segment.cut(start)  # the row is going to be in another batch
            raise SpoolError(f"the disk does not confirm {segment.path}: {error}") from error
