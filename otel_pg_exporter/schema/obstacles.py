"""What stands in the way of storing events, and what to do about it.

Asked of the catalogue: nothing is written, and a lock on the tables keeps no answer back. The
statement that repairs something is given as it has to be run, by the owner of the tables or a superuser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from time import monotonic
from typing import Any

from ..config import Settings
from ..database import Database
from ..sql_files import PARTITIONED, TABLES, WRITTEN, Names, migrations, quote
from .inventory import readable_size

__all__ = [
    "PARTITIONS_FIX", "PRUNE_FIX", "Obstacle", "Rows", "ServerState",
    "ask", "ask_before", "drift", "full", "parameters",
]  # fmt: skip

_TABLE = re.compile(r"^CREATE TABLE \{(\w+)\} \((.*?)^\)", re.MULTILINE | re.DOTALL)
_COLUMN = re.compile(r'^    "?([a-z_]+)"? ([a-z ]+[a-z](?:\[\])?)', re.MULTILINE)
_ADDED = re.compile(r'^ALTER TABLE \{(\w+)\} ADD COLUMN "?([a-z_]+)"? ([a-z ]+[a-z](?:\[\])?)', re.MULTILINE)
_NAMES_OF_TYPES = {"timestamptz": "timestamp with time zone"}

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Obstacle:
    """One thing that is in the way."""

    what: str
    fix: str
    """A statement, a command or a setting."""

    def __str__(self) -> str:
        return f"{self.what}. {self.fix}"


@dataclass(frozen=True)
class ServerState:
    """What the server says of itself."""

    role: str
    """Who we are there."""
    risks: tuple[str, ...]
    """Settings by which a commit that it has confirmed does not survive a power cut."""
    bytes: int | None = None
    """What the tables take, if there is a limit to that."""


def parameters(names: Names) -> dict[str, Any]:
    """Which tables the queries of doctor.sql look at."""
    return {"schema": names.schema, "tables": [names.prefix + table for table in TABLES]}


def ask(database: Database, seconds: float) -> tuple[list[Obstacle], ServerState]:
    """All that is in the way of storing, what hurts most first; asked in a new session, as a repair may want it.

    Raises:
        DatabaseError: the server does not answer in time, or not at all.
    """
    names, wanted = database.names, parameters(database.names)
    with database.until(monotonic() + seconds).connection() as connection:

        def fetch(name: str) -> Rows:
            return connection.execute(database.sql(name).encode(), wanted).fetchall()

        (server,) = fetch("server_state")
        rights = {row["table"]: row for row in fetch("rights")}
        found = [*_read_only(server), *_missing_rights(names, server, rights), *drift(names, fetch("columns"))]
        locks = [_lock(names, row) for row in fetch("locks")]
        found += locks
        size = None
        if not locks:  # the catalogue's functions for bounds and sizes wait for them
            found += _partitions(names, server, rights, fetch("partition_bounds"))
            if database.settings.max_bytes:
                size = int(fetch("held_bytes")[0]["bytes"])
                found += [obstacle for obstacle in [full(database.settings, size)] if obstacle]
    risks = tuple(f"{name}={server[name]}" for name in ("fsync", "full_page_writes") if server[name] == "off")
    return found, ServerState(server["role"], risks, size)


def ask_before(database: Database, seconds: float) -> tuple[list[Obstacle], str]:
    """All that is in the way of making the tables, or of bringing them to this version; and the server's version.

    Raises:
        DatabaseError: the server does not answer in time, or not at all.
    """
    names = database.names
    with database.until(monotonic() + seconds).connection() as connection:
        wanted = parameters(names)
        (state,) = connection.execute(database.sql("state_before_tables").encode(), wanted).fetchall()
        tables = connection.execute(database.sql("rights").encode(), wanted).fetchall()
    return [*_read_only(state), *_missing_rights_before(names, state, tables)], str(state["server_version"])


def full(settings: Settings, size: int) -> Obstacle | None:
    """New rows are refused, as `EVENT_MAX_BYTES` is reached and its policy says so."""
    if not 0 < settings.max_bytes < size or settings.max_bytes_policy != "refuse":
        return None
    return Obstacle(
        f"the tables take {readable_size(size)}, and EVENT_MAX_BYTES={settings.max_bytes} has new rows refused",
        "Raise it, or drop what is old: otel-pg partitions prune --days 30",
    )


def drift(names: Names, columns: Iterable[Mapping[str, Any]]) -> list[Obstacle]:
    """How the tables differ from those that the migrations made, as far as rows cannot be stored for it."""
    there: dict[str, dict[str, tuple[str, bool]]] = {}
    for row in columns:
        there.setdefault(row["table"], {})[row["column"]] = (row["type"], row["is_needed"])
    found = []
    for table in WRITTEN:
        full, known = names.table(table), _expected()[table]
        if (standing := there.get(names.prefix + table)) is None:
            found.append(
                Obstacle(f"table {full} is missing", f"Make it again, empty, by: {_show(names)} | psql (and the DSN)")
            )
            continue
        for column, type_ in known.items():
            is_type = standing.get(column, (None,))[0]
            change = f"ALTER TABLE {full} "
            if is_type is None:
                found.append(Obstacle(f"{full} lacks column {column}", f"{change}ADD COLUMN {quote(column)} {type_}"))
            elif is_type != type_:
                using = f"ALTER COLUMN {quote(column)} TYPE {type_} USING {quote(column)}::text::{type_}"
                found.append(Obstacle(f"{full} has column {column} as {is_type} in place of {type_}", change + using))
        for column, (_, is_needed) in standing.items():
            if is_needed and column not in known:
                fix = f"ALTER TABLE {full} ALTER COLUMN {quote(column)} DROP NOT NULL"
                found.append(Obstacle(f"{full} has a column {column} of yours that must not be NULL", fix))
    return found


@lru_cache(maxsize=1)
def _expected() -> dict[str, dict[str, str]]:
    """Table → column → type, by the migrations."""
    found: dict[str, dict[str, str]] = {}
    for step in migrations():
        for table, body in _TABLE.findall(step.up):
            found[table] = {column: _type(rest) for column, rest in _COLUMN.findall(body)}
        for table, column, rest in _ADDED.findall(step.up):
            found[table][column] = _type(rest)
    return found


def _type(declared: str) -> str:
    return _NAMES_OF_TYPES.get(declared, declared)


def _show(names: Names) -> str:
    options = "" if names.schema == "otel" else f"--schema {names.schema} "
    options += f"--table-prefix {names.prefix} " if names.prefix else ""
    return f"otel-pg {options}migrate show"


def _read_only(server: Mapping[str, Any]) -> Iterable[Obstacle]:
    if server["is_standby"]:
        fix = "Name the primary, or add target_session_attrs=read-write to the DSN"
        yield Obstacle("the server is a standby: it takes no writes", fix)
    elif server["is_read_only"]:
        fix = f"ALTER ROLE {quote(server['role'])} SET default_transaction_read_only = off (or of the database)"
        yield Obstacle("default_transaction_read_only is on: the server takes no writes", fix)


def _missing_rights(names: Names, server: Mapping[str, Any], rights: Mapping[str, Any]) -> Iterable[Obstacle]:
    role = quote(server["role"])
    if not server["may_use"]:
        fix = f"GRANT USAGE ON SCHEMA {quote(names.schema)} TO {role}"
        yield Obstacle(f"role {role} may not use schema {quote(names.schema)}", fix)
    for table in WRITTEN:
        row = rights.get(names.prefix + table)
        if row is not None and not row["may_insert"]:
            full = names.table(table)
            yield Obstacle(f"role {role} may not write into {full}", f"GRANT INSERT ON {full} TO {role}")


def _missing_rights_before(names: Names, state: Mapping[str, Any], tables: Rows) -> Iterable[Obstacle]:
    role, schema = quote(state["role"]), quote(names.schema)
    if not all(row["is_owner"] for row in tables):
        what = f"the tables in schema {schema} are of an earlier version, and role {role} does not own them"
        yield Obstacle(what, "Let their owner run: otel-pg migrate up")
    elif state["may_create_tables"] is None and not state["may_create_schema"]:
        fix = f"GRANT CREATE ON DATABASE {quote(state['database'])} TO {role}; {_OR_OWNER}"
        yield Obstacle(f"there are no tables yet, and role {role} may not make schema {schema}", fix)
    elif state["may_create_tables"] is False:
        fix = f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}; {_OR_OWNER}"
        yield Obstacle(f"there are tables to be made, and role {role} may not make them in schema {schema}", fix)


def _lock(names: Names, row: Mapping[str, Any]) -> Obstacle:
    full = f"{quote(names.schema)}.{quote(row['table'])}"
    return Obstacle(
        f"process {row['pid']} of the server holds {row['mode']} on {full}",
        f"SELECT pg_terminate_backend({row['pid']})",
    )


def _partitions(names: Names, server: Mapping[str, Any], rights: Mapping[str, Any], bounds: Rows) -> Iterable[Obstacle]:
    parents = [row for table in PARTITIONED if (row := rights.get(names.prefix + table)) is not None]
    if server["may_create"] and all(row["is_owner"] for row in parents):
        return  # whoever writes makes them
    number = (datetime.now(timezone.utc).date() - date(1970, 1, 1)).days
    for row in parents:
        ranges = [(b["lower"], b["upper"]) for b in bounds if b["table"] == row["table"] and b["lower"] is not None]
        for day in (number, number + 1):
            if not any(lower <= day < upper for lower, upper in ranges):
                name = f"{quote(names.schema)}.{quote(row['table'])}"
                what = f"{name} has no partition for {date(1970, 1, 1) + timedelta(days=day)}"
                role = quote(server["role"])
                yield Obstacle(f"{what}, and role {role} may not make one", PARTITIONS_FIX)
                return


_OR_OWNER = "or let its owner run: otel-pg migrate up"
PARTITIONS_FIX = "As the owner of the tables run, every day: otel-pg partitions create"
PRUNE_FIX = "As the owner of the tables run, every day: otel-pg partitions prune"
"""For a role that may only write."""
