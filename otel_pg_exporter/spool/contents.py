"""A batch as records of a spool file, and back."""

from __future__ import annotations

import uuid
from struct import Struct
from typing import Any

import orjson

from ..encoding.batches import Batch
from ..encoding.rows import Row
from ..encoding.sources import Source
from ..errors import SpoolError
from ..sql_files import EVENT_TABLES
from .records import BATCH, END, REASON, ROW, SOURCE, begins, record, records

__all__ = ["begin", "decode", "encode", "end", "reason_record", "row_records"]

_END = Struct(">I")  # number of rows
_NUMBERS = {table: number for number, table in enumerate(EVENT_TABLES)}


def begin(batch: Batch) -> bytes:
    """The record that opens a batch: everything but its rows."""
    head = {
        "id": str(batch.id),
        "producer_id": str(batch.producer_id),
        "sequence": batch.sequence,
        "signal": batch.signal,
        "dropped": batch.dropped,
        "dead": batch.dead,
    }
    return record(BATCH, orjson.dumps(head))


def row_records(batch: Batch, row: Row) -> bytes:
    """A row that the batch gets next, and before it the sources that it does not have yet."""
    table, data, _, sources, *_ = row
    new = [_source(source) for source in sources if source.id not in batch.sources]
    return b"".join((*new, _row(_NUMBERS[table], data)))


def end(batch: Batch) -> bytes:
    """The record that says that the batch is complete."""
    return record(END, _END.pack(len(batch)))


def encode(batch: Batch) -> bytes:
    """A whole batch."""
    parts = [begin(batch), *map(_source, batch.sources.values())]
    for table, rows in batch.rows.items():
        parts.extend(_row(_NUMBERS[table], row) for row in rows)
    parts.append(end(batch))
    return b"".join(parts)


def reason_record(reason: str) -> bytes:
    """Why the batch that follows was set aside."""
    return record(REASON, reason.encode("utf-8", "replace"))


def decode(data: bytes) -> tuple[Batch, int]:
    """Read a batch, and how many of its rows are damaged, as far as can be told: of those that were cut off, one.

    Raises:
        SpoolError: the record that opens the batch is damaged.
    """
    batch, announced, good = None, None, 0
    for found in records(data):
        good = found.end
        if found.kind == BATCH:
            batch = _opened(found.payload)
        elif batch is None:
            continue
        elif found.kind == SOURCE:
            source: dict[str, Any] = orjson.loads(found.payload)
            identity = bytes.fromhex(source["id"])
            batch.sources[identity] = Source(source["table"], identity, source["row"])
        elif found.kind == ROW:
            batch.add(EVENT_TABLES[found.payload[0]], found.payload[1:])
        elif found.kind == END:
            (announced,) = _END.unpack(found.payload)
    if batch is None:
        raise SpoolError("a batch in the spool has lost its first record")
    if not len(batch):
        batch.use_own_time()
    if announced is None:
        return batch, int(begins(data, good, ROW))
    return batch, max(0, announced - len(batch))


def _opened(payload: bytes) -> Batch:
    head: dict[str, Any] = orjson.loads(payload)
    batch = Batch(uuid.UUID(head["id"]), uuid.UUID(head["producer_id"]), head["sequence"], head["signal"])
    batch.dropped, batch.dead = head.get("dropped", 0), head.get("dead", 0)
    batch.was_spooled = True
    return batch


def _row(table: int, data: bytes) -> bytes:
    return record(ROW, bytes((table,)) + data)


def _source(source: Source) -> bytes:
    content = {"table": source.table, "id": source.id.hex(), "row": dict(source.row)}
    return record(SOURCE, orjson.dumps(content))
