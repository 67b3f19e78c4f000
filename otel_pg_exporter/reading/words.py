"""What a search for text looks at, said once: the filter and the index have to mean the same expression."""

from __future__ import annotations

from functools import cache

from ..sql_files import Names, query

__all__ = ["words_of_json", "words_of_part", "words_of_row"]


def words_of_json(column: str, type_name: str = "json") -> str:
    """The words of a column of type json or jsonb: an expression of type tsvector, NULL where the column is."""
    of_text = _snippet("words_of_text").replace("{text}", f"{column}::text")
    sql = _snippet("words_of_json").replace("{words_of_text}", of_text).replace("{type}", type_name)
    return sql.replace("{column}", column)


@cache
def words_of_part() -> str:
    """The words of a part of a long text: an expression of type tsvector."""
    return _snippet("words_of_text").replace("{text}", "body")


@cache
def words_of_row() -> str:
    """The words of a row of any event table: an expression of type tsvector, never NULL."""
    sql = _snippet("words_of_row").replace("{error}", _snippet("words_of_error"))
    for column, type_name in (("input", "json"), ("output", "json"), ("body", "jsonb")):
        sql = sql.replace(f"{{{column}}}", words_of_json(column, type_name))
    return sql


def _snippet(name: str) -> str:
    return query(name, Names(""))  # it names no table
