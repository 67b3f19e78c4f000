"""Settings in groups, and the settings in force.

    settings = create_event_config(
        database={"dsn": "postgresql://localhost/app"}, batch={"size": 512}, auto_capture={"agents": False}
    )
    with EventIntegration(settings) as events: ...

The groups and their keys are those of the paths in docs/configuration.md; what is left out is read from
the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any

from .config import Settings, in_force, parse
from .errors import ConfigurationError

__all__ = ["create_event_config", "get_event_config"]


def create_event_config(**groups: Mapping[str, Any]) -> Settings:
    """Settings of what is given, over the environment.

    Args:
        groups: those of the paths in docs/configuration.md, such as database, batch or retention, each a mapping of
            its keys. A value of None leaves the environment's.

    Raises:
        ConfigurationError: a group or key is unknown or a value is not allowed; the message has its path.
    """
    known = _known()
    overrides = {}
    for group, keys in groups.items():
        if group not in known:
            raise ConfigurationError(f"unknown group {group!r:.60}; known are: {', '.join(known)}")
        if not isinstance(keys, Mapping):
            raise ConfigurationError(
                f"{group}={_shown(keys)} is not allowed; allowed is a mapping of {_list(known[group])}"
            )
        for key, value in keys.items():
            if key not in known[group]:
                raise ConfigurationError(
                    f"unknown setting {f'{group}.{key}'!r:.60}; {group} has: {_list(known[group])}"
                )
            option = known[group][key]
            if value is not None:
                overrides[option.name] = parse(option, f"{group}.{key}", value)
    return Settings.from_env(**overrides)


def get_event_config() -> Settings:
    """The settings in force: those of `configure()`, else those of the environment. Secrets are not shown.

    Raises:
        ConfigurationError: a variable of the environment has a value that is not allowed.
    """
    return in_force.given()


def _known() -> dict[str, dict[str, Field[Any]]]:
    known: dict[str, dict[str, Field[Any]]] = {}
    for option in fields(Settings):
        group, _, key = option.metadata["path"].partition(".")
        known.setdefault(group, {})[key] = option
    return known


def _list(keys: Mapping[str, Any]) -> str:
    return ", ".join(keys)


def _shown(value: Any) -> str:
    # not the value: where a group was meant, a connection string with its password may stand
    return f"<{type(value).__name__}>"
