"""All programs, each in its venv, in turns; what they print is kept in results/ and printed as tables.

python -m peers.run [--rounds 5] [--spans 20000] [--keep results/2026-11-25.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg

from otel_pg_exporter.embedded import EmbeddedServer

from .table import tables

HERE = Path(__file__).parent
VENVS = HERE.parents[1] / ".venv-peers"
CALLS = ("ours", "by_hand", "openlit", "traceloop", "logfire", "openinference", "langfuse", "mlflow")
# A share of the spans for those that take longer: what is compared is time and bytes for each of them.
STORES = {"ours": 1.0, "agno": 0.2, "mlflow": 0.2, "phoenix": 0.05}


def main() -> None:
    """Run, keep, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5, help="processes for each library")
    parser.add_argument("--store-rounds", type=int, default=3, help="processes for each store")
    parser.add_argument("--spans", type=int, default=20_000, help="for a store; the slower get a share")
    parser.add_argument("--keep", type=Path, help="the file of results; default that of today")
    parser.add_argument("--more", action="store_true", help="add rounds to those that the file has")
    arguments = parser.parse_args()
    now = datetime.now(timezone.utc)
    kept = arguments.keep or HERE / "results" / f"{now.date()}.json"
    found: dict[str, Any] = {"begun": now.isoformat(timespec="seconds"), "machine": _machine()}
    if arguments.more:
        found = json.loads(kept.read_text())
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder) / "data") as server:
        postmaster = int((Path(folder) / "data" / "cluster" / "postmaster.pid").read_text().split()[0])
        found["postgres"] = _version(server.conninfo)

        def store(name: str) -> dict[str, Any]:
            dsn = _empty_database(server.conninfo)
            spans = str(int(arguments.spans * STORES[name]))
            return _run("stores", name, dsn, "--postmaster", str(postmaster), "--spans", spans)

        def keep() -> None:
            kept.write_text(json.dumps(found, indent=1) + "\n")

        for number in range(max(arguments.rounds, arguments.store_rounds)):
            if number < arguments.rounds:
                _turn(found, "calls", CALLS, lambda name: _run("calls", name), keep)
            if number < arguments.store_rounds:
                _turn(found, "stores", tuple(STORES), store, keep)
    print(tables(found))


def _turn(
    found: dict[str, Any],
    kind: str,
    names: tuple[str, ...],
    run: Callable[[str], dict[str, Any]],
    keep: Callable[[], None],
) -> None:
    """All of a kind once; every second time the other way round, so that who is first is not always the same."""
    results = found.setdefault(kind, {name: [] for name in names})
    number = len(results[names[0]])
    for name in names if number % 2 == 0 else reversed(names):
        begun = time.monotonic()
        results[name].append({"load": os.getloadavg()[0], **run(name)})
        keep()
        print(f"round {number + 1}, {kind}: {name}, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


def _run(kind: str, name: str, *arguments: str) -> dict[str, Any]:
    """One program, in a process of its own; the last line that it prints is its result."""
    python = VENVS / name / "bin" / "python"
    command = [str(python) if python.exists() else sys.executable, "-m", f"peers.{kind}.{name}", *arguments]
    quiet = os.environ | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=HERE.parent, env=quiet, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _empty_database(server: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS bench_peer WITH (FORCE)")
        connection.execute("CREATE DATABASE bench_peer")
    return psycopg.conninfo.make_conninfo(server, dbname="bench_peer")


def _version(server: str) -> str:
    with psycopg.connect(server) as connection:
        return str(connection.execute("SHOW server_version").fetchall()[0][0])


def _machine() -> dict[str, Any]:
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": model[0].partition(": ")[2] if model else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


if __name__ == "__main__":
    main()
