"""What can be decided once for all plain spans of the same shape.

Beside the keys of attributes the types of their values decide here. A `Layout` is a `Plan` made ready for
joining: fields that are the same in all rows stand together, with gaps for those that attributes fill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from .binary_copy import NULL
from .columns import CONTENTS, FORMS, Form
from .costs import Costing
from .plans import Plan, Values, values_of
from .scrubbing import Scrubber
from .tables import FRONT, KIND, NUMBERS
from .values import SCALARS

__all__ = ["NAME", "Layout", "Shape", "Shapes", "Unusual", "layout_of"]

NAME = ""
"""Stands for the name of a span among its attributes, where no key is empty."""

_ARRAYS = frozenset({tuple, list})
_MAX_SHAPES = 4096


def _nothing(attributes: dict[str, Any]) -> None:
    pass


class Unusual(Exception):
    """Not a plain span."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Attributes with the same keys in the same order, and values of the same types."""

    loose: tuple[str, ...]
    """Keys of numbers and arrays: whether these are plain, the type alone does not say."""
    texts: Values
    """Gives the values that are text."""
    deciding: Callable[[dict[str, Any]], Any]
    """Gives the value, or the values, that the route depends on."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How to write the rows of one shape, kind and outcome."""

    table: str
    count: int
    """Number of columns."""
    contents: tuple[tuple[str, bytes], ...]
    """Attributes that fill input and output, `NAME` for none, and the columns that say which they were."""
    has_outcome: bool
    """The columns about the outcome are not just NULL."""
    error_type: str | None
    error_message: str | None
    """Attributes that fill these columns."""
    takes_name: bool
    """The name is wanted among the attributes."""
    rest: list[bytes]
    """What follows the front: fields that do not differ, and at each odd place one that does."""
    texts: Values
    """Gives the values for those places, first the texts,"""
    forms: tuple[tuple[str, Form], ...]
    """then the others: the attribute, and how to write it."""
    costing: Costing | None
    """Gives the last column."""
    constants: tuple[Any, ...]
    """What `kind` and `numbers` need beside all those values."""
    kind: Callable[[list[Any]], Any]
    """Takes from the values and the constants what the row is counted with,"""
    numbers: Callable[[list[Any]], Any] | None
    """and its numbers, if it has some that count."""


class Shapes(dict[tuple[Any, ...], Shape]):
    """(*keys, *types of the values) → shape, each made when it is first met.

    Raises:
        Unusual: values of these types, or these keys, are never plain.
    """

    def __init__(self, deciding: Iterable[str], scrubber: Scrubber) -> None:
        super().__init__()
        self._deciding = frozenset(deciding)
        self._scrubber = scrubber

    def __missing__(self, keys_and_types: tuple[Any, ...]) -> Shape:
        keys = keys_and_types[: len(keys_and_types) // 2]
        types = dict(zip(keys, keys_and_types[len(keys) :], strict=True))
        if not set(types.values()) <= SCALARS | _ARRAYS | {float} or NAME in keys or self._scrubber.wants(keys):
            raise Unusual
        deciding = [key for key in keys if key in self._deciding]
        shape = Shape(
            tuple(key for key in keys if types[key] not in SCALARS),
            values_of(tuple(key for key in keys if types[key] is str)),
            itemgetter(*deciding) if deciding else _nothing,
        )
        if len(self) >= _MAX_SHAPES:
            self.clear()
        self[keys_and_types] = shape
        return shape


def layout_of(plan: Plan, code: int) -> Layout:
    """The layout for plain spans with a plan and a status code.

    Raises:
        Unusual: the plan does not say enough about where the name goes.
    """
    if plan.gathered or not all(column in FORMS for column, _, _ in plan.columns):
        raise Unusual  # a text that is part of an attribute does not stand where texts do
    keys = dict(zip(plan.text_columns, plan.text_keys, strict=True))
    forms = {column: (key, form) for column, key, form in plan.columns}
    if plan.name_column:
        if "agent_id" in keys:
            raise Unusual  # whether the name goes there too, each value decides
        keys[plan.name_column] = NAME
        if plan.name_column == "agent_name":
            keys["agent_id"] = NAME
    filled = {column: (key, place) for column, key, place in plan.contents}
    contents = tuple(filled.get(column, (NAME, NULL)) for column in CONTENTS) if filled else ()
    error_type, error_message = (keys.pop(column, None) for column in ("error_type", "error_message"))
    rest, texts, others = [b""], {}, {}
    for column, field in plan.row.items():
        if column in keys:
            texts[column] = keys[column]
        elif column in forms:
            others[column] = forms[column]
        elif column and column not in FRONT:
            rest[-1] += field
            continue
        else:
            continue
        rest += b"", b""
    return Layout(
        plan.table, len(plan.row) - 1, contents,
        bool(code or error_type or error_message), error_type, error_message,
        bool(plan.name_column), rest,
        values_of(tuple(texts.values())), tuple(others.values()), plan.costing,
        *_counting(plan, [*texts, *others, *(["cost"] if plan.costing else [])]),
    )  # fmt: skip


def _counting(plan: Plan, columns: list[str]) -> tuple[Any, ...]:
    """The last three fields of a layout whose rows differ in these columns."""
    constants: list[Any] = [plan.table]
    places = []
    for column in (*KIND, *NUMBERS):
        if column in columns:
            places.append(columns.index(column))
        else:
            places.append(len(columns) + len(constants))
            constants.append(plan.row.get(column, NULL))
    kind, numbers = places[: len(KIND)], places[len(KIND) :]
    return tuple(constants), itemgetter(len(columns), *kind), itemgetter(*numbers) if plan.has_numbers else None
