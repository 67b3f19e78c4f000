"""A search for words, as people type it, becomes a condition on the rows of an event table.

Words of a row are those of its columns, and of the parts of long texts that it refers to: so each word, or phrase, is
looked for in both, and what was found is put together as `or` and `-` say. The syntax is that of PostgreSQL's
`websearch_to_tsquery`.

Which parts say it is asked before the rows. A server that has to find out beside them takes one row in a hundred to
have some of these parts, and, where the newest rows are wanted, looks at all of them sooner than into the index. What
many parts say is looked for in those of each row instead: to compare them with all that say it takes far longer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from typing import Any
from uuid import UUID

from ..encoding import values
from ..errors import QueryError, shown
from ..sql_files import Names, query

__all__ = ["Search"]

_MAX_BYTES = 1_000
"""PostgreSQL takes no word of 2,047 bytes or more, and a letter may take more of them in lower case."""
_MAX_TERMS = 20
_FEW_PARTS, _SOME_PARTS = 1_000, 20_000
"""So many parts are named by their ids wherever a term is looked for, and so many where an index is asked."""
_AT_ONCE = 100
"""So many an index of all days is asked for at once."""
_TERM = re.compile(r'(-*)("[^"]*"?|[^\s"-][^\s"]*)')
_FROM_DAY = "\"time\" >= date_trunc('day', %({})s::timestamptz AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
_BOUNDS = {"start": _FROM_DAY.format("start"), "since": _FROM_DAY.format("since"), "end": '"time" < %(end)s'}
"""What limits the time of rows → what limits that of their parts, which is the start of the day. In UTC, so that it is
known when the partitions are planned for: what an interval leads to depends on the session."""


class _Parts(IntEnum):
    NONE = 0
    FEW = 1
    """Their ids are a parameter."""
    SOME = 2
    MANY = 3


@dataclass(frozen=True)
class Search:
    """What has to be said, or not: one of several lists of terms, and of that one all."""

    alternatives: tuple[tuple[tuple[bool, str], ...], ...]
    """Of each term, whether it must be missing, and the name of its parameter."""
    parameters: dict[str, Any]
    parts: Mapping[str, _Parts] = field(default_factory=dict)
    """How many parts say a term, once that was asked."""
    by_day: Mapping[datetime, Mapping[str, Any]] = field(default_factory=dict)
    """Beginning of a day → parameters with the parts of that day alone, where an index is to be asked by the day: no
    row refers to parts of another day, and to look for all of them in each partition takes so many times as long."""
    of_other_days: Mapping[str, Any] = field(default_factory=dict)
    """The parameters for days that have none."""

    @classmethod
    def of(cls, text: Any) -> Search:
        """Read what was typed.

        Raises:
            QueryError: it is no text, has no word, or too many of them.
        """
        cleaned = values.clean_text(text, "text", []) if isinstance(text, str) else ""
        alternatives: list[list[tuple[bool, str]]] = [[]]
        parameters: dict[str, str] = {}
        for sign, term in _TERM.findall(cleaned):
            if term.lower() == "or" and not sign:
                alternatives.append([])
            elif any(map(str.isalnum, term)):
                name = f"text_{len(parameters)}"
                parameters[name] = '"' + term.strip('"') + '"'  # so that nothing in it is an operator
                alternatives[-1].append((bool(sign), name))
        if not 0 < len(parameters) <= _MAX_TERMS or len(cleaned.encode()) > _MAX_BYTES:
            allowed = (
                f"1 to {_MAX_TERMS} words or phrases with a letter or a digit, of up to {_MAX_BYTES:,} bytes in all"
            )
            raise QueryError(f"text={shown(text)} is not allowed; allowed are {allowed}")
        return cls(tuple(tuple(terms) for terms in alternatives if terms), parameters)

    def parts_asked(self, names: Names, limits: Iterable[str]) -> tuple[str, dict[str, Any]]:
        """A statement for which parts of long texts say each term, with its parameters.

        Args:
            names: where the tables are.
            limits: parameters that limit the time of the rows.
        """
        bounds = _bounds(limits)
        terms = [
            _filled(query("parts_that_say", names), name, bounds).replace("{term}", name)
            for terms in self.alternatives
            for _, name in terms
        ]
        return "\nUNION ALL\n".join(terms), {**self.parameters, "few_parts": _FEW_PARTS, "some_parts": _SOME_PARTS}

    def knowing(self, rows: Iterable[Mapping[str, Any]]) -> Search:
        """The search with the answer to that: its condition holds for the same limits."""
        parts: dict[str, _Parts] = {}
        of_days: dict[datetime, dict[str, list[UUID]]] = defaultdict(dict)
        for row in rows:
            parts[row["term"]] = _how_many(row)
            if row["day"] is not None:
                of_days[row["day"]][_named(row["term"])] = row["ids"]
        none: dict[str, list[UUID]] = {_named(term): [] for term, many in parts.items() if many < _Parts.MANY}
        ids = {name: [one for day in of_days.values() for one in day.get(name, ())] for name in none}
        few = {_named(term): ids[_named(term)] for term, many in parts.items() if many <= _Parts.FEW}
        is_at_once = sum(map(len, ids.values())) <= _AT_ONCE and len(few) == len(ids)
        return replace(
            self,
            parts=parts,
            parameters=self.parameters | few,
            by_day={} if is_at_once else {day: none | of_days[day] for day in sorted(of_days)},
            of_other_days={} if is_at_once else none,
        )

    @property
    def is_by_index(self) -> bool:
        """An index knows rows for each of the alternatives."""
        return None not in map(self._indexed, self.alternatives)

    def condition(self, names: Names, by_index: bool = False) -> str:
        """The condition in SQL.

        Args:
            by_index: it is to be found by an index, and not to be looked for in one row after the other.
        """
        lists = []
        for terms in self.alternatives:
            indexed = self._indexed(terms) if by_index else None
            # of a row without long texts the arrays are NULL
            said = [
                self._says(names, name, name == indexed) + (" IS NOT TRUE" if is_missing else "")
                for is_missing, name in terms
            ]
            lists.append(" AND ".join(said))
        return f"({' OR '.join(lists)})"

    def _indexed(self, terms: Iterable[tuple[bool, str]]) -> str | None:
        """The term, of those that all have to be said, that an index is asked for; None if none is rare enough.

        The others are looked for in the rows of that.
        """
        wanted = [name for is_missing, name in terms if not is_missing]
        best = min(wanted, key=self._parts_of, default=None)
        return best if best is not None and self._parts_of(best) < _Parts.MANY else None

    def _parts_of(self, name: str) -> _Parts:
        return self.parts.get(name, _Parts.MANY)

    def _says(self, names: Names, name: str, is_indexed: bool) -> str:
        parts = self._parts_of(name)
        if parts is _Parts.NONE:
            return _filled(f"({query('row_says_itself', names)})", name)
        if parts > _Parts.FEW and not is_indexed:
            return _filled(query("row_says", names), name)
        return _filled(query("row_says_by_parts", names), name).replace("{parts}", f"%({_named(name)})s::uuid[]")


def _how_many(row: Mapping[str, Any]) -> _Parts:
    if row["is_many"]:
        return _Parts.MANY
    if row["day"] is None:
        return _Parts.NONE
    return _Parts.FEW if row["is_few"] else _Parts.SOME


def _named(term: str) -> str:
    """The parameter with the parts that say a term."""
    return f"{term}_parts"


def _bounds(limits: Iterable[str]) -> str:
    given = {*limits}
    return "".join(f" AND {bound}" for limit, bound in _BOUNDS.items() if limit in given)


def _filled(sql: str, name: str, bounds: str = "") -> str:
    return sql.replace("{bounds}", bounds).replace("{asked}", _asked(name))


def _asked(name: str) -> str:
    return f"websearch_to_tsquery('pg_catalog.simple', %({name})s)"
