"""`otel-pg spool`: what waits on disk, and what PostgreSQL refused."""

from __future__ import annotations

import json
import sys
from collections import Counter
from logging import LogRecord
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from ..config import Settings
from ..reading.terminal import harmless
from .errors import plainly
from .group import Group

if TYPE_CHECKING:
    from ..writing.delivery import Delivery

__all__ = ["spool"]

_SILENT_SECONDS = 2.0
"""How long somebody waits without a word."""


@click.group(cls=Group)
def spool() -> None:
    """Batches on disk: those that wait for PostgreSQL, and rows that it refused."""


@spool.command("status")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
@plainly
def status(settings: Settings, as_json: bool) -> None:
    """Say what lies there; exit code 1 if something waits, was refused, or cannot be read."""
    from ..spool.folder import spool_path
    from .waiting import look

    files, stored, unknown = look(settings)
    waiting = sum(file.waiting(stored) for file in files)
    dead = sum(file.rows for file in files if file.is_dead)
    folder = str(spool_path(settings))
    if as_json:
        described = [{**_plain(file), "waiting": file.waiting(stored), "path": str(file.path)} for file in files]
        click.echo(json.dumps({"folder": folder, "waiting": waiting, "dead": dead, "files": described}))
    else:
        click.echo(f"{folder}: {_counted(waiting, 'record')} wait{'s' * (waiting == 1)}, {dead} refused")
        for file in files:
            what = file.error or ", ".join(
                (_counted(file.batches, "batch", "es"), _counted(file.rows, "record"), f"{file.size:,} bytes")
            )
            if file.rows > file.waiting(stored) and not file.is_dead:
                what += f"; {file.rows - file.waiting(stored)} of the records are stored"
            if file.damaged:
                what += f"; {file.damaged:,} of the bytes cannot be read"
            click.echo(f"  {file.path.name}  {harmless(what)}")
            for reason, count in Counter(file.reasons).items():
                click.echo(f"    refused: {harmless(reason)}{f' (×{count:,})' if count > 1 else ''}")
        if waiting and unknown:
            click.echo(f"some of what waits may be stored: {harmless(unknown)}", err=True)
    sys.exit(1 if waiting or dead or any(file.error for file in files) else 0)


@spool.command()
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 86_400),
    default=60.0,
    show_default=True,
    help="Longest time it may take, seconds.",
)
@click.pass_obj
@plainly
def replay(settings: Settings, timeout: float) -> None:
    """Store now what programs that have ended left behind.

    A server that is away is waited for; what takes a person, such as a missing right, ends it at once. Exit code 1 if
    something is left, also a file that cannot be read.
    """
    from ..database import Database
    from ..host.diagnostics import logger
    from ..spool.inspection import look
    from ..writing.delivery import Delivery

    logger.addFilter(_says_more)
    try:
        delivery = Delivery(Database(settings))
        is_empty = _replayed(delivery, timeout)
        delivery.close(1)
        delivery.database.close()
    finally:
        logger.removeFilter(_says_more)
    stored, before = delivery.counts["replayed"], delivery.counts["duplicate"]
    if is_empty or stored or before:
        click.echo(f"stored {stored}, stored before {before}")
    if not is_empty:
        raise click.ClickException(delivery.last_error or "the time ran out; what is left stays in the spool")
    if any(file.error for file in look(settings)):  # which the log has named
        sys.exit(1)


def _replayed(delivery: Delivery, seconds: float) -> bool:
    begun = monotonic()
    is_empty = delivery.replay_now(min(seconds, _SILENT_SECONDS), or_refused=True)
    left = begun + seconds - monotonic()
    if is_empty or left <= 0 or monotonic() - begun < _SILENT_SECONDS:  # what takes a person has ended it
        return is_empty
    click.echo(f"{harmless(delivery.last_error or 'still storing')}; waiting for up to {left:.0f} s more", err=True)
    return delivery.replay_now(left, or_refused=True)


def _counted(number: int, what: str, ending: str = "s") -> str:
    return f"{number:,} {what}{ending * (number != 1)}"


def _says_more(record: LogRecord) -> bool:
    """Whether a warning is not the one that the command's own error repeats."""
    return not str(getattr(record, "topic", "")).startswith("spooling")


@spool.command()
@click.option("--dead", is_flag=True, help="Only rows that PostgreSQL refused.")
@click.pass_obj
@plainly
def export(settings: Settings, dead: bool) -> None:
    """Print the records, a line of OTLP/JSON for each batch. Takes nothing away."""
    from ..reading.wire_rows import to_otlp_json
    from ..spool.inspection import batches_in, look

    for file in look(settings):
        if file.error is None and (file.is_dead or not dead):
            for batch in batches_in(file):
                click.echo(json.dumps(to_otlp_json(batch)))


def _plain(file: Any) -> dict[str, Any]:
    return {name: getattr(file, name) for name in ("size", "batches", "rows", "damaged", "is_dead", "reasons", "error")}
