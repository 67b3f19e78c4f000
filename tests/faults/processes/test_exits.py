"""Ends of a program: within 5 s whatever PostgreSQL does, and nothing is lost that the mode promises."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from harness.frames import CLIENT, Frame
from harness.wire import Link, Wire
from psycopg.conninfo import make_conninfo

from otel_pg_exporter import migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.embedded import EmbeddedServer

# the way → its exit code
BY_EXIT_HANDLERS = {
    "return": 0,
    "sys.exit": 3,
    "exception": 1,
    "SIGINT": -signal.SIGINT,
    "thread": 0,
    "thread pool": 0,
    "daemon threads": 0,
    "10,000 queued": 0,
    "everything open": 0,
}
FLUSHED = {"SIGTERM, idle": -signal.SIGTERM, "SIGTERM, busy": -signal.SIGTERM, "SIGTERM, chained": 7}
AT_ONCE = {"SIGTERM": -signal.SIGTERM, "os._exit": 4, "os.exec": 5, "kill -9": -signal.SIGKILL}
WAYS = {**BY_EXIT_HANDLERS, **FLUSHED, **AT_ONCE}
MOST_SECONDS = 5.0
NOISE_SECONDS = 4.0  # a dozen programs end at once here, on a machine that may be busy with others


class Postgres:
    """PostgreSQL as a program finds it."""

    def __init__(self, how: str, dsn: str, server: EmbeddedServer) -> None:
        self.how, self.dsn, self._server = how, dsn, server
        self._silent = socket.create_server(("127.0.0.1", 0), backlog=200)

    @property
    def as_told(self) -> str:
        """The DSN that programs are given."""
        if self.how in {"up", "stopped"}:
            return self.dsn
        if self.how == "silent":  # takes connections into its backlog, and never says a word
            return make_conninfo(host="127.0.0.1", port=self._silent.getsockname()[1], dbname="d", user="u")
        with socket.create_server(("127.0.0.1", 0)) as closed:
            return make_conninfo(host="127.0.0.1", port=closed.getsockname()[1], dbname="d", user="u")

    def signal(self, number: int) -> None:
        """To every process of the server."""
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                try:
                    words = (process / "cmdline").read_bytes()
                    parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
                if parent == self._postmaster or int(process.name) == self._postmaster:
                    assert b"postgres" in words or not words
                    os.kill(int(process.name), number)

    @property
    def _postmaster(self) -> int:
        return int((self._server.data_dir / "cluster" / "postmaster.pid").read_text().split()[0])

    def close(self) -> None:
        self._silent.close()


@pytest.fixture(scope="module")
def own_server(tmp_path_factory) -> Iterator[EmbeddedServer]:
    """A server that can be stopped without hurting other tests."""
    fast = {"fsync": "off", "max_connections": "200"}
    with EmbeddedServer(tmp_path_factory.mktemp("own") / "data", options=fast) as server:
        migrate.up(Settings(dsn=server.conninfo))
        yield server


@pytest.fixture
def postgres(own_server, request) -> Iterator[Postgres]:
    found = Postgres(request.param, own_server.conninfo, own_server)
    yield found
    found.signal(signal.SIGCONT)
    found.close()


@pytest.mark.parametrize(
    ("postgres", "durability"),
    [(how, mode) for how in ("up", "refused", "silent", "stopped") for mode in ("memory", "process")],
    indirect=["postgres"],
)
def test_a_program_ends_in_time_and_keeps_what_its_mode_promises(postgres, judge_of, durability, tmp_path):
    """All ways to end, at once, with PostgreSQL up, away, silent from the beginning, and stopped in between."""
    judges, programs, go = {}, {}, tmp_path / "go"
    for way in WAYS:
        judges[way] = judge_of(way, postgres.dsn)
        programs[way] = judges[way].start("leave.py", way, durability, DSN=postgres.as_told, GO=str(go))
    wait_until(lambda: all(judge.told("ready") for judge in judges.values()), 120)
    if postgres.how == "stopped":
        postgres.signal(signal.SIGSTOP)

    go.touch()

    codes = {way: finished(program) for way, program in programs.items()}
    postgres.signal(signal.SIGCONT)
    assert codes == WAYS
    seconds = {
        way: float(judge.told("left")[0]) - float(judge.told("leaving")[0])
        for way, judge in judges.items()
        if judge.told("left")
    }
    print("seconds to the end:", {way: round(took, 2) for way, took in seconds.items()})
    assert set(BY_EXIT_HANDLERS) == set(seconds)
    assert {} == {way: took for way, took in seconds.items() if took > MOST_SECONDS + NOISE_SECONDS}
    lost = {way: losses(judge, durability) for way, judge in judges.items()}
    expected = set(AT_ONCE) if durability == "memory" else set()
    assert expected == {way for way, ids in lost.items() if ids}
    assert {} == {way: doubled for way, judge in judges.items() if (doubled := judge.verdict()[1])}


def test_an_end_that_takes_longer_is_seen(judge):
    """The counterpart: the time that the test above compares is that of the exit handlers."""
    judge.run("leave.py", "return", "memory", BROKEN="time")

    assert float(judge.told("left")[0]) - float(judge.told("leaving")[0]) > MOST_SECONDS + NOISE_SECONDS


WAITING = ("force_flush of the providers", "shutdown of the providers", "force_flush", "shutdown", "close")


@pytest.fixture
def silent():
    """Takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listening:
        yield make_conninfo(host="127.0.0.1", port=listening.getsockname()[1], dbname="d", user="u")


@pytest.mark.parametrize("durability", ["memory", "process"])
@pytest.mark.parametrize("call", WAITING)
def test_ctrl_c_while_the_program_waits_for_us_loses_nothing(judge, silent, call, durability):
    """What it interrupts is the waiting, not the work."""
    code, _, err = judge.run("interrupt_waiting.py", call, durability, DSN=silent)

    assert 0 == code, err
    assert [call] == judge.told("interrupted")
    assert 100 == len(judge.told("span", "log"))
    assert (set(), set()) == judge.verdict()


def test_ctrl_c_while_the_processor_of_the_sdk_exports_loses_nothing(judge, silent):
    """It calls the exporter in the program's own thread: what is on its way is kept, here in a second spool."""
    judge.run("interrupt_waiting.py", "the SDK's processor", "memory", DSN=silent)

    assert ["the SDK's processor"] == judge.told("interrupted")
    assert {2} == {judge.spooled()[span] for span in judge.told("span")}


def test_ctrl_c_in_the_middle_of_the_work_loses(judge, silent):
    """The counterpart: where the waiting thread does the work itself, the batch in the middle of it is not whole."""
    judge.run("interrupt_waiting.py", "shutdown", "memory", DSN=silent, BROKEN="errands")

    assert ["shutdown"] == judge.told("interrupted")
    assert judge.verdict()[0]


def press_again_and_again(judge, postgres, go, durability, **environment):
    """The exit code, and what it printed, of a program that Ctrl-C ends when its server has just stopped."""
    arguments = ("SIGINT, again and again", durability)
    program = judge.start("leave.py", *arguments, DSN=postgres.as_told, GO=str(go), **environment)
    wait_until(lambda: judge.told("ready"), 60)
    postgres.signal(signal.SIGSTOP)
    go.touch()
    _, err = program.communicate(timeout=60)
    postgres.signal(signal.SIGCONT)
    return program.returncode, err


@pytest.mark.parametrize(
    ("postgres", "durability"), [("stopped", "memory"), ("stopped", "process")], indirect=["postgres"]
)
def test_ctrl_c_again_and_again_loses_nothing(judge_of, postgres, durability, tmp_path):
    """Whoever presses it since the program does not end at once: the end takes no longer, and is not cut short."""
    judge = judge_of("again", postgres.dsn)

    code, err = press_again_and_again(judge, postgres, tmp_path / "go", durability)

    assert -signal.SIGINT == code
    assert 1 == err.count("Traceback"), err
    assert float(judge.told("left")[0]) - float(judge.told("leaving")[0]) < MOST_SECONDS + NOISE_SECONDS
    assert 102 == len(judge.told("span", "log"))
    assert not losses(judge, durability)


@pytest.mark.parametrize("postgres", ["stopped"], indirect=True)
def test_an_end_that_ctrl_c_cuts_short_loses(judge_of, postgres, tmp_path):
    """The counterpart: as Python would do."""
    judge = judge_of("again", postgres.dsn)

    press_again_and_again(judge, postgres, tmp_path / "go", "memory", BROKEN="ctrl-c")

    assert losses(judge, "memory")


class SilentInCopy:
    """Has the wire fall silent in the middle of a COPY, for all connections."""

    def __init__(self, wire: Wire, after_bytes: int) -> None:
        self._wire, self._left = wire, after_bytes

    def __call__(self, link: Link, frame: Frame) -> bool:
        if frame.side == CLIENT and frame.kind == "d":
            self._left -= len(frame.raw)
            if self._left < 0:
                self._wire.swallow()
        return self._left >= 0


def leave_large(judge, wire, *settings, **environment):
    """Seconds that the end took, and how many records were counted as dropped."""
    wire.meddler = SilentInCopy(wire, 3_000_000)
    code, _, err = judge.run("leave_large.py", *settings, DSN=wire.conninfo, **environment)
    assert wire.is_swallowing
    wire.close()
    assert 0 == code, err
    return float(judge.told("left")[0]) - float(judge.told("leaving")[0]), int(judge.told("dropped")[0])


def test_a_server_that_falls_silent_in_a_large_copy_holds_up_nothing_behind_it(judge, wire):
    """10,000 large spans wait behind an attempt that may take 12 s: all are in the tables or the spool within 5 s."""
    seconds, dropped = leave_large(judge, wire)

    assert seconds < MOST_SECONDS + NOISE_SECONDS
    assert 10_001 == len(judge.told("span"))
    assert ((set(), set()), 0) == (judge.verdict(), dropped)


def test_without_a_spool_what_is_behind_it_is_counted(judge, wire):
    """There is nowhere to put it then: each span that is lost is known to be."""
    seconds, dropped = leave_large(judge, wire, "spool_max_bytes=0")

    lost, twice = judge.verdict()
    assert seconds < MOST_SECONDS + NOISE_SECONDS
    assert lost
    assert (len(lost), set()) == (dropped, twice)


@pytest.mark.parametrize("settings", [(), ("spool_max_bytes=0",)])
def test_an_end_that_waits_for_what_hangs_loses_what_is_behind_it(judge, wire, settings):
    """The counterpart: without a way past the attempt the rest is neither stored, nor spooled, nor counted."""
    _, dropped = leave_large(judge, wire, *settings, BROKEN="queues")

    assert len(judge.verdict()[0]) > dropped


@pytest.mark.parametrize("durability", ["memory", "process"])
def test_a_signal_handler_may_record_whatever_it_interrupts(judge, durability):
    """It may run in the middle of a record of the same thread, whose locks are held."""
    code, _, err = judge.run("interrupt.py", durability)

    assert (0, "") == (code, err)
    assert (set(), set()) == judge.verdict()


def test_a_handler_that_waits_for_the_lock_it_interrupts_waits_for_ever(judge):
    """The counterpart: without a look at who holds the lock the program above hangs."""
    with pytest.raises(subprocess.TimeoutExpired):
        judge.run("interrupt.py", "process", seconds=20, BROKEN="nested")


EMBEDDED = """
import os, signal, sys, time
from opentelemetry import trace
from otel_pg_exporter import configure
telemetry = configure()
trace.get_tracer("x").start_span("s").end()
assert telemetry.force_flush()
postmaster = int((telemetry.database.server.data_dir / "cluster" / "postmaster.pid").read_text().split()[0])
os.kill(postmaster, signal.SIGSTOP)
begun = time.monotonic()
telemetry.shutdown()
print(time.monotonic() - begun)
os.kill(postmaster, signal.SIGCONT)
"""


def test_an_embedded_server_that_does_not_stop_keeps_no_program_from_ending(tmp_path):
    """It is told to stop, and does so when it can."""
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDED], capture_output=True, text=True, timeout=90, check=False,
        env={**os.environ, "EVENT_DATA_DIR": str(tmp_path / "data")},
    )  # fmt: skip

    assert 0 == done.returncode
    assert "it was told to stop" in done.stderr
    assert float(done.stdout) < MOST_SECONDS + NOISE_SECONDS
    wait_until(lambda: not (tmp_path / "data" / "cluster" / "postmaster.pid").exists(), 60)


def test_sigterm_does_nothing_new_unless_it_is_asked_for():
    """The handler is opt-in: by default the program's own stays."""
    assert Settings.from_env({}).flush_on_sigterm is False
    assert Settings.from_env({"EVENT_FLUSH_ON_SIGTERM": "true"}).flush_on_sigterm is True


def test_a_handler_of_sigterm_that_cannot_be_set_is_said():
    """In another thread than the main one, with the reason."""
    program = (
        "import threading; from otel_pg_exporter import configure\n"
        "threading.Thread(target=configure, kwargs={'dsn': 'host=nowhere', 'flush_on_sigterm': True}).start()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert done.stderr == "EVENT_FLUSH_ON_SIGTERM has no effect: configure() was not called in the main thread\n"


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import gevent, os, signal
from opentelemetry import trace
from otel_pg_exporter import configure
configure(flush_on_sigterm=True, batch_timeout_millis=60_000)
trace.get_tracer("x").start_span("last words").end()
gevent.spawn_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
gevent.sleep(30)
"""


@pytest.mark.parametrize("way", [(), ("-m", "otel_pg_exporter.run", "python")], ids=["configure", "run"])
def test_sigterm_ends_a_program_of_greenlets_when_all_is_stored(dsn, way):
    """Its threads have numbers that the system does not know, and `patch_all()` may come after us."""
    done = subprocess.run(
        [sys.executable, *way, "-c", GREENLETS], capture_output=True, text=True, timeout=90, check=False,
        env={
            **os.environ, "OTEL_EXPORTER_POSTGRES_DSN": dsn, "EVENT_FLUSH_ON_SIGTERM": "true",
            "EVENT_BATCH_TIMEOUT": "60000",
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        },
    )  # fmt: skip

    assert -signal.SIGTERM == done.returncode, done.stderr
    with psycopg.connect(dsn) as connection:
        assert [("last words",)] == connection.execute("SELECT event_name FROM otel.events").fetchall()


def losses(judge, durability):
    """Ids that the mode promises, and that are nowhere."""
    lost, _ = judge.verdict()
    if durability != "memory":
        return lost
    # in memory what ends while the program ends is promised to nobody
    lines = judge.told_path.read_text("utf-8").splitlines()
    kinds = [line.split(" ", 1)[0] for line in lines]
    last = "signal" if "signal" in kinds else "leaving"
    if last == "leaving" and judge.folder.name not in {"daemon threads"}:
        return lost
    return lost & {line.split(" ", 1)[1] for line in lines[: kinds.index(last)]}


def finished(program) -> int:
    try:
        program.communicate(timeout=60)
    except BaseException:
        program.kill()
        raise
    return program.returncode


def wait_until(is_true, seconds: float) -> None:
    ends_at = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < ends_at
        time.sleep(0.05)


@pytest.mark.parametrize("durability", ["memory", "process"])
def test_a_destructor_may_record_wherever_it_comes(judge, durability):
    """Python may look for garbage between any two lines of ours, in any thread, and spans end in the garbage."""
    code, out, err = judge.run("interrupt_lines.py", durability)

    assert (0, "") == (code, err)
    assert (set(), set()) == judge.verdict()
    assert int(out) > 1000, "lines"


def test_a_destructor_that_waits_for_the_lock_of_its_thread_is_condemned(judge):
    """The counterpart: where nothing is put off the program above hangs, and says where."""
    code, _, err = judge.run("interrupt_lines.py", "process", HANG_SECONDS="10", BROKEN="nested")

    assert 1 == code
    assert "_take_safely" in err
