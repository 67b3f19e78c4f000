"""`otel-pg health`: whether events can be stored and read."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ..config import Settings
from ..reading.terminal import harmless
from .errors import plainly

if TYPE_CHECKING:
    from ..health import Health

__all__ = ["health"]

_MIGRATIONS = ("migrations_applied", "migrations_pending")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
@plainly
def health(settings: Settings, as_json: bool) -> None:
    """Say whether events can be stored and read, and what waits in the spool; exit code 1 if they cannot."""
    from ..query import EventQuery

    with EventQuery(settings) as query:
        found = query.health()
    found = replace(found, **_in_spool(settings, found.is_healthy))
    told = _told(found)
    if as_json:
        click.echo(json.dumps(told))
    else:
        for name, value in told.items():
            if name == "unmatched":
                continue
            if name in _MIGRATIONS and value is None:
                value = "-"  # noqa: PLW2901
            if isinstance(value, dict):
                value = ", ".join(f"{key} {count}" for key, count in value.items())  # noqa: PLW2901
            if isinstance(value, float):
                value = f"{value:.1f}"  # noqa: PLW2901
            if name != "error" and value not in (None, ""):
                click.echo(f"{name:<20} {harmless(value)}")
        for service, patterns in found.unmatched.items():
            for pattern in patterns:
                where = f"{harmless(pattern)} (service {harmless(service)})"
                click.echo(f"{'unmatched':<20} {where}: nothing of that name was found")
    if not found.is_healthy and not as_json:
        raise click.ClickException(harmless(" ".join(str(found.error).split())))
    sys.exit(0 if found.is_healthy else 1)


def _told(found: Health) -> dict[str, Any]:
    told = found.to_dict()
    # there is one at least: without any, nobody could ask
    return told if any(told[name] for name in _MIGRATIONS) else {**told, **dict.fromkeys(_MIGRATIONS)}


def _in_spool(settings: Settings, is_there: bool) -> dict[str, Any]:
    """Records of all programs in this database's folder, as `Health` names them."""
    from ..errors import SpoolError
    from .waiting import look

    try:
        files, stored, _ = look(settings, is_there)
    except (SpoolError, OSError):  # there is no place for a spool, or it is another user's
        return {}
    return {
        "spool_depth": sum(file.waiting(stored) for file in files),
        "spool_refused": sum(file.rows for file in files if file.is_dead),
    }
