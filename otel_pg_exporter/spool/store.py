"""The spool: batches on disk until PostgreSQL has them.

A batch is forgotten on proof that it is stored, or when its rows were set aside as dead with a reason;
or, at the limit of size, as the policy says, and counted. Files of processes that have ended are taken
over by whoever looks next.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..config import Settings
from ..encoding.batches import Batch, notice
from ..errors import SpoolError
from ..host import forks
from ..host.diagnostics import warn
from ..host.interruptions import undisturbed
from .contents import decode, encode, reason_record
from .folder import make_folder, spool_path
from .segment import Extent, Segment

__all__ = ["DEAD_SUFFIX", "SUFFIX", "Spool", "Waiting"]

SUFFIX, DEAD_SUFFIX = ".seg", ".dead"
_FIRST_SEGMENT_BYTES, _MIN_SEGMENT_BYTES = 16 << 20, 64 << 10
_LOOK_AGAIN_SECONDS, _MEASURE_SECONDS = 5.0, 1.0
_MOST_TAKEN_OVER = 4
"""Files of other processes at a time: each costs a descriptor, and programs that run every minute leave many."""
_HEAD_BYTES = 1024
"""The record that opens a batch is shorter."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A batch in the spool."""

    id: uuid.UUID
    segment: Segment


class Spool:
    """The batches of one database that wait on disk; safe to use from several threads.

    Args:
        settings: where it lies, how large it may be, and what is given up then.
        on_loss: called with each batch that was given up, how many rows it had, and why.
    """

    def __init__(self, settings: Settings, on_loss: Callable[[uuid.UUID, int, str], None] | None = None) -> None:
        self._on_loss = on_loss
        self.counts: Counter[str] = Counter()
        """Records by fate: dropped at the limit of size, dead (set aside), damaged (cannot be read)."""
        self._settings = settings
        self._forget()
        forks.in_child(self._abandon)

    def _forget(self) -> None:
        self._lock, self._taking_over = threading.RLock(), threading.Lock()
        self._folder: Path | None = None
        self._active: Segment | None = None
        self._dead: Segment | None = None
        self._segments: list[Segment] = []
        self._looked_at = self._measured_at = float("-inf")
        self._leaves_some = False
        self._used_bytes, self._room = 0, self._settings.spool_max_bytes

    @property
    def folder(self) -> Path:
        """Where it lies; made when the first batch comes.

        Raises:
            SpoolError: there is no place for it.
        """
        if self._folder is None:
            self._folder = spool_path(self._settings)
        return self._folder

    @property
    def segment_bytes(self) -> int:
        """To a file that is larger no batch is added.

        Each may be as large as all before it, so that there are few, for each costs a descriptor; and a quarter of the
        room there is at most, for as much is given up at once when that is used up.
        """
        with undisturbed(self._lock):
            before = sum(segment.size for segment in self._segments if segment.is_sealed)
            return max(_MIN_SEGMENT_BYTES, min(self._room // 4, max(_FIRST_SEGMENT_BYTES, before)))

    def takes_more(self, segment: Segment) -> bool:
        """Whether another batch may go into a file: it is not too large, and still there for the next process.

        Raises:
            SpoolError: it is not there, and no other can be made.
        """
        if segment.is_removed:
            self._rescue()
            return False
        return segment.size <= self.segment_bytes

    @property
    def rows_waiting(self) -> int:
        """Rows that this process has still to store from the spool."""
        with undisturbed(self._lock):
            return sum(segment.rows_waiting for segment in self._segments)

    def put(self, batch: Batch) -> None:
        """Keep a batch.

        Raises:
            SpoolError: there is no room, or the disk refuses it. Nothing of it is kept.
        """
        data = encode(batch)
        with undisturbed(self._lock):
            if self._active is None or not self.takes_more(self._active):
                self.seal(self._active)
                self._active = None
                made = self.new_segment()
                self.seal(self._active)  # which told of what gave way to it
                self._active = made
            start = self.append(self._active, data)
            self._active.pending[batch.id] = Extent(start, self._active.size, len(batch))

    def put_notice(self, batch: Batch) -> None:
        """Keep what the ledger has to be told of a loss; a full spool has room for that.

        Raises:
            SpoolError: the disk refuses it.
        """
        with undisturbed(self._lock):
            segment = self._active = self._active or self.new_segment()
            try:
                start = segment.append(data := encode(batch))
                self._used_bytes += len(data)
            except OSError as error:
                raise SpoolError(f"cannot write to {self.folder}: {error}") from error
            segment.pending[batch.id] = Extent(start, segment.size, 0)

    def append(self, segment: Segment, data: bytes) -> int:
        """Write to one of the files, if there is room; gives the offset.

        Raises:
            SpoolError: as for `put`.
        """
        with self._lock:
            while True:
                if self._used() + len(data) <= self._settings.spool_max_bytes:
                    try:
                        self._used_bytes += len(data)
                        return segment.append(data)
                    except OSError as error:
                        self._used_bytes -= len(data)
                        reason = f"cannot write to {self.folder}: {error}"
                        if error.errno not in _FULL:
                            raise SpoolError(reason) from error
                elif len(data) > self._settings.spool_max_bytes:  # then no room that others give up is enough
                    limit = f"EVENT_SPOOL_MAX_BYTES={self._settings.spool_max_bytes}"
                    raise SpoolError(f"the spool is too small: a batch of {len(data)} bytes is more than {limit}")
                else:
                    reason = f"{self.folder} has reached EVENT_SPOOL_MAX_BYTES={self._settings.spool_max_bytes}"
                if not self._makes_room(reason, segment):
                    raise SpoolError(f"the spool is full: {reason}")

    def new_segment(self, suffix: str = SUFFIX) -> Segment:
        """Begin a file.

        Raises:
            SpoolError: it cannot be made.
        """
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}{suffix}"
        make_folder(self.folder)
        with undisturbed(self._lock):
            segment = self._made(name)
            self._used_bytes += segment.size
            if suffix == SUFFIX:
                self._segments.append(segment)
        return segment

    def _made(self, name: str) -> Segment:
        while True:
            try:
                return Segment.create(self.folder, name)
            except OSError as error:
                reason = f"the spool cannot make a file: {error}"
                if error.errno not in _FULL or not self._makes_room(reason):
                    raise SpoolError(reason) from error

    def seal(self, segment: Segment | None) -> None:
        """Append no more to a file: it goes once its batches are done."""
        if segment is not None:
            with undisturbed(self._lock):
                segment.is_sealed = True
                self._remove_if_done(segment)

    def oldest(self, passed_over: Container[uuid.UUID] = ()) -> Waiting | None:
        """The batch that has waited longest, of those not passed over; looks for files of processes that have ended."""
        self._take_over()
        with undisturbed(self._lock):
            for segment in self._segments:
                for batch_id in segment.pending:
                    if batch_id not in passed_over:
                        return Waiting(batch_id, segment)
            return None

    def load(self, waiting: Waiting) -> Batch | None:
        """Read a batch; None if it is gone, or damaged, which is counted."""
        with undisturbed(self._lock):
            extent = waiting.segment.pending.get(waiting.id) or waiting.segment.held.get(waiting.id)
            data = waiting.segment.read(extent) if extent else b""
        if extent is None:
            return None
        try:
            batch, damaged = decode(data)
        except SpoolError:
            self._count("damaged", extent.rows)
            self.done(waiting)
            return None
        self._count("damaged", damaged)
        batch.dropped += damaged
        batch.columns = waiting.segment.columns
        return batch

    def done(self, waiting: Waiting) -> None:
        """The batch is stored, or set aside: forget it."""
        with undisturbed(self._lock):
            waiting.segment.pending.pop(waiting.id, None)
            waiting.segment.held.pop(waiting.id, None)
            if waiting.segment is self._active and not waiting.segment.pending:
                self._active, waiting.segment.is_sealed = None, True
            self._remove_if_done(waiting.segment)

    def release(self, waiting: Waiting) -> None:
        """A batch that was held could not be stored: it waits like any other."""
        with undisturbed(self._lock):
            if extent := waiting.segment.held.pop(waiting.id, None):
                waiting.segment.pending[waiting.id] = extent

    def set_aside(self, batch: Batch, reason: str) -> None:
        """Keep rows that PostgreSQL refuses, with the reason, in a file that is never sent.

        Raises:
            SpoolError: they cannot be kept.
        """
        with undisturbed(self._lock):
            if self._dead is None:
                self._dead = self.new_segment(DEAD_SUFFIX)
            self.append(self._dead, reason_record(reason) + encode(batch))
        self._count("dead", len(batch))

    def _count(self, fate: str, count: int) -> None:
        with undisturbed(self._lock):
            self.counts[fate] += count

    def close(self) -> None:
        """Leave what waits to the next process."""
        with undisturbed(self._lock):
            with suppress(SpoolError):
                self._rescue()
            for segment in self._segments:
                if not segment.pending and not segment.held:
                    with suppress(OSError):
                        segment.remove()
                segment.close()
            if self._dead is not None:
                self._dead.close()
            self._forget()

    def _abandon(self) -> None:
        """In a forked child: everything stays the parent's."""
        for segment in (*self._segments, self._dead):
            if segment is not None:
                segment.abandon()
        self.counts.clear()
        self._forget()

    def _take_over(self) -> None:
        # reading takes its time: who writes is not kept from it meanwhile, but who asks for the oldest has to wait
        if not self._room_for_others():
            return
        with self._taking_over:
            segments = self._segments
            if not (room := self._room_for_others()):  # the thread before has done it
                return
            taken = self._left_behind(room, {segment.path for segment in tuple(segments)})
            with undisturbed(self._lock):
                if self._segments is not segments:  # it was closed meanwhile
                    for segment in taken:
                        segment.close()
                    return
                segments.extend(taken)
                segments.sort(key=lambda segment: segment.path.name)
                for segment in taken:
                    self._remove_if_done(segment)
                self._looked_at = time.monotonic()

    def _room_for_others(self) -> int:
        """How many files to take over now."""
        with undisturbed(self._lock):
            if not self._leaves_some and time.monotonic() - self._looked_at < _LOOK_AGAIN_SECONDS:
                return 0
            return max(0, _MOST_TAKEN_OVER - sum(segment.is_taken_over for segment in self._segments))

    def _left_behind(self, most: int, ours: set[Path]) -> list[Segment]:
        """Files of processes that have ended, the oldest first."""
        taken: list[Segment] = []
        for path in self._paths():
            if path.suffix != SUFFIX or path in ours:
                continue
            if len(taken) == most:
                self._leaves_some = True
                return taken
            try:
                segment = Segment.take_over(path)
            except (SpoolError, OSError) as error:
                warn(f"a file of the spool is left alone: {error}", topic=str(path))
                continue
            if segment is not None:
                _tell_damage(segment)
                taken.append(segment)
        self._leaves_some = False
        return taken

    def _paths(self) -> Iterator[Path]:
        try:
            entries = sorted(os.listdir(self.folder))
        except (OSError, SpoolError):
            return iter(())
        return (self.folder / name for name in entries)

    def _used(self) -> int:
        """Bytes in the folder: other processes write there too, so it is looked at once a second."""
        if time.monotonic() - self._measured_at > _MEASURE_SECONDS:
            self._measured_at, self._used_bytes = time.monotonic(), 0
            for path in self._paths():
                with suppress(OSError):  # another process has just removed it
                    self._used_bytes += path.stat().st_size
            with suppress(OSError):  # there is no folder yet
                disk = os.statvfs(self.folder)
                self._room = min(self._settings.spool_max_bytes, self._used_bytes + disk.f_bavail * disk.f_frsize)
        return self._used_bytes

    def _makes_room(self, reason: str, writing: Segment | None = None) -> bool:
        return self._settings.spool_policy == "drop-oldest" and self._drop_oldest(reason, writing)

    def _drop_oldest(self, reason: str, writing: Segment | None) -> bool:
        for segment in self._segments:
            if segment.held or segment is writing:
                continue
            rows = segment.rows_waiting
            if not rows:
                continue  # it only tells of losses
            losses = self._losses(segment)
            if not self._remove(segment):
                return False  # it would be given up for nothing
            self._count("dropped", rows)
            warn(f"the spool has dropped its {rows} oldest records: {reason}", topic="spool full")
            for batch_id, extent in segment.pending.items():
                if extent.rows and self._on_loss is not None:  # others tell of a loss that was counted before
                    self._on_loss(batch_id, extent.rows, reason)
            segment.pending.clear()
            if segment is self._active:
                self._active = None
            for loss in losses:
                with suppress(SpoolError):  # others may have taken the room; the producer's numbers have a gap then
                    self.put_notice(loss)
            return True
        return False

    def _rescue(self) -> None:
        """Write anew what waits in files that somebody has deleted, which only this process can still read."""
        with undisturbed(self._lock):
            for segment in [each for each in self._segments if each.pending and each.is_removed]:
                warn(f"{segment.path} was removed; its {segment.rows_waiting:,} records are written anew")
                made = self.new_segment()
                made.is_sealed = True
                while segment.pending:  # to have room for them may cost those that are left
                    batch_id, extent = next(iter(segment.pending.items()))
                    start = self.append(made, segment.read(extent))
                    made.pending[batch_id] = Extent(start, made.size, extent.rows)
                    segment.pending.pop(batch_id, None)
                self._remove_if_done(segment)

    def _losses(self, segment: Segment) -> list[Batch]:
        found = []
        for extent in segment.pending.values():
            try:
                head, _ = decode(segment.read(Extent(extent.start, min(extent.end, extent.start + _HEAD_BYTES), 0)))
                lost = extent.rows + head.dropped
                found.append(notice(head.id, head.producer_id, head.sequence, head.signal, dropped=lost))
            except SpoolError:  # nobody knows any more whose it was
                self.counts["damaged"] += extent.rows
        return found

    def _remove_if_done(self, segment: Segment) -> None:
        if segment.is_done and segment in self._segments and not self._remove(segment):
            self._segments.remove(segment)

    def _remove(self, segment: Segment) -> bool:
        try:
            segment.remove()
        except OSError as error:  # it stays locked, so that nobody stores it again before this program has ended
            warn(f"a file of the spool cannot be removed: {error}", topic="spool files")
            return False
        self._segments.remove(segment)
        self._used_bytes -= segment.size
        return True


def _tell_damage(segment: Segment) -> None:
    if segment.damaged:
        warn(
            f"{segment.path} is damaged: {segment.damaged:,} of its {segment.size:,} bytes cannot be read, and what"
            f" they held is lost; {segment.rows_waiting:,} records are left"
        )
