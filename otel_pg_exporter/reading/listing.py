"""What lists ask: the newest traces, the trace that an id begins, who used most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from ..errors import QueryError, shown
from ..routing import CATEGORIES
from ..sql_files import EVENT_TABLES, Names, query
from .events import Event
from .filters import TRACE_BEGINNING, USAGE_KINDS, USAGE_NUMBERS, build_page
from .pages import Question, ask_parts, rows_of_page
from .summaries import TracePage, TraceSummary, Usage

__all__ = ["trace_beginning", "traces", "usage"]

_TOTALS = ("spans", "logs", "errors", "input_tokens", "output_tokens")


def traces(names: Names, category: str | None, options: Mapping[str, Any]) -> Question[TracePage]:
    """A page of traces by their roots, newest first.

    Parents are looked for as far back as the roots, and a day more; of those of the page then everywhere. To plan for
    hundreds of partitions within each search for roots takes longer than everything else.
    """
    known = ("limit", "cursor")
    given = {name: value for name, value in options.items() if name in known}
    page = build_page(category, {name: value for name, value in options.items() if name not in known}, **given)
    for each in page.categories:
        page.conditions[each].append(_is_root(names, names.table(CATEGORIES[each])))
    found = yield from rows_of_page(names, page, options.get("end"))
    if (yield from _have_parents(names, [row for _, row in found])):
        page.parameters["parents_since"] = "-infinity"
        found = yield from rows_of_page(names, page, options.get("end"))
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
    digits = beginning.replace("-", "").lower() if isinstance(beginning, str) else ""
    if not TRACE_BEGINNING.fullmatch(digits):
        raise QueryError(f"trace id {shown(beginning)} is not allowed; allowed are 32 hex digits, or the first of them")
    # not the id of zeros: that stands for log records outside of any trace
    first, last = UUID(int=max(1, int(digits.ljust(32, "0"), 16))), UUID(digits.ljust(32, "f"))
    ids: set[UUID] = set()
    for table in (*EVENT_TABLES, "open_spans"):
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
            raise QueryError(f"{name}={shown(value)} is not allowed; allowed are: {', '.join(allowed)}")
    page = build_page("agent", filters, limit=limit)
    yield from ask_parts(names, page)
    sql = query(f"usage_of_{kind}", names).replace("{where}", page.where(names, "agent"))
    sql = sql.replace("{tokens}", query("totals_of_agents", names))
    ordered = query("most_used", names).replace("{usage}", sql).replace("{number}", USAGE_NUMBERS[by])
    rows = yield ordered, {**page.parameters, "limit": limit}
    return [Usage.from_row(row) for row in rows]


def _is_root(names: Names, child: str) -> str:
    has_parent = " OR ".join(
        query("stored_parent", names).replace("{table}", names.table(table)).replace("{child}", child)
        for table in EVENT_TABLES
    )
    return query("is_root", names).replace("{has_parent}", has_parent)


def _have_parents(names: Names, rows: Iterable[Mapping[str, Any]]) -> Question[bool]:
    """Whether the parent of one of these spans is stored."""
    parents = {(row["trace_id"], row["parent_span_id"]) for row in rows if row["parent_span_id"] is not None}
    if not parents:
        return False
    trace_ids, span_ids = map(list, zip(*parents, strict=True))
    sql = "\nUNION ALL\n".join(
        query("stored_spans", names).replace("{table}", names.table(table)) for table in EVENT_TABLES
    )
    stored = yield sql, {"trace_ids": trace_ids, "span_ids": span_ids}
    return not parents.isdisjoint((row["trace_id"], row["span_id"]) for row in stored)


def _totals(names: Names, trace_ids: Iterable[UUID]) -> Question[dict[UUID, dict[str, Any]]]:
    totals: dict[UUID, dict[str, Any]] = {id: {**dict.fromkeys(_TOTALS, 0), "cost": None} for id in trace_ids}
    for table in EVENT_TABLES:
        tokens = query("totals_of_agents" if table == "agent_events" else "totals_of_others", names)
        sql = query("trace_totals", names).replace("{table}", names.table(table)).replace("{tokens}", tokens)
        for row in (yield sql, {"trace_ids": list(totals)}):
            of_trace = totals[row["trace_id"]]
            for name in _TOTALS:
                of_trace[name] += int(row[name])
            if row["cost"] is not None:
                of_trace["cost"] = (of_trace["cost"] or 0.0) + float(row["cost"])
    return totals
