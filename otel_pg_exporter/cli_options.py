"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .cli_errors import moment
from .errors import QueryError
from .routing import CATEGORIES

if TYPE_CHECKING:
    from .query import EventQuery

__all__ = ["as_json", "filters", "limited", "period", "which_trace"]

F = TypeVar("F", bound=Callable[..., Any])

_HELP = {"text": 'Only with these words in input or output: all of them, "a phrase", one or another, -none.'}

as_json = click.option("--json", "as_json", is_flag=True, help="For programs: a line of JSON for each.")


def period(since: str | None = None) -> Callable[[F], F]:
    """--since and --until, as datetimes `start` and `end`: so `EventQuery` calls them."""

    def decorate(command: F) -> F:
        command = click.option("--until", "end", callback=moment, help="Only what began before then.")(command)
        return click.option(
            "--since",
            "start",
            callback=moment,
            default=since,
            show_default=since is not None,
            help="Only what began then or later: 90m, 24h, 7d, 2026-11-25, 2026-11-25T14:30 (UTC).",
        )(command)

    return decorate


def limited(default: int) -> Callable[[F], F]:
    """--limit, a number or None, and --all, which makes it None."""

    def decide(context: click.Context, parameter: click.Parameter, is_all: bool) -> None:
        if is_all:
            context.params["limit"] = None

    def decorate(command: F) -> F:
        command = click.option("--all", is_flag=True, expose_value=False, callback=decide, help="No limit.")(command)
        return click.option(
            "--limit",
            type=click.IntRange(min=1),
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
            if name == "category":
                command = click.option("--category", type=click.Choice([*CATEGORIES]), help="Only this one.")(command)
            else:
                option, only = f"--{name.replace('_', '-')}", _HELP.get(name, f"Only of this {name.replace('_', ' ')}.")
                command = click.option(option, help=only)(command)
        return command

    return decorate


def which_trace(query: EventQuery, named: str) -> str:
    """The id of a trace that is named by the beginning of its id, or by the word last."""
    if named != "last":
        return query.trace_id(named)
    newest = query.traces(limit=1)
    if not newest:
        raise QueryError("nothing is stored")
    return newest[0].trace_id
