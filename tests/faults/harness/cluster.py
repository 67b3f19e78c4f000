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
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from otel_pg_exporter.embedded import EmbeddedServer
from otel_pg_exporter.embedded.locks import is_held
from otel_pg_exporter.embedded.programs import Programs

__all__ = ["Cluster"]

_SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "32MB",
}
if "PGBIN" not in os.environ:  # which may be a server that does not know it, before 14
    _SETTINGS["recovery_init_sync_method"] = "syncfs"  # else each of a thousand files is synced before recovery


class Cluster:
    """The server of a data folder.

    Args:
        folder: for its data.
        options: settings of the server, over fsync, full_page_writes and synchronous_commit = on.
    """

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        self._folder = folder.resolve()
        self._server = EmbeddedServer(folder, options={**_SETTINGS, **(options or {})})
        self._programs: Programs | None = None
        self._arguments: list[str] = []
        self.conninfo = ""
        """For a superuser, by its socket; it stays the same over restarts."""
        self.kills = 0
        """How often it was killed."""

    def start(self) -> float:
        """Start it, recovery included; gives the seconds that this took."""
        begun = time.monotonic()
        if self._programs is None:
            self.conninfo = self._server.start()
            self._programs = Programs(self._server.bin_dir, self._server.log_file, self._folder / "cluster")
            self._arguments = _words(self._postmaster())[1:]
        else:
            self._restart(self._programs)
        return time.monotonic() - begun

    def _restart(self, programs: Programs) -> None:
        # as the embedded server does it, without its three looks at the programs' version
        parts = conninfo_to_dict(self.conninfo)
        socket = f"{parts['host']}/.s.PGSQL.{parts['port']}"
        stale = (self._folder / "cluster" / "postmaster.pid", Path(socket), Path(f"{socket}.lock"))
        lock, deadline = self._folder / "server.lock", time.monotonic() + 60
        while True:
            # a killed server's memory may go a little later than its processes: then it is tried again
            if not is_held(lock):
                programs.run("postgres", *self._arguments, lock=lock, stale=stale)
            try:
                psycopg.connect(self.conninfo).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, programs.log_tail()
                time.sleep(0.01)

    def database(self) -> str:
        """A new, empty database; gives its conninfo."""
        name = f"fault_{uuid.uuid4().hex}"
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return make_conninfo(self.conninfo, dbname=name)

    @property
    def is_running(self) -> bool:
        """Its first process is there, whether it answers or not."""
        return is_held(self._folder / "server.lock")

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
        cluster = self._folder / "cluster"
        number = int((cluster / "postmaster.pid").read_text().split("\n")[0])
        assert str(cluster) in _words(number), f"process {number} is not the server of {cluster}"
        return number


def _words(process: int) -> list[str]:
    return os.fsdecode(Path(f"/proc/{process}/cmdline").read_bytes()).rstrip("\0").split("\0")


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
