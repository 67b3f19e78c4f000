"""What a power cut would leave of the files below a folder: all that was waited for, and any part of the rest.

with Disk(folder) as disk:
    ...                                   # this process writes
    disk.after_power_cut(choose, clone)   # as often as wanted, from any thread

It listens to the calls of this process: what was written is safe after fdatasync or fsync of the file, and a new name
after fsync of its folder. Of what is not safe each sector of 512 bytes, and each name, is there or not.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Disk"]

_SECTOR = 512


@dataclass
class _File:
    data: bytearray = field(default_factory=bytearray)
    safe: bytes = b""


class Disk:
    """Listens as long as it is entered."""

    def __init__(self, folder: Path) -> None:
        self.torn = self.missing = 0
        """Sectors and names that power cuts have taken."""
        self._folder = folder
        self._lock = threading.RLock()
        self._files: dict[Path, _File] = {}
        self._safe_names: dict[Path, set[Path]] = {folder: set()}
        self._paths: dict[int, Path] = {}
        self._real: dict[str, Callable[..., Any]] = {}

    def after_power_cut(self, choose: random.Random, clone: Path) -> None:
        """Make a folder that holds what the power cut leaves."""
        with self._lock:
            self._copy(self._folder, clone, choose)

    def _copy(self, folder: Path, clone: Path, choose: random.Random) -> None:
        clone.mkdir()
        safe = self._safe_names.get(folder, set())
        for path in sorted({*folder.iterdir(), *safe}):
            is_certain = path in safe and path.exists()
            if not is_certain and choose.random() < 0.5:
                self.missing += 1
            elif path.is_dir():
                self._copy(path, clone / path.name, choose)
            elif path in self._files:
                (clone / path.name).write_bytes(self._left(self._files[path], choose))

    def _left(self, file: _File, choose: random.Random) -> bytes:
        length = choose.choice((len(file.safe), len(file.data), choose.randint(0, len(file.data))))
        left = bytearray(file.safe[: len(file.data)].ljust(max(length, len(file.safe)), b"\0"))
        for start in range(0, len(left), _SECTOR):
            end = min(start + _SECTOR, len(left))
            written = bytes(file.data[start:end]).ljust(end - start, b"\0")
            if written != left[start:end]:
                if choose.random() < 0.5:
                    left[start:end] = written
                else:
                    self.torn += 1
        return bytes(left)

    def __enter__(self) -> Disk:
        for name in ("open", "close", "pwrite", "ftruncate", "fdatasync", "fsync"):
            self._real[name] = getattr(os, name)
            setattr(os, name, getattr(self, f"_{name}"))
        return self

    def __exit__(self, *_: object) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def _open(self, path: Any, flags: int, *rest: Any, **more: Any) -> int:
        with self._lock:
            descriptor = self._real["open"](path, flags, *rest, **more)
            found = Path(os.fsdecode(path)) if isinstance(path, str | bytes | Path) else Path()
            if found == self._folder or self._folder in found.parents:
                self._paths[descriptor] = found
                if flags & os.O_CREAT:
                    self._files.setdefault(found, _File())
            return int(descriptor)

    def _close(self, descriptor: int) -> None:
        with self._lock:
            self._paths.pop(descriptor, None)
            self._real["close"](descriptor)

    def _pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        with self._lock:
            written = int(self._real["pwrite"](descriptor, data, offset))
            if file := self._file(descriptor):
                file.data.extend(bytes(max(0, offset - len(file.data))))
                file.data[offset : offset + written] = bytes(data[:written])
            return written

    def _ftruncate(self, descriptor: int, length: int) -> None:
        with self._lock:
            self._real["ftruncate"](descriptor, length)
            if file := self._file(descriptor):
                del file.data[length:]

    def _fdatasync(self, descriptor: int) -> None:
        with self._lock:
            self._real["fdatasync"](descriptor)
            self._confirm(descriptor)

    def _fsync(self, descriptor: int) -> None:
        with self._lock:
            self._real["fsync"](descriptor)
            self._confirm(descriptor)

    def _confirm(self, descriptor: int) -> None:
        if file := self._file(descriptor):
            file.safe = bytes(file.data)
        elif (folder := self._paths.get(descriptor)) is not None:
            self._safe_names[folder] = set(folder.iterdir())

    def _file(self, descriptor: int) -> _File | None:
        return self._files.get(self._paths.get(descriptor, Path()))
