"""`otel-pg show`: one trace as a waterfall."""

from __future__ import annotations

import json

import click

from ..config import Settings
from ..reading.waterfall import render
from .errors import plainly
from .options import reading, trace_named, which_trace
from .run_lines import print_runs
from .tables import painted, terminal_width

__all__ = ["show"]


@click.command()
@click.argument("trace_id", metavar="TRACE", callback=trace_named)
@click.option("--all", "is_all", is_flag=True, help="A line for each span; else siblings alike are folded into one.")
@click.option("--bars/--no-bars", default=None, help="Show when each span ran; default on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="OTLP/JSON.")
@click.pass_obj
@plainly
def show(settings: Settings, trace_id: str, is_all: bool, bars: bool | None, as_json: bool) -> None:
    """Print a trace as a tree, and what of it has not ended.

    TRACE is its id, or as much of its beginning as tells it from others; or the word last, for the newest.
    """
    with reading(settings) as query:
        trace = query.trace(which_trace(query, trace_id))
        unfinished = [] if as_json else query.unfinished(trace.trace_id)
    if as_json:
        click.echo(json.dumps(trace.to_otlp_json()))
        return
    width = terminal_width()
    if bars is None:
        bars = width is not None
    click.echo(f"trace {trace.trace_id}")
    for line in render(trace.roots, is_whole=is_all, has_bars=bars, width=width, paint=painted):
        click.echo(line)
    if unfinished:
        click.echo("\nnot ended:")
        print_runs(unfinished)
