"""All benchmarks, or those that are named, each in a process of its own, on an embedded server of their own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from otel_pg_exporter.embedded import EmbeddedServer

WITH_SERVER = (
    "export_cost",
    "throughput",
    "durability",
    "host_latency",
    "no_loss",
    "cached_answers",
    "retention",
    "erasure",
    "contents",
    "many_writers",
)
WITHOUT = ("hot_path", "wrappers", "start_up", "json_library")


def main(names: list[str]) -> None:
    """Run them one after the other."""
    if unknown := set(names) - {*WITHOUT, *WITH_SERVER}:
        sys.exit(f"no benchmark is named {', '.join(sorted(unknown))}; there are {', '.join((*WITHOUT, *WITH_SERVER))}")
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder) / "data") as server:
        for name in names or (*WITHOUT, *WITH_SERVER):
            arguments = repr(server.conninfo) if name in WITH_SERVER else ""
            program = f"import {name}; {name}.main({arguments})"
            subprocess.run([sys.executable, "-c", program], cwd=here, check=True)
    print("\nAgainst other libraries and stores, in venvs of their own: make bench-peers")


if __name__ == "__main__":
    main(sys.argv[1:])
