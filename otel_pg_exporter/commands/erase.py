"""`otel-pg erase`: what is stored of a trace, a session or a user."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ..config import Settings
from .errors import plainly
from .options import trace_named, which_trace, with_tables

if TYPE_CHECKING:
    from ..upkeep.erasure import Erasure

__all__ = ["erase"]


@click.command()
@click.option("--trace", metavar="TRACE", callback=trace_named, help="This trace: its id, its first digits, or last.")
@click.option("--session", metavar="ID", help="All traces in which this session occurs.")
@click.option("--user", metavar="ID", help="All traces in which this user occurs.")
@click.option("--dry-run", is_flag=True, help="Erase nothing; say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="For programs; with --yes or --dry-run.")
@click.pass_obj
@plainly
def erase(
    settings: Settings,
    trace: str | None,
    session: str | None,
    user: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase a trace, or all of a session or a user, with the texts that nothing else refers to.

    Exit code 1 if some of it could not be erased. What waits in spools, was exported, or is in a backup stays there.
    """
    from ..query import EventQuery
    from ..upkeep import erasure

    given = {name: value for name, value in (("trace", trace), ("session", session), ("user", user)) if value}
    if len(given) != 1:
        raise click.UsageError("give one of --trace, --session and --user")
    if as_json and not (yes or dry_run):
        raise click.UsageError("--json asks nothing: give --yes or --dry-run too")
    ((kind, value),) = given.items()
    with with_tables(settings) as database:
        if kind == "trace":
            with EventQuery(database=database) as query:
                value = which_trace(query, value)
        whom = {f"{kind}_id": value}
        found = erasure.erase(database, dry_run=True, **whom)  # type: ignore[arg-type]
        if not as_json:
            click.echo(f"{kind} {value}: {_counted(found)}")
        if found.rows and not dry_run:
            if not yes:
                click.confirm("Erase that for ever?", abort=True, err=True)
            found = erasure.erase(database, **whom)  # type: ignore[arg-type]
    if as_json:
        click.echo(json.dumps(asdict(found)))
    elif not dry_run:
        click.echo(f"erased {_sum(found.rows)}, and {_number(found.texts, 'long text')} that nothing else refers to")
    if found.left:
        raise click.ClickException(
            f"{found.left:,} rows are left: their tables are in use, or their traces go on. Try again"
        )
    sys.exit(0)


def _counted(found: Erasure) -> str:
    if not found.rows:
        return "nothing is stored"
    parts = ", ".join(f"{category} {count:,}" for category, count in found.rows.items())
    return f"{_sum(found.rows)} ({parts}) of {_number(found.traces, 'trace')}, on {_number(found.days, 'day')}"


def _sum(rows: Mapping[str, int]) -> str:
    return _number(sum(rows.values()), "row")


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
