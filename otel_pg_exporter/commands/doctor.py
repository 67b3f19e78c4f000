"""`otel-pg doctor`: what became of everything that was produced."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import click

from ..config import Settings
from ..reading.terminal import harmless
from .errors import moment, plainly

if TYPE_CHECKING:
    from ..doctor import Diagnosis, Gap, Producer

__all__ = ["doctor"]


@click.command()
@click.option("--since", callback=moment, default="7d", show_default=True, help="Producers that stored since: 24h, 7d.")
@click.option("--all", "is_all", is_flag=True, help="Every producer, also those that miss nothing.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
@plainly
def doctor(settings: Settings, since: datetime, is_all: bool, as_json: bool) -> None:
    """Say what was produced, stored, spooled, dropped and refused, and what is missing.

    Exit code 1 if something is not stored, or stands in the way of storing.
    """
    from ..doctor import examine

    found = examine(settings, since=since)
    if as_json:
        click.echo(json.dumps(found.to_dict()))
    else:
        _print(found, is_all)
    sys.exit(0 if found.is_complete else 1)


def _print(found: Diagnosis, is_all: bool) -> None:
    click.echo(f"{found.target}, schema {found.schema}: {_counted(len(found.producers))} since {_time(found.since)}")
    totals = found.totals
    click.echo("  " + ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in totals.items()))
    for producer in found.producers:
        if is_all or producer.gaps or producer.produced != producer.stored:
            _print_producer(producer)
    if found.refused:
        what = "1 row was refused and lies" if found.refused == 1 else f"{found.refused:,} rows were refused and lie"
        click.echo(f"  {what} in the spool: otel-pg spool export --dead")
        for reason in found.reasons:
            click.echo(f"    {_clean(reason)}")
    if found.risks:
        click.echo(f"  not power-safe: the server runs with {', '.join(found.risks)}")
    if found.retention:
        click.echo(f"  {_clean(found.retention)}")
    for obstacle in found.obstacles:
        click.echo(f"  in the way: {_clean(obstacle.what)}")
        if obstacle.fix:
            click.echo(f"    {_clean(obstacle.fix)}")
    click.echo("complete" if found.is_complete else "not complete")


def _print_producer(producer: Producer) -> None:
    counts = {name: getattr(producer, name) for name in ("stored", "spooled", "dropped", "dead")}
    when = f"{_time(producer.first_time)} to {_time(producer.last_time)}" if producer.first_time else "nothing stored"
    numbers = ", ".join(f"{name} {number:,}" for name, number in counts.items())
    click.echo(f"  {producer.signal} producer {producer.producer_id}, {when}: {numbers}")
    for gap in producer.gaps:
        click.echo(f"    {_named(gap)}")


def _counted(producers: int) -> str:
    return f"{producers} producer" if producers == 1 else f"{producers} producers"


def _named(gap: Gap) -> str:
    which = f"batch {gap.first} is" if gap.first == gap.last else f"batches {gap.first} to {gap.last} are"
    before = f"between {_time(gap.after)} and" if gap.after else "before"
    return f"{which} missing, made {before} {_time(gap.before)}: neither stored nor in this machine's spool"


def _time(moment: datetime | None) -> str:
    return moment.isoformat(sep=" ", timespec="milliseconds") if moment else ""


def _clean(text: str) -> str:
    return harmless(" ".join(text.split()))
