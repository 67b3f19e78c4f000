"""Where the spool lies: one folder for each database, in the user's place for state."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
from pathlib import Path

from ..config import Settings
from ..errors import SpoolError
from ..host.folders import make_private

__all__ = ["default_spool_dir", "make_folder", "spool_path", "sync_folder"]


def default_spool_dir() -> Path:
    """Folder for all spools of this user; not created here.

    Raises:
        SpoolError: the user has no home folder.
    """
    home = Path(os.path.expanduser("~"))
    if sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_STATE_HOME", ""))
        if not base.is_absolute():  # then the XDG specification wants it ignored
            base = home / ".local" / "state"
    if home in base.parents and not home.is_dir():
        raise SpoolError(f"no home folder {home} for the spool: set EVENT_SPOOL_DIR to a folder to use")
    return base / "otel-pg" / "spool"


def spool_path(settings: Settings) -> Path:
    """The folder for batches of one database, schema and prefix; not created here.

    Raises:
        SpoolError: there is no place for it.
    """
    if sys.platform == "win32":
        raise SpoolError("no spool on Windows: it has no file locks that end with their process")
    base = Path(settings.spool_dir) if settings.spool_dir else default_spool_dir()
    target = f"{settings.target}\n{settings.data_dir}\n{settings.schema}\n{settings.table_prefix}"
    return base / hashlib.sha256(target.encode()).hexdigest()[:16]


def make_folder(folder: Path) -> None:
    """Make the folder if need be, and close it to other users.

    Raises:
        SpoolError: it cannot be made, is a link, or belongs to somebody else.
    """
    try:
        make_private(folder)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise SpoolError(f"no spool in {folder}: it is a link, or another user's. Set EVENT_SPOOL_DIR")
        if found.st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise SpoolError(f"no spool in {folder}: {error}. Set EVENT_SPOOL_DIR to a folder of your own") from None


def sync_folder(folder: Path) -> None:
    """Wait until the names of the files in it, and its own, survive a power cut.

    Raises:
        SpoolError: the disk does not confirm the names of the files.
    """
    for each in (folder, *folder.parents):
        try:
            descriptor = os.open(each, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            # what is above was there before us, as a rule; and some file systems have nothing to wait for
            if each == folder and error.errno != errno.EINVAL:
                raise SpoolError(f"the disk does not confirm the names in {folder}: {error}") from error
