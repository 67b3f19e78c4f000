"""A PostgreSQL server that belongs to one test, with fsync on, and may be killed, stopped and started again."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from otel_pg_exporter.embedded import EmbeddedServer
from otel_pg_exporter.errors import EmbeddedServerError

__all__ = ["Cluster"]

_SETTINGS = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "shared_buffers": "32MB"}


class Cluster:
    """The server of a data folder.

    Args:
        folder: for its data.
        options: settings of the server, over fsync, full_page_writes and synchronous_commit = on.
    """

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._server = EmbeddedServer(folder, options={**_SETTINGS, **(options or {})})
        self.kills = 0
        """How often it was killed."""

    @property
    def conninfo(self) -> str:
        """For a superuser, by its socket; it stays the same over restarts."""
        return self._server.conninfo

    def start(self) -> float:
        """Start it, recovery included; gives the seconds that this took."""
        begun = time.monotonic()
        for _ in range(50):
            try:
                self._server.start()
                break
            except EmbeddedServerError as error:
                if "pre-existing shared memory block" not in str(error):
                    raise
                time.sleep(0.1)  # a killed server's memory goes a little later than its processes
        return time.monotonic() - begun

    def database(self) -> str:
        """A new, empty database; gives its conninfo."""
        name = f"fault_{uuid.uuid4().hex}"
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return make_conninfo(self.conninfo, dbname=name)

    def kill(self) -> None:
        """SIGKILL to all of its processes, as good as at once; returns when none of them is left."""
        postmaster = self._postmaster()
        os.kill(postmaster, signal.SIGSTOP)  # it must not start others, nor end in order
        doomed = _children(postmaster)
        for process in (*doomed, postmaster):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        _wait_until_gone((postmaster, *doomed))
        self.kills += 1

    @contextmanager
    def silent(self) -> Iterator[None]:
        """SIGSTOP to all of its processes: connections stand, and nothing is answered."""
        postmaster = self._postmaster()
        os.kill(postmaster, signal.SIGSTOP)
        stopped = [postmaster, *_children(postmaster)]
        for process in stopped:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in reversed(stopped):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def close(self) -> None:
        """Stop it in order."""
        self._server.close()

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _postmaster(self) -> int:
        cluster = self._folder.resolve() / "cluster"
        number = int((cluster / "postmaster.pid").read_text().split("\n")[0])
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\x00")
        assert os.fsencode(cluster) in words, f"process {number} is not the server of {cluster}"
        return number


def _children(parent: int) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                # the name, in parentheses, may hold anything: what counts is behind the last one
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(process.name))
    return found


def _wait_until_gone(processes: tuple[int, ...], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while any(_lives(process) for process in processes):
        assert time.monotonic() < deadline, f"some of {processes} survived SIGKILL"
        time.sleep(0.005)


def _lives(process: int) -> bool:
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())  # a zombie has none
    except OSError:
        return False
