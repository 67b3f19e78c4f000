"""Summaries of an hour that is over become one for each kind of event, whatever number of batches they came in.

A program that does little sends small batches, five a second if need be, and each has its summaries: statistics would
cost as much as from the events. What comes later for such an hour is a summary beside these, and is merged in turn. It
is done in one transaction for each hour, by one process at a time, and blocks nobody: writers only add rows.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from ..config import Settings
from ..database import Database, opened
from .retention import takes_turn

__all__ = ["merge"]

_SECONDS, _LOCK_SECONDS = 60.0, 0.2
_CROWDED = 100
"""Summaries of an hour that are too few to be worth a transaction."""


def merge(where: Settings | Database | None = None, **overrides: Any) -> int:
    """Merge the summaries of the hours of three days that have many; gives the number of these hours.

    Args:
        where: default the environment.
        overrides: fields of `Settings`, in place of `where`.

    Raises:
        AccessDenied: the role may not read summaries, or not delete them.
        DatabaseError: the server cannot be reached, or refused a statement.
    """
    with opened(where, **overrides) as database, database.session(monotonic() + _SECONDS) as session:
        with session.transaction(_LOCK_SECONDS, _SECONDS) as connection:
            hours = connection.execute(database.sql("crowded_hours").encode(), {"most": _CROWDED}).fetchall()
        done = 0
        for hour in hours:
            with session.transaction(_LOCK_SECONDS, _SECONDS) as connection:
                # retention takes summaries out too: of what it drops none may come back
                if not takes_turn(database, connection):
                    return done
                connection.execute(database.sql("merge_summaries").encode(), {"hour": hour["time"]})
                done += 1
        return done
