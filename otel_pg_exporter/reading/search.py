"""A search for words, as people type it, becomes a condition on the rows of an event table.

Words of a row are those of its columns, and of the parts of long texts that it refers to: so each word, or phrase, is
looked for in both, and what was found is put together as `or` and `-` say. The syntax is that of PostgreSQL's
`websearch_to_tsquery`.

Which parts say it may be asked before the rows. A server that has to find out beside them takes one row in a hundred to
have some of these parts, and, where the newest rows are wanted, looks at all of them sooner than into the index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..encoding import values
from ..errors import QueryError
from ..sql_files import Names, query

__all__ = ["Search"]

_MAX_BYTES = 1_000
"""PostgreSQL takes no word of 2,047 bytes or more, and a letter may take more of them in lower case."""
_MAX_TERMS = 20
_MOST_PARTS = 1_000
"""What more of them say is no rare word, and a server is left to find them."""
_TERM = re.compile(r'(-*)("[^"]*"?|[^\s"-][^\s"]*)')
_FROM_DAY = "\"time\" >= date_trunc('day', %({})s::timestamptz AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
_BOUNDS = {"start": _FROM_DAY.format("start"), "since": _FROM_DAY.format("since"), "end": '"time" < %(end)s'}
"""What limits the time of rows → what limits that of their parts, which is the start of the day. In UTC, so that it is
known when the partitions are planned for: what an interval leads to depends on the session."""


@dataclass(frozen=True)
class Search:
    """What has to be said, or not: one of several lists of terms, and of that one all."""

    alternatives: tuple[tuple[tuple[bool, str], ...], ...]
    """Of each term, whether it must be missing, and the name of its parameter."""
    parameters: dict[str, Any]
    parts: Mapping[str, bool] = field(default_factory=dict)
    """Of terms whose parts are known, whether there are any: they are a parameter then."""

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
            raise QueryError(f"text={text!r:.60} is not allowed; allowed are {allowed}")
        return cls(tuple(tuple(terms) for terms in alternatives if terms), parameters)

    def parts_asked(self, names: Names, limits: Iterable[str]) -> tuple[str, dict[str, Any]]:
        """A statement for which parts of long texts say each term, with its parameters; `limits` as of `condition`."""
        bounds = _bounds(limits)
        terms = [
            query("parts_of_a_term", names).replace("{term}", name).replace("{parts}", _parts(names, name, bounds))
            for terms in self.alternatives
            for _, name in terms
        ]
        sql = query("few_parts", names).replace("{terms}", " UNION ALL ".join(terms))
        return sql, {**self.parameters, "most_parts": _MOST_PARTS}

    def knowing(self, rows: Iterable[Mapping[str, Any]]) -> Search:
        """The search with the answer to that: its condition holds for the same limits."""
        found = {row["term"]: row["ids"] for row in rows if row["ids"] is not None}
        return replace(
            self,
            parts={name: bool(ids) for name, ids in found.items()},
            parameters=self.parameters | {f"{name}_parts": ids for name, ids in found.items()},
        )

    def condition(self, names: Names, limits: Iterable[str]) -> str:
        """The condition in SQL; `limits` names the parameters that limit the time of the rows."""
        bounds = _bounds(limits)
        lists = []
        for terms in self.alternatives:
            # of a row without long texts the arrays are NULL
            said = [
                self._says(names, name, bounds) + (" IS NOT TRUE" if is_missing else "") for is_missing, name in terms
            ]
            lists.append(" AND ".join(said))
        return f"({' OR '.join(lists)})"

    def _says(self, names: Names, name: str, bounds: str) -> str:
        if self.parts.get(name) is False:
            return f"({query('row_says_itself', names)})".replace("{asked}", _asked(name))
        parts = f"%({name}_parts)s::uuid[]" if name in self.parts else _parts(names, name, bounds)
        return query("row_says", names).replace("{parts}", parts).replace("{asked}", _asked(name))


def _bounds(limits: Iterable[str]) -> str:
    given = {*limits}
    return "".join(f" AND {bound}" for limit, bound in _BOUNDS.items() if limit in given)


def _parts(names: Names, name: str, bounds: str) -> str:
    return query("parts_that_say", names).replace("{bounds}", bounds).replace("{asked}", _asked(name))


def _asked(name: str) -> str:
    return f"websearch_to_tsquery('pg_catalog.simple', %({name})s)"
