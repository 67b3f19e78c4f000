"""What lists ask: the newest traces, the trace that an id begins, who used most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from ..errors import QueryError
from ..routing import CATEGORIES
from ..sql_files import EVENT_TABLES, Names, query
from .events import Event
from .filters import TRACE_BEGINNING, USAGE_KINDS, USAGE_NUMBERS, build_page
from .pages import Question, position, rows_of_page
from .summaries import TracePage, TraceSummary, Usage

__all__ = ["trace_beginning", "traces", "usage"]

_TOTALS = ("spans", "logs", "errors", "input_tokens", "output_tokens")


def traces(names: Names, category: str | None, options: Mapping[str, Any]) -> Question[TracePage]:
    """A page of traces by their roots, newest first."""
    known = ("limit", "cursor")
    given = {name: value for name, value in options.items() if name in known}
    page = build_page(category, {name: value for name, value in options.items() if name not in known}, **given)
    for each in page.categories:
        page.conditions[each].append(_is_root(names, names.table(CATEGORIES[each])))
    found = yield from rows_of_page(names, page)
    found.sort(key=position, reverse=True)
    shown = found[: page.limit]
    totals = yield from _totals(names, {row["trace_id"] for _, row in shown})
    next_cursor = page.cursor(shown[-1][1]) if len(found) > page.limit else None
    return TracePage(
        [
            TraceSummary(row["trace_id"].hex, Event.from_row(each, row), **totals[row["trace_id"]])
            for each, row in shown
        ],
        next_cursor,
    )


def trace_beginning(names: Names, beginning: str) -> Question[str]:
    """The id of the only trace whose id begins so."""
    digits = beginning.replace("-", "").lower()
    if not TRACE_BEGINNING.fullmatch(digits):
        raise QueryError(f"trace id {beginning!r:.60} is not allowed; allowed are 32 hex digits, or the first of them")
    # not the id of zeros: that stands for log records outside of any trace
    first, last = UUID(int=max(1, int(digits.ljust(32, "0"), 16))), UUID(digits.ljust(32, "f"))
    ids: set[UUID] = set()
    for table in EVENT_TABLES:
        rows = yield (
            query("outermost_trace_ids", names).replace("{table}", names.table(table)),
            {"first": first, "last": last},
        )
        ids.update(row["trace_id"] for row in rows)
    if not ids:
        raise QueryError(f"trace {beginning}: nothing is stored")
    if len(ids) > 1:
        some = f"{min(ids).hex} and {max(ids).hex}"
        raise QueryError(f"trace id {beginning!r:.60} is the beginning of more than one, {some} among them")
    return ids.pop().hex


def usage(names: Names, kind: str, by: str, limit: int, filters: Mapping[str, Any]) -> Question[list[Usage]]:
    """What agents, tools or models have used, the most by one number first."""
    for name, value, allowed in (("kind", kind, USAGE_KINDS), ("by", by, tuple(USAGE_NUMBERS))):
        if value not in allowed:
            raise QueryError(f"{name}={value!r:.60} is not allowed; allowed are: {', '.join(allowed)}")
    page = build_page("agent", filters, limit=limit)
    sql = query(f"usage_of_{kind}", names).replace("{where}", page.where(names, "agent"))
    sql = sql.replace("{tokens}", query("totals_of_agents", names))
    ordered = query("most_used", names).replace("{usage}", sql).replace("{number}", USAGE_NUMBERS[by])
    rows = yield ordered, {**page.parameters, "limit": limit}
    return [Usage.from_row(row) for row in rows]


def _is_root(names: Names, child: str) -> str:
    has_parent = " OR ".join(
        f"EXISTS ({query('stored_parent', names).replace('{table}', names.table(table)).replace('{child}', child)})"
        for table in EVENT_TABLES
    )
    return f"record = 'span' AND (parent_span_id IS NULL OR (parent_is_remote AND NOT ({has_parent})))"


def _totals(names: Names, trace_ids: Iterable[UUID]) -> Question[dict[UUID, dict[str, Any]]]:
    totals: dict[UUID, dict[str, Any]] = {id: {**dict.fromkeys(_TOTALS, 0), "cost": None} for id in trace_ids}
    for table in EVENT_TABLES:
        tokens = query("totals_of_agents" if table == "agent_events" else "totals_of_others", names)
        sql = query("trace_totals", names).replace("{table}", names.table(table)).replace("{tokens}", tokens)
        for row in (yield sql, {"trace_ids": list(totals)}):
            of_trace = totals[row["trace_id"]]
            for name in _TOTALS:
                of_trace[name] += row[name]
            if row["cost"] is not None:
                of_trace["cost"] = (of_trace["cost"] or 0.0) + row["cost"]
    return totals
