"""`otel-pg indexes`: those that are optional, made while programs write, and dropped."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from ..config import Settings
from ..reading.filters import INDEXABLE
from .errors import plainly
from .group import Group
from .options import as_json, with_tables

__all__ = ["indexes"]

_HELD = "index table partitions> indexed> size>"
_kind = click.argument("index", type=click.Choice(INDEXABLE))


@click.group(cls=Group)
def indexes() -> None:
    """Optional indexes for what is asked often: list them, make them while programs write, drop them."""


@indexes.command("list")
@as_json
@click.pass_obj
@plainly
def list_(settings: Settings, as_json: bool) -> None:
    """List them: how many partitions of each table have it, and what it takes on disk."""
    from ..schema import indexes as optional
    from ..schema.inventory import readable_size
    from .tables import columns, print_lines

    with with_tables(settings) as database:
        found = optional.status(database)
    if as_json:
        for each in found:
            row = asdict(each)
            click.echo(json.dumps({"index": row.pop("kind"), **row}))
        return
    print_lines(
        columns(_HELD),
        [
            [
                ("", (each.kind, each.table, each.partitions, each.indexed if each.is_on else "off", size))
                for each in found
                for size in [readable_size(each.bytes) if each.bytes else ""]
            ]
        ],
    )


@indexes.command()
@_kind
@click.pass_obj
@plainly
def create(settings: Settings, index: str) -> None:
    """Make one, or go on with it where it was interrupted. Later partitions come with it."""
    from ..schema import indexes as optional
    from .progress import steps

    with steps("partitions") as step:
        optional.create(index, settings, tell=step)
    click.echo(f"the index of {index} is there, and later partitions come with it")


@indexes.command()
@_kind
@click.pass_obj
@plainly
def drop(settings: Settings, index: str) -> None:
    """Drop one. Queries answer the same without it, but take longer."""
    from ..schema import indexes as optional

    optional.drop(index, settings)
    click.echo(f"the index of {index} is gone")
