"""Values that a convention spells out: lists over many attributes, parts of JSON text.

OpenInference has `llm.input_messages.0.message.role`, OpenLLMetry `gen_ai.prompt.0.content`: attributes hold no
maps, so each leaf is an attribute of its own. MLflow puts JSON text into attributes instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import values

__all__ = ["gathered", "part_of"]

_MAX_ITEMS = 10_000


def gathered(attributes: Mapping[str, Any], start: str) -> list[Any]:
    """The list that the attributes whose names begin with `start` spell out; `start` ends in a dot."""
    root: dict[str, Any] = {}
    for key, value in attributes.items():
        if type(key) is str and key.startswith(start):
            _put(root, key[len(start) :].split("."), value)
    found = _with_lists(root)
    return found if isinstance(found, list) else [found]


def part_of(value: Any, name: str) -> Any:
    """What JSON text stands for, or one member of it by name; other values stand for themselves."""
    if type(value) is str:
        try:
            value = values.load(value)
        except ValueError:
            return None if name else value
    if not name:
        return value
    return value.get(name) if isinstance(value, Mapping) else None


def _put(root: dict[str, Any], path: list[str], value: Any) -> None:
    inside = root
    for step in path[:-1]:
        below = inside.setdefault(step, {})
        if type(below) is not dict:  # a leaf and a branch of one name: the leaf gives way
            below = inside[step] = {}
        inside = below
    if type(inside.get(path[-1])) is not dict:
        inside[path[-1]] = value


def _with_lists(value: Any) -> Any:
    if type(value) is not dict:
        return value
    items = {key: _with_lists(item) for key, item in value.items()}
    if items and len(items) < _MAX_ITEMS and all(key.isascii() and key.isdigit() for key in items):
        return [items[key] for key in sorted(items, key=int)]
    return items
