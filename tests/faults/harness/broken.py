"""Builds with one thing wrong each: those that others ship. A judge that lets one of them pass judges nothing.

broken.blind_retry(monkeypatch.setattr)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from time import monotonic
from typing import Any

from otel_pg_exporter.batches import Batch, new_batch_id
from otel_pg_exporter.database import Database
from otel_pg_exporter.delivery import Delivery
from otel_pg_exporter.errors import DatabaseError
from otel_pg_exporter.row_identity import with_batch_id
from otel_pg_exporter.sink import Sink

__all__ = ["BUILDS", "asynchronous_commit", "blind_retry", "drop_on_error", "select_then_insert"]

_Patch = Callable[[Any, str, Any], None]


def drop_on_error(patch: _Patch) -> None:
    """A batch gets one attempt, as from most exporters; nobody is told."""
    prepared = Sink._attempt

    def deliver(self: Delivery, batch: Batch, seconds: float, held: Any = None) -> str:
        try:
            prepared(self._sink, batch, {}, monotonic() + seconds)
        except DatabaseError:
            pass
        return "stored"

    patch(Delivery, "deliver", deliver)


def blind_retry(patch: _Patch) -> None:
    """A batch that is sent again is a new batch."""
    attempt = Sink._attempt

    def with_a_new_id(self: Sink, batch: Batch, *rest: Any) -> bool:
        renamed = batch.part(0, len(batch))
        renamed.id = new_batch_id()
        renamed.rows = {t: [with_batch_id(row, renamed.id.bytes) for row in rows] for t, rows in batch.rows.items()}
        return attempt(self, renamed, *rest)

    patch(Sink, "_attempt", with_a_new_id)


def select_then_insert(patch: _Patch) -> None:
    """Whether a batch is stored is looked up, and then it is inserted. Needs a ledger without its primary key."""
    claim = Sink.claim

    def looked_up(self: Sink, batch: Batch, *rest: Any) -> str:
        ledger = self.database.names.table("event_batches")
        absent = f"WHERE NOT EXISTS (SELECT FROM {ledger} WHERE batch_id = '{batch.id}')"
        text = claim(self, batch, *rest)
        return re.sub(r"VALUES \((.*)\) ON CONFLICT DO NOTHING", rf"SELECT \1 {absent}", text, flags=re.DOTALL)

    patch(Sink, "claim", looked_up)


def asynchronous_commit(patch: _Patch) -> None:
    """The server may say "committed" before its disk has the rows."""
    sql = Database.sql

    def lenient(self: Database, name: str) -> str:
        text = sql(self, name)
        return text.partition("SELECT set_config")[0] + "SELECT 1" if name == "begin_batch" else text

    patch(Database, "sql", lenient)


BUILDS: dict[str, Callable[[_Patch], None]] = {
    build.__name__: build for build in (drop_on_error, blind_retry, select_then_insert, asynchronous_commit)
}
