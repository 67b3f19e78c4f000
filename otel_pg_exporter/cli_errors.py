"""How commands are told a moment, and how they fail: one line, and exit code 1."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import wraps
from typing import Any, TypeVar

import click

from .errors import EventStoreError

__all__ = ["moment", "plainly"]

F = TypeVar("F", bound=Callable[..., Any])
_SPAN = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def moment(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """An option like 90m, 24h or 7d, as the moment that long ago."""
    if value is None:
        return None
    match = _SPAN.fullmatch(value)
    try:
        if match:
            return datetime.now(timezone.utc) - timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    except (OverflowError, ValueError):  # before the year 1, or more digits than Python reads
        pass
    raise click.BadParameter(f"{value!r:.40} is not allowed; allowed is a number and s, m, h or d: 90m, 24h, 7d")


def plainly(command: F) -> F:
    """An error of ours is one line and exit code 1."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except EventStoreError as error:
            # one line, also where the message ends with a piece of the server's log
            raise click.ClickException(" ".join(str(error).split())) from None

    return run  # type: ignore[return-value]
