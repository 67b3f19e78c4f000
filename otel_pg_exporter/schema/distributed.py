"""Tables spread over several servers by Citus.

Rows of one trace lie on one server, in all event tables. What rows share is copied to each server, for joins, and so
are the functions that they are searched with. The ledger and the small tables of runs stay where the program connects
to. Partitions that are made later are spread as their table is.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from ..config import Settings
from ..database import Database, opened
from ..errors import ConfigurationError
from ..sql_files import EVENT_TABLES, WORDS, quote

__all__ = ["BY_TRACE", "DEFAULT_SHARDS", "EVERYWHERE", "distribute"]

BY_TRACE = (*EVENT_TABLES, "open_spans")
"""The tables whose rows are spread by trace."""

EVERYWHERE = ("resources", "scopes")
"""The tables of which each server has a copy."""

DEFAULT_SHARDS = 8
"""A batch of many traces writes into every one, so few are faster: on Citus 13.2, 100 rows took 3 ms with 2 of them, 21
with 4, 51 with 8 and 199 with 32."""

_SECONDS = 3600.0
"""Rows that are there already are moved."""


def distribute(
    where: Settings | Database | None = None, *, shards: int = DEFAULT_SHARDS, **overrides: Any
) -> list[str]:
    """Distribute the tables that are not; gives the names of those that this call distributed.

    All of them or none, in one transaction, one process at a time. What is stored already is moved.

    Args:
        where: the coordinator.
        shards: parts of each table, if none of them is distributed yet.
        overrides: fields of `Settings`, in place of `where`.

    Raises:
        ConfigurationError: the database has no Citus.
        DatabaseError: the server refused; nothing has changed.
    """
    with opened(where, **overrides) as database, database.until(monotonic() + _SECONDS).connection() as connection:
        connection.execute(database.sql("lock_schema").encode(), {"key": database.names.lock_key})
        row = connection.execute(database.sql("has_citus").encode()).fetchone()
        if not (row and row["present"]):
            raise ConfigurationError(
                f"{database.settings.target} has no Citus. Install it on all servers, and there: CREATE EXTENSION citus"
            )
        prefix = database.names.prefix
        names = {"schema": database.names.schema, "functions": [prefix + function for function in WORDS]}
        # first: after a table was spread, with many connections, Citus creates no function in the same transaction
        connection.execute(database.sql("copy_functions_everywhere").encode(), names)
        return [*_spread(database, connection, shards), *_copied(database, connection)]


def _spread(database: Database, connection: Any, shards: int) -> list[str]:
    missing = _missing(database, connection, BY_TRACE)
    done = [table for table in BY_TRACE if table not in missing]
    for table in missing:
        names = {"table": _qualified(database, table), "beside": _qualified(database, done[0]) if done else "none"}
        if done:
            connection.execute(database.sql("distribute_table_beside").encode(), names)
        else:
            connection.execute(database.sql("distribute_table").encode(), {**names, "shards": shards})
        done.append(table)
    return missing


def _copied(database: Database, connection: Any) -> list[str]:
    missing = _missing(database, connection, EVERYWHERE)
    for table in missing:
        connection.execute(database.sql("copy_table_everywhere").encode(), {"table": _qualified(database, table)})
    return missing


def _missing(database: Database, connection: Any, tables: tuple[str, ...]) -> list[str]:
    prefix = database.names.prefix
    parameters = {"schema": database.names.schema, "tables": [prefix + table for table in tables]}
    rows = connection.execute(database.sql("distributed_tables").encode(), parameters).fetchall()
    found = {row["table"] for row in rows}
    return [table for table in tables if prefix + table not in found]


def _qualified(database: Database, table: str) -> str:
    return f"{quote(database.names.schema)}.{quote(database.names.prefix + table)}"
