"""A machine that stalls for seconds, for tests of what is done rather than of how soon.

The product gives up after a while, and looks after things at moments of its own: a stall of a test then ends in the
spool, or somebody else writes in the middle of it. Here each such time is long. What is promised of the times
themselves has tests of its own, that set them or run programs without this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["PATIENT", "be_patient", "wait_for_tables"]

_LONG, _NEVER = 60, 1e9
_BATCHES = {
    # one that takes longer goes to the spool
    "writing.delivery:_FIRST_PATIENCE_SECONDS": _LONG,
    "writing.delivery:_PATIENCE_SECONDS": _LONG,
}
_TIMES = {
    **_BATCHES,
    "writing.delivery:_HANGING_SECONDS": _LONG,
    "writing.sink:_LOCK_SECONDS": _LONG,
    "writing.sink:_LOOK_SECONDS": _LONG,
    "schema.partitions:_LOCK_MILLIS": _LONG * 1000,
    # what is not stored when a program or a store ends is spooled
    "host.exits:_EXIT_SECONDS": _LONG,
    "host.exits:_SETTLE_SECONDS": _LONG,
    "host.exits:_exit._seconds_left": _LONG,
    "host.exits:_Exit.flush.__defaults__": (_LONG,),
    "providers:Telemetry.shutdown.__defaults__": (_LONG * 1000,),
    "store:EventStore.close.__defaults__": (_LONG * 1000,),
    "async_store:AsyncEventStore.close.__defaults__": (_LONG * 1000,),
    "integration:_CLOSE_SECONDS": _LONG,
    "host.courier:_HANDING_SECONDS": _LONG,
    # an end whose start is not found in time has no duration
    "integration:_LOOK_SECONDS": _LONG,
    "integration:_EXIT_LOOK_SECONDS": _LONG,
    # a session of ours that is idle for longer is ended by the server
    "upkeep.retention:_LOOK_SECONDS": _LONG,
    "upkeep.retention:_DROP_SECONDS": _LONG,
    "schema.indexes:_SECONDS": _LONG,
    "query:_HEALTH_SECONDS": _LONG,
    "events.monitor:_JOIN_SECONDS": _LONG,
    "processors.open_spans:_PATIENCE_SECONDS": _LONG,
    # looks
    "processors.open_spans:_LOOK_SECONDS": _NEVER,
    "upkeep.runner:_FIRST_SECONDS": _NEVER,
}

PATIENT = (
    f"import sys; sys.path.append({str(Path(__file__).parents[1])!r})\n"
    "from harness.patience import be_patient; be_patient()\n"
)
"""The first line of a program in a process of its own."""


def be_patient(setattr: Callable[[Any, str, Any], None] = setattr) -> None:
    """Set all times of this process.

    Args:
        setattr: a test's own takes it back.
    """
    _set(_TIMES, setattr)


def wait_for_tables(setattr: Callable[[Any, str, Any], None] = setattr) -> None:
    """Set those of batches alone: they wait for the tables, which are not looked at again, as long as an export may."""
    _set({**_BATCHES, "writing.sink:_SOUND_SECONDS": _LONG}, setattr)


def _set(times: Mapping[str, float | tuple[float]], setattr: Callable[[Any, str, Any], None]) -> None:
    for path, value in times.items():
        module, _, name = path.partition(":")
        *names, last = name.split(".")
        owner: Any = import_module(f"otel_pg_exporter.{module}")
        for name in names:
            owner = getattr(owner, name)
        setattr(owner, last, type(getattr(owner, last))(value))
