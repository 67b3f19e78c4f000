"""The rows of a page, from each of its tables.

A server takes one row in two hundred to say what is looked for, and would look at all of them, from the first on, for
the few that do. Where there is an index of words each table is first asked by that: who finds few has them all.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from ..routing import CATEGORIES
from ..sql_files import Names, query
from .filters import Page

__all__ = ["Question", "Rows", "Statement", "page_of", "position", "rows_of_page"]

T = TypeVar("T")
Rows: TypeAlias = list[dict[str, Any]]
Statement: TypeAlias = tuple[str, Mapping[str, Any]]
Question: TypeAlias = Generator[Statement, Rows, T]

_FEW = 4000
"""Rows of a table. So many are sorted in a few milliseconds; of what is more frequent the first come soon."""


def rows_of_page(names: Names, page: Page, since: datetime | None = None) -> Question[list[tuple[str, dict[str, Any]]]]:
    """The first rows of each table, one more than the page's limit at most, each with its category.

    Args:
        names: where the tables are.
        page: what is asked for.
        since: how far back to look; None for as far as there are any rows.
    """
    if asked := page.parts_asked(names, since):
        page.know((yield asked))
    found = yield from _few(names, page, since)
    for each in page.categories:
        if each not in found:
            found[each] = yield page_of(names, page, each, since is not None), _parameters(page, since)
    return [(each, row) for each in page.categories for row in found[each]]


def position(found: tuple[str, Mapping[str, Any]]) -> tuple[Any, ...]:
    """Where a row, with its category, stands in the order of its page."""
    _, row = found
    return row["order_key"], row["batch_id"], row["batch_index"]


def page_of(names: Names, page: Page, category: str, is_since: bool = False, name: str = "events_of_table") -> str:
    """The statement for one table of a page; of what is not older than the parameter `since`, if that is there."""
    sql = query(name, names).replace("{table}", names.table(CATEGORIES[category]))
    filled = sql.replace("{key}", page.key).replace("{order_by}", page.order_by("order_key"))
    since = ('"time" >= %(since)s',) if is_since else ()
    return filled.replace("{where}", page.where(names, category, *since))


def _few(names: Names, page: Page, since: datetime | None) -> Question[dict[str, Rows]]:
    """The rows of those tables that have few, by their indexes of words."""
    indexed = [each for each in page.categories if page.is_indexed(each)]
    found: dict[str, Rows] = {}
    if not indexed or page.parameters["offset"]:
        return found
    yield query("plan_for_indexes_of_words", names), {}
    for each in indexed:
        sql = page_of(names, page, each, since is not None, "few_events_of_table")
        rows = yield sql, {**_parameters(page, since), "few": _FEW}
        if not rows or rows[0]["found"] < _FEW:
            found[each] = [{name: value for name, value in row.items() if name != "found"} for row in rows]
    yield query("plan_as_usual", names), {}
    return found


def _parameters(page: Page, since: datetime | None) -> dict[str, Any]:
    return {**page.parameters, "since": since}
