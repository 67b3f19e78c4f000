"""Tables of what `peers.run` kept: `python -m peers.table peers/results/2026-11-25.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

NAMES = {
    "ours": "**ours**",
    "by_hand": "the SDK by hand, nothing looked for in it",
    "openlit": "OpenLIT `@trace`",
    "traceloop": "Traceloop `@task`",
    "logfire": "Logfire `@instrument`",
    "openinference": "OpenInference `@chain`",
    "langfuse": "Langfuse `@observe`",
    "mlflow": "MLflow `@trace`",
}
STORES = {"ours": "**ours**", "agno": "Agno", "mlflow": "MLflow", "phoenix": "Arize Phoenix"}


def tables(found: dict[str, Any]) -> str:
    """Both, in Markdown."""
    return f"{calls(found)}\n\n{stores(found)}"


def calls(found: dict[str, Any]) -> str:
    """What a recorded call costs; a case is compared with the bare span of its own process, and then with ours."""
    times = {
        name: {case: median(run["microseconds"][case] / run["microseconds"]["bare"] for run in runs) for case in CASES}
        for name, runs in found["calls"].items()
    }
    bare = median(run["microseconds"]["bare"] for runs in found["calls"].values() for run in runs)
    rows = []
    for name in sorted(times, key=lambda name: times[name]["captured"]):
        cells = [NAMES[name]]
        for case in CASES:
            own = times[name][case]
            cells += [f"{own:.1f} ×", f"{own / times['ours'][case]:.2f} ×"]
        cells.append(" / ".join(str(len(found["calls"][name][0]["attributes"][case])) for case in CASES))
        rows.append(cells)
    head = ["recorded call", "8 attributes", "against ours", "and input, output", "against ours", "attributes then"]
    return f"A bare span: {bare:.0f} µs. Everything else against the bare span of its process:\n\n{_table(head, rows)}"


CASES = ("eight", "captured")


def stores(found: dict[str, Any]) -> str:
    """What it takes to have spans stored; medians of the rounds."""
    rows = []
    ours = _all_cpu(found["stores"]["ours"])
    for name, runs in found["stores"].items():
        cpu = {
            part: median(run["cpu_seconds"][part] / run["stored"] * 1000 for run in runs)
            for part in ("client", "server", "postgres")
        }
        kept = [part for part, is_kept in runs[0]["kept"].items() if is_kept]
        rows.append(
            [
                STORES[name],
                f"{median(run['stored'] / run['seconds'] for run in runs):,.0f}",
                *(f"{seconds:.2f}" if seconds else "–" for seconds in cpu.values()),
                f"{_all_cpu(runs) / ours:.1f} ×",
                f"{median(run['bytes'] for run in runs):,.0f}",
                f"{sum(run['spans'] - run['stored'] for run in runs)} of {sum(run['spans'] for run in runs):,}",
                "all" if len(kept) == len(runs[0]["kept"]) else ", ".join(kept),
            ]
        )
    head = [
        "store", "spans/s until readable", "CPU s for 1,000: program", "server", "PostgreSQL", "together",
        "bytes on disk", "lost", "kept as it was",
    ]  # fmt: skip
    return _table(head, rows)


def _all_cpu(runs: list[dict[str, Any]]) -> float:
    return median(sum(run["cpu_seconds"].values()) / run["stored"] for run in runs)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(tables(json.loads(Path(sys.argv[1]).read_text())))
