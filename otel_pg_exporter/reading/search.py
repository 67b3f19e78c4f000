"""A search for words, as people type it, becomes a condition on the rows of an event table.

Words of a row are those of its columns, and of the parts of long texts that it refers to: so each word, or phrase, is
looked for in both, and what was found is put together as `or` and `-` say. The syntax is that of PostgreSQL's
`websearch_to_tsquery`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..encoding import values
from ..errors import QueryError
from ..sql_files import Names, query
from .words import words_of_part, words_of_row

__all__ = ["Search"]

_MAX_BYTES = 1_000
"""PostgreSQL takes no word of 2,047 bytes or more, and a letter may take more of them in lower case."""
_MAX_TERMS = 20
_TERM = re.compile(r'(-*)("[^"]*"?|[^\s"-][^\s"]*)')
_BOUNDS = {
    "start": "\"time\" > %(start)s::timestamptz - interval '1 day'",
    "since": "\"time\" > %(since)s::timestamptz - interval '1 day'",
    "end": '"time" < %(end)s',
}
"""What limits the time of rows → what limits that of their parts, which is the start of the day."""


@dataclass(frozen=True)
class Search:
    """What has to be said, or not: one of several lists of terms, and of that one all."""

    alternatives: tuple[tuple[tuple[bool, str], ...], ...]
    """Of each term, whether it must be missing, and the name of its parameter."""
    parameters: dict[str, str]

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

    def condition(self, names: Names, limits: Iterable[str]) -> str:
        """The condition in SQL; `limits` names the parameters that limit the time of the rows."""
        bounds = "".join(f" AND {bound}" for limit, bound in _BOUNDS.items() if limit in limits)
        lists = []
        for terms in self.alternatives:
            # of a row without long texts the arrays are NULL
            said = [_says(names, name, bounds) + (" IS NOT TRUE" if is_missing else "") for is_missing, name in terms]
            lists.append(" AND ".join(said))
        return f"({' OR '.join(lists)})"


def _says(names: Names, parameter: str, bounds: str) -> str:
    parts = query("parts_that_say", names).replace("{words_of_part}", words_of_part()).replace("{bounds}", bounds)
    sql = query("row_says", names).replace("{words_of_row}", words_of_row()).replace("{parts}", parts)
    return sql.replace("{asked}", f"websearch_to_tsquery('pg_catalog.simple', %({parameter})s)")
