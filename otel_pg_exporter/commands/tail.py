"""`otel-pg tail`: events as they are committed."""

from __future__ import annotations

import json
import sys
import time
from itertools import islice
from typing import TYPE_CHECKING

import click

from ..config import Settings
from ..errors import DatabaseUnavailable, QueryError
from ..reading.terminal import harmless
from ..reading.waterfall import duration_text
from ..routing import CATEGORIES, STATUSES
from .errors import plainly
from .options import AtLeastOne

if TYPE_CHECKING:
    from ..reading.events import Event

__all__ = ["tail"]

_PAUSE_SECONDS = 2.0


def _place(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from ..reading.tail import Position

    try:
        Position.of(value)
    except QueryError as error:
        raise click.BadParameter(str(error)) from None
    return value


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Wait for more, also while the server is away; Ctrl-C ends it.")
@click.option("--category", type=click.Choice([*CATEGORIES]), help="Only this one.")
@click.option("--status", type=click.Choice(STATUSES), help="Only events of this status.")
@click.option(
    "--cursor", callback=_place, help="Go on after this one, as --json shows it; default the beginning, with -f now."
)
@click.option("--from-start", is_flag=True, help="With -f: begin with the oldest event.")
@click.option("--limit", type=AtLeastOne(), help="End after so many.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each, with the cursor after it.")
@click.pass_obj
@plainly
def tail(
    settings: Settings,
    follow: bool,
    category: str | None,
    status: str | None,
    cursor: str | None,
    from_start: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print each event once, in the order in which it was committed."""
    from ..query import EventQuery

    if from_start and cursor is not None:
        raise click.UsageError("--from-start and --cursor were given; one of them says where to begin")
    begins = from_start or (not follow and cursor is None)
    with EventQuery(settings) as query:
        found = query.tail(
            cursor,
            category=category,
            status=status,
            from_start=begins,
            follow=follow,
            listen=follow and settings.notify,
        )
        given = 0
        while True:
            try:
                for event in islice(found, None if limit is None else limit - given):
                    given += 1
                    click.echo(json.dumps({**event.to_dict(), "cursor": found.cursor}) if as_json else _line(event))
                return
            except DatabaseUnavailable as error:
                if not follow:
                    raise
                click.echo(f"waiting: {harmless(error)}", err=True)
                time.sleep(_PAUSE_SECONDS)
            except KeyboardInterrupt:
                sys.exit(130)


def _line(event: Event) -> str:
    words = [
        f"{event.time:%Y-%m-%d %H:%M:%S}.{event.time.microsecond // 1000:03}",
        f"{event.category:<10}",
        f"{event.status:<9}",
        f"{duration_text(event.duration_ns):>9}",
        event.title,
        event.error_message or event.error_type or "",
    ]
    return " ".join(harmless(word) for word in words if word)
