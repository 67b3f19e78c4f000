"""Optional indexes of the tables, for what is searched: they cost writing and disk, and are off until somebody
makes them.

    from otel_pg_exporter import indexes
    indexes.create("attributes")        # as the environment says
    indexes.drop("attributes")

An index is made while programs write. First that of the table itself, which takes a moment and has every later
partition come with its own; then, one after the other, those of the partitions that are there, by CREATE INDEX
CONCURRENTLY. The catalogue tells how far it is: what was interrupted is gone on with by making it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from ..config import Settings
from ..database import Database, Session, opened
from ..errors import ConfigurationError, DatabaseError, DatabaseUnavailable
from ..reading.filters import INDEXABLE
from ..sql_files import EVENT_TABLES, bind, quote
from . import migrate

__all__ = ["KINDS", "Coverage", "create", "drop", "status"]

_INDEXES = {
    "attributes": {"attributes": dict.fromkeys(EVENT_TABLES, "index_of_attributes")},
    "text": {"text": {**dict.fromkeys(EVENT_TABLES, "index_of_text"), "contents": "index_of_text_in_parts"}},
    "task": {  # which is looked for by its id and by its name
        "task": dict.fromkeys(EVENT_TABLES, "index_of_task"),
        "task_name": {"task_events": "index_of_task_name"},
    },
    "session": {"session": dict.fromkeys(EVENT_TABLES, "index_of_session")},
    "user": {"user": dict.fromkeys(EVENT_TABLES, "index_of_user")},
}
"""Kind → index → table → query that says what it holds."""

_TABLES = {index: tables for indexes in _INDEXES.values() for index, tables in indexes.items()}

KINDS = INDEXABLE
"""What may be indexed: filters of the queries, by their names."""

_COMPUTED = frozenset({"text"})
"""Kinds of an index that does not hold a column: of what it holds the server knows nothing before it is analyzed."""

_SUFFIXES = {
    "attributes": "_attr", "text": "_text", "task": "_task", "task_name": "_name", "session": "_sess", "user": "_user",
}  # fmt: skip
"""After a partition's name, for its own index: with the longest prefix this fills the 63 bytes of an identifier."""
_LOCK_SECONDS, _SECONDS = 0.2, 2.0
"""So long, and no longer, writers may wait for a statement that waits for others; and for one in all."""
_PAUSE_SECONDS = 0.5
_ATTEMPTS = 20
_IN_USE = frozenset({"55P03", "57014", "40P01"})
"""SQLSTATE of a statement that waited for too long."""
_GONE = frozenset({"42P01", "42704"})
"""SQLSTATE of a partition, or its index, that is not there any more."""


@dataclass(frozen=True)
class Coverage:
    """One kind of index on one table."""

    kind: str
    """One of KINDS."""
    table: str
    """Without a prefix."""
    is_on: bool
    """Later partitions come with it."""
    partitions: int
    indexed: int
    """How many partitions have it."""
    bytes: int
    """What it takes on disk."""


@dataclass(frozen=True)
class _Part:
    """A partition, and its index if there is one."""

    partition: str
    index: str | None
    is_valid: bool
    is_attached: bool
    bytes: int


def status(where: Settings | Database | None = None, **overrides: Any) -> list[Coverage]:
    """What there is of each kind, table by table. Changes nothing; arguments as of `create`.

    Raises:
        DatabaseError: the server does not say.
    """
    with opened(where, **overrides) as database:
        return [coverage for kind in KINDS for coverage in _covered(database, kind)]


def create(
    kind: str,
    where: Settings | Database | None = None,
    *,
    tell: Callable[[str], object] = lambda partition: None,
    **overrides: Any,
) -> None:
    """Make an index of all its tables, or go on with it where it was interrupted. Programs write meanwhile.

    Args:
        kind: one of KINDS.
        where: default the environment. The tables are created if they are missing.
        tell: is called with the name of each partition that has got its index.
        overrides: fields of `Settings`, in place of `where`.

    Raises:
        ConfigurationError: the kind is not known.
        AccessDenied: the role does not own the tables.
        DatabaseUnavailable: a table was in use at each of many attempts, or another process makes or drops indexes.
        DatabaseError: the server refused. What is done stays, and the next call goes on.
    """
    _check(kind)
    with opened(where, **overrides) as database:
        migrate.ensure(database)
        with _alone(database), database.session(inf) as session:
            for index in _INDEXES[kind]:
                for table in _TABLES[index]:
                    _Building(database, session, index, table).run(tell)


def drop(kind: str, where: Settings | Database | None = None, **overrides: Any) -> None:
    """Take an index out again, whole or half made; nothing happens if there is none.

    Raises: as `create`.
    """
    _check(kind)
    with opened(where, **overrides) as database, _alone(database), database.session(inf) as session:
        for index in _INDEXES[kind]:
            for table, (_, parts) in _look(database, index).items():
                name = _own(database, _table_index(database, index, table))
                _insist(database, session, "drop_table_index", index=name)
                for part in parts:
                    if part.index and not part.is_attached:
                        session.alone(_filled(database, "drop_partition_index", index=_own(database, part.index)))


def _covered(database: Database, kind: str) -> list[Coverage]:
    """Of each table, with all indexes of the kind taken together."""
    found: dict[str, Coverage] = {}
    for index in _INDEXES[kind]:
        for table, (is_on, parts) in _look(database, index).items():
            ready = sum(part.is_valid and part.is_attached for part in parts)
            one = Coverage(kind, table, is_on, len(parts), ready, sum(part.bytes for part in parts))
            found[table] = _together(found[table], one) if table in found else one
    return [*found.values()]


def _together(one: Coverage, other: Coverage) -> Coverage:
    indexed, size = min(one.indexed, other.indexed), one.bytes + other.bytes
    return replace(one, is_on=one.is_on and other.is_on, indexed=indexed, bytes=size)


class _Building:
    """One index of one table."""

    def __init__(self, database: Database, session: Session, index: str, table: str) -> None:
        self._database, self._session, self._index, self._table = database, session, index, table
        self._method = database.sql(_TABLES[index][table])

    def run(self, tell: Callable[[str], object]) -> None:
        """Make what is missing, until nothing is."""
        database = self._database
        name = quote(_table_index(database, self._index, self._table))
        own = database.names.table(self._table)
        _insist(database, self._session, "create_table_index", index=name, table=own, method=self._method)
        tried: set[str] = set()
        while missing := [part for part in self._parts() if not part.is_attached and part.partition not in tried]:
            for part in missing:
                tried.add(part.partition)
                if self._add(part):
                    tell(part.partition)

    def _parts(self) -> list[_Part]:
        return _look(self._database, self._index)[self._table][1]

    def _add(self, part: _Part) -> bool:
        """Give a partition its index; False if it is gone."""
        index = part.partition + _SUFFIXES[self._index]
        names = {"index": quote(index), "partition": _own(self._database, part.partition)}
        try:
            if not (part.is_valid or (part.index and self._is_left_whole(part.partition, part.index))):
                self._session.alone(_filled(self._database, "create_partition_index", **names, method=self._method))
            if self._index in _COMPUTED:
                self._session.alone(_filled(self._database, "learn_partition", partition=names["partition"]))
            table_index = _own(self._database, _table_index(self._database, self._index, self._table))
            own = _own(self._database, index)
            _insist(self._database, self._session, "attach_index", table_index=table_index, index=own)
        except DatabaseError as error:
            if error.sqlstate not in _GONE or part.partition in {each.partition for each in self._parts()}:
                raise
            return False  # retention has dropped it meanwhile
        return True

    def _is_left_whole(self, partition: str, index: str) -> bool:
        """Whether a session that was left alone with an index ends it well; else it is taken out."""
        about = {"schema": self._database.names.schema, "partition": partition}
        while self._database.fetch(self._database.sql("has_builder"), about)[0]["is_there"]:
            time.sleep(_PAUSE_SECONDS)
        if any(part.is_valid for part in self._parts() if part.partition == partition):
            return True
        self._session.alone(_filled(self._database, "drop_partition_index", index=_own(self._database, index)))
        return False


def _look(database: Database, index: str) -> dict[str, tuple[bool, list[_Part]]]:
    """Table → whether its index is there, and its partitions, the oldest first."""
    prefix = database.names.prefix
    parameters = {
        "schema": database.names.schema,
        "tables": [prefix + table for table in _TABLES[index]],
        "index": index,
        "suffix": _SUFFIXES[index],
    }
    found: dict[str, tuple[bool, list[_Part]]] = {}
    for row in database.fetch(database.sql("indexed_partitions"), parameters):
        _, parts = found.setdefault(row.pop("table")[len(prefix) :], (row.pop("is_on"), []))
        if row["partition"] is not None:
            parts.append(_Part(**row))
    return {table: found[table] for table in _TABLES[index] if table in found}


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """While no other process makes or drops indexes."""
    with database.connection() as connection:
        connection.execute(database.sql("read_committed").encode())
        # without parameters: else a portal stays open, and its snapshot would be waited for by what is built
        sql = bind(database.sql("try_indexes"), {"key": f"{database.names.lock_key} indexes"})
        (lock,) = connection.execute(sql.encode()).fetchall()
        if not lock["is_ours"]:
            raise DatabaseUnavailable(f"another process makes or drops indexes of {database.settings.target}")
        yield


def _insist(database: Database, session: Session, statement: str, **names: str) -> None:
    """Run a statement that shuts others out for a moment, as often as it takes to find nobody in the way."""
    sql = _filled(database, statement, **names)
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        try:
            with session.transaction(_LOCK_SECONDS, _SECONDS) as connection:
                connection.execute(sql.encode())
            return
        except DatabaseUnavailable as error:
            if error.sqlstate not in _IN_USE:
                raise
            in_use = error
    raise DatabaseUnavailable(
        f"a table was in use at each of {_ATTEMPTS} attempts. Run it again: it goes on from here",
        sqlstate=in_use.sqlstate,
    ) from in_use


def _filled(database: Database, statement: str, **names: str) -> str:
    sql = database.sql(statement)
    for name, value in names.items():
        sql = sql.replace(f"{{{name}}}", value)
    return sql


def _own(database: Database, name: str) -> str:
    return f"{quote(database.names.schema)}.{quote(name)}"


def _table_index(database: Database, index: str, table: str) -> str:
    return f"{database.names.prefix}{table}_{index}"


def _check(kind: str) -> None:
    if kind not in KINDS:
        raise ConfigurationError(f"index {kind!r:.60} is not known; known are: {', '.join(KINDS)}")
