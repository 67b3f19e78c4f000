"""What can be decided once for all records of the same shape.

Programs emit few shapes of records: the same attribute keys, kind and operation again and again. A
`Plan` holds what follows from the shape alone: the route, the columns that are constant, which attribute
fills which column. Encoding a record is then a copy of the plan's row with the rest filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from struct import pack
from typing import Any, TypeAlias

from ..routing import CATEGORIES, OUTCOMES, STATUSES, Route, route
from ..routing.conventions import AROUND, column_sources
from .binary_copy import NULL, int2, label
from .columns import CONTENTS, FORMS, Form, as_next_int4, as_text
from .costs import Costing, costing
from .flattened import part_of
from .tables import COLUMNS, NUMBERS
from .treatment import Treatment
from .values import in_jsonb, key_order

__all__ = ["Fields", "Plan", "Plans", "Values", "values_of"]

Fields: TypeAlias = dict[str, bytes]
"""Column → encoded field, in the order of the columns."""

Values: TypeAlias = Callable[[Mapping[str, Any]], tuple[Any, ...]]
"""Gives some of a record's attributes."""

_EMPTY: Mapping[str, Fields] = {
    table: {"": pack(">h", len(columns)), **dict.fromkeys(columns, NULL)} for table, columns in COLUMNS.items()
}
_ERROR = 2
_ERROR_SEVERITY = 17
_MAX_SEVERITY = 24
_MAX_SHAPES = 4096
_MAX_PLACE = 1 << 15
_JOB_KIND = "cicd.pipeline.task.type"
_LEVEL = "logfire.level_num"
_OWN_DECIDERS = (_LEVEL, "otel_pg.event_type", "otel_pg.action", "otel_pg.status", _JOB_KIND, *OUTCOMES)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to encode the records of one shape."""

    table: str
    row: Fields
    """All columns; those that follow from the shape are filled."""
    text_columns: tuple[str, ...]
    """Text columns that attributes fill."""
    text_keys: tuple[str, ...]
    """Which attributes fill them."""
    text_values: Values
    """Gives the values for them."""
    contents: tuple[tuple[str, str, bytes], ...]
    """Input and output: the column, the attribute that fills it, and the column that says which that was."""
    columns: tuple[tuple[str, str, Form], ...]
    """The others: column, the attribute that fills it, and how."""
    name_column: str | None
    """A column that the record's name fills if no attribute does."""
    gathered: tuple[tuple[str, str], ...] = ()
    """Columns that many attributes spell out, and what their names begin with."""
    costing: Costing | None = None
    """Gives the column cost, which is the last one, where it is not an attribute."""
    has_numbers: bool = False
    """Tokens or cost may be there, and are to be added up: not of an agent's own run, whose are those of its calls."""


class Plans:
    """The plans of one exporter, each made when its shape is first met."""

    def __init__(self, treatment: Treatment) -> None:
        self._treatment = treatment
        self._rules = treatment.rules
        self.deciding = frozenset((*(rule.attribute for rule in self._rules), *_OWN_DECIDERS))
        self._deciders: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._plans: dict[Any, Plan] = {}

    def span(self, attributes: dict[str, Any], kind: int, is_root: bool, code: int) -> Plan:
        """The plan for a span; `kind` and status `code` as in OTLP."""
        shape = self._shape(attributes, kind, is_root, code)
        try:
            return self._plans[shape]
        except (KeyError, TypeError):  # TypeError: an attribute that should be a word is a list or a map
            routed = route(attributes, kind=kind, is_root=is_root, rules=self._rules)
            status = _span_status(routed, attributes, code)
            plan = _plan(self._treatment, routed, status, attributes, record="span", kind=kind, code=code)
            return self._keep(shape, plan)

    def log(self, attributes: dict[str, Any], event_name: str | None, severity: int | None) -> Plan:
        """The plan for a log record."""
        shape = self._shape(attributes, 0, event_name, severity)
        try:
            return self._plans[shape]
        except (KeyError, TypeError):
            routed = route(attributes, event_name=event_name, rules=self._rules)
            status = _log_status(routed, attributes, severity)
            plan = _plan(self._treatment, routed, status, attributes, record="log", kind=0, code=0)
            return self._keep(shape, plan)

    def _shape(self, attributes: dict[str, Any], *rest: Any) -> tuple[Any, ...]:
        keys = tuple(attributes)
        deciders = self._deciders.get(keys)
        if deciders is None:
            deciders = tuple(key for key in keys if key in self.deciding)
            if len(self._deciders) >= _MAX_SHAPES:
                self._deciders.clear()
            self._deciders[keys] = deciders
        return (keys, *rest, *[attributes[key] for key in deciders])

    def _keep(self, shape: tuple[Any, ...], plan: Plan) -> Plan:
        if len(self._plans) >= _MAX_SHAPES:
            self._plans.clear()
        try:
            self._plans[shape] = plan
        except TypeError:
            pass
        return plan


def _plan(
    treatment: Treatment,
    routed: Route,
    status: str,
    attributes: Mapping[str, Any],
    *,
    record: str,
    kind: int,
    code: int,
) -> Plan:
    keys = tuple(attributes)
    table = CATEGORIES[routed.category]
    row = _EMPTY[table].copy()
    row["record"] = label(record)
    row["kind"] = int2(kind)
    row["status_code"] = int2(code)
    row["event_type"] = as_text(routed.event_type)
    row["status"] = label(status)
    level = attributes.get(_LEVEL)
    if type(level) is int and 0 < level <= _MAX_SEVERITY:
        row["severity_number"] = int2(level)  # Logfire counts as OpenTelemetry does
    sources = _of_one_agent(column_sources(treatment.sources[routed.category], keys), routed.action == "invoke")
    if attributes.get(_JOB_KIND) in ("build", "test") and "result" in sources:
        sources.setdefault(f"{attributes[_JOB_KIND]}_result", sources["result"])
    counts_from_zero = sources.get("attempt") == "celery.retries"
    forms = {**FORMS, "attempt": as_next_int4} if counts_from_zero else FORMS
    name_column = None
    if routed.category == "agent":
        row["action"] = as_text(routed.action)
        name_column = {"invoke": "agent_name", "tool": "tool_name"}.get(routed.action or "")
    elif routed.category == "task":
        name_column = "task_name"
    if record == "log":
        name_column = None  # a log record is named after what happened, not after whom it happened to
    if name_column and name_column not in sources and "traceloop.entity.name" in keys:
        sources = {**sources, name_column: "traceloop.entity.name"}
    if name_column in sources:
        name_column = None
    if "agent_name" in sources and "agent_id" not in sources:
        sources = {**sources, "agent_id": sources["agent_name"]}
    cost = None
    if record == "span" and "cost" not in sources:
        cost = costing(routed, sources, treatment.prices)
    if cost is not None:
        row["cost"] = b""
    gathered = tuple((column, source[:-1]) for column, source in sources.items() if source.endswith(".*"))
    parted = tuple(
        (column, key, _part(name, forms.get(column, as_text)))
        for column, source in sources.items()
        for key, sign, name in (source.partition("#"),)
        if sign
    )
    sources = {column: source for column, source in sources.items() if source in attributes}
    texts = {column: key for column, key in sources.items() if column not in forms}
    try:
        row["attribute_order"] = as_text(key_order(keys))
        places = {key: place for place, key in enumerate(in_jsonb(keys))}
    except (TypeError, UnicodeEncodeError):
        places = {}  # keys that need cleaning: their order goes into the fixups
    contents = tuple(
        (column, key, int2(places[key]) if places.get(key, _MAX_PLACE) < _MAX_PLACE else NULL)
        for column in CONTENTS
        if (key := sources.get(column)) is not None
    )
    columns = (
        *(
            (column, key, forms[column])
            for column, key in sources.items()
            if column in forms and column not in CONTENTS
        ),
        *parted,
    )
    is_run = routed.category != "agent" or routed.action == "invoke"
    has_numbers = cost is not None or not {column for column, _, _ in columns}.isdisjoint(NUMBERS)
    return Plan(
        table,
        row,
        tuple(texts),
        tuple(texts.values()),
        values_of(tuple(texts.values())),
        contents,
        columns,
        name_column,
        gathered,
        cost,
        has_numbers and not is_run,
    )


def _of_one_agent(sources: dict[str, str], is_run: bool) -> dict[str, str]:
    """Without the name and the id of the agent around, of a span that is an agent's own run, or names another."""
    around = {column for column in ("agent_id", "agent_name") if sources.get(column) in AROUND.values()}
    if is_run or ("agent_name" in around and "agent_id" not in around):
        return {column: source for column, source in sources.items() if column not in around}
    return sources


def _part(name: str, form: Form) -> Form:
    return lambda value: form(part_of(value, name))


def values_of(keys: tuple[str, ...]) -> Values:
    """A function that gives the values of these attributes."""
    # itemgetter gives a tuple for two keys and more
    if len(keys) > 1:
        return itemgetter(*keys)
    if not keys:
        return lambda attributes: ()
    (key,) = keys
    return lambda attributes: (attributes[key],)


def _span_status(routed: Route, attributes: Mapping[str, Any], code: int) -> str:
    status = attributes.get("otel_pg.status", routed.status)
    if isinstance(status, str) and status in STATUSES:
        return status
    if code == _ERROR:
        return "error"
    for attribute, outcomes in OUTCOMES.items():
        value = attributes.get(attribute)
        if isinstance(value, str) and value in outcomes:
            return outcomes[value]
    return "completed"


def _log_status(routed: Route, attributes: Mapping[str, Any], severity: int | None) -> str:
    status = attributes.get("otel_pg.status", routed.status)
    if isinstance(status, str) and status in STATUSES:
        return status
    is_error = "error.type" in attributes or (severity is not None and severity >= _ERROR_SEVERITY)
    return "error" if is_error else "completed"
