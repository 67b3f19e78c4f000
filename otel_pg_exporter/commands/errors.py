"""How commands are told a moment, and how they fail: one line, and exit code 1."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import wraps
from typing import Any, TypeVar

import click

from ..errors import EventStoreError
from ..reading.terminal import harmless

__all__ = ["moment", "plainly"]

F = TypeVar("F", bound=Callable[..., Any])
_SPAN = re.compile(r"(\d+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_ALLOWED = "a number and s, m, h, d or w (90m, 24h, 7d), or a time (2026-11-25, 2026-11-25T14:30, 2026-11-25T14:30:00Z)"
_INTERRUPTED = 130


def moment(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """An option like 90m, 24h or 7d, as the moment that long ago; or a time of ISO 8601, UTC if it names no zone."""
    if value is None:
        return None
    match = _SPAN.fullmatch(value)
    try:
        if match:
            return datetime.now(timezone.utc) - timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        given = datetime.fromisoformat(value[:-1] + "+00:00" if value.endswith(("Z", "z")) else value)
        given = given.replace(tzinfo=given.tzinfo or timezone.utc)
        return given.astimezone(timezone.utc)
    except (OverflowError, ValueError):  # no time, before the year 1, or more digits than Python reads
        pass
    raise click.BadParameter(f"{value!r:.40} is not allowed; allowed is {_ALLOWED}")


def plainly(command: F) -> F:
    """An error of ours is one line and exit code 1; Ctrl-C is exit code 130, without a word."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            done = command(*arguments, **options)
            sys.stdout.flush()
            return done
        except BrokenPipeError:
            raise  # whoever read has seen enough
        except OSError as error:
            _give_up_output()
            what = f"cannot use {error.filename}" if error.filename else "cannot write"
            raise click.ClickException(harmless(f"{what}: {error.strerror or error}")) from None
        except EventStoreError as error:
            # one line, also where the message ends with a piece of the server's log
            raise click.ClickException(harmless(" ".join(str(error).split()))) from None
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)

    return run  # type: ignore[return-value]


def _give_up_output() -> None:
    """What cannot be written now is not tried again at the end: Python would have its own message and exit code."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
