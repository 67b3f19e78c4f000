"""Programs that are killed, one after the other and some at once, and what they leave behind."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import journal
from .payload import Id
from .victim import TICK_SECONDS
from .workload import wait_until

__all__ = ["Death", "Killer"]

_PROGRAM = [sys.executable, "-m", "harness.victim"]


@dataclass(frozen=True)
class Death:
    """One program that was killed."""

    producer: str
    at: float
    """When, by `time.monotonic()`."""
    folder: Path

    @property
    def journals(self) -> list[Path]:
        """What its threads wrote while they could."""
        return sorted(self.folder.glob(f"{self.producer}-*.journal"))

    def ended(self, signal_name: str) -> dict[Id, float]:
        """Id of each span ("span") or log record ("log") that was accepted → how many seconds before the end."""
        found, trace_id = {}, 0
        for path in self.folder.glob(f"{self.producer}-{signal_name}s-*.journal"):
            for kind, content in journal.lines(path):
                if kind == "trace":
                    trace_id = int(content, 16)
                elif kind == "a":
                    number, moment = content.split()
                    found[trace_id, int(number)] = self.at - float(moment)
        return found

    def sending(self, signal_name: str) -> tuple[float, float]:
        """Seconds of the longest export that ended, and of the one that was under way."""
        longest = begun = 0.0
        for line in (self.folder / f"{self.producer}.exports").read_text().splitlines():
            kind, name, moment = line.split()
            if name == signal_name and kind == "b":
                begun = float(moment)
            elif name == signal_name:
                longest, begun = max(longest, float(moment) - begun), 0.0
        return longest, max(0.0, self.at - begun) if begun else 0.0

    @property
    def unfair(self) -> float:
        """The longest time in seconds for which a thread of it that wanted to run could not."""
        ticks = [*map(float, (self.folder / f"{self.producer}.ticks").read_text().split()), self.at]
        return max(0.0, max(two - one for one, two in itertools.pairwise(ticks)) - TICK_SECONDS)


class Killer:
    """Kills at random instants of the seed.

    Args:
        dsn: where the victims store.
        folder: for journals, the spool and what they print.
        seed: of the run.
    """

    def __init__(self, dsn: str, folder: Path, seed: int) -> None:
        self.spool, self.output = folder / "spool", folder / "victims.output"
        self.settings: dict[str, Any] = {"spool_dir": str(self.spool)}
        """Fields of Settings."""
        self.options: dict[str, Any] = {"dsn": dsn, "folder": folder, "seed": seed}
        """Options of `victim` by name."""
        self._folder, self._seed = folder, seed
        self._killed = 0
        self._nursery: _Nursery | None = None
        self._lock = threading.Lock()

    def kill(
        self,
        times: int,
        seconds: tuple[float, float],
        at_once: int = 3,
        is_ripe: Callable[[Death], bool] = lambda death: True,
    ) -> list[Death]:
        """Start so many programs, and kill each after a random time in its life.

        Each third is a program that was executed, the others are children of one that has the imports done.

        Args:
            times: how many.
            seconds: shortest and longest life after the first record that was accepted.
            at_once: how many live at the same time.
            is_ripe: after that time, whether the kill may come.
        """
        first, self._killed = self._killed, self._killed + times
        with ThreadPoolExecutor(at_once) as lanes:
            return list(lanes.map(lambda number: self._one(number, seconds, is_ripe), range(first, first + times)))

    def start(self, producer: str, prefix: tuple[str, ...] = (), **more: Any) -> subprocess.Popen[bytes]:
        """Start one; `prefix` is a program that runs it."""
        return self._popen([*prefix, *_PROGRAM, *self._words(producer, **more)])

    def __enter__(self) -> Killer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._nursery is not None:
            self._nursery.close()

    def _one(self, number: int, seconds: tuple[float, float], is_ripe: Callable[[Death], bool]) -> Death:
        choose, producer = random.Random(f"{self._seed}:{number}"), f"victim{number}"
        executed = self.start(producer) if number % 3 == 0 else None
        process = executed.pid if executed else self._child(self._words(producer))
        journals = Death(producer, 0.0, self._folder)
        try:
            begun = wait_until(
                lambda: any(kind == "a" for path in journals.journals for kind, _ in journal.lines(path)), 60
            )
            assert begun, self.output.read_text()
            time.sleep(choose.uniform(*seconds))
            assert wait_until(lambda: is_ripe(Death(producer, time.monotonic(), self._folder)), 60)
            at = time.monotonic()
        finally:
            os.kill(process, signal.SIGKILL)  # which raises if it is not there any more: it must not end by itself
        if executed:
            executed.wait()
        assert wait_until(lambda: not _lives(process), 60)
        return Death(producer, at, self._folder)

    def _words(self, producer: str, **more: Any) -> list[str]:
        given = {**self.options, "settings": json.dumps(self.settings), "producer": producer, **more}
        return [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]

    def _popen(self, command: list[str], **options: Any) -> subprocess.Popen[Any]:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        with self.output.open("ab") as output:
            return subprocess.Popen(command, **{"stdout": output, "stderr": output, "env": environment, **options})

    def _child(self, words: list[str]) -> int:
        with self._lock:
            if self._nursery is None:
                pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
                self._nursery = _Nursery(self._popen([*_PROGRAM, "--nursery"], **pipes))
            return self._nursery.start(words)


class _Nursery:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, words: list[str]) -> int:
        """Process id of a child that runs with these options."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """It ends when nobody asks for more."""
        self._process.communicate()


def _lives(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False
