"""gunicorn and Celery as they are: workers that come and go store all that they recorded."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

REQUESTS = int(os.environ.get("REQUESTS", "60"))
TASKS = int(os.environ.get("TASKS", "4"))


def served(judge, durability: str, *options: str, **environment: str) -> None:
    """Asks a gunicorn, whose workers end after ten requests each, and ends it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "--max-requests", "10", *options, "wsgi"]
    server = start(judge, command, DURABILITY=durability, **environment)
    try:
        answers = 0
        ends_at = time.monotonic() + 120
        while answers < REQUESTS:
            assert server.poll() is None
            assert time.monotonic() < ends_at
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10):
                    answers += 1
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)  # it begins, or a worker has just ended
    finally:
        server.terminate()
        assert 0 == server.wait(60)


def worked(judge, durability: str, when: str, **environment: str) -> None:
    """Has a Celery, whose worker processes end after each task, do some, and ends it."""
    (judge.folder / "broker").mkdir()
    environment |= {"BROKER": str(judge.folder / "broker"), "WHEN": when, "DURABILITY": durability}
    options = ["--pool=prefork", "--concurrency=2", "--max-tasks-per-child=1", "--without-gossip", "--without-mingle"]
    command = ["-m", "celery", "-A", "celery_app", "worker", *options, "--without-heartbeat"]
    worker = start(judge, command, **environment)
    try:
        assert 0 == judge.run("celery_send.py", TASKS, **{**environment, "WHEN": "not here"})[0]
        ends_at = time.monotonic() + 120
        while len(judge.told("task")) < TASKS:
            assert worker.poll() is None
            assert time.monotonic() < ends_at
            time.sleep(0.05)
    finally:
        worker.terminate()
        assert 0 == worker.wait(60)


def start(judge, command: list[str], **environment: str) -> subprocess.Popen[bytes]:
    with (judge.folder / "output").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *command],
            env=judge.environment(**environment), stdout=output, stderr=subprocess.STDOUT, cwd=judge.folder,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("durability", "options"),
    [
        ("memory", ()),
        ("memory", ("--preload",)),
        ("process", ("--preload",)),
        ("memory", ("--preload", "-k", "gthread", "--threads", "4")),
    ],
)
def test_gunicorn_loses_nothing(judge, durability, options):
    """Workers that end after some requests, and at the end of all, with and without --preload."""
    served(judge, durability, *options)

    assert len(set(judge.told("pid"))) > 2
    assert len(judge.told("span")) > REQUESTS
    assert (set(), set()) == judge.verdict()


def test_gunicorn_does_lose_if_nothing_begins_anew_in_a_fork(judge):
    """The counterpart: workers of --preload that go on with the master's queue and connection."""
    served(judge, "memory", "--preload", BROKEN="forks")

    assert (set(), set()) != judge.verdict()


@pytest.mark.parametrize(
    ("durability", "when"),
    [("memory", "before"), ("memory", "after"), ("memory", "in the child"), ("process", "before")],
)
def test_celery_loses_nothing(judge, durability, when):
    """`configure()` may come before `import celery`, after it, or in each worker process."""
    worked(judge, durability, when)

    assert TASKS == len({line.split()[0] for line in judge.told("task")})
    assert (set(), set()) == judge.verdict()


def test_celery_does_lose_without_its_signal(judge):
    """The counterpart: worker processes leave by os._exit, past the interpreter's exit handlers."""
    worked(judge, "memory", "before", BROKEN="exits")

    lost, _ = judge.verdict()
    assert lost


def test_celery_is_not_imported(judge):
    """`configure()` alone loads neither Celery nor multiprocessing."""
    program = "import sys; from otel_pg_exporter import configure; configure(dsn='host=nowhere'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert not {"celery", "multiprocessing", "billiard"} & set(loaded)
