"""PostgreSQL's errors in our words: what happened, where, and what to do about it."""

from __future__ import annotations

import psycopg

from ..config import Settings
from ..errors import AccessDenied, DatabaseError, DatabaseUnavailable, DataRefused, SchemaMismatch, UntrustedServer

__all__ = ["translate"]

_ACCESS = ("28", "3D")
_SCHEMA = frozenset({"3F000", "42P01", "42703", "42804", "42883"})
_DATA = ("22", "23", "54")
_RETRY = ("08", "25", "40", "53", "55", "57", "58", "XX")
_ACCESS_TEXTS = (
    "password authentication failed", "no password supplied", "no pg_hba.conf entry", "authentication failed",
    "does not exist", "is not permitted to log in", "permission denied for database",
)  # fmt: skip
_TLS_TEXTS = {
    "certificate verify failed": "Its certificate has expired, or the CA that signed it is not the one in"
    " POSTGRES_SSL_ROOT_CERT (libpq's sslrootcert)",
    "does not match host name": "Connect by a name that is in its certificate",
    "does not support SSL": "Set ssl = on in the server, or choose another POSTGRES_SSL_MODE (libpq's sslmode)",
    "root certificate file": "Let POSTGRES_SSL_ROOT_CERT (libpq's sslrootcert) name the file of the CA that signed its"
    " certificate, or be 'system'",
    "sslrootcert=system": "Set POSTGRES_SSL_MODE=verify-full",
}


def translate(error: psycopg.Error, settings: Settings) -> DatabaseError:
    """The error of ours that says what to do about one of the driver's."""
    state = error.sqlstate
    text = " ".join(str(error).split())
    where = settings.target
    if state is None and (advice := next((todo for said, todo in _TLS_TEXTS.items() if said in text), None)):
        return UntrustedServer(f"{where} is not trusted: {text}. {advice}")
    refused = any(phrase in text for phrase in _ACCESS_TEXTS) if state is None else state.startswith(_ACCESS)
    if refused:
        return AccessDenied(
            f"{where} refused the connection: {text}. Check user, password, database and pg_hba.conf",
            sqlstate=state,
        )
    if state == "42501":
        return AccessDenied(
            f"the role may not do this in {where}: {text}. Grant it USAGE and CREATE on schema"
            f" {settings.schema!r} (and CREATE on the database to make it), or let its owner run otel-pg migrate up",
            sqlstate=state,
        )
    if state in _SCHEMA:
        return SchemaMismatch(
            f"the tables in schema {settings.schema!r} of {where} are not those of this version: {text}."
            " Run: otel-pg migrate up",
            sqlstate=state,
        )
    if state is None or state.startswith(_RETRY):
        return DatabaseUnavailable(f"cannot reach {where}: {text}", sqlstate=state)
    if state.startswith(_DATA) and not _lacks_partition(error):
        # the detail and the context of such an error quote the row: that must not get into logs
        return DataRefused(f"{where} refused a row: {state}: {error.diag.message_primary}", sqlstate=state)
    return DatabaseError(f"{where} answered {state}: {text}", sqlstate=state)


def _lacks_partition(error: psycopg.Error) -> bool:
    # the only check violation that names no constraint
    return error.sqlstate == "23514" and error.diag.constraint_name is None
