"""`otel-pg ps`: what runs now, and what died."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import click

from ..config import Settings
from .errors import moment, plainly
from .options import reading
from .run_lines import print_runs

__all__ = ["ps"]

_MOST = 10_000


@click.command()
@click.option("--lost", is_flag=True, help="What was open when its process died, instead.")
@click.option(
    "--since", callback=moment, help="With --lost: last heard of this long ago or later: 90m, 24h; default 1d."
)
@click.option("--limit", type=click.IntRange(1, _MOST), default=1000, show_default=True, help="At most so many.")
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
    if len(found) == limit:
        more = f": --limit {_MOST} lists more" if limit < _MOST else ""
        click.echo(f"there may be more than these {limit:,}{more}", err=True)
