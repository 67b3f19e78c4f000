"""How objects are shown that JSON does not know: as fields, as a number, or as text.

What is only looked at must not do anything: nothing is fetched from a database for it, and no mock notes a call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum
from types import MemberDescriptorType
from typing import Any

from .signal_handlers import is_interruption

_WRITTEN_BY_STR = {
    ("datetime", "date"), ("datetime", "time"), ("datetime", "timedelta"), ("datetime", "tzinfo"),
    ("uuid", "UUID"), ("decimal", "Decimal"), ("fractions", "Fraction"), ("ipaddress", "_IPAddressBase"),
}  # fmt: skip
_MOCKS = frozenset({"unittest.mock", "mock.mock"})
"""Where a call of `str()` is noted as one of the program's."""
_FETCHED_BY_REPR = {("django.db.models.query", "QuerySet"), ("mongoengine.queryset.base", "BaseQuerySet")}
_NOT_READ = "<not read>"
_NUMPY_NUMBERS = frozenset({"number", "bool", "bool_"})


def enum_value(value: Any) -> object:
    """The value of a member, if it is a primitive, else its name."""
    inner = value._value_
    return inner if type(inner) in {str, int, float, bool} else str(value._name_)


def is_written_by_str(kind: type) -> bool:
    """Whether `str()` of it says the value and nothing else: dates, decimals, paths."""
    if hasattr(kind, "__fspath__"):
        return kind.__module__ not in _MOCKS
    return _is_one_of(kind, _WRITTEN_BY_STR)


def _is_one_of(kind: type, names: Collection[tuple[str, str]]) -> bool:
    return any((base.__module__, base.__qualname__) in names for base in kind.__mro__)


def number_of_numpy(value: Any) -> str | bool | int | float | None:
    """A number of numpy as Python's; None for anything else, and where Python has no such number."""
    kind = type(value)
    if kind.__module__ != "numpy" or kind.__name__ == "timedelta64":  # its number has a unit
        return None
    if not any(base.__module__ == "numpy" and base.__name__ in _NUMPY_NUMBERS for base in kind.__mro__):
        return None
    number = value.item()
    return number if type(number) in (bool, int, float) else None


def text_of(value: object) -> str:
    """`str()` of what has a plain text form, else `repr()`; for objects that raise, their type."""
    kind = type(value)
    try:
        if issubclass(kind, str):
            return str.__str__(value)
        if issubclass(kind, Enum):
            return text_of(enum_value(value))
        if is_written_by_str(kind):
            return str(value)
        return f"<{kind.__name__}: not read>" if _is_one_of(kind, _FETCHED_BY_REPR) else repr(value)
    except BaseException as failure:
        if is_interruption(failure):
            raise
        return f"<{kind.__name__}: no text>"


def fields_of(value: Any, kind: type[Any]) -> list[tuple[str, object]] | None:
    """Name and value of the fields of a dataclass, pydantic or attrs object or named tuple; None for others.

    Fields that their class keeps out of `repr()` stay out here.
    """
    if issubclass(kind, tuple):
        names = getattr(kind, "_fields", None)
        return list(zip(names, tuple.__iter__(value), strict=False)) if isinstance(names, tuple) else None
    fields: Iterable[tuple[str, object]]
    if hasattr(kind, "__dataclass_fields__"):
        import dataclasses

        fields = [(field.name, field) for field in dataclasses.fields(value)]
    elif isinstance(getattr(kind, "__attrs_attrs__", None), tuple):
        fields = [(field.name, field) for field in kind.__attrs_attrs__]
    else:
        # pydantic 2 and 1. The fields of a model lie in its __dict__; properties and computed fields do not.
        known = getattr(kind, "model_fields", None) or getattr(kind, "__fields__", None)
        if not isinstance(known, dict):
            return None
        fields = known.items()
    held = vars(value) if hasattr(value, "__dict__") else {}
    shown = [name for name, field in fields if getattr(field, "repr", True)]
    return [(name, held[name] if name in held else _field(value, name)) for name in shown]


def _field(value: object, name: str) -> object:
    """A field in a slot, or at the class. A property is not run: SQLAlchemy's would ask the database."""
    at_class = next((vars(base)[name] for base in type(value).__mro__ if name in vars(base)), None)
    if hasattr(type(at_class), "__get__") and type(at_class) is not MemberDescriptorType:
        return _NOT_READ
    try:
        return getattr(value, name)
    except Exception as error:
        if is_interruption(error):
            raise
        return f"<{type(error).__name__}>"
