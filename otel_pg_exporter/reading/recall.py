"""Questions whose answers were kept: an answer is given again if it is proved to be what the tables would give.

What is kept is the rows of a question's statements, as JSON, with the snapshot that they were read in. It is true
for a later transaction that sees no batch in the ledger which that snapshot does not see: every writer's rows
come with a row of the ledger in the same transaction, and which transactions a snapshot sees is known exactly,
also of those that began early and committed late. And the rows of a statement are given to that statement alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from importlib.metadata import version
from math import isfinite
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import orjson

from ..config import Settings
from ..encoding import values
from ..sql_files import Names, query
from .pages import Question, Rows, Statement

__all__ = ["Recall"]

T = TypeVar("T")

_VERSION = f"{version('otel-pg-exporter')} 2"
_DIGEST_BYTES = 16
_PLAIN = (str, int, bool, type(None))
_KINDS: dict[str, Callable[[Any], Any]] = {
    "json": lambda value: value,
    "float": float,
    "decimal": Decimal,
    "uuid": UUID,
    "uuids": lambda value: [*map(UUID, value)],
    "time": datetime.fromisoformat,
}


class _Kept(NamedTuple):
    tables: str
    snapshot: str
    answers: Sequence[Any]


class Recall(Generic[T]):
    """One question, that is asked only if what was kept of it is not true any more.

    Args:
        settings: where it is asked.
        ask: begins the question anew.
        asked: all that it asks for.
    """

    def __init__(self, settings: Settings, ask: Callable[[], Question[T]], *asked: Any) -> None:
        self._ask, self._names = ask, Names(settings.schema, settings.table_prefix)
        identity = [_VERSION, settings.target, settings.schema, settings.table_prefix, asked]
        fixups: values.Fixups = []
        told = orjson.dumps([values.clean(identity, (), fixups), fixups])
        self.key = f"otel-pg:{hashlib.sha256(told).hexdigest()}"
        """Names the question, without saying what is asked."""
        self.fresh: bytes | None = None
        """What to keep: set by a question that was asked; None if it is not fit for that."""
        self.is_hit = False
        """The answer is the one that was kept."""
        self._began_at = 0.0

    @property
    def age(self) -> float:
        """Seconds since before the tables were read."""
        return monotonic() - self._began_at

    def question(self, kept: bytes | None) -> Question[T]:
        """The question, for a transaction that sees one moment: one statement if what was kept is true, else all."""
        self._began_at = monotonic()
        known = _load(kept)
        (seen,) = yield query("seen", self._names), {"snapshot": known.snapshot if known else None}
        if known is not None and known.tables == seen["tables"] and not seen["is_newer"]:
            try:
                answer = _replay(self._ask(), known.answers)
            except Exception:  # it is not of our making
                pass
            else:
                self.is_hit = True
                return answer
        fragments: list[bytes] | None = []
        question = self._ask()
        try:
            statement = next(question)
            while True:
                rows = yield statement
                # before the question has them: it takes them apart
                fragments = _extended(fragments, statement, rows)
                statement = question.send(rows)
        except StopIteration as done:
            if fragments is not None:
                self.fresh = _dump(seen["tables"], seen["snapshot"], fragments)
            result: T = done.value
            return result


def _replay(question: Question[T], answers: Sequence[Any]) -> T:
    try:
        statement = next(question)
        for name, columns, rows in answers:
            if name != _name(statement):
                raise ValueError("another statement was answered")
            statement = question.send([dict(zip(columns, map(_decoded, row), strict=True)) for row in rows])
    except StopIteration as done:
        result: T = done.value
        return result
    raise ValueError("the question has more statements than were kept")


def _name(statement: Statement) -> str:
    sql, parameters = statement
    return hashlib.sha256(f"{sql}\n{parameters!r}".encode("utf-8", "surrogatepass")).hexdigest()


def _extended(fragments: list[bytes] | None, statement: Statement, rows: Rows) -> list[bytes] | None:
    if fragments is None:
        return None
    columns = list(rows[0]) if rows else []
    try:
        plain = [[_encoded(value) for value in row.values()] for row in rows]
        return [*fragments, orjson.dumps([_name(statement), columns, plain])]
    except TypeError:  # a value that JSON cannot give back as it was
        return None


def _dump(tables: str, snapshot: str, fragments: Sequence[bytes]) -> bytes:
    body = orjson.dumps([tables, snapshot, [orjson.Fragment(fragment) for fragment in fragments]])
    return _digest(body) + body


def _load(data: bytes | None) -> _Kept | None:
    if data is None or data[:_DIGEST_BYTES] != _digest(data[_DIGEST_BYTES:]):
        return None
    return _Kept(*orjson.loads(data[_DIGEST_BYTES:]))


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_DIGEST_BYTES]


def _encoded(value: Any) -> Any:
    """A value of a row: plain, or a list of its kind and what JSON can hold of it."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else ["float", repr(value)]
    if isinstance(value, datetime):
        return ["time", value.astimezone(timezone.utc).isoformat()]
    if isinstance(value, UUID):
        return ["uuid", value.hex]
    if isinstance(value, Decimal):
        return ["decimal", str(value)]
    if isinstance(value, list) and value and all(isinstance(one, UUID) for one in value):
        return ["uuids", [one.hex for one in value]]
    if isinstance(value, dict) or (
        isinstance(value, list) and all(isfinite(one) for one in value if isinstance(one, float))
    ):
        return ["json", value]
    raise TypeError(f"cannot keep {type(value).__name__}")


def _decoded(value: Any) -> Any:
    return _KINDS[value[0]](value[1]) if isinstance(value, list) else value
