"""Files of OTLP/JSON become rows: all of them or, if something in them is wrong, none.

A file is one document, or a document on each line. A document is stored in batches whose ids are made of what it
holds, so that importing it again, from the same file or another, stores nothing.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from ..database import Database
from ..encoding.batches import Batch, derived_batch_id, encode_batch
from ..encoding.rows import RowEncoder
from ..encoding.treatment import Treatment
from ..errors import InvalidEventError
from ..otlp import from_json
from .sink import Sink

__all__ = ["Imported", "import_files"]

_RECORDS = 2000
"""In a batch."""
_SECONDS = 60.0
"""For a batch."""
_UNCOUNTED = 0
"""Whoever imports is told if something is not stored."""
_PRODUCER = uuid.UUID("6f74656c-7067-8000-8000-696d706f7274")

_I64_MAX = (1 << 63) - 1


@dataclass(frozen=True)
class Imported:
    """What became of the records of some files."""

    stored: int
    known: int
    """Records of documents that were imported before."""


def import_files(
    database: Database,
    files: Mapping[str, Path],
    advance: Callable[[int], None] = lambda size: None,
) -> Imported:
    """Store what files of OTLP/JSON hold.

    Args:
        database: where to.
        files: what a file is called when something in it is wrong, and where it is; they are read twice.
        advance: is told the bytes of each document, once when it was found right and once when it is stored.

    Raises:
        InvalidEventError: a file, a line of it and what is wrong there; nothing is stored.
        OSError: a file cannot be read; nothing is stored.
        DatabaseError: it could not be stored. What was, is not stored again by another attempt.
    """
    encoder = RowEncoder(Treatment.of(database.settings))
    for name, path in files.items():
        for place, line in _documents(name, path):
            for _ in _batches(place, line, encoder):
                pass
            advance(len(line))
    sink = Sink(database)
    counts = {True: 0, False: 0}
    try:
        for name, path in files.items():
            for place, line in _documents(name, path):
                for batch in _batches(place, line, encoder):
                    counts[sink.store(batch, {}, monotonic() + _SECONDS)] += len(batch)
                advance(len(line))
    finally:
        sink.close()
    return Imported(counts[True], counts[False])


def _documents(name: str, path: Path) -> Iterator[tuple[str, bytes]]:
    """Where each document of a file stands, and its text."""
    with path.open("rb") as file:
        lines = [(number, line) for number, line in islice(enumerate(file, 1), 100) if line.strip()][:1]
        file.seek(0)
        if lines and not _is_json(lines[0][1]):
            # a document on several lines, or the first line is wrong
            yield name, file.read()
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{name}, line {number}", line


def _is_json(line: bytes) -> bool:
    try:
        _loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _loads(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)  # takes lone surrogates too, and says where the fault is


def _batches(place: str, text: bytes, encoder: RowEncoder) -> Iterator[Batch]:
    try:
        document = _loads(text.rstrip())
    except json.JSONDecodeError as error:
        where = place if ", line " in place else f"{place}, line {error.lineno}"
        raise InvalidEventError(f"{where}, column {error.colno}: this is no JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # it is no UTF-8, or deeper than it can be read
        raise InvalidEventError(f"{place}: this is no JSON: {error}") from None
    try:
        # the same for the same content, however it is written
        content = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # too deep, or with a surrogate
        content = text.strip()
    digest = hashlib.sha256(content).digest()
    try:
        yield from _of_signal("span", from_json.spans(document), encoder.span, digest)
        yield from _of_signal("log", from_json.logs(document), encoder.log, digest)
    except InvalidEventError as error:
        raise InvalidEventError(f"{place}: {error}") from None


def _of_signal(signal: str, records: Iterable[Any], encode: Any, digest: bytes) -> Iterator[Batch]:
    waiting, number = iter(records), 0
    while chunk := list(islice(waiting, _RECORDS)):
        number += 1
        own = hashlib.sha256(digest + f"{signal} {number}".encode()).digest()
        batch = encode_batch(
            chunk,
            encode,
            producer_id=_PRODUCER,
            sequence=_UNCOUNTED,
            signal=signal,
            batch_id=derived_batch_id(_millis(chunk[0]), own),
        )
        for rejected in batch.rejected:
            raise InvalidEventError(f"a {signal} cannot be encoded: {rejected.reason}")
        yield batch


def _millis(record: Any) -> int:
    log = getattr(record, "log_record", None)
    nanoseconds = record.start_time if log is None else log.timestamp or log.observed_timestamp
    return max(0, min(int(nanoseconds or 0), _I64_MAX)) // 1_000_000
