"""The rows of a page, from each of its tables.

Two things would take a server longer than to read them. It plans for hundreds of partitions: so the newest are asked
alone, first. And it takes one row in two hundred to say what is looked for, and would look at all of them, from the
first on, for the few that do: so each table is asked by an optional index, if it has one, and who finds few has all.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias, TypeVar

from ..routing import CATEGORIES
from ..sql_files import Names, query
from .filters import Page

__all__ = ["Question", "Rows", "Statement", "ask_parts", "page_of", "rows_of_page"]

T = TypeVar("T")
Rows: TypeAlias = list[dict[str, Any]]
Statement: TypeAlias = tuple[str, Mapping[str, Any]]
Question: TypeAlias = Generator[Statement, Rows, T]

_DAY = timedelta(days=1)
_FEW = 4000
"""Rows of a table. So many are sorted in a few milliseconds; of what is more frequent the first come soon."""
_OF_DAY = '"time" >= %(day)s AND "time" < %(next_day)s'
_OF_OTHER_DAYS = "date_trunc('day', \"time\" AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' <> ALL(%(days)s::timestamptz[])"


def rows_of_page(names: Names, page: Page, end: datetime | None) -> Question[list[tuple[str, dict[str, Any]]]]:
    """The rows of a page in their order, each with its category; one more than its limit if there are as many.

    The newest are looked for today and yesterday, then in the last two weeks, then everywhere, but no further back than
    the filter `start`.

    Args:
        names: where the tables are.
        page: what is asked for.
        end: the filter of that name.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    indexes = yield from _indexed(names, page)
    for since in _beginnings(page, end):
        found = yield from _of_tables(names, page, since, indexes)
        if len(found) > page.limit:
            break
    if len(page.categories) > 1:
        found.sort(key=_position, reverse=page.direction == "desc")
    return found[: page.limit + 1]


def ask_parts(names: Names, page: Page, since: datetime | None = None) -> Question[None]:
    """Have a page know which parts of long texts say what it searches for, if it does; `since` limits their time."""
    if asked := page.parts_asked(names, since):
        page.know_parts((yield asked))


def page_of(names: Names, page: Page, category: str, *conditions: str, by_index: bool = False) -> str:
    """The statement for one table of a page, with further conditions.

    Args:
        by_index: for few rows alone, that optional indexes know.
    """
    name = "few_events_of_table" if by_index else "events_of_table"
    sql = query(name, names).replace("{table}", names.table(CATEGORIES[category]))
    filled = sql.replace("{key}", page.key).replace("{order_by}", page.order_by("order_key"))
    return filled.replace("{where}", page.where(names, category, *conditions, by_index=by_index))


def _beginnings(page: Page, end: datetime | None) -> Iterator[datetime | None]:
    """How far back to look for the rows of a page, in turn; None for as far as there are any."""
    if page.is_newest_first:
        start = page.parameters.get("start")
        latest = min(filter(None, (datetime.now(timezone.utc), end, page.after_time)))
        with suppress(OverflowError):  # near the year 1
            # from the start of a day, so that what a cache keeps is asked for in the same words all day
            day = latest.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
            for since in (day - _DAY, day - 14 * _DAY):
                yield since
                if start is not None and start >= since:
                    return
    yield None


def _indexed(names: Names, page: Page) -> Question[dict[str, set[str]]]:
    """The optional indexes for one of the filters, that the table of a category has."""
    if not page.indexes or page.parameters["offset"]:
        return {}
    tables = {CATEGORIES[each]: each for each in page.categories}
    about = {"schema": names.schema, "prefix": names.prefix, "tables": [*tables], "indexes": page.indexes}
    found = yield query("tables_indexed", names), about
    return {each: {row["index"] for row in found if row["table"] == table} for table, each in tables.items()}


def _of_tables(
    names: Names, page: Page, since: datetime | None, indexes: Mapping[str, set[str]]
) -> Question[list[tuple[str, dict[str, Any]]]]:
    """The first rows of each table, one more than the page's limit at most."""
    yield from ask_parts(names, page, since)
    indexed = [each for each, has in indexes.items() if has.intersection(page.indexes)]
    found: dict[str, Rows] = (yield from _few(names, page, since, indexed)) if indexed else {}
    for each in page.categories:
        if each not in found:
            found[each] = yield page_of(names, page, each, *_not_before(since)), _parameters(page, since)
    return [(each, row) for each in page.categories for row in found[each]]


def _few(names: Names, page: Page, since: datetime | None, indexed: Sequence[str]) -> Question[dict[str, Rows]]:
    """The rows of those tables that have few, by their optional indexes."""
    found = {}
    yield query("plan_for_indexes", names), {}
    for each in indexed:
        rows = yield from _by_index(names, page, since, each)
        if rows is not None:
            found[each] = rows
    yield query("plan_as_usual", names), {}
    return found


def _by_index(names: Names, page: Page, since: datetime | None, category: str) -> Question[Rows | None]:
    """The first rows of one table, if it has few, asked for by the day where a search says so."""
    search = page.search
    by_day = search.by_day if search else {}
    pieces: list[tuple[str, dict[str, Any]]] = [
        (_OF_DAY, {**parameters, "day": day, "next_day": day + _DAY}) for day, parameters in by_day.items()
    ]
    if search and by_day:
        pieces.append((_OF_OTHER_DAYS, {**search.of_other_days, "days": [*by_day]}))
    found, count = [], 0
    for piece, parameters in pieces or [("true", {})]:
        sql = page_of(names, page, category, *_not_before(since), piece, by_index=True)
        rows = yield sql, {**_parameters(page, parameters.get("day", since)), **parameters, "few": _FEW}
        count += rows[0]["found"] if rows else 0
        if count >= _FEW:
            return None
        found += [{name: value for name, value in row.items() if name != "found"} for row in rows]
    if by_day:
        found.sort(key=lambda row: _position((category, row)), reverse=page.direction == "desc")
    return found[: page.limit + 1]


def _not_before(since: datetime | None) -> tuple[str, ...]:
    return ('"time" >= %(since)s',) if since is not None else ()


def _parameters(page: Page, since: datetime | None) -> dict[str, Any]:
    return {"parents_since": since - _DAY if since else "-infinity", "since": since, **page.parameters}


def _position(found: tuple[str, Mapping[str, Any]]) -> tuple[Any, ...]:
    key = found[1]["order_key"]
    is_nan = key != key  # above all numbers, as PostgreSQL has it
    return is_nan, 0 if is_nan else key, found[1]["batch_id"], found[1]["batch_index"]
