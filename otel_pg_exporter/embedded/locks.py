"""File locks that the kernel drops when their holder dies, however it dies."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import EmbeddedServerError

if sys.platform != "win32":
    import fcntl


@contextmanager
def locked(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold the lock alone; EmbeddedServerError if others do not let go of it in time."""
    descriptor = open_private(path, os.O_RDWR)
    try:
        if not wait_until(lambda: _try_lock(descriptor), timeout_s):
            raise EmbeddedServerError(f"another process holds {path} for {timeout_s:.0f} s")
        yield
    finally:
        unlock(descriptor)


def share(path: Path) -> int:
    """Hold the lock along with others; give what is returned to unlock()."""
    descriptor = open_private(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_held(path: Path) -> bool:
    """Whether anybody holds the lock, alone or shared."""
    descriptor = open_private(path, os.O_RDWR)
    try:
        return not _try_lock(descriptor)
    finally:
        unlock(descriptor)


def unlock(descriptor: int) -> None:
    """Let go of a lock, of which a forked child may still have a copy."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would leave the lock to a forked copy
    finally:
        os.close(descriptor)  # also where the file system has no locks


def open_private(path: str | Path, flags: int) -> int:
    """Open a file that only this user can read; made if it does not exist. OSError if it is a link."""
    return os.open(path, flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)


def wait_until(is_true: Callable[[], bool], timeout_s: float) -> bool:
    """Ask every 10 ms; False if it did not become true in time."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
