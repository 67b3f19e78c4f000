"""How far long work has come: on stderr, and only if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

__all__ = ["bar", "counted", "steps"]

T = TypeVar("T")


def counted(items: Iterable[T], what: str, size: Callable[[T], int] = lambda item: 1) -> Iterator[T]:
    """The items, with a count of those that have passed."""
    with _progress(SpinnerColumn(), TextColumn(f"{{task.completed:,.0f}} {what}"), TimeElapsedColumn()) as progress:
        task = progress.add_task(what, total=None)
        for item in items:
            yield item
            progress.advance(task, size(item))


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar; what is given is told of each step's size."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with _progress(*columns) as progress:
        task = progress.add_task(what, total=total)
        yield lambda size: progress.advance(task, size)


@contextmanager
def steps(what: str) -> Iterator[Callable[[str], None]]:
    """A count of steps; what is given is told the name of each that is done."""
    columns = (
        SpinnerColumn(),
        TextColumn(f"{{task.completed:,.0f}} {what}, {{task.description}}"),
        TimeElapsedColumn(),
    )
    with _progress(*columns) as progress:
        task = progress.add_task("", total=None)
        yield lambda name: progress.update(task, advance=1, description=name)


def _progress(*columns: ProgressColumn) -> Progress:
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
