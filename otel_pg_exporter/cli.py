"""`otel-pg`: health, migrations, traces, statistics and the embedded server, from a shell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import wraps
from typing import Any, TypeVar

from .config import Settings
from .errors import EventStoreError

try:
    import click
    from rich.console import Console
    from rich.table import Table
except ImportError:
    sys.exit("otel-pg needs the extra cli: pip install 'otel-pg-exporter[cli]'")

__all__ = ["main"]

F = TypeVar("F", bound=Callable[..., Any])
_SPAN = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _plainly(command: F) -> F:
    """An error of ours is one line and exit code 1."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except EventStoreError as error:
            raise click.ClickException(str(error)) from None

    return run  # type: ignore[return-value]


def _since(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    if not (match := _SPAN.fullmatch(value)):
        raise click.BadParameter("a number and s, m, h or d, such as 90m, 24h or 7d")
    return datetime.now(timezone.utc) - timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--dsn", help="Where the database is; default as the environment says, else the embedded server.")
@click.option("--schema", help="Schema of the tables; default EVENT_SCHEMA, else otel.")
@click.option("--table-prefix", help="Prefix of the tables; default EVENT_TABLE_PREFIX, else none.")
@click.pass_context
@_plainly
def main(context: click.Context, dsn: str | None, schema: str | None, table_prefix: str | None) -> None:
    """Look at what otel-pg-exporter stores, and look after its tables."""
    context.obj = Settings.from_env(dsn=dsn, schema=schema, table_prefix=table_prefix)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
@_plainly
def health(settings: Settings, as_json: bool) -> None:
    """Say whether events can be stored and read; exit code 1 if not."""
    from .query import EventQuery

    with EventQuery(settings) as query:
        found = query.health()
    if as_json:
        click.echo(json.dumps(found.to_dict()))
    else:
        for name, value in found.to_dict().items():
            if value is not None:
                click.echo(f"{name:<20} {value}")
    sys.exit(0 if found.is_healthy else 1)


@main.group()
def migrate() -> None:
    """Create, upgrade or take back the tables."""


@migrate.command()
@click.option("--to", type=int, help="Last version to apply; default the newest.")
@click.pass_obj
@_plainly
def up(settings: Settings, to: int | None) -> None:
    """Apply the steps that are missing."""
    from . import migrate as steps

    applied = steps.up(settings, to=to)
    for step in applied:
        click.echo(f"applied {step.version:04d} {step.name}")
    if not applied:
        click.echo("nothing to do")


@migrate.command()
@click.option("--to", type=int, default=0, show_default=True, help="Last version to keep.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
@_plainly
def down(settings: Settings, to: int, yes: bool) -> None:
    """Take steps back, with everything that is stored in their tables."""
    from . import migrate as steps

    if not yes:
        click.confirm(f"Drop tables and events of schema {settings.schema} in {settings.target}?", abort=True)
    for step in steps.down(settings, to=to):
        click.echo(f"took back {step.version:04d} {step.name}")


@migrate.command()
@click.pass_obj
@_plainly
def status(settings: Settings) -> None:
    """List the steps."""
    from . import migrate as steps

    for step in steps.status(settings):
        click.echo(f"{step.version:04d} {step.name:<24} {step.applied_at or 'not applied'}")


@migrate.command()
@click.pass_obj
def show(settings: Settings) -> None:
    """Print the SQL of all steps."""
    from . import migrate as steps

    click.echo(steps.show(settings.schema, settings.table_prefix))


@main.command("show")
@click.argument("trace_id")
@click.option("--json", "as_json", is_flag=True, help="OTLP/JSON.")
@click.pass_obj
@_plainly
def show_trace(settings: Settings, trace_id: str, as_json: bool) -> None:
    """Print a trace as a tree; TRACE_ID is 32 hex digits."""
    from .query import EventQuery

    with EventQuery(settings) as query:
        trace = query.trace(trace_id)
    click.echo(json.dumps(trace.to_otlp_json()) if as_json else str(trace))
    sys.exit(0 if trace.roots else 1)


@main.command()
@click.option("--since", callback=_since, help="Only what began this long ago or later: 90m, 24h, 7d.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
@_plainly
def stats(settings: Settings, since: datetime | None, as_json: bool) -> None:
    """Count events, errors, durations and tokens."""
    from .query import EventQuery

    with EventQuery(settings) as query:
        found = query.statistics(start=since)
    if as_json:
        click.echo(json.dumps(found.to_dict()))
        return
    table = Table("by", "name", "events", "errors", "p50 ms", "p95 ms", "tokens in", "tokens out")
    groups = {"category": found.by_category, "type": found.by_type, "status": found.by_status, "agent": found.by_agent}
    for by, named in groups.items():
        for name, group in named.items():
            durations = [f"{value / 1e6:.1f}" if value is not None else "" for value in (group.p50, group.p95)]
            numbers = (group.count, group.errors, *durations, group.input_tokens, group.output_tokens)
            table.add_row(by, name, *map(str, numbers))
    Console().print(table)


@main.group()
def db() -> None:
    """The embedded PostgreSQL."""


def _embedded(settings: Settings) -> Any:
    from .embedded import EmbeddedServer

    if not settings.is_embedded:
        raise click.ClickException(f"the settings name a server of your own: {settings.target}")
    return EmbeddedServer(settings.data_dir)


@db.command()
@click.pass_obj
@_plainly
def start(settings: Settings) -> None:
    """Start it, and leave it running when the last program has left."""
    with _embedded(settings) as server:
        server.keep(True)
        click.echo(server.conninfo)


@db.command()
@click.pass_obj
@_plainly
def stop(settings: Settings) -> None:
    """Let it stop when the last program leaves."""
    server = _embedded(settings)
    if server.is_running():
        with server:
            server.keep(False)
    click.echo("still in use by another program" if server.is_running() else "stopped")


@db.command()
@click.pass_obj
@_plainly
def url(settings: Settings) -> None:
    """Print how to connect to it."""
    with _embedded(settings) as server:
        click.echo(server.conninfo)


@db.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
@_plainly
def psql(settings: Settings, arguments: tuple[str, ...]) -> None:
    """Run psql on it; ARGUMENTS are psql's own."""
    with _embedded(settings) as server:
        environment = {**os.environ, "PGOPTIONS": f"-c search_path={settings.schema},public"}
        command = [str(server.bin_dir / "psql"), "-d", server.conninfo, *arguments]
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
