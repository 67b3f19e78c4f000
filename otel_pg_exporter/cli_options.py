"""What several commands take and show."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .terminal import harmless

__all__ = ["print_table", "since_option"]

F = TypeVar("F", bound=Callable[..., Any])

_SPAN = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def since_option(text: str) -> Callable[[F], F]:
    """The option --since, that gives the moment so long ago, or None."""
    return click.option("--since", callback=_since, help=text)


def print_table(columns: list[str], rows: list[tuple[object, ...]]) -> None:
    """Print stored values as they are: not as rich's markup, and without what would steer the terminal."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(harmless(value)) for value in row))
    # a pipe has no edge: rich would fold the names at column 80
    Console(width=None if sys.stdout.isatty() else 10_000).print(table)


def _since(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    match = _SPAN.fullmatch(value)
    try:
        if match:
            return datetime.now(timezone.utc) - timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    except (OverflowError, ValueError):  # before the year 1, or more digits than Python reads
        pass
    raise click.BadParameter(f"{value!r:.40} is not allowed; allowed is a number and s, m, h or d: 90m, 24h, 7d")
