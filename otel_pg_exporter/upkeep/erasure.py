"""Erasure: what is stored of some traces, of a session or of a user goes, row by row, with the texts that it alone
refers to.

    from otel_pg_exporter import erasure
    erasure.erase(user_id="ada")        # as the environment says

Writers count on texts that they have sent before. So a share of the rows of one day, a thousand or so, is erased with
what only it refers to in one transaction, which lets no batch be stored meanwhile, and of which each writer hears with
its next. What takes long, to look which texts others refer to, comes before; in it only batches that were stored since
are looked at.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import groupby
from time import monotonic
from typing import Any
from uuid import UUID

from ..config import Settings
from ..database import Database, Session, opened
from ..encoding.batches import new_batch_id, notice
from ..errors import DatabaseUnavailable, QueryError, shown
from ..reading.filters import trace_uuid
from ..routing import CATEGORIES
from ..schema.partitions import ensure
from .retention import IN_USE, takes_turn

__all__ = ["Erasure", "erase"]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NOBODY = UUID(int=0)
_TRACES_AT_ONCE, _ROWS_AT_ONCE = 1_000, 1_000
_SEARCH_SECONDS, _ALL_SECONDS = 3600.0, 86_400.0
_LOCK_SECONDS, _ERASE_SECONDS = 0.2, 2.0
"""So long, and no longer, writers may wait for an erasure that waits for others; and for each statement of one."""
_PAUSE_SECONDS = 0.5
_ATTEMPTS = 20


@dataclass(frozen=True)
class Erasure:
    """What was erased, or is to be."""

    traces: int
    rows: Mapping[str, int]
    """Category → rows."""
    days: int
    texts: int = 0
    """Long texts, or parts of such, that nothing else referred to; not looked for by a dry run."""
    left: int = 0
    """Rows that could not be erased in time, because others used their tables, or went on with their traces."""


@dataclass(frozen=True)
class _Share:
    """Rows of one day that are erased in one transaction."""

    day: int
    """Counted from 1970-01-01."""
    traces: tuple[UUID, ...]
    """Theirs; none of records outside of traces."""
    rows: Counter[str]
    """Table → how many."""


def erase(
    where: Settings | Database | None = None,
    *,
    trace_id: str | UUID | Collection[str | UUID] | None = None,
    session_id: str | None = None,
    user_id: str | None = None,
    dry_run: bool = False,
    attempts: int = _ATTEMPTS,
    pause: Callable[[float], object] = time.sleep,
    **overrides: Any,
) -> Erasure:
    """Erase what is stored of traces; or of a session or a user: all traces in which it occurs, and its log records
    outside of traces.

    A trace that still goes on is erased as far as it is stored. What waits in spools is not looked for.

    Args:
        where: default the environment.
        trace_id: one, or several.
        session_id: the column session_id.
        user_id: the column user_id.
        dry_run: erase nothing; tell what would go.
        attempts: how often a thousand rows are tried whose tables are in use.
        pause: waits so many seconds between them.
        overrides: fields of `Settings`, in place of `where`.

    Raises:
        QueryError: none of the three was given, or several, or a value that is not allowed.
        AccessDenied: the role may not delete rows: let the owner of the tables do it.
        DatabaseError: the server cannot be reached, or refused a statement. What was erased before stays erased.
    """
    whom = _Whom.of(trace_id, session_id, user_id)
    with opened(where, **overrides) as database, database.session(monotonic() + _ALL_SECONDS) as session:
        work = _Erasing(database, session, whom, attempts, pause)
        traces, shares = work.look()
        return Erasure(**_totals(traces, shares)) if dry_run else work.erase(traces, shares)


@dataclass(frozen=True)
class _Whom:
    """What names the rows."""

    traces: tuple[UUID, ...] = ()
    column: str | None = None
    value: str | None = None

    @classmethod
    def of(cls, trace_id: Any, session_id: Any, user_id: Any) -> _Whom:
        given = {"trace_id": trace_id, "session_id": session_id, "user_id": user_id}
        named = [name for name, value in given.items() if value is not None]
        if len(named) != 1:
            raise QueryError(f"{' and '.join(named) or 'nothing'} is given; needed is one of {', '.join(given)}")
        (column,) = named
        value = given[column]
        if column == "trace_id":
            several = isinstance(value, Collection) and not isinstance(value, str)
            traces = tuple(map(trace_uuid, value if several else [value]))
            if not traces or _NOBODY in traces:
                raise QueryError(f"trace_id={shown(value)} is not allowed; allowed are ids of traces")
            return cls(traces)
        if not isinstance(value, str) or not value or "\0" in value:
            raise QueryError(f"{column}={shown(value)} is not allowed; allowed is a text that is not empty")
        return cls(column=column, value=value)


class _NotNowError(Exception):
    """Rows came that refer to texts of which nobody has looked who else does; or others take rows out."""


class _Erasing:
    """Looks for rows and erases them."""

    def __init__(
        self, database: Database, session: Session, whom: _Whom, attempts: int, pause: Callable[[float], object]
    ) -> None:
        self._database, self._session, self._whom = database, session, whom
        self._attempts, self._pause = attempts, pause

    def look(self) -> tuple[list[UUID], list[_Share]]:
        """Traces, and the rows that are there of them, the oldest first."""
        with self._session.transaction(_SEARCH_SECONDS, _SEARCH_SECONDS) as connection:
            traces = self._traces(connection)
            found: dict[tuple[int, UUID], Counter[str]] = {}
            for which, parameters in self._selections(traces):
                for table in CATEGORIES.values():
                    query = self._sql("rows_by_day", table=self._database.names.table(table), which=which)
                    for row in connection.execute(query, parameters).fetchall():
                        found.setdefault((row["day"], row["trace_id"]), Counter())[table] = row["rows"]
        return traces, [*_shares(found)]

    def erase(self, traces: list[UUID], shares: Sequence[_Share]) -> Erasure:
        """Erase shares of rows, and then runs that are open."""
        today = (datetime.now(timezone.utc) - _EPOCH).days
        ensure(self._database.until(monotonic() + _SEARCH_SECONDS), {today, *(share.day for share in shares)})
        rows: Counter[str] = Counter()
        texts = left = 0
        for share in shares:
            done = self._insist(share)
            if done is None:
                left += share.rows.total()
            else:
                rows += done[0]
                texts += done[1]
        for which, parameters in self._selections(traces):
            with self._session.transaction(_SEARCH_SECONDS, _SEARCH_SECONDS) as connection:
                connection.execute(self._sql("erase_runs", which=which), parameters)
        return Erasure(**{**_totals(traces, shares), "rows": _by_category(rows), "texts": texts, "left": left})

    def _traces(self, connection: Any) -> list[UUID]:
        if self._whom.column is None:
            return list(dict.fromkeys(self._whom.traces))
        found: set[UUID] = set()
        for table in (*CATEGORIES.values(), "open_spans"):
            query = self._sql("traces_of", table=self._database.names.table(table), column=self._whom.column)
            found.update(row["trace_id"] for row in connection.execute(query, {"value": self._whom.value}))
        return sorted(found)

    def _selections(self, traces: Sequence[UUID]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Conditions that together select all rows, with their parameters."""
        for place in range(0, len(traces), _TRACES_AT_ONCE):
            yield self._which(traces[place : place + _TRACES_AT_ONCE])
        if self._whom.column is not None:
            yield self._which(())

    def _which(self, traces: Sequence[UUID]) -> tuple[str, dict[str, Any]]:
        if traces:
            return self._database.sql("of_traces"), {"traces": list(traces)}
        condition = self._database.sql("outside_of_traces").format(column=self._whom.column)
        return condition, {"value": self._whom.value}

    def _insist(self, share: _Share) -> tuple[Counter[str], int] | None:
        for attempt in range(self._attempts):
            if attempt:
                self._pause(_PAUSE_SECONDS)
            try:
                return self._erase(share)
            except _NotNowError:
                continue
            except DatabaseUnavailable as error:
                if error.sqlstate not in IN_USE:
                    raise
        return None

    def _erase(self, share: _Share) -> tuple[Counter[str], int]:
        which, parameters = self._which(share.traces)
        about = {**parameters, **_period(share)}
        others = self._database.sql("refers_besides").format(which=which)
        with self._session.transaction(_SEARCH_SECONDS, _SEARCH_SECONDS) as connection:
            (seen,) = connection.execute(self._sql("seen_now")).fetchall()
            texts = self._referred(connection, which, about)
            kept = self._needed(connection, others, {**about, "ids": list(texts)}) if texts else set()
        with self._session.transaction(_LOCK_SECONDS, _ERASE_SECONDS) as connection:
            # of summaries that a merge takes together meanwhile only some could be seen
            if not takes_turn(self._database, connection):
                raise _NotNowError
            connection.execute(self._sql("shut_out_writers"))
            if not self._referred(connection, which, about) <= texts:
                raise _NotNowError
            (since,) = connection.execute(self._sql("batches_since"), seen).fetchall()
            if texts and since["batches"]:
                newer = f"{others} AND {self._database.sql('of_batches')}"
                kept |= self._needed(connection, newer, {**about, **since, "ids": list(texts)})
            rows = self._erase_rows(connection, which, about)
            gone = texts - kept if rows else set()
            if gone:
                connection.execute(self._sql("erase_contents"), {**about, "ids": list(gone)})
                connection.execute(self._sql("tell_writers"))
        return rows, len(gone)

    def _erase_rows(self, connection: Any, which: str, about: dict[str, Any]) -> Counter[str]:
        connection.execute(self._sql("uncount", which=which), about)
        rows: Counter[str] = Counter()
        for table in CATEGORIES.values():
            query = self._sql("erase_rows", table=self._database.names.table(table), which=which)
            for noted in connection.execute(query, {**about, "table": table}).fetchall():
                rows[table] += noted["rows"]
        connection.execute(self._sql("forget_kinds"), about)
        # whoever keeps answers looks into the ledger for what is new
        connection.execute(self._sql("claim_batch"), _entry())
        return rows

    def _referred(self, connection: Any, which: str, about: dict[str, Any]) -> set[UUID]:
        rows = connection.execute(self._sql("referred_contents", which=which), about)
        return {row["content_id"] for row in rows}

    def _needed(self, connection: Any, which: str, about: dict[str, Any]) -> set[UUID]:
        rows = connection.execute(self._sql("referred_of", which=which), about)
        return {row["content_id"] for row in rows}

    def _sql(self, name: str, **parts: Any) -> bytes:
        query = self._database.sql(name)
        return (query.format(**parts) if parts else query).encode()


def _period(share: _Share) -> dict[str, datetime]:
    begin = _EPOCH + timedelta(days=share.day)
    return {"begin": begin, "end": begin + timedelta(days=1)}


def _shares(found: Mapping[tuple[int, UUID], Counter[str]]) -> Iterator[_Share]:
    """Rows by day and trace, put together up to a thousand rows of a day."""
    for (day, is_traced), keys in groupby(sorted(found), key=lambda key: (key[0], key[1] != _NOBODY)):
        traces: list[UUID] = []
        rows: Counter[str] = Counter()
        for key in keys:
            if traces and rows.total() + found[key].total() > _ROWS_AT_ONCE:
                yield _Share(day, tuple(traces), rows)
                traces, rows = [], Counter()
            traces += [key[1]] * is_traced
            rows += found[key]
        yield _Share(day, tuple(traces), rows)


def _totals(traces: Sequence[UUID], shares: Sequence[_Share]) -> dict[str, Any]:
    rows = sum((share.rows for share in shares), Counter[str]())
    return {"traces": len(traces), "rows": _by_category(rows), "days": len({share.day for share in shares})}


def _by_category(rows: Mapping[str, int]) -> dict[str, int]:
    return {category: rows[table] for category, table in CATEGORIES.items() if rows.get(table)}


def _entry() -> dict[str, Any]:
    """What the ledger is told."""
    batch = notice(new_batch_id(), _NOBODY, 0, "span")
    return {
        "batch_id": batch.id, "time_us": batch.time_us, "producer_id": batch.producer_id, "sequence": 0,
        "signal": batch.signal, "stored": 0, "spooled": False, "dropped_before": 0, "dead_before": 0,
        "first_us": batch.first_us, "last_us": batch.last_us, **dict.fromkeys(CATEGORIES.values(), 0),
    }  # fmt: skip
