"""Partitions by time, in step over all tables, made by whoever first writes into them.

A day for times within a year of now, a calendar year for others: a clock that says 1970 or 2100 costs a
few tables and no row. Days and years are UTC. There is no default partition: rows in it would stand in
the way of every later partition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from .database import Database
from .sql_files import PARTITIONED, quote

__all__ = ["covering", "ensure"]

Range = tuple[int, int]
"""First day, and the day after the last, counted from 1970-01-01."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NEAR = timedelta(days=366)


def covering(day: int, now: datetime) -> tuple[str, Range]:
    """The partition that a day (counted from 1970-01-01) belongs into: the end of its name, and its range."""
    moment = _EPOCH + timedelta(days=day)
    if abs(moment - now) <= _NEAR:
        return f"p{moment:%Y%m%d}", (day, day + 1)
    year = moment.year
    first, last = datetime(year, 1, 1, tzinfo=timezone.utc), datetime(year + 1, 1, 1, tzinfo=timezone.utc)
    return f"y{year:04d}", ((first - _EPOCH).days, (last - _EPOCH).days)


def ensure(database: Database, days: Iterable[int]) -> None:
    """Make the partitions that are missing for these days, counted from 1970-01-01.

    Safe when many processes do it at once: one at a time, for the length of a transaction.

    Raises:
        AccessDenied: the role may not create tables in the schema.
        DatabaseError: the server refused, or a lock was held for longer than 5 s.
    """
    now = datetime.now(timezone.utc)
    with database.connection() as connection:
        if not (missing := _missing(days, _existing(database, connection))):
            return
        connection.execute(database.sql("wait_little_for_locks").encode())
        connection.execute(database.sql("lock_schema").encode(), {"key": database.names.lock_key})
        ranges = _existing(database, connection)  # another process may have made them meanwhile
        for day in missing:
            if not _missing([day], ranges):
                continue
            name, bounds = covering(day, now)
            if any(bounds[0] < upper and lower < bounds[1] for lower, upper in ranges):
                name, bounds = f"p{_EPOCH + timedelta(days=day):%Y%m%d}", (day, day + 1)
            for sql in _statements(database, name, bounds):
                connection.execute(sql.encode())
            ranges.append(bounds)


def _existing(database: Database, connection: Any) -> list[Range]:
    parameters = {"table": database.names.table("event_batches")}
    rows = connection.execute(database.sql("partition_bounds").encode(), parameters).fetchall()
    return [(row["lower"], row["upper"]) for row in rows]


def _missing(days: Iterable[int], ranges: Iterable[Range]) -> list[int]:
    ranges = list(ranges)
    return [day for day in sorted(days) if not any(lower <= day < upper for lower, upper in ranges)]


def _statements(database: Database, name: str, bounds: Range) -> Iterator[str]:
    names = database.names
    lower, upper = (f"'{_EPOCH + timedelta(days=day):%Y-%m-%d} 00:00:00+00'" for day in bounds)
    for table in PARTITIONED:
        partition = f"{quote(names.schema)}.{quote(f'{names.prefix}{table}_{name}')}"
        filled = {"parent": names.table(table), "partition": partition, "lower": lower, "upper": upper}
        for statement in ("create_partition", "attach_partition"):
            yield database.sql(statement).format(**filled)
