"""What waits in the spool: what lies there, less what the ledger has."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from time import monotonic
from typing import TYPE_CHECKING

from ..config import Settings
from ..errors import EventStoreError

if TYPE_CHECKING:
    from ..spool.inspection import SpoolFile

__all__ = ["look"]

_SECONDS = 5.0


def look(settings: Settings, is_there: bool = True) -> tuple[list[SpoolFile], Collection[uuid.UUID], str | None]:
    """The files, the batches in them that are stored, and why that could not be asked, if so.

    Batches stay in their file until it is done: with durability process or power that of a program that runs, or was
    killed, is full of what is stored.

    Args:
        is_there: the database answers; else nothing is asked.
    """
    from ..spool import inspection

    files = inspection.look(settings)
    ids = [batch for file in files if not file.is_dead for batch in file.rows_of]
    try:
        return files, _stored(settings, ids) if ids and is_there else (), None
    except EventStoreError as error:
        return files, (), " ".join(str(error).split())


def _stored(settings: Settings, ids: list[uuid.UUID]) -> Collection[uuid.UUID]:
    from ..database import limits, opened
    from ..schema import migrate

    with opened(settings) as database:
        if not any(step.applied_at for step in migrate.status(database)):
            return ()
        with database.connection() as connection:
            connection.execute(database.sql("limit_time").encode(), limits(monotonic() + _SECONDS))
            rows = connection.execute(database.sql("batches_in_ledger").encode(), {"ids": ids}).fetchall()
            return {row["batch_id"] for row in rows}
