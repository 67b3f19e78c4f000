"""Tables on a terminal, or in a pipe."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import click

from ..reading.terminal import harmless
from ..reading.waterfall import columns_of, padded, shortened

__all__ = ["Column", "columns", "has_colours", "painted", "print_lines", "terminal_width"]

_COLOURS = {"error": "red", "lost": "red", "cancelled": "yellow", "suspended": "yellow", "started": "cyan"}
_LEAST_WIDTH, _LEAST_ID = 12, 12
_NARROWEST = 4
"""Of a name, when nothing else is left to be spared."""
_GAP = "  "
_TITLE = re.compile(r"(.+?)([…>#]?)(\d?)")


class Column(NamedTuple):
    """One column of lines."""

    title: str
    is_right: bool = False
    """Numbers stand at the right."""
    is_elastic: bool = False
    """It is cut where the terminal is too narrow."""
    is_id: bool = False
    """It is cut to its beginning before names are, without a mark, so that it can be copied."""
    spared: int = 0
    """Where that is not enough it is left out, 1 first; 0 stays."""


def columns(titles: str) -> list[Column]:
    """Columns by their titles, with _ for a blank: "name…" is cut if need be, "errors>" stands at the right,
    "trace#" is an id; "spans>2" is left out after what ends in 1."""
    return [_column(title) for title in titles.split()]


def _column(text: str) -> Column:
    title, sort, spared = _TITLE.fullmatch(text).groups()  # type: ignore[union-attr]  # anything is a title
    return Column(title.replace("_", " "), sort == ">", sort == "…", sort == "#", int(spared or 0))


def print_lines(among: Sequence[Column], pages: Iterable[Sequence[tuple[str, Sequence[object]]]]) -> None:
    """Print pages of rows as they come, a line for each, under one line of titles.

    The first page says how wide the columns are. A row is its status, which colours the cell that says the same,
    and its cells. Without a row a person is told that there is none, on stderr.
    """
    widths: list[int] = []
    for page in pages:
        rows = [(status, [harmless(cell) for cell in cells]) for status, cells in page]
        if not widths:
            if not rows:
                continue
            widths = _widths(among, [cells for _, cells in rows])
            line = _joined(among, widths, [column.title for column in among])
            click.echo(click.style(line, bold=True) if has_colours() else line)
        for status, cells in rows:
            click.echo(_joined(among, widths, cells, status))
    if not widths and sys.stderr.isatty():
        click.echo("nothing found", err=True)


def _widths(among: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """How wide each column is; 0 for one that is left out."""
    texts = list(zip([column.title for column in among], *rows, strict=True))
    widths = [max(map(columns_of, cells)) for cells in texts]
    width = terminal_width()
    return widths if width is None or _length(widths) <= width else _fitting(among, texts, widths, width)


def _fitting(among: Sequence[Column], texts: Sequence[Sequence[str]], widths: list[int], width: int) -> list[int]:
    widths = [min(wide, _LEAST_ID) if column.is_id else wide for column, wide in zip(among, widths, strict=True)]
    elastic = [index for index, column in enumerate(among) if column.is_elastic]
    spared = [index for index, column in enumerate(among) if column.spared]
    # what holds nothing goes before what does
    spared.sort(key=lambda index: (any(texts[index][1:]), among[index].spared))
    least = list(widths)
    for index in elastic:
        least[index] = min(least[index], _LEAST_WIDTH)
    for index in spared:
        if _length(least) <= width:
            break
        least[index] = widths[index] = 0
    while elastic and _length(widths) > width:
        widest = max(elastic, key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _length(widths: Sequence[int]) -> int:
    shown = [width for width in widths if width]
    return sum(shown) + len(_GAP) * (len(shown) - 1)


def _joined(among: Sequence[Column], widths: Sequence[int], cells: Sequence[str], status: str = "") -> str:
    shown = []
    for column, width, cell in zip(among, widths, cells, strict=True):
        if not width:
            continue
        fitting = cell
        if terminal_width():
            fitting = shortened(cell, width) if column.is_elastic else cell[:width] if column.is_id else cell
        text = padded(fitting, width, is_right=column.is_right)
        shown.append(painted(text, status) if status and cell == status else text)
    return _GAP.join(shown).rstrip()


def terminal_width() -> int | None:
    """Columns of the terminal; None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def has_colours() -> bool:
    """Whether colours are wanted: on a terminal, unless NO_COLOR is set (no-color.org) or the terminal has none."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, status: str) -> str:
    """A text in the colour of a status."""
    return click.style(text, fg=_COLOURS.get(status, "green")) if has_colours() else text
