"""`otel-pg stats` and `top`: how much of what, and who."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ..config import Settings
from ..reading.filters import USAGE_KINDS, USAGE_NUMBERS
from ..reading.waterfall import duration_text
from .errors import plainly
from .options import as_json, filters, period, reading
from .tables import columns, print_lines

if TYPE_CHECKING:
    from ..reading.statistics import Group
    from ..reading.summaries import Usage

__all__ = ["stats", "top"]

_GROUPS = columns("by name… events> errors> p50>1 p95> tokens_in>2 tokens_out>3 cost>4")
_USAGE = columns("kind name… count> errors> p50>1 p95> tokens_in>2 tokens_out>3 cost>4")


@click.command()
@period()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
@plainly
def stats(settings: Settings, start: datetime | None, end: datetime | None, as_json: bool) -> None:
    """Count events, errors, durations and tokens."""
    with reading(settings) as query:
        found = query.statistics(start=start, end=end)
    if as_json:
        click.echo(json.dumps(found.to_dict()))
        return
    groups = {"category": found.by_category, "type": found.by_type, "status": found.by_status, "agent": found.by_agent}
    every = [(by, name, group) for by, named in groups.items() for name, group in named.items()]
    rows = [(name if by == "status" else "", (by, name, *_numbers(group))) for by, name, group in every]
    print_lines(_GROUPS, [rows])


@click.command()
@click.argument("kinds", metavar="[agents|tools|models]...", nargs=-1, type=click.Choice(USAGE_KINDS))
@click.option("--by", type=click.Choice([*USAGE_NUMBERS]), default="count", show_default=True, help="Which come first.")
@filters("service", "session", "user")
@period("1d")
@click.option("--limit", type=click.IntRange(1, 10_000), default=10, show_default=True, help="At most so many of each.")
@as_json
@click.pass_obj
@plainly
def top(
    settings: Settings,
    /,
    kinds: tuple[str, ...],
    by: str,
    limit: int,
    as_json: bool,
    **given: Any,
) -> None:
    """List the agents, tools and models that were used most, slowest, dearest or with the most errors."""
    with reading(settings) as query:
        found = [(kind, query.usage(kind, by=by, limit=limit, **given)) for kind in kinds or USAGE_KINDS]
    if as_json:
        for kind, every in found:
            for usage in every:
                click.echo(json.dumps({"kind": kind.removesuffix("s"), **usage.to_dict()}))
    else:
        rows = [("", _cells(kind.removesuffix("s"), usage)) for kind, every in found for usage in every]
        print_lines(_USAGE, [rows])


def _cells(kind: str, usage: Usage) -> tuple[object, ...]:
    return (kind, usage.name, *_numbers(usage))


def _numbers(group: Group | Usage) -> tuple[object, ...]:
    cost = "" if group.cost is None else f"${group.cost:.4f}"
    durations = duration_text(group.p50), duration_text(group.p95)
    return (group.count, group.errors or "", *durations, group.input_tokens or "", group.output_tokens or "", cost)
