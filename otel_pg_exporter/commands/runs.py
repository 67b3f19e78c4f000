"""`otel-pg ps`: what runs now, and what died."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from ..config import Settings
from .errors import moment, plainly
from .options import reading
from .tables import columns, print_lines

if TYPE_CHECKING:
    from ..reading.runs import Run

__all__ = ["print_runs", "ps"]

_COLUMNS = columns("name… category3 status for> started1 last_heartbeat host…5 pid>4 service…2 trace#")


@click.command()
@click.option("--lost", is_flag=True, help="What was open when its process died, instead.")
@click.option(
    "--since", callback=moment, help="With --lost: last heard of this long ago or later: 90m, 24h; default 1d."
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each.")
@click.pass_obj
@plainly
def ps(settings: Settings, lost: bool, since: datetime | None, limit: int, as_json: bool) -> None:
    """List what has been running for longer than a second."""
    if since is not None and not lost:
        raise click.UsageError("--since goes with --lost")
    with reading(settings) as query:
        found = query.lost(since or timedelta(days=1), limit=limit) if lost else query.running(limit=limit)
    if as_json:
        for run in found:
            click.echo(json.dumps(run.to_dict()))
    else:
        print_runs(found)


def print_runs(runs: Sequence[Run]) -> None:
    """A line for each."""
    print_lines(_COLUMNS, [[_line(run) for run in runs]])


def _line(run: Run) -> tuple[str, tuple[object, ...]]:
    status = "running" if run.status == "started" else run.status
    lasted = timedelta(seconds=int(run.duration.total_seconds()))
    moments = (f"{time:%Y-%m-%d %H:%M:%S}" for time in (run.time, run.last_heartbeat))
    names = (run.host or "", run.pid or "", run.service_name or "", run.trace_id)
    return status, (run.event_name, run.category, status, lasted, *moments, *names)
