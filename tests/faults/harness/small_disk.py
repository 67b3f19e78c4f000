"""A disk of a few megabytes (tmpfs), to be filled and freed."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

__all__ = ["NoDiskError", "SmallDisk"]


class NoDiskError(Exception):
    """None can be mounted here; the message says why."""


class SmallDisk:
    """A file system of its own.

    Args:
        folder: where it is mounted; made if need be.
        megabytes: its size.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self._megabytes = megabytes
        self._ballast = folder / "ballast"

    @property
    def free_bytes(self) -> int:
        """What can still be written."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self) -> None:
        """Leave not a byte, as another program that writes and writes; once more, what has become free since."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (1 << 20, 4096, 1):
                try:
                    while ballast.write(b"\0" * size):
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """Take away what filled it."""
        self._ballast.unlink()

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir(exist_ok=True)
        size = f"size={self._megabytes}m,mode=0700"
        try:
            command = ["mount", "-t", "tmpfs", "-o", size, "otel-pg-test", self.folder]
            made = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise NoDiskError(f"no program to mount with: {error}") from None
        if made.returncode:
            raise NoDiskError(f"mounting a tmpfs takes root, and in a container CAP_SYS_ADMIN: {made.stderr.strip()}")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)
