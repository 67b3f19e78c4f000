"""What a program pays before its first span. Targets: import 60 ms; configure() 50 ms with Postgres down."""

from __future__ import annotations

import statistics
import subprocess
import sys

IMPORT = (
    "import time; t = time.perf_counter(); import instrumentation; instrumentation.task; print(time.perf_counter() - t)"
)
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
    for name, program in (("import instrumentation", IMPORT), ("configure(), Postgres down", CONFIGURE)):
        times = [
            float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
            for _ in range(7)
        ]
        print(f"  {name:<32} {statistics.median(times) * 1000:6.1f} ms")
