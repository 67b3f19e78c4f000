"""A user's own routing: rules and sources of columns, from the file that `EVENT_ROUTING_FILE` names.

    [[rules]]
    attribute = "myapp.kind"        # a record that has this attribute
    value = "nightly"               # with this value (`values` for several; without either, with any)
    category = "task"               # goes here: system, task, agent or deployment
    event_type = "nightly_job"      # and is called so
    action = "tool"                 # agents only
    status = "completed"            # started, completed, error or cancelled

    [columns]
    session_id = ["myapp.session"]  # fills this column, before the built-in sources

TOML, the same as JSON, or a pyproject.toml with the table `[tool.otel_pg.routing]`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .conventions import SOURCES, Sources
from .rules import CATEGORIES, RULES, STATUSES, Route, Rule

__all__ = ["read_routing"]

_OWN_KEYS = ("rules", "columns")
_RULE_KEYS = ("attribute", "value", "values", "category", "event_type", "action", "status")
_COLUMNS = tuple(dict.fromkeys(column for columns in SOURCES.values() for column in columns))
_EVENT_TYPES = {
    "system": "operation",
    "task": "task_execution",
    "agent": "agent_action",
    "deployment": "deployment",
}


def read_routing(path: str) -> tuple[tuple[Rule, ...], Sources]:
    """Rules and sources of a file, put before the built-in ones.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is not allowed; the message names the file,
            the rule or column, the value and what is allowed.
    """
    try:
        routing = _read(Path(path))
        if unknown := sorted(set(routing) - set(_OWN_KEYS)):
            raise ValueError(f"{unknown[0]!r} is unknown; allowed are rules and columns")
        return _rules(routing.get("rules", [])) + RULES, _sources(routing.get("columns", {}))
    except OSError as error:
        raise ConfigurationError(f"the routing in {path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigurationError(f"the routing in {path} is not used: {error}") from None


def _read(path: Path) -> Mapping[str, Any]:
    text = path.read_text("utf-8")
    if path.suffix == ".json":
        found: Any = json.loads(text)
    elif sys.version_info >= (3, 11):
        import tomllib

        found = tomllib.loads(text)
    else:
        raise ValueError("TOML needs Python 3.11 or newer; allowed on this one is the same as JSON, in a .json file")
    if path.name == "pyproject.toml":
        found = found.get("tool", {}).get("otel_pg", {}).get("routing", {})
    if not isinstance(found, Mapping):
        raise ValueError(f"it holds a {type(found).__name__}; allowed is a table with rules and columns")
    return found


def _rules(entries: Any) -> tuple[Rule, ...]:
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ValueError(f"rules={entries!r:.60} is not allowed; allowed is a list of tables")
    found = []
    for number, entry in enumerate(entries, 1):
        try:
            found.append(_rule(entry))
        except ValueError as error:
            raise ValueError(f"rule {number}: {error}") from None
    return tuple(found)


def _rule(entry: Any) -> Rule:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{entry!r:.60} is not allowed; allowed is a table with {', '.join(_RULE_KEYS)}")
    if unknown := sorted(set(entry) - set(_RULE_KEYS)):
        raise ValueError(f"{unknown[0]!r} is unknown; allowed are {', '.join(_RULE_KEYS)}")
    attribute = _word(entry, "attribute")
    category = _word(entry, "category", tuple(CATEGORIES))
    action = _word(entry, "action", is_wanted=category == "agent" and "action" in entry)
    if action is None and "action" in entry:
        raise ValueError(f"action={entry['action']!r:.60} is not allowed; only agents have one")
    route = Route(
        category or "",
        _word(entry, "event_type", is_wanted="event_type" in entry) or _EVENT_TYPES[category or ""],
        action or ("step" if category == "agent" else None),
        _word(entry, "status", STATUSES, is_wanted="status" in entry),
    )
    if "value" in entry and "values" in entry:
        raise ValueError("value and values are both given; allowed is one of them")
    if "value" not in entry and "values" not in entry:
        return Rule(attribute or "", default=route)
    values = [entry["value"]] if "value" in entry else entry["values"]
    if not isinstance(values, list) or not values or any(isinstance(v, list | Mapping | float) for v in values):
        raise ValueError(f"values={values!r:.60} is not allowed; allowed is a list of words or whole numbers")
    return Rule(attribute or "", {str(value): route for value in values})


def _word(entry: Mapping[str, Any], key: str, allowed: Sequence[str] = (), *, is_wanted: bool = True) -> str | None:
    if not is_wanted:
        return None
    value = entry.get(key)
    if type(value) is not str or not value or (allowed and value not in allowed):
        told = f"one of {', '.join(allowed)}" if allowed else "a text"
        raise ValueError(f"{key}={value!r:.60} is not allowed; allowed is {told}")
    return value


def _sources(columns: Any) -> Sources:
    if not isinstance(columns, Mapping):
        raise ValueError(f"columns={columns!r:.60} is not allowed; allowed is a table of column = [attributes]")
    own: dict[str, tuple[str, ...]] = {}
    for column, given in columns.items():
        if column not in _COLUMNS:
            raise ValueError(f"column {column!r:.60} cannot be filled; allowed are {', '.join(_COLUMNS)}")
        names = [given] if isinstance(given, str) else given
        if not isinstance(names, list) or not names or not all(type(name) is str and name for name in names):
            raise ValueError(f"column {column} = {names!r:.60} is not allowed; allowed is a list of attributes")
        own[column] = tuple(names)
    return {
        category: {column: (*own.get(column, ()), *names) for column, names in sources.items()}
        for category, sources in SOURCES.items()
    }
