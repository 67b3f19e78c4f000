"""Decorators on functions of all kinds: what went in, what came out, how long it took and how it ended.

python examples/decorators.py     # OTEL_EXPORTER_POSTGRES_DSN, else the embedded PostgreSQL
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from instrumentation import event, task
from otel_pg_exporter import configure


@task
def parse(line: str) -> int:
    """Plain: the argument and the result are recorded, and so is the exception."""
    return int(line)


@task("read file", queue="nightly")
def read() -> Iterator[str]:
    """A generator is one task, from its first item to its last."""
    yield from ("1", "2", "three")


@task(attempt=2)
async def save(total: int) -> str:
    """A coroutine; what it awaits belongs to it."""
    await asyncio.sleep(0.01)
    event("saved", attributes={"total": total})
    return "ok"


@task("import numbers")
def import_numbers() -> str:
    """Tasks inside of a task are its children in the trace."""
    total = 0
    for line in read():
        try:
            total += parse(line)
        except ValueError:
            event("line.skipped", severity="warn", attributes={"line": line})
    return asyncio.run(save(total))


def main() -> None:
    """Run the import, and show its tree."""
    telemetry = configure()
    import_numbers()
    telemetry.force_flush()
    (last,) = telemetry.query.task_events(name="import numbers", limit=1)
    print(telemetry.query.trace(last.trace_id))


if __name__ == "__main__":
    main()
