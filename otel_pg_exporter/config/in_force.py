"""The settings in force: those of `configure()` while what it has set up stands, else those of the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .settings import Settings

__all__ = ["given", "told_by"]

_standing: Callable[[], Settings | None] | None = None


def told_by(standing: Callable[[], Settings | None]) -> None:
    """Ask this function for the settings of `configure()`, which is too high up to be asked from everywhere."""
    global _standing
    _standing = standing


def given(settings: Settings | None = None, **overrides: Any) -> Settings:
    """What a call was given: settings, or fields of them over the environment's; with neither, those in force.

    Raises:
        ConfigurationError: it was given both, or a value is not allowed.
    """
    if settings is None and not overrides and _standing is not None and (standing := _standing()) is not None:
        return standing
    return Settings.given(settings, **overrides)
