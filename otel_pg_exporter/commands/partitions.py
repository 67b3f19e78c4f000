"""`otel-pg partitions`: what there is, made ahead, and dropped by the rules of retention."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from ..config import Settings
from ..reading.terminal import harmless
from .errors import plainly
from .group import Group
from .options import as_json, with_tables

if TYPE_CHECKING:
    from ..schema.inventory import Held

__all__ = ["partitions"]

_LINES = 1_000
_LOOK_SECONDS = 30.0
_ATTEMPTS = 20
_EPOCH = datetime(1970, 1, 1)
_FIRST_YEAR, _LAST_YEAR = 1677, 2262
"""Of nanoseconds since 1970 that fit into a bigint."""
_HELD = "table partition1 from until rows> size>"


@click.group(cls=Group)
def partitions() -> None:
    """Partitions: list them, make them ahead, merge what they sum up, drop what is over the limits."""


@partitions.command("list")
@click.option(
    "--all", "is_all", is_flag=True, help="A line for each; else empty ones of a table that follow each other are one."
)
@as_json
@click.pass_obj
@plainly
def list_(settings: Settings, is_all: bool, as_json: bool) -> None:
    """List them, the oldest first, with the time that each covers, its rows (an estimate) and its size."""
    from ..schema.inventory import readable_size, take

    with with_tables(settings) as database, database.until(monotonic() + _LOOK_SECONDS).connection() as connection:
        found = take(database, connection, with_sizes=True)
    if as_json:
        for held in found.partitions:
            click.echo(json.dumps(_plain(held)))
        return
    _print(_HELD, [("", _cells(held)) for held in (found.partitions if is_all else _folded(found.partitions))])
    click.echo(f"{len(found.partitions)} partitions; all tables take {readable_size(found.bytes)}")


@partitions.command()
@click.option("--days", type=click.IntRange(0, 3660), default=30, show_default=True, help="How many after today.")
@click.option(
    "--day",
    "others",
    type=click.DateTime(["%Y-%m-%d"]),
    multiple=True,
    help="That of this day too, as of rows that come late.",
)
@click.pass_obj
@plainly
def create(settings: Settings, days: int, others: tuple[datetime, ...]) -> None:
    """Make those of the coming days, for writers that may not."""
    from ..database import opened
    from ..schema.partitions import ahead, ensure

    for day in others:
        if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
            allowed = f"a day of the years {_FIRST_YEAR} to {_LAST_YEAR}: no event is of another"
            raise click.BadParameter(f"{day.date()} is not allowed; allowed is {allowed}", param_hint="--day")
    with opened(settings) as database:
        ahead(database, days)
        ensure(database.until(monotonic() + _LOOK_SECONDS), [(day - _EPOCH).days for day in others])
    named = "".join(f", and for {day:%Y-%m-%d}" for day in others)
    click.echo(f"partitions are there for today and {days} days more{named}")


@partitions.command()
@click.pass_obj
@plainly
def merge(settings: Settings) -> None:
    """Merge the summaries of hours that are over, from which statistics come, for writers that may not."""
    from ..upkeep.merging import merge as merge_summaries

    click.echo(f"merged the summaries of {merge_summaries(settings)} hours")


@partitions.command()
@click.option("--days", type=click.IntRange(0, 36_500), help="Keep so many days; default EVENT_RETENTION_DAYS.")
@click.option("--max-bytes", type=click.IntRange(0), help="Keep so many bytes in all; default EVENT_MAX_BYTES.")
@click.option("--dry-run", is_flag=True, help="Drop nothing; say what would go.")
@as_json
@click.pass_obj
@plainly
def prune(settings: Settings, days: int | None, max_bytes: int | None, dry_run: bool, as_json: bool) -> None:
    """Drop what is over the limits, the oldest first. Exit code 1 if some of it could not be dropped."""
    from ..schema.inventory import readable_size
    from ..upkeep import retention

    given = {"retention_days": days, "max_bytes": max_bytes}
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    if max_bytes:
        settings = replace(settings, max_bytes_policy="drop-oldest")
    if not retention.Policy.of(settings).is_set:
        raise click.UsageError(
            "EVENT_MAX_BYTES_POLICY=refuse drops nothing: give --days or --max-bytes"
            if settings.max_bytes
            else "nothing says what is to go: give --days or --max-bytes, or set EVENT_RETENTION_DAYS"
        )
    found = retention.prune(settings, dry_run=dry_run, attempts=_ATTEMPTS)
    if as_json:
        for due in found:
            click.echo(json.dumps({**_plain(due.held), "reason": due.reason, "fate": due.fate, "error": due.error}))
    else:
        _print(f"{_HELD} why what", [("", (*_cells(due.held), due.reason, due.fate)) for due in found])
        gone = [due for due in found if due.fate == ("due" if dry_run else "dropped")]
        size = readable_size(sum(due.held.bytes or 0 for due in gone))
        click.echo(f"{'would drop' if dry_run else 'dropped'} {len(gone)} partitions, {size}")
    _end(settings, {due.fate for due in found}, next((due.error for due in found if due.error), None))


def _end(settings: Settings, fates: set[str], error: str | None) -> None:
    if "denied" in fates:
        raise click.ClickException(f"the role may not drop partitions of {settings.target}: let their owner do it")
    if error:
        raise click.ClickException(harmless(" ".join(error.split())))
    if fates & {"locked", "needed"}:
        held = "in use by other sessions" if "locked" in fates else "needed by events that are still there"
        raise click.ClickException(f"some are {held}; what is left goes the next time")
    sys.exit(0)


def _print(titles: str, rows: Sequence[tuple[str, Sequence[object]]]) -> None:
    from .tables import columns, print_lines

    if rows:  # else the line of the sum says so
        print_lines(columns(titles), _pages(rows))


def _pages(rows: Sequence[tuple[str, Sequence[object]]]) -> Iterable[Sequence[tuple[str, Sequence[object]]]]:
    remaining = iter(rows)
    while page := list(islice(remaining, _LINES)):
        yield page


def _cells(held: Held) -> tuple[object, ...]:
    from ..schema.inventory import day, readable_size

    size = "" if held.bytes is None else readable_size(held.bytes)
    return (held.table, held.partition, day(held.lower), day(held.upper), f"{held.rows:,}", size)


def _folded(partitions: Iterable[Held]) -> list[Held]:
    """Those of a table that are empty and follow each other as one, where the first of them stands."""
    runs: list[list[Held]] = []
    empty: dict[str, list[Held]] = {}
    for held in partitions:
        run = empty.get(held.table, [])
        if run and held.is_empty and run[-1].upper == held.lower:
            run.append(held)
            continue
        runs.append([held])
        empty[held.table] = runs[-1] if held.is_empty else []
    return [run[0] if len(run) == 1 else _as_one(run) for run in runs]


def _as_one(run: Sequence[Held]) -> Held:
    size = sum(held.bytes or 0 for held in run)
    return replace(run[0], partition=f"({len(run)} empty ones)", upper=run[-1].upper, rows=0, bytes=size)


def _plain(held: Held) -> dict[str, Any]:
    from ..schema.inventory import day

    return {
        "table": held.table,
        "partition": held.partition,
        "from": day(held.lower).isoformat(),
        "until": day(held.upper).isoformat(),
        "rows": held.rows,
        "bytes": held.bytes,
    }
