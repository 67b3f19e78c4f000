"""Programs that fork and end in every way, and a judge outside of them that compares sets of ids."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from otel_pg_exporter.spool.contents import decode
from otel_pg_exporter.spool.records import records
from otel_pg_exporter.spool.segment import parts_of
from otel_pg_exporter.sql_files import EVENT_TABLES

PROGRAMS = Path(__file__).parent / "programs"
FAULTS = Path(__file__).parents[1]
"""Where the harness is, which programs may use too."""


class Judge:
    """Knows what a program has told, and finds it in the tables and in the spool."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder, self.dsn = folder, dsn
        self.told_path, self.spool = folder / "told", folder / "spool"
        self.told_path.touch()

    def environment(self, **more: str) -> dict[str, str]:
        """For a program that is to be judged."""
        here = {"TOLD": str(self.told_path), "EVENT_SPOOL_DIR": str(self.spool), "DSN": self.dsn}
        path = os.pathsep.join(filter(None, (str(PROGRAMS), str(FAULTS), os.environ.get("PYTHONPATH"))))
        return {**os.environ, **here, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore", **more}

    def start(self, program: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        """Run one of the programs."""
        return subprocess.Popen(
            [sys.executable, str(PROGRAMS / program), *map(str, arguments)],
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, program: str, *arguments: object, seconds: float = 120, **environment: str) -> tuple[int, str, str]:
        """Run it to its end; gives its exit code, and what it printed."""
        process = self.start(program, *arguments, **environment)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return process.returncode, out, err

    def told(self, *kinds: str) -> list[str]:
        """What was told of these kinds, in order."""
        lines = (line.split(" ", 1) for line in self.told_path.read_text("utf-8").splitlines())
        return [text for kind, text in lines if kind in kinds]

    def stored(self) -> Counter[str]:
        """Ids in the tables, and how often each is there; events outside of a trace have none."""
        found: Counter[str] = Counter()
        with psycopg.connect(self.dsn) as connection:
            for table in EVENT_TABLES:
                for trace_id, span_id in connection.execute(
                    f"SELECT trace_id, span_id FROM otel.{table} WHERE span_id <> 0"
                ):
                    found[f"{trace_id.int:032x}{span_id & (1 << 64) - 1:016x}"] += 1
        return found

    def spooled(self) -> Counter[str]:
        """Ids in the files of the spool."""
        found: Counter[str] = Counter()
        for path in self.spool.rglob("*.seg"):
            data = path.read_bytes()
            for extent in dict(parts_of(path, len(data), records(data))[1]).values():
                batch, _ = decode(data[extent.start : extent.end])
                found.update(row[6:22].hex() + row[26:34].hex() for rows in batch.rows.values() for row in rows)
        return found

    def verdict(self) -> tuple[set[str], set[str]]:
        """What was told and is nowhere, and what is in the tables more than once."""
        told, stored = set(self.told("span", "log")), self.stored()
        return told - stored.keys() - self.spooled().keys(), {one for one, times in stored.items() if times > 1}


@pytest.fixture
def judge(dsn: str, tmp_path: Path) -> Judge:
    """A judge with a database and a spool of its own."""
    return Judge(tmp_path, dsn)


@pytest.fixture
def judge_of(tmp_path: Path) -> Callable[..., Any]:
    """Makes more judges."""

    def make(name: str, dsn: str) -> Judge:
        (tmp_path / name).mkdir()
        return Judge(tmp_path / name, dsn)

    return make
