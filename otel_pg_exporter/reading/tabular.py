"""Events as files of rows: CSV, safe for a spreadsheet, and Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Any

from ..host.optional import optional
from .events import Event, EventPage, columns, flat
from .terminal import harmless

__all__ = ["write_csv", "write_parquet"]

_ROWS = 10_000
"""In a row group of Parquet."""
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_BREAKS = "\n\t"


def write_csv(events: Iterable[Event], file: IO[str], categories: Sequence[str]) -> int:
    """Write a line of titles and a line for each event; gives their number.

    A text that a spreadsheet would take for a formula gets an apostrophe before it, and characters that would
    steer a terminal are replaced.
    """
    writer = csv.writer(file, lineterminator="\n")
    names = columns(categories)
    writer.writerow(names)
    count = 0
    for count, event in enumerate(events, 1):  # noqa: B007
        row = flat(event)
        writer.writerow([_cell(row.get(name)) for name in names])
    return count


def write_parquet(events: Iterable[Event], file: IO[bytes], categories: Sequence[str]) -> int:
    """Write the columns of `EventPage.to_arrow`; gives the number of events.

    Raises:
        ImportError: pyarrow is not installed.
    """
    parquet = optional("pyarrow.parquet")
    schema = EventPage([], None, categories).to_arrow().schema
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for chunk in _chunks(events):
            writer.write_table(EventPage(chunk, None, categories).to_arrow())
            count += len(chunk)
    return count


def _chunks(events: Iterable[Event]) -> Iterator[list[Event]]:
    waiting = iter(events)
    while chunk := list(islice(waiting, _ROWS)):
        yield chunk


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, int | float):
        return value
    text = str(value) if not hasattr(value, "isoformat") else value.isoformat()
    clean = "".join(c if c in _BREAKS else harmless(c) for c in text) if not text.isprintable() else text
    return f"'{clean}" if text.startswith(_FORMULAS) else clean
