"""`otel-pg db`: the embedded PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import click

from ..config import Settings
from .errors import plainly
from .group import Group

__all__ = ["db"]


@click.group(cls=Group)
def db() -> None:
    """The embedded PostgreSQL."""


def _embedded(settings: Settings) -> Any:
    from ..embedded import EmbeddedServer

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
