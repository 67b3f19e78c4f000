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
from .columns import CONTENTS, Form
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

    floats: tuple[str, ...]
    """Keys of values of this type, that alone does not say whether they are plain;"""
    arrays: tuple[str, ...]
    """and of these."""
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
    texts: Values
    """Gives the values that differ between rows: first the texts,"""
    forms: tuple[tuple[str, Form], ...]
    """then the others: the attribute, and how to write it,"""
    costing: Costing | None
    """and the last one, the cost."""
    constants: list[Any]
    """What does not differ: fields that stand together, and what the row is counted with."""
    rest: Callable[[list[Any]], tuple[bytes, ...]]
    """Takes from fields that differ, followed by the constants, what stands behind the front, in its order,"""
    kind: Callable[[list[Any]], Any]
    """what the row is counted with,"""
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
            tuple(key for key in keys if types[key] is float),
            tuple(key for key in keys if types[key] in _ARRAYS),
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
    if plan.gathered:
        raise Unusual  # what many attributes spell out
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
    has_outcome = bool(code or error_type or error_message)
    fields = {column: field for column, field in plan.row.items() if column and column not in FRONT}
    texts = [column for column in fields if column in keys]
    others = [column for column in fields if column in forms and column not in keys]
    differing = [*texts, *others, *(["cost"] if plan.costing else [])]
    rest: list[Any] = [b"" if has_outcome else 3 * NULL]
    for column, field in fields.items():
        if column in differing:
            rest += column, b""
        else:
            rest[-1] += field
    kind, numbers = (
        [column if column in differing else plan.row.get(column, NULL) for column in columns]
        for columns in (KIND, NUMBERS)
    )
    constants: list[Any] = []
    return Layout(
        plan.table, len(plan.row) - 1, contents,
        has_outcome, error_type, error_message,
        bool(plan.name_column),
        values_of(tuple(keys[column] for column in texts)),
        tuple(forms[column] for column in others),
        plan.costing,
        constants,
        _taking([part for part in rest if part], differing, constants),
        _taking([plan.table, *kind], differing, constants),
        _taking(numbers, differing, constants) if plan.has_numbers else None,
    )  # fmt: skip


def _taking(parts: list[Any], differing: list[str], constants: list[Any]) -> Callable[[list[Any]], tuple[Any, ...]]:
    """Takes parts, columns or constants, from the fields of the columns that differ, followed by the constants."""
    places = []
    for part in parts:
        if part in differing:
            places.append(differing.index(part))
        else:
            places.append(len(differing) + len(constants))
            constants.append(part)
    (first, *more) = places
    return itemgetter(*places) if more else lambda fields: (fields[first],)
