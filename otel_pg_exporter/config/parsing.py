"""What the text of a setting says. A parser raises ValueError with what is allowed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = [
    "Parser", "boolean", "conninfo", "folder", "integer", "names", "one_of", "prefix", "redis_url", "regexes", "schema",
]  # fmt: skip

Parser: TypeAlias = Callable[[str], Any]

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,30}")
_SCHEMA = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,30}")
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def integer(low: int, high: int) -> Parser:
    """A whole number of this range."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def boolean(text: str) -> bool:
    """A word for yes or no, in any case."""
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError("one of true, false, 1, 0, yes, no, on, off")


def prefix(text: str) -> str:
    """The beginning of a name of PostgreSQL that needs no quotes; or nothing."""
    return text and _matching(_IDENTIFIER, text)


def folder(text: str) -> str:
    """A folder, where it is now: a program may go to another one later."""
    try:
        return text and os.path.abspath(os.path.expanduser(text))
    except OSError:
        raise ValueError("a whole path, as the folder that the program is in is gone") from None


def schema(text: str) -> str:
    """A name that PostgreSQL has not for itself."""
    return _matching(_SCHEMA, text)


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"a name matching ^{pattern.pattern}$")
    return text


def one_of(*words: str) -> Parser:
    """One of these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError("one of " + ", ".join(words))
        return text

    return parse


def conninfo(text: str) -> str:
    """A URI or libpq's keywords and values."""
    if text.startswith(("postgresql://", "postgres://")):
        authority = text.partition("://")[2].partition("/")[0]
        hosts = (authority.partition("@")[2] if "@" in authority else authority).partition("?")[0]
        if "@" in hosts:  # which libpq takes for a part of the host's name, and shows
            raise ValueError("a URI postgresql://user:password@host:port/database, @ / : in a password as %40 %2F %3A")
        if not all(_has_port_or_none(host) for host in hosts.split(",")):
            raise ValueError("a URI postgresql://user:password@host:port,host:port/database, port from 0 to 65535")
        return text
    if "://" in text or "=" not in text:
        raise ValueError("a URI postgresql://user:password@host:port/database or libpq's 'host=… dbname=…'")
    return text


def _has_port_or_none(host: str) -> bool:
    port = host.rpartition("]")[2].partition(":")[2]  # an address in brackets has colons of its own
    return re.fullmatch("[0-9]{0,5}", port) is not None and int(port or 0) <= 65535


def regexes(text: str) -> tuple[str, ...]:
    """Regular expressions, one a line or separated by ||."""
    found = _lines(text.replace("||", "\n"))
    for pattern in found:
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(
                f"regular expressions, one a line or separated by ||; {pattern!r:.60} is none: {error}"
            ) from None
    return found


def names(text: str) -> tuple[str, ...]:
    """Names, one a line or separated by commas."""
    return _lines(text.replace(",", "\n"))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def redis_url(text: str) -> str:
    """A URL of Redis."""
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("a URL redis://user:password@host:port/number, rediss://… or unix:///path")
    return text
