"""How a connection is made, whoever uses it."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - for names of servers: imported in a thread, at a fork, it would hang the child
import importlib
import selectors
from collections.abc import Generator
from functools import cache
from ipaddress import ip_address
from math import inf
from time import monotonic
from traceback import clear_frames
from typing import Any, TypeAlias

import psycopg
from psycopg import pq, waiting
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from ..config import Settings
from ..errors import DatabaseUnavailable, UnsupportedServer
from ..host import forks
from ..host.diagnostics import warn
from .failures import quotes_conninfo, translate

__all__ = ["Connection", "Record", "connect", "limits", "location", "options"]

Record: TypeAlias = dict[str, Any]
"""One row of an answer: column → value."""

_MINIMUM_VERSION = 120000
_ANSWER_MILLIS = 30_000
_LONGEST_SECONDS = 3600
_LEAST_CONNECT_SECONDS = 2  # libpq makes no difference below
_EMBEDDED_OPTIONS = {
    "target_session_attrs": "any",
    "require_auth": "",
    "channel_binding": "prefer",
    "gssencmode": "disable",
    "sslmode": "disable",
    "sslnegotiation": "postgres",
}


class Connection(psycopg.Connection[Record]):
    """A connection that is given up when its deadline passes: a server may be silent for ever."""

    deadline = inf
    """By `time.monotonic()`."""

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Wait for the server, as far as the deadline allows."""
        return super().wait(self._watched(gen), *args, **options)

    def _watched(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        # the driver resumes the generator several times a second, whether there was an answer or not
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if monotonic() > self.deadline:
                    gen.close()
                    self.pgconn.finish()  # else a rollback would be tried, and warned about
                    raise psycopg.OperationalError("the server did not answer before the deadline")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value


class _Waiting:
    """How the driver waits, which it decides when it is imported: after gevent's `patch_all()` it has to do so again.

    In its first way a server that does not answer would stop every greenlet, also those that wait for another.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector
        forks.in_child(self._decide)

    def _decide(self) -> None:
        if selectors.DefaultSelector is not self._selector:
            self._selector = selectors.DefaultSelector
            importlib.reload(waiting)


_waiting = _Waiting()


def connect(conninfo: str, settings: Settings, deadline: float = inf) -> Connection:
    """One connection, in autocommit mode, to be used until a deadline by `time.monotonic()`.

    Raises:
        DatabaseError: it cannot be had; the message says what to do.
        UnsupportedServer: the server cannot hold the tables.
    """
    try:
        connection = Connection.connect(conninfo, **options(settings, deadline))
    except UnicodeError as error:  # a name of a server that none can have, or a password that is no text
        raise DatabaseUnavailable(f"cannot reach {settings.target}: {type(error).__name__}: {error.args[-1]}") from None
    except psycopg.Error as error:
        clear_frames(error.__traceback__)  # one keeps the error itself, and so the socket
        raise translate(error, settings) from (None if quotes_conninfo(error) else error)
    version, encoding = connection.info.server_version, connection.info.parameter_status("server_encoding")
    if version < _MINIMUM_VERSION or encoding != "UTF8":
        connection.close()
        found = f"PostgreSQL {version // 10000} with encoding {encoding}"
        raise UnsupportedServer(f"{settings.target} is {found}; needed are PostgreSQL 12 or newer and UTF8")
    # connection.info would look for .pgpass, and raise where the user has no home
    mode = next((option.val or b"" for option in connection.pgconn.info if option.keyword == b"sslmode"), b"").decode()
    if is_exposed(connection.info.hostaddr, mode):
        _warn_once(settings.target, mode)
    connection.deadline = deadline
    return connection


def limits(deadline: float, lock_seconds: float = inf) -> dict[str, str]:
    """How long the server may try in one transaction, as its settings: it gives up before we do, and says why.

    Args:
        deadline: when we give up, by `time.monotonic()`.
        lock_seconds: the longest that it may wait for a lock.
    """
    remaining = max(1, int((min(deadline, monotonic() + _LONGEST_SECONDS) - monotonic()) * 1000))
    return {
        "lock_timeout": f"{max(1, int(min(remaining * 0.6, lock_seconds * 1000)))}ms",
        "statement_timeout": f"{remaining}ms",
    }


def is_exposed(address: str, ssl_mode: str) -> bool:
    """True if a server at this address is reached over the internet, and whoever answers there is believed."""
    return bool(address) and ip_address(address.partition("%")[0]).is_global and not ssl_mode.startswith("verify-")


@cache
def _warn_once(target: str, ssl_mode: str) -> None:
    warn(
        f"Any machine on the way can pose as {target}: it has a public address, and sslmode={ssl_mode} does not check"
        " its certificate. Set POSTGRES_SSL_MODE=verify-full and POSTGRES_SSL_ROOT_CERT"
    )


def options(settings: Settings, deadline: float = inf) -> dict[str, Any]:
    """Keywords for every connection."""
    remaining = max(_LEAST_CONNECT_SECONDS, deadline - monotonic())
    return {
        "autocommit": True,
        "client_encoding": "utf8",  # whatever the environment or the role says: our bytes are that
        "prepare_threshold": None,  # PgBouncer in transaction mode has no prepared statements of ours
        "row_factory": dict_row,
        "connect_timeout": int(min(remaining, settings.connect_timeout_seconds)),
        "fallback_application_name": "otel-pg-exporter",
        "keepalives_idle": 30,
        "tcp_user_timeout": _ANSWER_MILLIS,
        **(_embedded_options() if settings.is_embedded else {}),
    }


@cache
def _embedded_options() -> dict[str, str]:
    """What libpq's variables say of other servers, such as PGTARGETSESSIONATTRS, is not meant for the embedded one."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    return {keyword: value for keyword, value in _EMBEDDED_OPTIONS.items() if keyword in known}


def location(settings: Settings) -> tuple[str | None, ...]:
    """Server and database, with libpq's defaults and variables; connects to nothing."""
    conninfo = settings.conninfo
    if conninfo is None:
        return ("embedded", settings.data_dir)
    try:
        known = {option.keyword.decode(): option.val.decode() for option in pq.Conninfo.get_defaults() if option.val}
        known.update({key: str(value) for key, value in conninfo_to_dict(conninfo).items()})
    except (psycopg.Error, UnicodeError):
        return (conninfo,)  # which will not connect anyway
    return (known.get("hostaddr") or known.get("host"), known.get("port"), known.get("dbname") or known.get("user"))
