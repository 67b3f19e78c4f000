"""What there is when all is over: rows in the tables, and batches in files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from otel_pg_exporter.encoding.contents import by_id, put_back
from otel_pg_exporter.encoding.readable import decode_row
from otel_pg_exporter.spool.contents import decode
from otel_pg_exporter.spool.records import records
from otel_pg_exporter.spool.segment import parts_of
from otel_pg_exporter.sql_files import EVENT_TABLES

from .payload import Id, is_payload

__all__ = ["StoredRow", "files", "identity_of", "ledger_rows", "tables"]

_IDENTITY = Struct(">6x16s4xq")
_COLUMNS = """
    e.trace_id, e.span_id, e."time", e.event_name, e.attributes, e.attribute_order, e.fixups, e.events, e.links,
    e.input::text AS input, e.input_attribute, e.output::text AS output, e.output_attribute,
    e.input_contents, e.output_contents, e.attribute_contents, b.producer_id, b.sequence, e.batch_index
"""


@dataclass(frozen=True)
class StoredRow:
    """One row of an event table."""

    identity: Id
    place: tuple[str, int, int] | None
    """Producer, sequence of the batch, index in the batch; None if no row of the ledger covers it."""
    is_whole: bool
    """It holds what its id says."""


def tables(dsn: str, schema: str = "otel", every: int = 1) -> list[StoredRow]:
    """All rows of all event tables, but for log records that belong to no span.

    Args:
        dsn: the database.
        schema: of the tables.
        every: of so many rows one is looked into; that the others are whole is taken for granted.
    """
    found: list[StoredRow] = []
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        shared = connection.execute(f'SELECT content_id, body, parts FROM "{schema}".contents'.encode())
        contents = by_id(shared)
        for table in EVENT_TABLES:
            # a ledger that has lost its key may have a batch twice
            ledger = f'SELECT DISTINCT ON (batch_id) * FROM "{schema}".event_batches'
            query = f"""SELECT {_COLUMNS} FROM "{schema}"."{table}" e LEFT JOIN ({ledger}) b USING (batch_id)
                         WHERE e.span_id <> 0"""
            with connection.cursor(name="rows") as cursor:  # there may be more than memory holds
                cursor.itersize = 2000
                found += (_stored(row, contents, every) for row in cursor.execute(query.encode()))
    return found


def ledger_rows(dsn: str, schema: str = "otel") -> dict[str, int]:
    """Sums over the ledger: batches, and the rows that it says are stored, dropped and dead."""
    sums = "count(*) AS batches, sum(stored) AS stored, sum(dropped_before) AS dropped, sum(dead_before) AS dead"
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        row = connection.execute(f'SELECT {sums} FROM "{schema}".event_batches'.encode()).fetchone()
    assert row is not None
    return {name: int(value or 0) for name, value in row.items()}


def files(folder: Path, suffix: str = ".seg") -> set[Id]:
    """Ids of all rows in the spool's files below a folder; `.dead` for those that were set aside."""
    found = set()
    for path in folder.rglob(f"*{suffix}"):
        data = path.read_bytes()
        _, parts, _ = parts_of(path, len(data), records(data))
        for extent in dict(parts).values():
            batch, _ = decode(data[extent.start : extent.end])
            found |= {identity_of(row) for rows in batch.rows.values() for row in rows}
    return found


def identity_of(row: bytes) -> Id:
    """Of an encoded row."""
    trace_id, span_id = _IDENTITY.unpack_from(row)
    return int.from_bytes(trace_id, "big"), span_id & (1 << 64) - 1


def _stored(row: dict[str, Any], contents: dict[UUID, Any], every: int) -> StoredRow:
    identity = (row["trace_id"].int, row["span_id"] & (1 << 64) - 1)
    place = (str(row["producer_id"]), row["sequence"], row["batch_index"]) if row["producer_id"] else None
    if identity[1] % every:
        return StoredRow(identity, place, True)
    try:
        put_back([row], contents)
        decoded = decode_row(row)
        is_whole = is_payload(identity, decoded["event_name"], decoded["attributes"])
    except Exception:
        is_whole = False
    return StoredRow(identity, place, is_whole)
