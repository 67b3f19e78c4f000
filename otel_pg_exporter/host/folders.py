"""Folders that only this user can look into, whatever the umask of the program says."""

from __future__ import annotations

from pathlib import Path

__all__ = ["make_private"]


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone. One that is there stays as it is.

    `Path.mkdir(parents=True)` leaves the mode of the others to the umask, which a daemon may have set to 0. The XDG
    Base Directory Specification wants 0700 for all of them.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
    if not folder.is_dir():
        folder.mkdir()  # which says what is wrong
