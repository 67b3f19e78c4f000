"""How commands fail: one line, and exit code 1."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from .errors import EventStoreError

__all__ = ["plainly"]

F = TypeVar("F", bound=Callable[..., Any])


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
