"""PostgreSQL's errors in our words: what happened, where, and what to do about it."""

from __future__ import annotations

import getpass
import os
import re

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ..config import Settings
from ..errors import AccessDenied, DatabaseError, DatabaseUnavailable, DataRefused, SchemaMismatch, UntrustedServer
from ..sql_files import Names, quote

__all__ = ["quotes_conninfo", "translate"]

_ACCESS = ("28", "3D")
_SCHEMA = frozenset({"3F000", "42P01", "42703", "42804", "42883"})
_DATA = ("22", "23", "54")
_RAISED = frozenset({"P0001", "P0004"})
"""What a trigger raises that names no code; at a row it is about that row, else nobody knows."""
_AWAY = ("08", "57P")
_RETRY = ("25", "40", "53", "55", "57", "58", "XX")
_ACCESS_TEXTS = (
    "password authentication failed", "no password supplied", "no pg_hba.conf entry", "authentication failed",
    "does not exist", "is not permitted to log in", "permission denied for database",
)  # fmt: skip
_FULL_TEXTS = ("too many clients", "too many connections", "connection slots are reserved")

_ADVICE = {
    "25006": "It takes no writes: a standby, or default_transaction_read_only is on. Name the primary, or add"
    " target_session_attrs=read-write to the DSN",
    "53100": "Free space on its disk",
    "53200": "It is out of memory. If of shared memory: each partition takes locks, so raise max_locks_per_transaction,"
    " or have fewer: otel-pg partitions prune --days 30",
    "53300": "Close connections of other programs, raise max_connections or the role's CONNECTION LIMIT,"
    " or put PgBouncer in between",
    "55P03": "Another session holds a lock. Who: SELECT pid, query FROM pg_stat_activity WHERE pid IN"
    " (SELECT pid FROM pg_locks WHERE granted AND mode LIKE '%Exclusive%')",
    "57014": "If nobody cancelled it, the role's statement_timeout is too short: ALTER ROLE {role} SET"
    " statement_timeout = '30s'",
    "25P04": "The role's transaction_timeout is too short: ALTER ROLE {role} SET transaction_timeout = '30s'",
    "25P03": "The role's idle_in_transaction_session_timeout is too short: ALTER ROLE {role} SET"
    " idle_in_transaction_session_timeout = '30s'",
}
"""SQLSTATE → what to do."""

_ABOUT_CONNINFO = re.compile(
    r"percent-encoded|unexpected spaces|missing \"=\"|unterminated quoted|invalid connection option|URI|separator"
    r"|invalid integer value|invalid port|invalid \S+ value|could not translate host name|could not parse"
)
"""What libpq says of a conninfo that it cannot read, or reads otherwise than was meant."""

_DENIED = re.compile(r"permission denied for (table|relation|schema|database|function|view) (\S+)")
_QUOTED = re.compile(r'"([^"]*)"')
_LINE = re.compile(r"\d+")
_REFUSED = re.compile(r"connection to server .* failed: FATAL:\s+")
_TLS_TEXTS = {
    "certificate verify failed": "Its certificate has expired, or the CA that signed it is not the one in"
    " POSTGRES_SSL_ROOT_CERT (libpq's sslrootcert)",
    "does not match host name": "Connect by a name that is in its certificate",
    "does not support SSL": "Set ssl = on in the server, or choose another POSTGRES_SSL_MODE (libpq's sslmode)",
    "root certificate file": "Let POSTGRES_SSL_ROOT_CERT (libpq's sslrootcert) name the file of the CA that signed its"
    " certificate, or be 'system'",
    "sslrootcert=system": "Set POSTGRES_SSL_MODE=verify-full",
}


def translate(error: psycopg.Error, settings: Settings, right: str = "SELECT") -> DatabaseError:
    """The error of ours that says what to do about one of the driver's.

    Args:
        error: what the driver raised.
        settings: of the database.
        right: what a role needs that was refused a table.
    """
    state = error.sqlstate
    where = settings.target
    text = _text(error)
    if quotes_conninfo(error):
        text = _without_secrets(text, where)
    if state is None and any(phrase in text for phrase in _FULL_TEXTS):
        state = "53300"  # the driver gives no code for what a server says while it is connected to
    if state is None and (advice := next((todo for said, todo in _TLS_TEXTS.items() if said in text), None)):
        return UntrustedServer(f"{where} is not trusted: {text}. {advice}")
    refused = any(phrase in text for phrase in _ACCESS_TEXTS) if state is None else state.startswith(_ACCESS)
    if refused:
        return AccessDenied(f"{where} refused the connection: {text}. {_way_in(text, settings)}", sqlstate=state)
    if state == "42501":
        return AccessDenied(
            f"the role may not do this in {where}: {text}. {_grant(text, settings, right)}", sqlstate=state
        )
    if state in _SCHEMA:
        return SchemaMismatch(
            f"the tables in schema {settings.schema!r} of {where} are not those of this version: {text}."
            " Run: otel-pg migrate up",
            sqlstate=state,
        )
    if state in _ADVICE:
        advice = _ADVICE[state].format(role=quote(_role(settings)))
        return DatabaseUnavailable(f"{where} cannot do it now: {text}. {advice}", sqlstate=state)
    if state is None or state.startswith(_AWAY):
        return DatabaseUnavailable(f"cannot reach {where}: {text}", sqlstate=state)
    if state.startswith(_RETRY):
        return DatabaseUnavailable(f"{where} cannot do it now: {text}", sqlstate=state)
    place = _place(error.diag.context or "")
    if (state.startswith(_DATA) and not _lacks_partition(error)) or (state in _RAISED and place is not None):
        # the detail and the context of such an error quote the row: that must not get into logs
        return DataRefused(
            f"{where} refused a row: {state}: {error.diag.message_primary}",
            sqlstate=state,
            place=place,
        )
    return DatabaseError(f"{where} answered {state}: {text}", sqlstate=state)


def _text(error: psycopg.Error) -> str:
    """What the server said, without the place in our statement; else what the driver says, in one line."""
    if error.diag.message_primary:
        return error.diag.message_primary.rstrip(".")
    text = ""
    for line in filter(None, map(str.strip, str(error).splitlines())):
        is_sentence = line[0].isupper() and text and text[-1] not in ".:?"
        text += (". " if is_sentence else " " if text else "") + line
    return _shortened(text.rstrip("."))


def quotes_conninfo(error: psycopg.Error) -> bool:
    """Whether the driver's error quotes a part of the conninfo, which may be one of the password."""
    return error.sqlstate is None and _ABOUT_CONNINFO.search(str(error)) is not None


def _without_secrets(text: str, where: str) -> str:
    """Without what is quoted of a conninfo, and not shown of it."""
    return _QUOTED.sub(lambda found: found[0] if found[1] == "=" or found[1] in where else '"***"', text)


def _shortened(text: str) -> str:
    """Without what our own words say: that the connection failed, and where, if it is the server that refused it."""
    text = text.removeprefix("connection failed: ").removeprefix("connection is bad: ")
    refused = _REFUSED.match(text)
    return text[refused.end() :] if refused and text.count(" failed: ") == 1 else text


def _way_in(text: str, settings: Settings) -> str:
    role = quote(_role(settings))
    if "password" in text:
        return f"Set POSTGRES_PASSWORD (or the password in the DSN) to that of role {role}"
    if "pg_hba.conf" in text:
        return f"Add a line for role {role} and this machine's address to the server's pg_hba.conf, and reload it"
    if "permission denied for database" in text:
        return f"GRANT CONNECT ON DATABASE {quote(_database(settings))} TO {role}"
    if "database" in text and "does not exist" in text:
        return f"Set POSTGRES_DATABASE (or dbname in the DSN), or: CREATE DATABASE {quote(_database(settings))}"
    if "not permitted to log in" in text:
        return f"ALTER ROLE {role} LOGIN"
    return "Check user, password, database and pg_hba.conf"


def _grant(text: str, settings: Settings, right: str) -> str:
    """The statement that gives the right which was missing, to be run by the owner."""
    role = quote(_role(settings))
    found = _DENIED.search(text)
    if found is None:
        return f"Let the owner of the tables do it, or make role {role} a member of the owner's role"
    kind, name = found.groups()
    if kind == "schema":
        return f"GRANT USAGE ON SCHEMA {quote(settings.schema)} TO {role}"
    if kind == "database":
        return f"GRANT CREATE ON DATABASE {quote(name)} TO {role}; or let its owner run: otel-pg migrate up"
    if name == f"{settings.table_prefix}schema_migrations":
        right = "SELECT"
    table = Names(settings.schema).table(name)
    return f"GRANT {right} ON {table} TO {role}"


def _role(settings: Settings) -> str:
    """The role that connects, as libpq finds it."""
    given = conninfo_to_dict(settings.conninfo or "").get("user") or os.environ.get("PGUSER")
    try:
        return str(given or getpass.getuser())
    except (OSError, KeyError):  # a user without a passwd entry
        return "the role"


def _database(settings: Settings) -> str:
    given = conninfo_to_dict(settings.conninfo or "").get("dbname") or os.environ.get("PGDATABASE")
    return str(given or _role(settings))


def _place(context: str) -> tuple[str, int] | None:
    """The table and the line that a COPY stopped at, whatever language the server speaks."""
    # "COPY task_events, line 301, column attributes"; lines before it may quote the row
    last = context.rpartition("\n")[2]
    table, _, rest = last.partition(",")
    line = _LINE.search(rest)
    if not table.startswith("COPY ") or line is None:
        return None
    return table.removeprefix("COPY ").strip(), int(line[0])


def _lacks_partition(error: psycopg.Error) -> bool:
    # the only check violation that names no constraint
    return error.sqlstate == "23514" and error.diag.constraint_name is None
