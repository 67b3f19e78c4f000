"""What can be asked, apart from how it is sent: each question yields statements, is sent their rows, and
returns the answer. `EventQuery` and `AsyncEventQuery` carry the same questions."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias, TypeVar

from .errors import QueryError
from .events import Event, EventPage
from .filters import Page, build_page, select_runs, trace_uuid
from .routing import CATEGORIES
from .runs import Run
from .sql_files import EVENT_TABLES, Names, query
from .statistics import Statistics, build_statistics
from .trace import Trace, build_trace

__all__ = [
    "Question",
    "Rows",
    "Statement",
    "counts",
    "events",
    "health",
    "lost",
    "page_of",
    "running",
    "statistics",
    "trace",
]

T = TypeVar("T")
Rows: TypeAlias = list[dict[str, Any]]
Statement: TypeAlias = tuple[str, Mapping[str, Any]]
Question: TypeAlias = Generator[Statement, Rows, T]


def events(names: Names, category: str | None, options: Mapping[str, Any]) -> Question[EventPage]:
    """A page of events, from one table or all four."""
    known = ("order_by", "order_direction", "limit", "offset", "cursor")
    given = {name: value for name, value in options.items() if name in known}
    filters = {name: value for name, value in options.items() if name not in known}
    page = build_page(category, filters, **given)
    found: list[tuple[tuple[Any, ...], str, dict[str, Any]]] = []
    for each in page.categories:
        rows = yield page_of(names, page, each), page.parameters
        found += [((row["order_key"], row["batch_id"], row["batch_index"]), each, row) for row in rows]
    if len(page.categories) > 1:
        found.sort(key=lambda item: item[0], reverse=page.direction == "desc")
    shown = found[: page.limit]
    next_cursor = page.cursor(shown[-1][2]) if len(found) > page.limit else None
    return EventPage([Event.from_row(each, row) for _, each, row in shown], next_cursor, page.categories)


def trace(names: Names, trace_id: str) -> Question[Trace]:
    """All that is stored of one trace."""
    stored_id = trace_uuid(trace_id)
    if not stored_id.int:
        raise QueryError("trace id of zeros is not allowed: it stands for log records that belong to no trace")
    rows: Rows = []
    for table in EVENT_TABLES:
        found = yield (
            query("trace_rows", names).replace("{table}", names.table(table)),
            {"trace_id": stored_id},
        )
        rows += [{**row, "table": table} for row in found]
    resources = yield query("trace_resources", names), {"ids": list({row["resource_id"] for row in rows})}
    scopes = yield query("trace_scopes", names), {"ids": list({row["scope_id"] for row in rows})}
    return build_trace(
        stored_id.hex,
        rows,
        {row["resource_id"]: row for row in resources},
        {row["scope_id"]: row for row in scopes},
    )


def statistics(
    names: Names, category: str | None, bucket: timedelta, filters: Mapping[str, Any]
) -> Question[Statistics]:
    """Counts, durations, errors and tokens of what the filters select."""
    if not isinstance(bucket, timedelta) or bucket < timedelta(seconds=1):
        raise QueryError(f"bucket={bucket!r:.60} is not allowed; allowed is a timedelta of a second or more")
    page = build_page(category, filters)
    parts = []
    for each in page.categories:
        name = "select_agents_for_statistics" if each == "agent" else "select_for_statistics"
        sql = query(name, names).replace("{table}", names.table(CATEGORIES[each]))
        parts.append(sql.replace("{category}", each).replace("{where}", page.where(each)))
    selected = "\nUNION ALL\n".join(parts)
    groups = yield query("statistics", names).replace("{selected}", selected), page.parameters
    parameters = {**page.parameters, "bucket": bucket // timedelta(microseconds=1)}
    over_time = yield query("statistics_over_time", names).replace("{selected}", selected), parameters
    return build_statistics(groups, over_time)


def running(names: Names, limit: int, filters: Mapping[str, Any]) -> Question[list[Run]]:
    """What is open now."""
    where, parameters = select_runs(filters, limit)
    rows = yield query("running_runs", names).replace("{where}", where), parameters
    return [Run.from_row(row) for row in rows]


def lost(names: Names, since: timedelta | datetime, limit: int, filters: Mapping[str, Any]) -> Question[list[Run]]:
    """What was open when its process was last heard of, since then."""
    moment, ago_us = None, 0
    if isinstance(since, timedelta) and since >= timedelta():
        ago_us = since // timedelta(microseconds=1)
    elif isinstance(since, datetime) and since.utcoffset() is not None:
        moment = since
    else:
        allowed = "a timedelta of 0 or more, or a datetime with a time zone"
        raise QueryError(f"since={since!r:.60} is not allowed; allowed is {allowed}")
    where, parameters = select_runs(filters, limit)
    parameters |= {"since": moment, "ago_us": ago_us}
    rows = yield query("lost_runs", names).replace("{where}", where), parameters
    return [Run.from_row(row) for row in rows]


def counts(names: Names) -> Question[dict[str, int]]:
    """Rows of each main table."""
    (row,) = yield query("count_rows", names), {}
    return {table: int(count) for table, count in row.items()}


def health(names: Names) -> Question[dict[str, Any]]:
    """Facts about a server that answers."""
    (row,) = yield query("health", names), {}
    facts = {name: value for name, value in row.items() if name not in EVENT_TABLES}
    named = yield query("unmatched_captures", names), {}
    unmatched = {row["service_name"] or "": row["patterns"] for row in named}
    return {**facts, "unmatched": unmatched, "rows": {table: int(row[table]) for table in EVENT_TABLES}}


def page_of(names: Names, page: Page, category: str) -> str:
    """The statement for one table of a page."""
    sql = query("events_of_table", names).replace("{table}", names.table(CATEGORIES[category]))
    filled = sql.replace("{key}", page.key).replace("{order_by}", page.order_by("order_key"))
    return filled.replace("{where}", page.where(category))
