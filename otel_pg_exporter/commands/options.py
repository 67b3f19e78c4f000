"""Options that several commands have."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from ..errors import QueryError
from ..reading.filters import TRACE_BEGINNING
from ..routing import CATEGORIES, STATUSES
from .errors import moment

if TYPE_CHECKING:
    from ..config import Settings
    from ..database import Database
    from ..query import EventQuery

    _Type = click.ParamType[int]
else:
    _Type = click.ParamType  # not generic in older ones

__all__ = [
    "AtLeastOne",
    "as_json",
    "filters",
    "limited",
    "period",
    "reading",
    "trace_named",
    "which_trace",
    "with_tables",
]

F = TypeVar("F", bound=Callable[..., Any])

_CHOICES = {"category": CATEGORIES, "status": STATUSES}
_HELP = {
    "category": "Only this one.",
    "text": 'Only with these words in input, output, body or error: all of them, "a phrase", one or another, -none.',
}

as_json = click.option("--json", "as_json", is_flag=True, help="For programs: a line of JSON for each.")


class AtLeastOne(_Type):
    """A whole number from 1 on; one that is too large for Python's own is as good as none."""

    name = "number"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """The number."""
        try:
            if (number := int(value)) >= 1:
                return min(number, sys.maxsize)
        except ValueError:
            pass
        self.fail(f"{value!r:.40} is not allowed; allowed is a whole number of 1 or more", parameter, context)


def period(since: str | None = None) -> Callable[[F], F]:
    """--since and --until, as datetimes `start` and `end`: so `EventQuery` calls them."""

    def decorate(command: F) -> F:
        @wraps(command)
        def run(*arguments: Any, start: datetime | None, end: datetime | None, **options: Any) -> Any:
            if start is not None and end is not None and start >= end:
                times = f"--since {start:%Y-%m-%dT%H:%M:%SZ} is not before --until {end:%Y-%m-%dT%H:%M:%SZ}"
                raise click.UsageError(f"{times}: nothing is between them")
            return command(*arguments, start=start, end=end, **options)

        until = click.option("--until", "end", callback=moment, help="Only what began before then.")(run)
        return click.option(  # type: ignore[return-value]
            "--since",
            "start",
            callback=moment,
            default=since,
            show_default=since is not None,
            help="Only what began then or later: 90m, 24h, 7d, 2026-11-25, 2026-11-25T14:30 (UTC).",
        )(until)

    return decorate


def limited(default: int) -> Callable[[F], F]:
    """--limit, a number or None, and --all, which makes it None."""

    def decide(context: click.Context, parameter: click.Parameter, is_all: bool) -> None:
        if not is_all:
            return
        if context.get_parameter_source("limit") is ParameterSource.COMMANDLINE:
            raise click.UsageError("--all and --limit are given; allowed is one of them")
        context.params["limit"] = None

    def decorate(command: F) -> F:
        command = click.option("--all", is_flag=True, expose_value=False, callback=decide, help="No limit.")(command)
        return click.option(
            "--limit",
            type=AtLeastOne(),
            default=default,
            show_default=True,
            is_eager=True,
            help="At most so many.",
        )(command)

    return decorate


def filters(*names: str) -> Callable[[F], F]:
    """Options of these names, each a filter of `EventQuery.events`."""

    def decorate(command: F) -> F:
        for name in reversed(names):
            option, only = f"--{name.replace('_', '-')}", _HELP.get(name, f"Only of this {name.replace('_', ' ')}.")
            choice = click.Choice([*_CHOICES[name]]) if name in _CHOICES else None
            checked = {"text": _words, "trace": trace_named}.get(name)
            command = click.option(option, type=choice, callback=checked, help=only)(command)
        return command

    return decorate


def _words(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from ..reading.search import Search

    try:
        if value is not None:
            Search.of(value)
    except QueryError as error:
        raise click.BadParameter(str(error)) from None
    return value


@contextmanager
def with_tables(settings: Settings) -> Iterator[Database]:
    """The database of a command that only reads: where it has no tables none are made, for the name may be a slip."""
    from ..database import opened
    from ..schema import migrate

    with opened(settings) as database:
        if not any(step.applied_at for step in migrate.status(database)):
            prefix = settings.table_prefix
            where = f"schema {settings.schema!r}" + (f" and prefix {prefix!r}" if prefix else "")
            raise click.ClickException(
                f"nothing is stored in {where} of {settings.target}: there are no tables yet. A program makes them when"
                " it stores. Run: otel-pg migrate up"
            )
        yield database


@contextmanager
def reading(settings: Settings) -> Iterator[EventQuery]:
    """Queries of a command that only reads, as `with_tables`."""
    from ..query import EventQuery

    with with_tables(settings) as database, EventQuery(database=database) as query:
        yield query


def trace_named(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """An argument or option that names a trace, for `which_trace`."""
    if value is None or value == "last" or TRACE_BEGINNING.fullmatch(value.replace("-", "").lower()):
        return value
    raise click.UsageError(f"trace {value!r:.60} is not allowed; allowed are 32 hex digits, the first of them, or last")


def which_trace(query: EventQuery, named: str) -> str:
    """The id of a trace that is named by the beginning of its id, or by the word last."""
    if named != "last":
        return query.trace_id(named)
    newest = query.traces(limit=1)
    if not newest:
        raise QueryError("nothing is stored")
    return newest[0].trace_id
