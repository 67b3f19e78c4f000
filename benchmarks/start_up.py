"""What a program pays before its first span. Targets: import 60 ms; configure() 50 ms with Postgres down."""

from __future__ import annotations

import os
import subprocess
import sys

from realistic import medians

IMPORT = (
    "import time; t = time.perf_counter(); import instrumentation; instrumentation.task; print(time.perf_counter() - t)"
)
API_ALONE = "import time; t = time.perf_counter(); import opentelemetry.trace; print(time.perf_counter() - t)"
CONFIGURE = """
import time
from otel_pg_exporter import configure
from otel_pg_exporter import providers
t = time.perf_counter()
configure(dsn="host=127.0.0.1 port=9 user=nobody dbname=nothing")
print(time.perf_counter() - t)
"""


def main() -> None:
    """Print the figures."""
    print("\nStart-up: a new process each time, median of 7")
    for program in (IMPORT, CONFIGURE):
        seconds(program)  # the first import compiles, as pip does on installing
    programs = {
        "import opentelemetry.trace": API_ALONE,  # what no instrumentation gets by without
        "import instrumentation": IMPORT,
        "configure(), Postgres down": CONFIGURE,
    }
    for name, median in medians({name: lambda p=program: seconds(p) for name, program in programs.items()}, 7).items():
        print(f"  {name:<32} {median * 1000:6.1f} ms")


def seconds(program: str) -> float:
    """What a program prints."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", program]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout)
