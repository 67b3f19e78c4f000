"""Runs as lines of a table: what is open, and what was lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from .tables import columns, print_lines

if TYPE_CHECKING:
    from ..reading.runs import Run

__all__ = ["print_runs"]

_COLUMNS = columns("name… category3 status for> started1 last_heartbeat host…5 pid>4 service…2 trace#")


def print_runs(runs: Sequence[Run]) -> None:
    """A line for each."""
    print_lines(_COLUMNS, [[_line(run) for run in runs]])


def _line(run: Run) -> tuple[str, tuple[object, ...]]:
    status = "running" if run.status == "started" else run.status
    lasted = timedelta(seconds=int(run.duration.total_seconds()))
    moments = (f"{time:%Y-%m-%d %H:%M:%S}" for time in (run.time, run.last_heartbeat))
    names = (run.host or "", run.pid or "", run.service_name or "", run.trace_id)
    return status, (run.event_name, run.category, status, lasted, *moments, *names)
