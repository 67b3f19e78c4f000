"""Rows of the event tables, put there as an exporter would have, for tests of what is read."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import psycopg

from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.schema import partitions

__all__ = ["DAY", "EPOCH", "NOW", "TRACE", "Rows"]

NOW = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DAY = (NOW - EPOCH).days
TRACE = uuid.UUID(int=0xABC)


class Rows:
    """A database with partitions for yesterday and today, and one resource."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._numbers = count(1)
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.make_partitions({DAY - 1, DAY})
        self.connection.execute(
            "INSERT INTO otel.resources (resource_id, service_name, attributes, schema_url)"
            """ VALUES ('00000000-0000-0000-0000-000000000001', 's', '{"host.name": "h"}', '')"""
        )

    def make_partitions(self, days: Iterable[int]) -> None:
        """For days counted from 1970."""
        database = Database(Settings(dsn=self._dsn))
        partitions.ensure(database, days)
        database.close()

    def add(self, table: str, number: int = 1, **columns: Any) -> None:
        """Rows of an event table; a str with $ before it is SQL, in which i counts them from 1."""
        if isinstance(start := columns.get("time", NOW), datetime):
            columns.setdefault("start_unix_nano", (start - EPOCH) // timedelta(microseconds=1) * 1000)
        values = {
            "trace_id": TRACE, "span_id": next(self._numbers), "batch_id": uuid.uuid4(), "batch_index": "$i",
            "time": NOW, "trace_flags": 1, "kind": 1, "status_code": 0, "resource_id": uuid.UUID(int=1),
            "scope_id": uuid.UUID(int=0), "service_name": "s", "record": "span", "event_type": "x", "event_name": "x",
            "status": "completed", "attributes": "{}", **columns,
        }  # fmt: skip
        shown = [value[1:] if isinstance(value, str) and value[:1] == "$" else "%s" for value in values.values()]
        given = [value for value, sql in zip(values.values(), shown, strict=True) if sql == "%s"]
        statement = (
            f"INSERT INTO otel.{table} ({', '.join(map(_quoted, values))})"
            f" SELECT {', '.join(shown)} FROM generate_series(1, {number}) AS i"
        )
        # a remainder in SQL is no place for a parameter
        self.connection.execute(statement.replace(" % ", " %% ").encode(), given)

    def fetch(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a statement."""
        return self.connection.execute(statement.encode(), parameters or None).fetchall()


def _quoted(name: str) -> str:
    return f'"{name}"'
