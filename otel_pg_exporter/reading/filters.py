"""What a query asks for: filters become conditions and parameters, an order becomes keyset paging.

Nothing that a caller gives becomes SQL text: names are looked up in the tables below, values are parameters.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import orjson

from ..encoding import values
from ..errors import QueryError, shown
from ..events.shapes import id_text
from ..routing import CATEGORIES, STATUSES
from ..sql_files import Names
from .search import Search

__all__ = [
    "FILTERS",
    "INDEXABLE",
    "ORDERS",
    "SUMMARY_FILTERS",
    "TRACE_BEGINNING",
    "USAGE_KINDS",
    "USAGE_NUMBERS",
    "Page",
    "build_page",
    "select_runs",
    "trace_uuid",
    "whole",
]

_UUID = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
TRACE_BEGINNING = re.compile(r"[0-9a-f]{1,32}")
"""Some of the first digits of a trace id, or all."""
_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00")
_DIGITS = re.compile(r"-?\d{1,19}")
_CLOSED = {"status": STATUSES, "record": ("span", "log"), "category": tuple(CATEGORIES)}
"""Filter → all that its column ever holds."""
_IDS = frozenset(
    {"task", "task_id", "agent", "agent_id", "session", "user", "pull_request", "pipeline_run_id", "deployment_id"}
)
"""Filters that take what ids are logged as."""
_UUIDS = frozenset({"trace", "event_id"})

COMMON = {
    "event_type": "event_type = ANY(%(event_type)s)",
    "name": "event_name = ANY(%(name)s)",
    "status": "status = ANY(%(status)s)",
    "record": "record = ANY(%(record)s)",
    "service": "service_name = ANY(%(service)s)",
    "session": "session_id = ANY(%(session)s)",
    "user": "user_id = ANY(%(user)s)",
    "agent": "agent_id = ANY(%(agent)s)",
    "task": "task_id = ANY(%(task)s)",
    "trace": "trace_id = ANY(%(trace)s::uuid[])",
    "error_type": "error_type = ANY(%(error_type)s)",
    "start": '"time" >= %(start)s',
    "end": '"time" < %(end)s',
    "attributes": "attributes @> %(attributes)s::jsonb",
    "data": "body @> %(data)s::jsonb",
    "text": "{search}",
    "event_id": "attributes ->> 'otel_pg.event.id' = ANY(%(event_id)s)",
    "agent_id": "agent_id = ANY(%(agent_id)s)",
    "task_id": "task_id = ANY(%(task_id)s)",
}
OWN = {
    "system": {"target": "attributes ->> 'otel_pg.target' = ANY(%(target)s)"},
    "task": {
        "task": "(task_id = ANY(%(task)s) OR task_name = ANY(%(task)s))",
        "queue": "queue = ANY(%(queue)s)",
    },
    "agent": {
        "agent": "(agent_id = ANY(%(agent)s)"
        " OR (agent_name = ANY(%(agent)s) AND agent_name IS DISTINCT FROM agent_id))",  # as its index has it
        "action": "action = ANY(%(action)s)",
        "tool": "tool_name = ANY(%(tool)s)",
        "model": "model = ANY(%(model)s)",
        "provider": "provider = ANY(%(provider)s)",
    },
    "deployment": {
        "environment": "environment = ANY(%(environment)s)",
        "branch": "branch = ANY(%(branch)s)",
        "commit": "commit_sha = ANY(%(commit)s)",
        "pull_request": "pull_request = ANY(%(pull_request)s)",
        "deployment_id": "attributes ->> 'deployment.id' = ANY(%(deployment_id)s)",
        "pipeline": "pipeline = ANY(%(pipeline)s)",
        "pipeline_run_id": "pipeline_run_id = ANY(%(pipeline_run_id)s)",
        "build_result": "build_result = ANY(%(build_result)s)",
        "test_result": "test_result = ANY(%(test_result)s)",
        "result": "result = ANY(%(result)s)",
    },
}
FILTERS: Mapping[str, Mapping[str, str]] = {category: {**COMMON, **own} for category, own in OWN.items()}
"""Category → filter → condition; {search} stands for that of a search."""

INDEXABLE = ("attributes", "text", "task", "session", "user")
"""Filters for which there may be an optional index, of that name."""

SUMMARY_FILTERS: Mapping[str, str] = {
    **{name: COMMON[name] for name in ("event_type", "status", "service", "agent_id", "start", "end")},
    "agent": OWN["agent"]["agent"],
}
"""Filter that summaries of events can answer → condition."""

RUN_FILTERS: Mapping[str, str] = {
    **{
        name: COMMON[name]
        for name in ("event_type", "name", "service", "session", "user", "agent", "task", "trace", "start", "end")
    },
    "attributes": COMMON["attributes"],
    "category": "category = ANY(%(category)s)",
    "host": "host = ANY(%(host)s)",
}
"""Filter of runs → condition."""

# Rows without a value come last in either direction: they get the value that sorts there.
_BIGINT = ("-9223372036854775808", "9223372036854775807")
_COMMON_ORDERS = {"time": ('"time"', "timestamptz", ("", "")), "duration": ("duration_ns", "bigint", _BIGINT)}
_AGENT_ORDERS = {
    "input_tokens": ("input_tokens", "bigint", _BIGINT),
    "output_tokens": ("output_tokens", "bigint", _BIGINT),
    "cost": ("cost", "float8", ("-Infinity", "NaN")),  # PostgreSQL sorts NaN above all numbers
}
ORDERS: Mapping[str | None, Mapping[str, tuple[str, str, tuple[str, str]]]] = {
    None: _COMMON_ORDERS,
    **dict.fromkeys(CATEGORIES, _COMMON_ORDERS),
    "agent": {**_COMMON_ORDERS, **_AGENT_ORDERS},
}
"""Category → order → column, its type, and what stands for NULL in descending and ascending order."""

USAGE_KINDS = ("agents", "tools", "models")
"""What usage can be told of."""
USAGE_NUMBERS = {
    "count": "count",
    "errors": "errors",
    "p95": "percentiles[2]",
    "tokens": "input_tokens + output_tokens",
    "cost": "cost",
}
"""Number that usage is ordered by → its expression."""

_MAX_LIMIT, _MAX_OFFSET = 10_000, 1_000_000_000


class Page:
    """One page of events: SQL for each table, parameters, and how to go on."""

    def __init__(self, category: str | None, order: str, direction: str, limit: int, offset: int = 0) -> None:
        self.order, self.direction, self.limit = order, direction, limit
        self.categories = [category] if category else list(CATEGORIES)
        self.filters: set[str] = set()
        self.conditions: dict[str, list[str]] = {name: [] for name in self.categories}
        self.parameters: dict[str, Any] = {"limit": limit + 1, "offset": offset}
        self.search: Search | None = None
        self._column, self._type, stand_ins = ORDERS[category][order]
        self._stand_in = stand_ins[direction == "asc"]

    @property
    def key(self) -> str:
        """The expression that rows are ordered by, before their unique position."""
        return f"coalesce({self._column}, '{self._stand_in}'::{self._type})" if self._stand_in else self._column

    @property
    def is_newest_first(self) -> bool:
        """What is later comes before what is earlier, and `offset` leaves out none."""
        return (self.order, self.direction) == ("time", "desc") and not self.parameters["offset"]

    @property
    def after_time(self) -> datetime | None:
        """Of pages ordered by time, the time at which this one goes on; None if it is the first."""
        key: str | None = self.parameters.get("after_key")
        return datetime.fromisoformat(key) if key and self.order == "time" else None

    def where(self, names: Names, category: str, *more: str, by_index: bool = False) -> str:
        """The WHERE clause for one table, with further conditions."""
        sql = " AND ".join((*self.conditions[category], *more)) or "true"
        if self.search is not None:
            sql = sql.replace("{search}", self.search.condition(names, by_index))
        return sql

    def parts_asked(self, names: Names, since: datetime | None = None) -> tuple[str, dict[str, Any]] | None:
        """A statement for which parts of long texts say what is looked for, with its parameters; None if no words are.

        To ask it first has the server know that when it plans for the rows. `since` limits their time.
        """
        if self.search is None:
            return None
        limits = [*self.parameters, *(["since"] if since is not None else [])]
        sql, parameters = self.search.parts_asked(names, limits)
        return sql, {**self.parameters, **parameters, "since": since}

    def know_parts(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take the answer to that: what is asked next has to have the same limit of time."""
        if self.search is not None:
            self.search = self.search.knowing(rows)
            self.parameters |= self.search.parameters

    @property
    def indexes(self) -> list[str]:
        """The optional indexes that serve its filters: otel_pg_exporter.schema.indexes."""
        # that of words serves nobody who asks for what most rows say
        is_frequent = self.search is not None and self.search.parts and not self.search.is_by_index
        return [name for name in INDEXABLE if name in self.filters and not (name == "text" and is_frequent)]

    def order_by(self, key: str) -> str:
        """The ORDER BY list; `key` is the column or expression that holds the key."""
        return f"{key} {self.direction}, batch_id {self.direction}, batch_index {self.direction}"

    def cursor(self, row: Mapping[str, Any]) -> str:
        """Where the page after this row begins."""
        key = row["order_key"]
        text = key.astimezone(timezone.utc).isoformat() if isinstance(key, datetime) else str(key)
        position = [self.order, self.direction, text, str(row["batch_id"]), row["batch_index"]]
        return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")

    def continue_from(self, cursor: str) -> None:
        """Begin after the row that a cursor names."""
        try:
            order, direction, key, batch_id, index = orjson.loads(
                base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            )
            _check_key(order, key)
            if type(index) is not int or not 0 <= index < 1 << 31:
                raise ValueError(index)
            self.parameters |= {"after_key": key, "after_batch": UUID(batch_id), "after_index": index}
        except (ValueError, TypeError, AttributeError):
            raise QueryError(f"cursor={shown(cursor)} is not one that a page of events gave") from None
        if (order, direction) != (self.order, self.direction):
            raise QueryError(
                f"the cursor belongs to order {order!s:.20} {direction!s:.20}, not to {self.order} {self.direction}"
            )
        sign = "<" if self.direction == "desc" else ">"
        condition = (
            f"({self.key}, batch_id, batch_index) {sign}"
            f" (%(after_key)s::{self._type}, %(after_batch)s::uuid, %(after_index)s::integer)"
        )
        if order == "time":  # follows from the other, but only this one spares partitions
            condition += f' AND "time" {sign}= %(after_key)s::timestamptz'
        for conditions in self.conditions.values():
            conditions.append(condition)


def build_page(
    category: str | None,
    filters: Mapping[str, Any],
    order_by: str = "time",
    order_direction: str = "desc",
    limit: int = 100,
    offset: int = 0,
    cursor: str | None = None,
) -> Page:
    """Check what was asked for.

    Raises:
        QueryError: a category, filter, order, direction, limit, offset or cursor that is not known, or a start after
            its end; the message names what is allowed.
    """
    _one_of("category", category, [None, *CATEGORIES])
    _one_of("order_by", order_by, ORDERS[category])
    if isinstance(order_direction, str):
        order_direction = order_direction.lower()
    _one_of("order_direction", order_direction, ["asc", "desc"])
    whole("limit", limit, 1, _MAX_LIMIT)
    whole("offset", offset, 0, _MAX_OFFSET)
    if offset and category is None:
        raise QueryError(f"offset={offset} needs one category; a cursor goes through all of them")
    page = Page(category, order_by, order_direction, limit, offset)
    known = FILTERS[category] if category else COMMON
    for name, value in filters.items():
        if name not in known:
            raise QueryError(f"unknown filter {shown(name)}; known are: {', '.join(known)}")
        if value is None:
            continue
        page.filters.add(name)
        for each in page.categories:
            page.conditions[each].append(FILTERS[each][name])
        if name == "text":
            page.search = Search.of(value)
            page.parameters |= page.search.parameters
        else:
            page.parameters[name] = _parameter(name, value)
    _check_times(page.parameters.get("start"), page.parameters.get("end"))
    if cursor is not None:
        page.continue_from(cursor)
    return page


def select_runs(filters: Mapping[str, Any], limit: int) -> tuple[str, dict[str, Any]]:
    """The WHERE clause for runs, and its parameters.

    Raises:
        QueryError: a filter is not known, or it or the limit has a value that is not allowed.
    """
    whole("limit", limit, 1, _MAX_LIMIT)
    given = {name: value for name, value in filters.items() if value is not None or name not in RUN_FILTERS}
    for name in given:
        if name not in RUN_FILTERS:
            raise QueryError(f"unknown filter {shown(name)}; known are: {', '.join(RUN_FILTERS)}")
    parameters = {name: _parameter(name, value) for name, value in given.items()}
    return " AND ".join(RUN_FILTERS[name] for name in given) or "true", {**parameters, "limit": limit}


def trace_uuid(trace_id: str | UUID) -> UUID:
    """The stored form of a trace id of 32 hex digits; a UUID, as SQL gives it, will do.

    Raises:
        QueryError: it is something else.
    """
    if isinstance(trace_id, UUID):
        return trace_id
    if not isinstance(trace_id, str) or not _UUID.fullmatch(trace_id):
        raise QueryError(f"trace id {shown(trace_id)} is not allowed; allowed are 32 hex digits")
    return UUID(trace_id)


def _check_key(order: Any, key: Any) -> None:
    if order == "time":
        if datetime.fromisoformat(key).utcoffset() != timedelta(0) or not _ISO_TIME.fullmatch(key):
            raise ValueError(key)
    elif order == "cost":
        if key != str(float(key)):  # as a page writes it; what is too large, or too small, PostgreSQL does not read
            raise ValueError(key)
    elif not _DIGITS.fullmatch(key) or not -(1 << 63) <= int(key) < 1 << 63:
        raise ValueError(key)
    if not key.isascii() or "_" in key:
        raise ValueError(key)


def _check_times(start: datetime | None, end: datetime | None) -> None:
    if start is not None and end is not None and start > end:
        raise QueryError(f"start={start.isoformat()} is after end={end.isoformat()}; allowed is one before it")


def _parameter(name: str, value: Any) -> Any:
    if name in {"start", "end"}:
        if not isinstance(value, datetime) or value.utcoffset() is None:
            raise QueryError(f"{name}={shown(value)} is not allowed; allowed is a datetime with a time zone")
        return value
    if name in {"attributes", "data"}:
        if not isinstance(value, Mapping):
            raise QueryError(f"{name}={shown(value)} is not allowed; allowed is a mapping of key to value")
        return values.dump(value, name, []).decode()  # as a row's own attributes are written
    wanted = _texts(name, value)
    if name == "trace":
        return [trace_uuid(one) for one in wanted]
    if name == "event_id":
        return [_event_id(one) for one in wanted]
    for one in wanted if name in _CLOSED else ():
        _one_of(name, one, _CLOSED[name])
    # what a column cannot hold is stored cleaned, and is found the same way
    return [values.clean_text(one, name, []) for one in wanted]


def _texts(name: str, value: Any) -> list[str]:
    is_id = name in _IDS
    wanted = value if isinstance(value, Collection) and not isinstance(value, str | bytes) else [value]
    if name in _UUIDS:
        wanted = [str(one) if isinstance(one, UUID) else one for one in wanted]
    try:
        if not is_id and not all(isinstance(one, str) for one in wanted):
            raise ValueError
        return [id_text(one) for one in wanted]
    except ValueError:
        allowed = "a text, a whole number, a UUID, or a list of them" if is_id else "a text, or a list of texts"
        raise QueryError(f"{name}={shown(value)} is not allowed; allowed is {allowed}") from None


def _event_id(value: str) -> str:
    if not _UUID.fullmatch(value):
        raise QueryError(f"event_id={shown(value)} is not allowed; allowed is a UUID, as logging the event gave it")
    return str(UUID(value))


def whole(name: str, value: Any, low: int, high: int) -> None:
    """Check that a number is one from low to high.

    Raises:
        QueryError: it is something else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise QueryError(f"{name}={shown(value)} is not allowed; allowed is a whole number from {low} to {high}")


def _one_of(name: str, value: Any, allowed: Any) -> None:
    if not isinstance(value, str | None) or value not in allowed:
        words = ", ".join(str(one) for one in allowed if one)
        raise QueryError(f"{name}={shown(value)} is not allowed; allowed are: {words}")
