"""`otel-pg`: health, migrations, traces, statistics and the embedded server, from a shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from typing import Any

from .config import Settings

try:
    import click
    import rich  # noqa: F401
except ImportError:
    sys.exit("otel-pg needs the extra cli: pip install 'otel-pg-exporter[cli]'")

from .cli_errors import moment, plainly
from .cli_tables import print_table
from .doctor_cli import doctor
from .grants_cli import grant, revoke, tenants
from .runs_cli import ps
from .spool_cli import spool
from .tail_cli import tail

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--dsn", help="Where the database is; default as the environment says, else the embedded server.")
@click.option("--schema", help="Schema of the tables; default EVENT_SCHEMA, else otel.")
@click.option("--table-prefix", help="Prefix of the tables; default EVENT_TABLE_PREFIX, else none.")
@click.version_option(package_name="otel-pg-exporter", message="%(prog)s %(version)s")
@click.pass_context
@plainly
def main(context: click.Context, dsn: str | None, schema: str | None, table_prefix: str | None) -> None:
    """Look at what otel-pg-exporter stores, and look after its tables."""
    if context.invoked_subcommand == "run":
        return  # a wrong variable is no reason not to start a program
    context.obj = Settings.from_env(dsn=dsn, schema=schema, table_prefix=table_prefix)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
@plainly
def health(settings: Settings, as_json: bool) -> None:
    """Say whether events can be stored and read, and what waits in the spool; exit code 1 if they cannot."""
    from .query import EventQuery

    with EventQuery(settings) as query:
        found = replace(query.health(), **_in_spool(settings))
    if as_json:
        click.echo(json.dumps(found.to_dict()))
    else:
        for name, value in found.to_dict().items():
            if name == "unmatched":
                continue
            if isinstance(value, dict):
                value = ", ".join(f"{key} {count}" for key, count in value.items())  # noqa: PLW2901
            if name != "error" and value not in (None, ""):
                click.echo(f"{name:<20} {value}")
        for service, patterns in found.unmatched.items():
            for pattern in patterns:
                click.echo(f"{'unmatched':<20} {pattern} (service {service}): nothing of that name was found")
    if not found.is_healthy and not as_json:
        raise click.ClickException(" ".join(str(found.error).split()))
    sys.exit(0 if found.is_healthy else 1)


def _in_spool(settings: Settings) -> dict[str, Any]:
    """Records of all programs in this database's folder, as `Health` names them."""
    from .errors import SpoolError
    from .spool.inspection import look

    try:
        files = look(settings)
    except (SpoolError, OSError):  # there is no place for a spool, or it is another user's
        return {}
    return {
        "spool_depth": sum(file.rows for file in files if not file.is_dead),
        "spool_refused": sum(file.rows for file in files if file.is_dead),
    }


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


@main.group()
def migrate() -> None:
    """Create, upgrade or take back the tables."""


@migrate.command()
@click.option("--to", type=click.IntRange(min=0), help="Last version to apply; default the newest.")
@click.pass_obj
@plainly
def up(settings: Settings, to: int | None) -> None:
    """Apply the steps that are missing."""
    from . import migrate as steps

    applied = steps.up(settings, to=to)
    for step in applied:
        click.echo(f"applied {step.version:04d} {step.name}")
    if not applied:
        click.echo("nothing to do")


@migrate.command()
@click.option("--to", type=click.IntRange(min=0), default=0, show_default=True, help="Last version to keep.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
@plainly
def down(settings: Settings, to: int, yes: bool) -> None:
    """Take steps back, with everything that is stored in their tables."""
    from . import migrate as steps

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
@click.pass_obj
@plainly
def status(settings: Settings) -> None:
    """List the steps."""
    from . import migrate as steps

    for step in steps.status(settings):
        click.echo(f"{step.version:04d} {step.name:<24} {step.applied_at or 'not applied'}")


@migrate.command()
@click.option("--days", type=click.IntRange(0, 3660), default=30, show_default=True, help="How many after today.")
@click.pass_obj
@plainly
def partitions(settings: Settings, days: int) -> None:
    """Make the partitions of the coming days, for writers that may not."""
    from .database import Database
    from .partitions import ahead

    database = Database(settings)
    try:
        ahead(database, days)
    finally:
        database.close()
    click.echo(f"partitions are there for today and {days} days more")


@migrate.command()
@click.pass_obj
@plainly
def show(settings: Settings) -> None:
    """Print the SQL of all steps."""
    from . import migrate as steps

    click.echo(steps.show(settings.schema, settings.table_prefix))


@main.command("show")
@click.argument("trace_id")
@click.option("--json", "as_json", is_flag=True, help="OTLP/JSON.")
@click.pass_obj
@plainly
def show_trace(settings: Settings, trace_id: str, as_json: bool) -> None:
    """Print a trace as a tree; TRACE_ID is 32 hex digits."""
    from .query import EventQuery

    with EventQuery(settings) as query:
        trace = query.trace(trace_id)
    if not trace.roots:
        raise click.ClickException(str(trace))
    click.echo(json.dumps(trace.to_otlp_json()) if as_json else str(trace))


@main.command()
@click.option("--since", callback=moment, help="Only what began this long ago or later: 90m, 24h, 7d.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
@plainly
def stats(settings: Settings, since: datetime | None, as_json: bool) -> None:
    """Count events, errors, durations and tokens."""
    from .query import EventQuery

    with EventQuery(settings) as query:
        found = query.statistics(start=since)
    if as_json:
        click.echo(json.dumps(found.to_dict()))
        return
    columns = ["by", "name", "events", "errors", "p50 ms", "p95 ms", "tokens in", "tokens out"]
    groups = {"category": found.by_category, "type": found.by_type, "status": found.by_status, "agent": found.by_agent}
    rows: list[tuple[object, ...]] = []
    for by, named in groups.items():
        for name, group in named.items():
            durations = [f"{value / 1e6:.1f}" if value is not None else "" for value in (group.p50, group.p95)]
            rows.append((by, name, group.count, group.errors, *durations, group.input_tokens, group.output_tokens))
    print_table(columns, rows)


@main.group()
def db() -> None:
    """The embedded PostgreSQL."""


def _embedded(settings: Settings) -> Any:
    from .embedded import EmbeddedServer

    if not settings.is_embedded:
        raise click.ClickException(f"db is for the embedded server; the settings name your own: {settings.target}")
    return EmbeddedServer(settings.data_dir)


@db.command()
@click.pass_obj
@plainly
def start(settings: Settings) -> None:
    """Start it, and leave it running when the last program has left."""
    with _embedded(settings) as server:
        server.keep(True)
        click.echo(server.conninfo)


@db.command()
@click.pass_obj
@plainly
def stop(settings: Settings) -> None:
    """Stop it, or let it stop when the last program that uses it leaves."""
    server = _embedded(settings)
    was_running = server.is_running()
    server.keep(False)  # also when it is down: the next program to use it must not leave it running
    if was_running:
        with server:  # whoever leaves last stops it
            pass
    if server.is_running():
        click.echo("still used by another program; it stops when that ends")
    else:
        click.echo("stopped" if was_running else "it was not running")


@db.command()
@click.pass_obj
@plainly
def url(settings: Settings) -> None:
    """Print how to connect to it while it runs."""
    server = _embedded(settings)
    if not server.is_running():
        raise click.ClickException(f"{server.data_dir} has no running server. Run: otel-pg db start")
    click.echo(server.conninfo)


@db.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
@plainly
def psql(settings: Settings, arguments: tuple[str, ...]) -> None:
    """Run psql on it; ARGUMENTS are psql's own, those with a dash best after --."""
    server = _embedded(settings)
    program = server.bin_dir / "psql"
    if not os.access(program, os.X_OK):
        raise click.ClickException(f"there is no psql in {server.bin_dir}: pip install 'otel-pg-exporter[embedded]'")
    given = os.environ.get("PGOPTIONS", "")
    environment = {**os.environ, "PGOPTIONS": f"{given} -c search_path={settings.schema},public".strip()}
    with server:
        # Ctrl-C is for psql, where it cancels a query; a handler, unlike SIG_IGN, is not inherited
        signal.signal(signal.SIGINT, lambda *_: None)
        command = [str(program), "-d", server.conninfo, *arguments]
        code = subprocess.run(command, env=environment, check=False).returncode
    sys.exit(code if code >= 0 else 128 - code)


for _command in (grant, revoke, tenants):
    migrate.add_command(_command)
main.add_command(ps)
main.add_command(spool)
main.add_command(doctor)
main.add_command(tail)


if __name__ == "__main__":
    main()
