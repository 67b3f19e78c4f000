"""How a connection is made, whoever uses it."""

from __future__ import annotations

from typing import Any, TypeAlias

import psycopg
from psycopg.rows import dict_row

from ..config import Settings
from ..errors import UnsupportedServer
from .failures import translate

__all__ = ["Record", "connect", "options"]

Record: TypeAlias = dict[str, Any]
"""One row of an answer: column → value."""

_MINIMUM_VERSION = 120000
_ANSWER_MILLIS = 30_000


def connect(conninfo: str, settings: Settings) -> psycopg.Connection[Record]:
    """One connection, in autocommit mode.

    Raises:
        DatabaseError: it cannot be had; the message says what to do.
        UnsupportedServer: the server cannot hold the tables.
    """
    try:
        connection = psycopg.connect(conninfo, **options(settings))
    except psycopg.Error as error:
        raise translate(error, settings) from error
    version, encoding = connection.info.server_version, connection.info.parameter_status("server_encoding")
    if version < _MINIMUM_VERSION or encoding != "UTF8":
        connection.close()
        found = f"PostgreSQL {version // 10000} with encoding {encoding}"
        raise UnsupportedServer(f"{settings.target} is {found}; needed are PostgreSQL 12 or newer and UTF8")
    return connection


def options(settings: Settings) -> dict[str, Any]:
    """Keywords for every connection."""
    return {
        "autocommit": True,
        "prepare_threshold": None,  # PgBouncer in transaction mode has no prepared statements of ours
        "row_factory": dict_row,
        "connect_timeout": settings.connect_timeout_seconds,
        "application_name": "otel-pg-exporter",
        "keepalives_idle": 30,
        "tcp_user_timeout": _ANSWER_MILLIS,
    }
