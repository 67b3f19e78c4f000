"""Tables on a terminal, or in a pipe."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import click

from .terminal import harmless
from .waterfall import columns_of, padded, shortened

__all__ = ["Column", "columns", "has_colours", "painted", "print_lines", "terminal_width"]

_COLOURS = {"error": "red", "lost": "red", "cancelled": "yellow", "suspended": "yellow", "started": "cyan"}
_LEAST_WIDTH, _LEAST_ID = 12, 12


class Column(NamedTuple):
    """One column of lines."""

    title: str
    is_right: bool = False
    """Numbers stand at the right."""
    is_elastic: bool = False
    """It is cut where the terminal is too narrow."""
    is_id: bool = False
    """It is cut to its beginning where that is not enough, without a mark, so that it can be copied."""


def columns(titles: str) -> list[Column]:
    """Columns by their titles, with _ for a blank: "name…" is cut if need be, "errors>" stands at the
    right, "trace#" is an id."""
    return [
        Column(title.rstrip("…>#").replace("_", " "), title.endswith(">"), title.endswith("…"), title.endswith("#"))
        for title in titles.split()
    ]


def print_lines(among: Sequence[Column], pages: Iterable[Sequence[tuple[str, Sequence[object]]]]) -> None:
    """Print pages of rows as they come, a line for each, under one line of titles.

    The first page says how wide the columns are. A row is its status, which colours the cell that says the same,
    and its cells.
    """
    widths: list[int] = []
    for page in pages:
        rows = [(status, [harmless(cell) for cell in cells]) for status, cells in page]
        if not widths:
            if not rows:
                return
            widths = _widths(among, [cells for _, cells in rows])
            line = _joined(among, widths, [column.title for column in among])
            click.echo(click.style(line, bold=True) if has_colours() else line)
        for status, cells in rows:
            click.echo(_joined(among, widths, cells, status))


def _widths(among: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    texts = zip([column.title for column in among], *rows, strict=True)
    widths = [max(map(columns_of, cells)) for cells in texts]
    surplus = sum(widths) + 2 * len(widths) - 2 - (terminal_width() or sys.maxsize)
    elastic = [index for index, column in enumerate(among) if column.is_elastic]
    while surplus > 0 and elastic and max(widths[index] for index in elastic) > _LEAST_WIDTH:
        widest = max(elastic, key=widths.__getitem__)
        widths[widest] -= 1
        surplus -= 1
    if surplus > 0:
        widths = [_LEAST_ID if column.is_id else width for column, width in zip(among, widths, strict=True)]
    return widths


def _joined(among: Sequence[Column], widths: Sequence[int], cells: Sequence[str], status: str = "") -> str:
    shown = []
    for column, width, cell in zip(among, widths, cells, strict=True):
        fitting = cell
        if terminal_width():
            fitting = shortened(cell, width) if column.is_elastic else cell[:width] if column.is_id else cell
        text = padded(fitting, width, is_right=column.is_right)
        shown.append(painted(text, status) if status and cell == status else text)
    return "  ".join(shown).rstrip()


def terminal_width() -> int | None:
    """Columns of the terminal; None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def has_colours() -> bool:
    """Whether colours are wanted: on a terminal, unless NO_COLOR is set (no-color.org) or the terminal has none."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, status: str) -> str:
    """A text in the colour of a status."""
    return click.style(text, fg=_COLOURS.get(status, "green")) if has_colours() else text
