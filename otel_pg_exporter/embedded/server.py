"""One server for each data folder: started by its first user, stopped by its last."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import EmbeddedServerError
from ..host.folders import make_private
from .binaries import find_binaries
from .locks import is_held, locked, share, unlock, wait_until
from .programs import Programs

_log = logging.getLogger(__name__)

_START_TIMEOUT_S = 60.0
"""Crash recovery included; a server that needs longer goes on, and the next start() joins it."""
_STOP_TIMEOUT_S = 60.0
_BOOT_TIMEOUT_S = 150.0
"""Longer than one start and one stop of another process."""
_LOG_LIMIT_BYTES = 10 * 1024 * 1024
_PORT = 5432
_SOCKET = f".s.PGSQL.{_PORT}"
_SSL_REQUEST = struct.pack(">II", 8, 80877103)
"""The smallest question that a server answers, with one byte, and does not log."""
_SOCKET_PATH_LIMIT_BYTES = 100
"""Linux allows 107, macOS 103."""
_KNOWS_CASE = 18
"""From this version on a search for words knows the two cases of all letters, whatever the system has installed."""


def default_data_dir() -> Path:
    """Folder for the server's files in the platform's place for a user's data; not created here.

    Raises EmbeddedServerError if the user has no home folder.
    """
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", ""))
        if not base.is_absolute():  # then the XDG specification wants it ignored
            base = home / ".local" / "share"
    if home in base.parents and not home.is_dir():
        raise EmbeddedServerError(
            f"no home folder {home} for the embedded PostgreSQL: set EVENT_DATA_DIR to a folder to use"
        )
    return base / "otel-pg" / "postgres"


class EmbeddedServer:
    """This process's use of the server of one data folder; methods may be called from any thread.

    Not stopped at interpreter exit: call close(), after whoever still writes has flushed.
    A process that ends without it leaves the server running, as a killed one does.
    A forked child is no user until it calls start() itself: its close() does nothing.
    """

    def __init__(
        self, data_dir: str | os.PathLike[str] | None = None, *, options: Mapping[str, str] | None = None
    ) -> None:
        """Remember where; nothing is created or started.

        `options` are server settings (`-c name=value`) for when this process is the one that starts it.
        """
        self.data_dir = Path(data_dir).expanduser().resolve() if data_dir else default_data_dir().resolve()
        self.log_file = self.data_dir / "server.log"
        self._cluster = self.data_dir / "cluster"
        self._keep_file = self.data_dir / "keep"
        self._lock = self.data_dir / "server.lock"
        self._options = dict(options or {})
        self._guard = threading.Lock()
        self._share: int | None = None
        _servers.add(self)

    @functools.cached_property
    def bin_dir(self) -> Path:
        """Folder of the PostgreSQL programs; EmbeddedServerError if there are none."""
        return find_binaries()

    @property
    def conninfo(self) -> str:
        """Connection string for libpq of the running server; EmbeddedServerError if it does not run."""
        if conninfo := self._serving():
            return conninfo
        raise EmbeddedServerError(f"the embedded PostgreSQL of {self.data_dir} is not running")

    def is_running(self) -> bool:
        """True if the server answers; neither starts nor joins it. A stopped one (SIGSTOP) costs 5 s."""
        return self._serving() is not None

    def start(self) -> str:
        """Start the server or join it; returns `host=… port=5432 user=postgres dbname=postgres`.

        Called again, it revives a server that died. Waits up to 60 s for recovery after a crash.
        Raises EmbeddedServerError with the end of the server's log.
        """
        with self._guard:
            if self._share is not None and (conninfo := self._serving()):
                return conninfo
            try:
                conninfo = self._join()
            except OSError as error:
                raise EmbeddedServerError(
                    f"the embedded PostgreSQL cannot use its data folder: {error}; "
                    "set EVENT_DATA_DIR to a folder that this user can write"
                ) from error
        _log.info("Embedded PostgreSQL is running, its data lies in %s", self.data_dir)
        return conninfo

    def close(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """Leave; the last one out stops the server (fast shutdown), and waits for its end. Never raises."""
        with self._guard:
            if self._share is None:
                return
            try:
                with locked(self.data_dir / "boot.lock", min(timeout_s, _BOOT_TIMEOUT_S)):
                    # Out first: two that close at once would each see the other, and both go.
                    self._leave()
                    if not self._keep_file.exists() and not is_held(self.data_dir / "users.lock"):
                        self._stop(timeout_s)
            except (OSError, EmbeddedServerError) as error:
                _log.warning("The embedded PostgreSQL of %s was left running: %s", self.data_dir, error)
            finally:
                self._leave()

    def keep(self, keep_running: bool) -> None:
        """Say whether the last one out leaves the server running; remembered in the data folder.

        keep(False) does not stop it by itself: the next to close it as the last does.
        """
        if keep_running:
            self._own_folder()
            self._keep_file.touch(mode=0o600)
        else:
            self._keep_file.unlink(missing_ok=True)

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _join(self) -> str:
        if sys.platform == "win32":
            raise EmbeddedServerError(
                "no embedded PostgreSQL on Windows: set OTEL_EXPORTER_POSTGRES_DSN to a server you have"
            )
        self._own_folder()
        with locked(self.data_dir / "boot.lock", _BOOT_TIMEOUT_S):
            if self._share is None:
                self._share = share(self.data_dir / "users.lock")
            try:
                return self._outlive_predecessor() or self._launch()
            except BaseException:
                self._leave()
                raise

    def _own_folder(self) -> None:
        """Make the data folder. It may be root's, as volumes of containers are, and no other user's, who could have put
        a server of theirs into it."""
        make_private(self.data_dir)
        found, user = self.data_dir.stat(), os.geteuid()
        if user and found.st_uid not in (user, 0):
            raise EmbeddedServerError(
                f"the data folder {self.data_dir} is another user's: set EVENT_DATA_DIR to a folder of your own"
            )
        if found.st_uid == user and found.st_mode & 0o022:
            self.data_dir.chmod(stat.S_IMODE(found.st_mode) & ~0o022)

    def _leave(self) -> None:
        if self._share is not None:
            unlock(self._share)
            self._share = None

    def _forget(self) -> None:
        """In a forked child: drop the copy without LOCK_UN, which would take the parent's share away."""
        self._guard = threading.Lock()
        if self._share is not None:
            os.close(self._share)
            self._share = None

    def _launch(self) -> str:
        for abandoned in self.data_dir.glob("init-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_LIMIT_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        programs = Programs(self.bin_dir, self.log_file, self._cluster)
        if not (self._cluster / "PG_VERSION").exists():
            self._create_cluster(programs)
        self._check_version(programs.major())
        programs.own(self._cluster)
        socket_dir = self._make_socket_dir()
        stale = (self._cluster / "postmaster.pid", socket_dir / _SOCKET, socket_dir / f"{_SOCKET}.lock")
        settings = {
            "max_parallel_workers_per_gather": "0",  # they share memory in /dev/shm: 64 MB in Docker
            "log_checkpoints": "off",
            **self._options,
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": '"' + str(socket_dir).replace('"', '""') + '"',
            "unix_socket_permissions": "0700",
            "cluster_name": self._mark(),
        }
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        programs.run("postgres", "-D", str(self._cluster), *arguments, lock=self._lock, stale=stale)
        wait_until(lambda: self.is_running() or not is_held(self._lock), _START_TIMEOUT_S)
        if conninfo := self._serving():
            return conninfo
        raise EmbeddedServerError(f"PostgreSQL did not start on {self.data_dir}:\n{programs.log_tail()}")

    def _create_cluster(self, programs: Programs) -> None:
        # A fresh name each time: the initdb of a killed process may still be writing.
        fresh = Path(tempfile.mkdtemp(prefix="init-", dir=self.data_dir))
        programs.own(fresh)
        identity = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        if programs.major() >= _KNOWS_CASE:  # the order is that of C all the same
            identity += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        programs.run("initdb", "-D", str(fresh), *identity)
        fresh.rename(self._cluster)

    def _check_version(self, major: int) -> None:
        of_data = (self._cluster / "PG_VERSION").read_text().strip()
        if of_data != str(major):
            raise EmbeddedServerError(
                f"PostgreSQL {of_data} made {self.data_dir}, and {self.bin_dir} is PostgreSQL {major}: "
                f"set PGBIN to the bin folder of a PostgreSQL {of_data}, or EVENT_DATA_DIR to another folder"
            )

    def _make_socket_dir(self) -> Path:
        folder = self.data_dir / "run"
        # libpq splits a host at commas.
        if len(os.fsencode(folder / _SOCKET)) > _SOCKET_PATH_LIMIT_BYTES or "," in str(folder):
            digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
            folder = Path(tempfile.gettempdir()) / f"otel-pg-{os.geteuid()}-{digest}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise EmbeddedServerError(f"{folder} must be a folder of this user with mode 0700: it guards the server")
        return folder

    def _serving(self) -> str | None:
        """The conninfo of a server that answers."""
        postmaster = self._postmaster()
        if postmaster is None or postmaster.status not in ("ready", "standby"):
            return None
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            try:
                probe.connect(f"{postmaster.socket_dir}/.s.PGSQL.{postmaster.port}")
                probe.sendall(_SSL_REQUEST)
                if not probe.recv(1):  # a killed one accepts until the kernel has taken it down
                    return None
            except OSError:
                return None
        host = re.sub(r"([\\'])", r"\\\1", postmaster.socket_dir)
        quote = "'" if re.search(r"[\s\\]", host) else ""
        return f"host={quote}{host}{quote} port={postmaster.port} user=postgres dbname=postgres"

    def _postmaster(self) -> _Postmaster | None:
        """What postmaster.pid claims."""
        try:
            lines = os.fsdecode((self._cluster / "postmaster.pid").read_bytes()).split("\n")
            return _Postmaster(int(lines[0]), int(lines[3]), lines[4], lines[7].strip())
        except (OSError, ValueError, IndexError):
            return None

    def _mark(self) -> str:
        """The server's cluster_name, which every one of its processes shows in its command line."""
        cluster = self._cluster.stat()
        return f"otel-pg-{cluster.st_dev:x}-{cluster.st_ino:x}"

    def _outlive_predecessor(self) -> str | None:
        """Wait until an earlier server serves after all (its conninfo) or no process of it is left (None).

        Backends that a killed postmaster left busy would hold its shared memory for hours: they are killed.
        """

        def is_settled() -> bool:
            if self.is_running() or not is_held(self._lock):
                return True
            lines = _command_lines()
            if not any(self._is_postmaster(line) for line in lines.values()):
                for pid, line in lines.items():
                    if " ".join(line).startswith(f"postgres: {self._mark()}: "):
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
            return False

        if wait_until(is_settled, _START_TIMEOUT_S):
            return self._serving()
        raise EmbeddedServerError(
            f"an earlier server neither serves nor ends for {_START_TIMEOUT_S:.0f} s: see {self.log_file}"
        )

    def _is_postmaster(self, command_line: list[str]) -> bool:
        return Path(command_line[0]).name == "postgres" and f"cluster_name={self._mark()}" in command_line

    def _stop(self, timeout_s: float) -> None:
        postmaster = self._postmaster()
        if postmaster is None or not is_held(self._lock):
            return
        if not self._is_postmaster(_command_lines().get(postmaster.pid, [""])):
            raise EmbeddedServerError(f"process {postmaster.pid} is not its postmaster, as seen from here")
        os.kill(postmaster.pid, signal.SIGINT)
        if not wait_until(lambda: not is_held(self._lock), timeout_s):
            raise EmbeddedServerError(f"it was told to stop, and has not done so in {timeout_s:.1f} s")
        with suppress(OSError):
            os.rmdir(postmaster.socket_dir)


class _Postmaster(NamedTuple):
    pid: int
    port: int
    socket_dir: str
    status: str


def _command_lines() -> dict[int, list[str]]:
    """The command line of each process by its id; a zombie has none."""
    lines: dict[int, list[str]] = {}
    if sys.platform != "linux":
        table = subprocess.run(["ps", "-axwwo", "pid=,command="], capture_output=True, text=True, check=True)
        return {int(pid): words for pid, *words in map(str.split, table.stdout.splitlines()) if words}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):  # it ended
                lines[int(process.name)] = os.fsdecode((process / "cmdline").read_bytes()).split("\0")
    return lines


_servers: weakref.WeakSet[EmbeddedServer] = weakref.WeakSet()


def _forget_shares() -> None:
    for server in _servers:
        server._forget()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_shares)
