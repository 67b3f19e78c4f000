"""Writes the second half of docs/sql.md from the comments in a migrated database: `make docs`.

What is above the marker on that page is written by hand.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from otel_pg_exporter import migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.embedded import EmbeddedServer
from otel_pg_exporter.sql_files import CONTRACT_VIEWS, FUNCTIONS, READING, TYPES

PAGE = Path(__file__).with_name("sql.md")
MARKER = "<!-- Below: from the comments in the database, by `make docs`. -->\n"

_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname = ANY(%(names)s) AND a.attnum > 0
 ORDER BY c.relname, a.attnum
"""
_ABOUT = """
SELECT c.relname, coalesce(obj_description(c.oid, 'pg_class'), obj_description(c.reltype, 'pg_type'))
  FROM pg_class c WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname = ANY(%(names)s)
"""
_FUNCTIONS = """
SELECT p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.provolatile, t.typname,
       obj_description(p.oid, 'pg_proc')
  FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
 WHERE p.pronamespace = %(schema)s::regnamespace AND p.proname <> ALL(%(own)s)
 ORDER BY p.proname, 2
"""


class Contract:
    """What a database promises, as its catalogue says."""

    def __init__(self, connection: psycopg.Connection[Any], schema: str = "otel") -> None:
        given = {"schema": schema, "names": [*CONTRACT_VIEWS, *TYPES], "own": [*READING]}
        self.about = dict(connection.execute(_ABOUT, given).fetchall())
        self.columns: dict[str, list[tuple[str, str, str]]] = {name: [] for name in given["names"]}
        for relation, *column in connection.execute(_COLUMNS, given).fetchall():
            self.columns[relation].append(tuple(column))
        self.functions = {name: rest for name, *rest in connection.execute(_FUNCTIONS, given).fetchall()}
        (self.version,) = connection.execute(f"SELECT {schema}.contract_version()").fetchone()

    def facts(self) -> list[str]:
        """A line for each name and type of it."""
        found = [
            f"{'type' if relation in TYPES else 'view'} {relation}.{column} {type_}"
            for relation, columns in self.columns.items()
            for column, type_, _ in columns
        ]
        stability = {"i": "immutable", "s": "stable", "v": "volatile"}
        for name, (arguments, result, volatility, _, _) in self.functions.items():
            found.append(f"function {name}({arguments}) {result} {stability[volatility]}")
        return found

    def page(self) -> str:
        """The half of the page that is made of it."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "## Views"
        for view in CONTRACT_VIEWS:
            yield f"\n### {view}\n\n{self.about[view]}\n"
            yield from self._table(view)
        yield "\n## Functions"
        shown: set[str] = set()
        for name in FUNCTIONS:
            arguments, result, _, type_, about = self.functions[name]
            yield f"\n### {name}\n\n`{name}({arguments})` gives `{result}`.\n\n{about}"
            if type_ in TYPES and type_ not in shown:
                shown.add(type_)
                yield f"\n`{type_}`: {self.about[type_]}\n"
                yield from self._table(type_)

    def _table(self, relation: str) -> Iterator[str]:
        yield "| column | type | |"
        yield "| --- | --- | --- |"
        for column, type_, about in self.columns[relation]:
            yield f"| `{column}` | {type_} | {about} |"


def main() -> None:
    """Write the page, by a server of its own."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder) / "data") as server:
        migrate.up(Settings(dsn=server.conninfo))
        with psycopg.connect(server.conninfo) as connection:
            contract = Contract(connection)
    written, marker, _ = PAGE.read_text("utf-8").partition(MARKER)
    if not marker:
        sys.exit(f"{PAGE} lacks its marker: {MARKER}")
    PAGE.write_text(f"{written}{MARKER}\n{contract.page()}", "utf-8")


if __name__ == "__main__":
    main()
