"""What can be asked, apart from how it is sent: each question yields statements, is sent their rows, and
returns the answer. `EventQuery` and `AsyncEventQuery` carry the same questions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ..encoding.contents import by_id, put_back, referred
from ..encoding.histograms import is_whole
from ..errors import QueryError, shown
from ..routing import CATEGORIES
from ..sql_files import EVENT_TABLES, Names, query
from .events import Event, EventPage
from .filters import SUMMARY_FILTERS, Page, build_page, select_runs, trace_uuid
from .pages import Question, Rows, ask_parts, rows_of_page
from .periods import HOUR, Hours, whole_hours
from .runs import Run
from .statistics import Statistics, build_statistics
from .trace import Trace, build_trace

__all__ = [
    "Question",
    "Rows",
    "counts",
    "events",
    "health",
    "lost",
    "running",
    "statistics",
    "trace",
    "whole",
]

_UNION = "\nUNION ALL\n"
_LONGEST = timedelta(days=36_500)


def events(names: Names, category: str | None, options: Mapping[str, Any]) -> Question[EventPage]:
    """A page of events, from one table or all four."""
    known = ("order_by", "order_direction", "limit", "offset", "cursor")
    given = {name: value for name, value in options.items() if name in known}
    filters = {name: value for name, value in options.items() if name not in known}
    page = build_page(category, filters, **given)
    found = yield from rows_of_page(names, page, filters.get("end"))
    shown = found[: page.limit]
    yield from whole(names, [row for _, row in shown])
    next_cursor = page.cursor(shown[-1][1]) if len(found) > page.limit else None
    return EventPage([Event.from_row(each, row) for each, row in shown], next_cursor, page.categories)


def trace(names: Names, trace_id: str | UUID) -> Question[Trace]:
    """All that is stored of one trace."""
    stored_id = trace_uuid(trace_id)
    if not stored_id.int:
        raise QueryError("trace id of zeros is not allowed: it stands for log records that belong to no trace")
    rows: Rows = []
    for table in EVENT_TABLES:
        found = yield (
            query("trace_rows", names).replace("{rows_of_trace}", names.table(f"{table}_of_trace")),
            {"trace_id": stored_id},
        )
        rows += [{**row, "table": table} for row in found]
    yield from whole(names, rows)
    resources = yield query("trace_resources", names), {"ids": list({row["resource_id"] for row in rows})}
    scopes = yield query("trace_scopes", names), {"ids": list({row["scope_id"] for row in rows})}
    return build_trace(
        stored_id.hex,
        rows,
        {row["resource_id"]: row for row in resources},
        {row["scope_id"]: row for row in scopes},
    )


def whole(names: Names, rows: Rows) -> Question[None]:
    """Put the contents that rows refer to into them."""
    if parameters := referred(rows):
        found = yield query("contents_of_rows", names), parameters
        put_back(rows, by_id(found))


def statistics(
    names: Names, category: str | None, bucket: timedelta, filters: Mapping[str, Any], exact: bool = False
) -> Question[Statistics]:
    """Counts, durations, errors and tokens of what the filters select.

    Where summaries can answer, whole hours come from them, and the events are read of what is before and after.
    """
    if not isinstance(bucket, timedelta) or not timedelta(seconds=1) <= bucket <= _LONGEST:
        allowed = f"a timedelta of a second to {_LONGEST.days:,} days"
        raise QueryError(f"bucket={shown(bucket)} is not allowed; allowed is {allowed}")
    page = build_page(category, filters)
    yield from ask_parts(names, page)
    given = {name: value for name, value in filters.items() if value is not None}
    parameters = {**page.parameters, "bucket": bucket // timedelta(microseconds=1)}
    hours = whole_hours(given.get("start"), given.get("end"))
    events, summed = _events(names, page), None
    if hours is not None and not exact and given.keys() <= SUMMARY_FILTERS.keys():
        parameters |= {"first_hour": hours.first, "after_hours": hours.after}
        summed = _summed(names, page, given, hours)
    over_time_from = events
    if summed and bucket % HOUR == timedelta(0):
        over_time_from = query("select_by_hour", names).replace("{selected}", summed)
    name = "statistics_of_summaries" if summed else "statistics_of_rows"
    groups = yield query(name, names).replace("{selected}", summed or events), parameters
    if summed and not all(is_whole(row["histogram"] or "0", row["timed"]) for row in groups):
        groups = yield query("statistics_of_rows", names).replace("{selected}", events), parameters
    over_time = yield query("statistics_over_time", names).replace("{selected}", over_time_from), parameters
    return build_statistics(groups, over_time)


def running(names: Names, limit: int, filters: Mapping[str, Any]) -> Question[list[Run]]:
    """What is open now."""
    where, parameters = select_runs(filters, limit)
    rows = yield query("running_runs", names).replace("{where}", where), parameters
    return [Run.from_row(row) for row in rows]


def lost(names: Names, since: timedelta | datetime, limit: int, filters: Mapping[str, Any]) -> Question[list[Run]]:
    """What was open when its process was last heard of, since then."""
    moment, ago_us = None, 0
    if isinstance(since, timedelta) and timedelta() <= since <= _LONGEST:
        ago_us = since // timedelta(microseconds=1)
    elif isinstance(since, datetime) and since.utcoffset() is not None:
        moment = since
    else:
        allowed = f"a timedelta of 0 to {_LONGEST.days:,} days, or a datetime with a time zone"
        raise QueryError(f"since={shown(since)} is not allowed; allowed is {allowed}")
    where, parameters = select_runs(filters, limit)
    parameters |= {"since": moment, "ago_us": ago_us}
    rows = yield query("lost_runs", names).replace("{where}", where), parameters
    return [Run.from_row(row) for row in rows]


def unfinished(names: Names, trace_id: str | UUID, limit: int) -> Question[list[Run]]:
    """What of a trace has not ended."""
    _, parameters = select_runs({}, limit)
    parameters["trace_id"] = trace_uuid(trace_id)
    if not (yield query("seen_open", names), parameters):  # as most traces: to plan for the view takes longer
        return []
    rows = yield query("unfinished_runs", names), parameters
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


def _events(names: Names, page: Page, *conditions: str) -> str:
    """A statement that selects the events of a page's filters for the statistics."""
    parts = []
    for each in page.categories:
        name = "select_agents_for_statistics" if each == "agent" else "select_for_statistics"
        sql = query(name, names).replace("{table}", names.table(CATEGORIES[each]))
        where = page.where(names, each, *conditions)
        parts.append(sql.replace("{category}", each).replace("{where}", where))
    return _UNION.join(parts)


def _summed(names: Names, page: Page, given: Mapping[str, Any], hours: Hours) -> str:
    """A statement that selects the summaries of whole hours, and the events before and after them as summaries."""
    conditions = [SUMMARY_FILTERS[name] for name in given if name not in ("start", "end")]
    if len(page.categories) == 1:
        conditions.append(f"category = '{page.categories[0]}'")
    around = []
    if hours.first is not None:
        conditions.append('"time" >= %(first_hour)s')
    if hours.after is not None:
        conditions.append('"time" < %(after_hours)s')
    if hours.first != given.get("start"):
        around.append('"time" < %(first_hour)s')
    if hours.after != given.get("end"):
        around.append('"time" >= %(after_hours)s')
    parts = [query("select_summaries", names).replace("{where}", " AND ".join(conditions) or "true")]
    as_summaries = query("select_as_summaries", names)
    parts += [as_summaries.replace("{selected}", _events(names, page, condition)) for condition in around]
    return _UNION.join(parts)
