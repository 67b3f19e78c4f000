"""`otel-pg migrate`: the tables, created, upgraded and taken back."""

from __future__ import annotations

import json

import click

from ..config import Settings
from .errors import plainly
from .group import Group

__all__ = ["migrate"]


def _known(context: click.Context, parameter: click.Parameter, version: int | None) -> int | None:
    from ..sql_files import migrations

    newest = migrations()[-1].version
    if version is not None and not 0 <= version <= newest:
        raise click.BadParameter(f"{version} is not allowed; allowed are 0, for none, to {newest}")
    return version


@click.group(cls=Group)
def migrate() -> None:
    """Create, upgrade or take back the tables."""


@migrate.command()
@click.option("--to", type=int, callback=_known, help="Last version to apply; default the newest.")
@click.option(
    "--distributed", type=click.Choice(["citus"]), help="Then spread the tables over the servers of a cluster."
)
@click.option("--shards", type=click.IntRange(1, 1024), help="With --distributed: parts of each table; default 8.")
@click.pass_obj
@plainly
def up(settings: Settings, to: int | None, distributed: str | None, shards: int | None) -> None:
    """Apply the steps that are missing."""
    from ..schema import migrate as steps
    from ..schema.distributed import DEFAULT_SHARDS, distribute

    if distributed and to is not None:
        raise click.UsageError("--distributed takes tables of the newest version, without --to")
    if shards and not distributed:
        raise click.UsageError("--shards goes with --distributed")
    applied = steps.up(settings, to=to)
    for step in applied:
        click.echo(f"applied {step.version:04d} {step.name}")
    spread = distribute(settings, shards=shards or DEFAULT_SHARDS) if distributed else []
    for table in spread:
        click.echo(f"distributed {table}")
    if not applied and not spread:
        click.echo("nothing to do")


@migrate.command()
@click.option("--to", type=int, callback=_known, default=0, show_default=True, help="Last version to keep.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
@plainly
def down(settings: Settings, to: int, yes: bool) -> None:
    """Take steps back, with everything that is stored in their tables."""
    from ..schema import migrate as steps

    # status() refuses tables of a newer version: steps that are not known here cannot be taken back before ours
    applied = [step for step in steps.status(settings) if step.applied_at and step.version > to]
    if not applied:
        click.echo("nothing to do")
        return
    if not yes:
        tables = f"{settings.schema}.{settings.table_prefix}*"
        click.confirm(f"Drop tables {tables} with their events in {settings.target}?", abort=True, err=True)
    for step in steps.down(settings, to=to):
        click.echo(f"took back {step.version:04d} {step.name}")


@migrate.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: a line of JSON for each.")
@click.pass_obj
@plainly
def status(settings: Settings, as_json: bool) -> None:
    """List the steps."""
    from ..schema import migrate as steps

    for step in steps.status(settings):
        if as_json:
            applied_at = step.applied_at and step.applied_at.isoformat()
            click.echo(json.dumps({"version": step.version, "name": step.name, "applied_at": applied_at}))
            continue
        click.echo(f"{step.version:04d} {step.name:<24} {step.applied_at or 'not applied'}")


@migrate.command()
@click.pass_obj
@plainly
def show(settings: Settings) -> None:
    """Print the SQL of all steps."""
    from ..schema import migrate as steps

    click.echo(steps.show(settings.schema, settings.table_prefix))
