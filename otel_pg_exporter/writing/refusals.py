"""Rows that the server refuses for what they hold: they are set aside, and the rows beside them are stored.

The server says which row it is, else trials show it.
"""

from __future__ import annotations

import uuid
from collections import Counter
from time import monotonic

from ..encoding.batches import Batch
from ..encoding.row_identity import batch_index
from ..errors import BatchFailed, DatabaseError, DataRefused, EventStoreError, LedgerForgotten, SpoolError
from ..host.diagnostics import warn
from ..spool import Spool
from .account import Account
from .sink import Sink

__all__ = ["Refusals"]

_SEARCH_SECONDS = 10.0
"""How long the search for rows that are refused may take; what is left then goes to the spool."""


class Refusals:
    """Stores batches without such rows, and remembers which these were until the batch is stored; for any number of
    threads.

    Args:
        account: is told of what is set aside.
        spool: where that goes; None if there is none.
    """

    def __init__(self, account: Account, spool: Spool | None) -> None:
        self._account, self._spool = account, spool
        self._indexes: dict[uuid.UUID, set[int]] = {}
        """Batch → its rows that were set aside, by batch_index."""

    def store(self, sink: Sink, batch: Batch, deadline: float, ends_at: float, connections: int | None = None) -> str:
        """Store a batch without the rows that the server refuses: all in one transaction, under the batch's own id.

        Args:
            sink: the way to the tables.
            batch: the batch, which loses these rows. It may come again as a whole.
            deadline: when to give up, by `time.monotonic()`; a search for rows may go on for longer.
            ends_at: when that must end too.
            connections: as for `Sink.store`.

        Returns:
            stored; duplicate, if an earlier attempt had stored it; or dead, if it was set aside as a whole.

        Raises:
            EventStoreError: it could not be stored in time, or not at all as things are.
        """
        batch.leave_out(self._indexes.get(batch.id, ()))
        is_searching = False
        while True:
            try:
                with self._account.told_beside(batch) as untold:
                    is_new = _stored(sink, batch, untold, deadline, connections)
                    if is_new:
                        untold.clear()
                break
            except DataRefused as error:
                if not is_searching:
                    # the server is there, so it is worth the time that finding the rows takes
                    deadline = min(max(deadline, monotonic() + _SEARCH_SECONDS), ends_at)
                    is_searching = True
                place = sink.refused_row(batch, error, deadline)
                if place is None:
                    raise
                self._indexes.setdefault(batch.id, set()).add(batch_index(batch.rows[place[0]][place[1]]))
                self._set_aside(batch.take_out(*place), error)
            except LedgerForgotten as error:
                self._set_aside(batch, error)
                return "dead"
        self.forget(batch)
        return "stored" if is_new else "duplicate"

    def forget(self, batch: Batch) -> None:
        """The batch does not come again."""
        self._indexes.pop(batch.id, None)

    def _set_aside(self, batch: Batch, error: DatabaseError) -> None:
        self._account.count("dead", len(batch), "dead")
        self._account.owe(batch.producer_id, batch.signal, {"dead": len(batch)})
        kept = "it is not kept, for there is no spool"
        if self._spool is not None:
            try:
                self._spool.set_aside(batch, str(error))
                kept = f"it is kept in {self._spool.folder}: otel-pg spool export"
            except SpoolError as full:
                kept = str(full)
        what = "a row" if len(batch) == 1 else f"{len(batch)} rows"
        warn(f"{what} cannot be stored: {error}; {kept}", topic=f"dead {error.sqlstate}")


def _stored(sink: Sink, batch: Batch, untold: Counter[str], deadline: float, connections: int | None) -> bool:
    try:
        return sink.store(batch, untold, deadline, connections)
    except EventStoreError:
        raise
    except Exception as error:  # of ours or of the driver's: the batch is not to be lost for it
        raise BatchFailed(
            f"cannot store in {sink.database.settings.target}: {type(error).__name__}: {error}"
        ) from error
