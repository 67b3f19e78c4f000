"""`otel-pg`: what is stored, and what stores it, from a shell."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path

from .config import Settings

try:
    import click
    import rich  # noqa: F401
except ImportError:
    sys.exit("otel-pg needs the extra cli: pip install 'otel-pg-exporter[cli]'")

from .commands.completion import completion
from .commands.db import db
from .commands.demo import demo
from .commands.doctor import doctor
from .commands.erase import erase
from .commands.errors import plainly
from .commands.export import export
from .commands.grants import grant, revoke, tenants
from .commands.group import Group
from .commands.health import health
from .commands.import_ import import_
from .commands.indexes import indexes
from .commands.list import deploys, errors, ls
from .commands.migrate import migrate
from .commands.partitions import partitions
from .commands.runs import ps
from .commands.show import show
from .commands.spool import spool
from .commands.statistics import stats, top
from .commands.tail import tail
from .errors import ConfigurationError

__all__ = ["main"]


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--dsn", help="Where the database is; default as the environment says, else the embedded server.")
@click.option("--schema", help="Schema of the tables; default EVENT_SCHEMA, else otel.")
@click.option("--table-prefix", help="Prefix of the tables; default EVENT_TABLE_PREFIX, else none.")
@click.version_option(package_name="otel-pg-exporter", message="%(prog)s %(version)s")
@click.pass_context
@plainly
def main(context: click.Context, dsn: str | None, schema: str | None, table_prefix: str | None) -> None:
    """Look at what otel-pg-exporter stores, and look after its tables.

    Exit codes: 0, 1 for what went wrong or was not found, 2 for wrong usage, 130 for Ctrl-C.
    """
    for name in ("stdout", "stderr"):
        if (stream := getattr(sys, name)) is None:  # closed by who started it: what is printed goes nowhere
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows another
    if context.invoked_subcommand in _WITHOUT_SETTINGS:
        return  # a wrong variable is no reason not to start a program
    if "" in (dsn, schema):  # as of a variable that is not set in a script: another database is not meant
        raise click.UsageError(
            f"--{'dsn' if dsn == '' else 'schema'} is empty; leave it out if the environment says it"
        )
    try:
        context.obj = Settings.from_env(dsn=dsn, schema=schema, table_prefix=table_prefix)
    except ConfigurationError as error:
        Settings.from_env()  # if the environment is not at fault, an option is
        raise click.UsageError(str(error)) from None


_WITHOUT_SETTINGS = {"run", "completion"}


@main.command(
    add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Start a program so that it is recorded; run --help for its options."""
    from . import run as launcher

    above = context.parent.params if context.parent else {}
    given = [f"--{name.replace('_', '-')}={value}" for name, value in above.items() if value is not None]
    launcher.main([*given, *arguments], "otel-pg run")


for command in (
    ls, show, errors, top, stats, deploys, ps, tail, export, import_, health, doctor, migrate, partitions, indexes,
    erase, spool, db, demo, completion,
):  # fmt: skip
    main.add_command(command)
for command in (grant, revoke, tenants):
    migrate.add_command(command)


if __name__ == "__main__":
    main()
