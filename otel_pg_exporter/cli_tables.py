"""Tables on a terminal, or in a pipe."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .terminal import harmless

__all__ = ["print_table"]


def print_table(columns: list[str], rows: list[tuple[object, ...]]) -> None:
    """Print stored values as they are: not as rich's markup, and without what would steer the terminal."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(harmless(value)) for value in row))
    # a pipe has no edge: rich would fold the names at column 80
    Console(width=None if sys.stdout.isatty() else 10_000).print(table)
