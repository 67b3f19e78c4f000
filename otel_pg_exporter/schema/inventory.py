"""Which partitions there are, and what they and all tables take in the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from ..database import Database
from ..sql_files import PARTITIONED, TABLES

__all__ = ["Held", "Inventory", "day", "readable_size", "take", "total_bytes"]

_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = 1000


@dataclass(frozen=True)
class Held:
    """A partition."""

    table: str
    """Without a prefix."""
    partition: str
    """Its own name."""
    lower: int
    """First day that it covers, counted from 1970-01-01."""
    upper: int
    """The day after the last."""
    rows: int
    """By PostgreSQL's own estimate."""
    bytes: int | None
    """With indexes; None if nobody asked."""
    is_ours: bool
    """The role may drop it."""
    oid: int
    is_empty: bool | None = None
    """It takes nothing but for its indexes, so it has no row, whatever the estimate; None if nobody asked."""


@dataclass(frozen=True)
class Inventory:
    """What there is at one moment."""

    today: int
    """By the server's clock, counted from 1970-01-01."""
    partitions: tuple[Held, ...]
    """The oldest first, as their ends go."""
    bytes: int
    """Of all tables, also of those without partitions; 0 if nobody asked."""


def take(database: Database, connection: Any, *, with_sizes: bool, tables: Iterable[str] = PARTITIONED) -> Inventory:
    """Look at what there is. A lock on a partition may keep its size back, for as long as `lock_timeout` allows."""
    names = database.names
    parameters = {"schema": names.schema, "tables": [names.prefix + table for table in tables]}

    def fetch(query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = connection.execute(database.sql(query).encode(), values).fetchall()
        return rows

    found = fetch("held_partitions", {**parameters, "with_sizes": with_sizes})
    (server,) = fetch("server_day", {})
    return Inventory(
        today=server["day"],
        partitions=tuple(Held(**{**row, "table": row["table"][len(names.prefix) :]}) for row in found),
        bytes=_bytes(database, connection) if with_sizes else 0,
    )


def total_bytes(database: Database) -> int:
    """What all tables take with their partitions and indexes.

    Raises:
        DatabaseError: the server does not say.
    """
    with database.connection() as connection:
        return _bytes(database, connection)


def _bytes(database: Database, connection: Any) -> int:
    names = database.names
    parameters = {"schema": names.schema, "tables": [names.prefix + table for table in TABLES]}
    row = connection.execute(database.sql("held_bytes").encode(), parameters).fetchone()
    return int(row["bytes"])


def day(number: int) -> date:
    """A day that is counted from 1970-01-01."""
    return date(1970, 1, 1) + timedelta(days=number)


def readable_size(count: int) -> str:
    """1234567 → 1.2 MB."""
    size, unit = float(count), 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{count} B"
