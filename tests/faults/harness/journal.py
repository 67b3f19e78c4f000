"""What a program says about its spans, in a file that outlives it: each line is one write(2) at the end.

trace 0af7…     the trace id of what follows
i 7             span 7 is about to begin
a 7 81.250000   its end() has returned, by a clock that all processes share
k 7             all up to 7 that were accepted have been acknowledged as durable
x ValueError …  the product raised into the program
r {"counts": …} how it ended, by its own account
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Journal", "lines"]


class Journal:
    """The writing end."""

    def __init__(self, path: str | Path, trace_id: int) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._write(f"trace {trace_id:032x}")

    def issued(self, number: int) -> None:
        """The span is about to begin."""
        self._write(f"i {number}")

    def accepted(self, number: int) -> None:
        """Its end() has returned."""
        self._write(f"a {number} {time.monotonic():.6f}")

    def acknowledged(self, number: int) -> None:
        """All up to this one are durable, says the product."""
        self._write(f"k {number}")

    def raised(self, error: BaseException) -> None:
        """The product raised into the program."""
        self._write(f"x {type(error).__name__}: {error}".replace("\n", " "))

    def report(self, found: dict[str, Any]) -> None:
        """The program's own account, at its end."""
        self._write(f"r {json.dumps(found)}")

    def _write(self, line: str) -> None:
        os.write(self._descriptor, line.encode("utf-8", "backslashreplace") + b"\n")


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Kind and content of each whole line."""
    whole, _, _ = path.read_text("utf-8").rpartition("\n")
    for line in whole.splitlines():
        kind, _, content = line.partition(" ")
        yield kind, content
