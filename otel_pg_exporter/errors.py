"""Every error that this library raises, in one tree.

    EventStoreError
     ├── ConfigurationError       a setting is wrong; also a ValueError
     ├── QueryError               a filter, an order or a cursor is wrong; also a ValueError
     ├── SpoolError               a file of the spool, or its folder, cannot be used
     ├── InvalidEventError        an event has a field that is not allowed; also a ValueError
     ├── ClosedError              an event store or integration was used after it was closed
     ├── EmbeddedServerError      the embedded PostgreSQL cannot be found or started
     └── DatabaseError            PostgreSQL answered with an error, or did not answer
          ├── DatabaseUnavailable     worth another try: down, restarting, too slow, out of connections
          │    └── BatchFailed            something went wrong with one batch: others may fare better
          ├── AccessDenied            wrong password, missing right: needs a person
          │    └── PartitionMissing       of a day that rows are of, and the role may not make it
          ├── UntrustedServer         no TLS, or not the certificate that was asked for: needs a person
          ├── DataRefused             a row cannot be stored for what it holds: needs to be set aside
          ├── SchemaMismatch          tables are missing, older or newer than this library
          ├── StorageFull             the tables have reached EVENT_MAX_BYTES: needs a person
          ├── LedgerForgotten         a batch waited for longer than the ledger remembers: needs to be set aside
          └── UnsupportedServer       older than PostgreSQL 12, or not UTF-8

Exporters never let any of these out: they count and log them. Queries, migrations and
the command line raise them. `__cause__` holds the driver's own exception where there is one.
"""

from __future__ import annotations

__all__ = [
    "EventStoreError",
    "ConfigurationError",
    "QueryError",
    "SpoolError",
    "InvalidEventError",
    "ClosedError",
    "EmbeddedServerError",
    "DatabaseError",
    "DatabaseUnavailable",
    "BatchFailed",
    "AccessDenied",
    "PartitionMissing",
    "UntrustedServer",
    "DataRefused",
    "SchemaMismatch",
    "StorageFull",
    "LedgerForgotten",
    "UnsupportedServer",
    "shown",
]

FAULTS = (Exception, SystemExit, GeneratorExit)
"""What an object of the program's may raise when we look at it; Ctrl-C, and what ends a greenlet, is the program's."""
_SHOWN = 60
_COMES_AND_GOES = ("08", "57P")


class EventStoreError(Exception):
    """Base of every error of this library."""

    @property
    def cause(self) -> str:
        """What has to be repaired: of two errors that differ in it, each is news in a log."""
        return type(self).__name__


class ConfigurationError(EventStoreError, ValueError):
    """A setting has a value that is not allowed; the message names it, the value and what is allowed."""


class QueryError(EventStoreError, ValueError):
    """A filter, an order or a cursor is not one that a query understands."""


class SpoolError(EventStoreError):
    """The spool's folder cannot be used, or a file in it is damaged, too new or full."""


class InvalidEventError(EventStoreError, ValueError):
    """An event has a field that is unknown or a value that is not allowed; the message names what is."""


class ClosedError(EventStoreError):
    """An event store or an event integration was used after `close()`."""


class EmbeddedServerError(EventStoreError):
    """The embedded PostgreSQL cannot be found, initialised or started."""


class DatabaseError(EventStoreError):
    """PostgreSQL answered with an error, or did not answer at all."""

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        """Five characters of PostgreSQL's own error class; None when the connection broke."""

    @property
    def cause(self) -> str:
        """All ways in which a server comes and goes are one."""
        state = self.sqlstate or ""
        return super().cause + ("" if state.startswith(_COMES_AND_GOES) else state)


class DatabaseUnavailable(DatabaseError):
    """The server is down, restarting, overloaded or too slow: the same call may succeed later."""


class BatchFailed(DatabaseUnavailable):
    """Something went wrong with this batch on its way to the server, which may know nothing of it: others may fare
    better."""


class AccessDenied(DatabaseError):
    """The server refused the user, the password, the database or a right."""


class PartitionMissing(AccessDenied):
    """There is no partition for a day that rows are of, and the role may not make one; other days have theirs."""


class UntrustedServer(DatabaseError):
    """The server has no TLS, or its certificate is not one that `POSTGRES_SSL_MODE` accepts; it was told nothing."""


class DataRefused(DatabaseError):
    """The server refuses a row for what it holds; the rows beside it can be stored."""

    def __init__(self, message: str, *, sqlstate: str | None = None, place: tuple[str, int] | None = None) -> None:
        super().__init__(message, sqlstate=sqlstate)
        self.place = place
        """Table and line (from 1) of the COPY that met it; None if the server did not say."""


class SchemaMismatch(DatabaseError):
    """The tables are missing, or were made by another version of this library."""


class StorageFull(DatabaseError):
    """The tables have reached `EVENT_MAX_BYTES`, and its policy is to refuse new rows."""


class LedgerForgotten(DatabaseError):
    """The ledger does not go back to the time of a batch from the spool: whether it is stored cannot be told."""


class UnsupportedServer(DatabaseError):
    """The server cannot hold the tables: older than PostgreSQL 12, or its encoding is not UTF-8."""


def shown(value: object) -> str:
    """What a message shows of a wrong value: the beginning of its repr, with … where it goes on; its type, if it has
    none.
    """
    try:
        text = repr(value)
    except FAULTS:  # it is the program's own, or has too many levels
        return f"<{type(value).__name__:.60}>"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
