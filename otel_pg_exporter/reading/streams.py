"""All that a filter selects, however much it is: read through cursors of the server, in order of time.

The order depends on what the rows hold, not on who stored them, so that what was exported and imported is
exported again as the same documents.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from ..encoding import readable
from ..encoding.contents import by_id, put_back, referred
from ..otlp.to_json import encode
from ..routing import CATEGORIES
from ..sql_files import Names, query
from .filters import build_page, whole

__all__ = ["Row", "documents", "first_of", "rows"]

T = TypeVar("T")

Row: TypeAlias = tuple[str, dict[str, Any]]
"""Category, and all columns."""

_AT_ONCE = 1000
"""Rows that the server is asked for at a time."""
_MOST_ORIGINS = 10_000
"""Resources and scopes that are kept."""
_MOST_RECORDS = 1 << 62
_KEY = ("time", "trace_id", "span_id", "start_unix_nano", "observed_unix_nano", "batch_id", "batch_index")


def rows(connection: Any, names: Names, category: str | None, filters: Mapping[str, Any]) -> Generator[Row, None, None]:
    """Rows of one table or all four, the oldest first, in a transaction of the connection.

    Raises:
        QueryError: a filter is not known.
    """
    page = build_page(category, filters)
    if asked := page.parts_asked(names):
        sql, parameters = asked
        page.know_parts(connection.execute(sql.encode(), parameters).fetchall())
    with ExitStack() as opened:
        streams = []
        for each in page.categories:
            sql = query("export_rows", names).replace("{table}", names.table(CATEGORIES[each]))
            cursor = opened.enter_context(connection.cursor(name=f"otel_pg_{each}"))
            cursor.itersize = _AT_ONCE
            cursor.execute(sql.replace("{where}", page.where(names, each)).encode(), page.parameters)
            streams.append(_named(each, cursor))
        merged = heapq.merge(*streams, key=_order)
        while chunk := list(islice(merged, _AT_ONCE)):
            _make_whole(connection, names, [row for _, row in chunk])
            yield from chunk


def first_of(items: Iterator[T], limit: int | None) -> Iterator[T]:
    """The first so many, or all.

    Raises:
        QueryError: the limit is no number of them.
    """
    if limit is not None:
        whole("limit", limit, 1, _MOST_RECORDS)
    return islice(items, limit)


def documents(connection: Any, names: Names, found: Iterable[Row], size: int) -> Iterator[dict[str, Any]]:
    """OTLP/JSON documents of up to `size` records each."""
    whole("records", size, 1, _MOST_RECORDS)
    origins = _Origins(connection, names)
    waiting = iter(found)
    while chunk := [row for _, row in islice(waiting, size)]:
        spans, logs = [], []
        origins.learn(chunk)
        for row in chunk:
            decoded = readable.decode_row(row)
            if decoded["record"] == "span":
                spans.append(readable.span(decoded, *origins.of(decoded)))
            else:
                logs.append(readable.log_record(decoded, *origins.of(decoded)))
        yield encode(spans, logs)


def _make_whole(connection: Any, names: Names, chunk: list[dict[str, Any]]) -> None:
    """Put the contents that rows refer to into them."""
    if parameters := referred(chunk):
        found = connection.execute(query("contents_of_rows", names).encode(), parameters).fetchall()
        put_back(chunk, by_id(found))


class _Origins:
    """The resources and scopes of rows, each read once."""

    def __init__(self, connection: Any, names: Names) -> None:
        self._connection, self._names = connection, names
        self._resources: dict[UUID, Any] = {}
        self._scopes: dict[UUID, Any] = {}

    def learn(self, chunk: Iterable[Mapping[str, Any]]) -> None:
        """Read those that are not known yet."""
        for known, column, name, build in (
            (self._resources, "resource_id", "trace_resources", readable.resource),
            (self._scopes, "scope_id", "trace_scopes", readable.scope),
        ):
            if len(known) > _MOST_ORIGINS:
                known.clear()
            new = {row[column] for row in chunk} - known.keys()
            if new:
                sql = query(name, self._names).encode()
                for row in self._connection.execute(sql, {"ids": list(new)}).fetchall():
                    known[row[column]] = build(row)

    def of(self, row: Mapping[str, Any]) -> tuple[Any, Any]:
        """Resource and scope of a row; it may have no scope."""
        resource = self._resources.get(row["resource_id"]) or readable.resource(None)
        return resource, self._scopes.get(row["scope_id"])


def _named(category: str, cursor: Any) -> Iterator[Row]:
    return ((category, row) for row in cursor)


def _order(item: Row) -> tuple[Any, ...]:
    row = item[1]
    return tuple(row[name] or 0 if name.endswith("nano") else row[name] for name in _KEY)
