"""Partitions by time, in step over all tables, made by whoever first writes into them.

A day for times from a year ago to ten years ahead, a calendar year for others: a clock that says 1970 or 2100 costs a
few tables and no row, and no year that is lived through is one partition, of which retention could drop no day. Days
and years are UTC. There is no default partition: rows in it would stand in the way of every later partition. What
somebody else has made is left as it is, and what it does not cover of a day is made beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from functools import partial
from time import monotonic
from typing import Any

from ..database import Database
from ..encoding.batches import DAY_US
from ..errors import AccessDenied, PartitionMissing
from ..sql_files import EVENT_TABLES, PARTITIONED, quote
from .obstacles import PARTITIONS_FIX

__all__ = ["ahead", "covering", "ensure"]

Range = tuple[int, int]
"""From when, and until when, microseconds since 1970-01-01."""

_COMING_DAYS = 30
"""So many after today the owner of the tables makes for those who may not."""
_LOCK_MILLIS = 2_000
"""The longest that a writer waits for another that makes partitions."""
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=timezone.utc), timedelta(microseconds=1)
_BACK, _AHEAD = timedelta(days=366), timedelta(days=3660)
_AHEAD_SECONDS = 60.0
_DAYS_AT_ONCE = 7
"""In one transaction, for which others that need a partition wait."""
_SAME_NAMES = 100
_NO_RIGHT = "42501"


def covering(day: int, now: datetime) -> tuple[str, Range]:
    """The partition that a day (counted from 1970-01-01) belongs into: the end of its name, and its range."""
    moment = _EPOCH + timedelta(days=day)
    if -_BACK <= moment - now <= _AHEAD:
        return _of_day(day)
    year = moment.year
    first, last = datetime(year, 1, 1, tzinfo=timezone.utc), datetime(year + 1, 1, 1, tzinfo=timezone.utc)
    return f"y{year:04d}", ((first - _EPOCH) // _MICROSECOND, (last - _EPOCH) // _MICROSECOND)


def ensure(database: Database, days: Iterable[int]) -> None:
    """Make the partitions that are missing for these days, counted from 1970-01-01.

    Safe when many processes do it at once: one at a time, for the length of a transaction. Which days are near is
    decided by the server's clock: a program whose own is wrong does no harm to the others.

    Raises:
        PartitionMissing: the role may not create tables in the schema, or does not own these.
        DatabaseError: the server refused, or a lock was held for too long.
    """
    _ensure(database, lambda today: days)


def ahead(database: Database, days: int) -> None:
    """Make the partitions for today, by the server's clock, and the days after it.

    Raises:
        PartitionMissing: they are missing, and the role may not make them.
    """
    for first in range(0, days + 1, _DAYS_AT_ONCE):
        end = min(first + _DAYS_AT_ONCE, days + 1)
        hurried = database.until(monotonic() + _AHEAD_SECONDS)
        _ensure(hurried, partial(_coming, first, end))


def _coming(first: int, end: int, today: int) -> Iterable[int]:
    return range(today + first, today + end)


def _ensure(database: Database, which: Callable[[int], Iterable[int]]) -> None:
    days: list[int] = []
    try:
        with database.connection() as connection:
            # first of all: already the answer about what is there waits for who locks a table
            connection.execute(database.sql("limit_locks").encode(), {"millis": _LOCK_MILLIS})
            (server,) = connection.execute(database.sql("server_day").encode()).fetchall()
            days = sorted(which(server["day"]))
            today = _EPOCH + timedelta(days=server["day"])
            days = sorted({day for _, day in _missing(days, _existing(database, connection))})
            if not days:
                return
            connection.execute(database.sql("lock_schema").encode(), {"key": database.names.lock_key})
            ranges = _existing(database, connection)  # another process may have made them meanwhile
            for table, day in _missing(days, ranges):
                for name, bounds in _free(day, ranges[table], today):  # none if a year has just covered it
                    for sql in _statements(database, table, _unused(database, connection, f"{table}_{name}"), bounds):
                        connection.execute(sql.encode())
                    ranges[table].append(bounds)
    except AccessDenied as error:
        if error.sqlstate != _NO_RIGHT:
            raise
        named = [f"{_EPOCH + timedelta(days=day):%Y-%m-%d}" for day in days]
        others = [name for name, day in zip(named, days, strict=True) if not 0 <= day - server["day"] <= _COMING_DAYS]
        raise PartitionMissing(
            f"schema {database.names.schema!r} of {database.settings.target} lacks a partition for {', '.join(named)},"
            f" and the role may not make it. {' --day '.join([PARTITIONS_FIX, *others])}",
            sqlstate=error.sqlstate,
        ) from error


def _existing(database: Database, connection: Any) -> dict[str, list[Range]]:
    tables = [database.names.prefix + table for table in PARTITIONED]
    parameters = {"schema": database.names.schema, "tables": tables}
    rows = connection.execute(database.sql("partition_bounds").encode(), parameters).fetchall()
    found: dict[str, list[Range]] = {row["table"]: [] for row in rows}
    for row in rows:
        if row["lower_us"] is not None:
            found[row["table"]].append((row["lower_us"], row["upper_us"]))
    return found


def _missing(days: Iterable[int], ranges: Mapping[str, list[Range]]) -> list[tuple[str, int]]:
    return [(table, day) for day in days for table, taken in ranges.items() if any(_gaps(_of_day(day)[1], taken))]


def _free(day: int, taken: Iterable[Range], today: datetime) -> Iterator[tuple[str, Range]]:
    """What is to be made for a day: all that covers it, or what others have left of it."""
    name, bounds = covering(day, today)
    if bounds not in _gaps(bounds, taken):
        name, bounds = _of_day(day)
    for gap in list(_gaps(bounds, taken)):
        yield name, gap


def _of_day(day: int) -> tuple[str, Range]:
    return f"p{_EPOCH + timedelta(days=day):%Y%m%d}", (day * DAY_US, (day + 1) * DAY_US)


def _gaps(bounds: Range, taken: Iterable[Range]) -> Iterator[Range]:
    """What of a range is not taken."""
    begin, end = bounds
    for lower, upper in sorted(taken):
        if lower < end and upper > begin:
            if lower > begin:
                yield begin, lower
            begin = upper
    if begin < end:
        yield begin, end


def _unused(database: Database, connection: Any, wanted: str) -> str:
    """The name, or with a number behind it: what was detached keeps its own."""
    for name in (wanted, *(f"{wanted}_{number}" for number in range(2, _SAME_NAMES))):
        parameters = {"schema": database.names.schema, "name": name}
        if not connection.execute(database.sql("has_name").encode(), parameters).fetchall():
            return name
    return wanted  # which the server refuses, and says why


def _statements(database: Database, table: str, partition: str, bounds: Range) -> Iterator[str]:
    schema = quote(database.names.schema)
    lower, upper = (f"'{_EPOCH + timedelta(microseconds=moment):%Y-%m-%d %H:%M:%S.%f}+00'" for moment in bounds)
    filled = {
        "parent": f"{schema}.{quote(table)}",
        "partition": f"{schema}.{quote(partition)}",
        "lower": lower,
        "upper": upper,
    }
    loses_rows = table.removeprefix(database.names.prefix) in (*EVENT_TABLES, "event_summaries")  # and has no key
    for statement in ("create_partition", *(["identify_partition"] if loses_rows else []), "attach_partition"):
        yield database.sql(statement).format(**filled)
