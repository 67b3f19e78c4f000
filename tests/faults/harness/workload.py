"""Runs `load` as a process of its own, and watches it from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import journal

__all__ = ["Workload", "wait_until"]


class Workload:
    """A running program that ends spans.

    Args:
        dsn: where it stores them.
        folder: for its journal, its spool and what it prints.
        seed: of the run.
        producer: its name; two that run in one test, or one after the other, have different names.
        arguments: options of `load` by name, such as rate=1000, count=500, durability="process",
            acknowledge_seconds=0.5, logs_every=50, broken="blind_retry".
        settings: other fields of Settings, such as {"batch_timeout_millis": 50}.
    """

    def __init__(
        self,
        dsn: str,
        folder: Path,
        seed: int,
        producer: str = "load",
        *,
        settings: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> None:
        self.journal = folder / f"{producer}.journal"
        self.spool = folder / "spool"
        """Shared by all programs of the folder: what one leaves, the next stores."""
        self.output = folder / f"{producer}.output"
        """What it prints: nothing, if all is well."""
        given = {
            "dsn": dsn, "journal": self.journal, "seed": seed, "producer": producer,
            "settings": json.dumps({"spool_dir": str(self.spool), **(settings or {})}), **arguments,
        }  # fmt: skip
        words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        self._command = [sys.executable, "-m", "harness.load", *words]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Workload:
        """Start it; returns at once."""
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output, env=environment)
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process; it was started."""
        assert self._process is not None
        return self._process

    @property
    def is_running(self) -> bool:
        """Started, and not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def accepted(self) -> int:
        """Spans whose end() has returned by now."""
        return sum(kind == "a" for kind, _ in journal.lines(self.journal)) if self.journal.exists() else 0

    @property
    def report(self) -> dict[str, Any]:
        """Its own account, at its end: counts, failed, last_error, is_flushed, end_seconds, end_us, stalled_us."""
        found = [json.loads(content) for kind, content in journal.lines(self.journal) if kind == "r"]
        assert found, f"no report; it printed: {self.output.read_text()}"
        return found[-1]

    def wait_until_accepted(self, count: int, seconds: float = 60) -> None:
        """Wait until so many spans have ended."""
        wait_until(lambda: self.accepted >= count or not self.is_running, seconds)
        assert self.accepted >= count, f"only {self.accepted} spans; it printed: {self.output.read_text()}"

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM, and wait; gives the exit status."""
        if self.is_running:
            self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = 60) -> int:
        """Wait for its end; gives the exit status."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    @property
    def journals(self) -> list[Path]:
        """What it wrote: of spans, and of log records if there are any."""
        return [path for path in (self.journal, Path(f"{self.journal}.logs")) if path.exists()]

    @property
    def memory_bytes(self) -> int:
        """Resident memory now."""
        return int(_status(self.process.pid)["VmRSS"].split()[0]) * 1024

    @property
    def most_memory_bytes(self) -> int:
        """Resident memory at its highest so far."""
        return int(_status(self.process.pid)["VmHWM"].split()[0]) * 1024

    @property
    def threads(self) -> int:
        """Threads now."""
        return int(_status(self.process.pid)["Threads"])

    @property
    def descriptors(self) -> int:
        """Open file descriptors now."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def __enter__(self) -> Workload:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.is_running:
            self.kill()


def wait_until(is_true: Callable[[], bool], seconds: float) -> bool:
    """Ask every 20 ms; False if it did not become true in time."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _status(process: int) -> dict[str, str]:
    text = Path(f"/proc/{process}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
