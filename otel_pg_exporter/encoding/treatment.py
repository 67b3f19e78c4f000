"""All that decides how a record becomes a row: routing, prices, and what must not be stored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..config import Settings
from ..errors import ConfigurationError
from ..host.diagnostics import say
from ..routing import RULES, Rule
from ..routing.conventions import SOURCES, Sources
from ..routing.files import read_routing
from .pricing import Prices, built_in_prices, read_prices
from .scrubbing import Redact, Scrubber

__all__ = ["Treatment", "switch_or_callback"]


@dataclass(frozen=True)
class Treatment:
    """What the encoders go by; one for all of them that belong together."""

    rules: Sequence[Rule] = RULES
    sources: Sources = field(default_factory=lambda: SOURCES)
    prices: Prices = field(default_factory=lambda: Prices(built_in_prices()))
    scrubber: Scrubber = field(default_factory=Scrubber)
    shared_text_length: int = 0

    @classmethod
    def of(cls, settings: Settings, redact: Redact | None = None) -> Treatment:
        """What settings say. A file that cannot be used is one line in the log, and the built-in data holds.

        Args:
            settings: name the files, and say what is taken out.
            redact: a callback, as `Scrubber` takes it.
        """
        rules, sources = _or_built_in(read_routing, settings.routing_file, (RULES, SOURCES))
        own = _or_built_in(read_prices, settings.prices_file, ())
        scrubber = Scrubber(
            settings.redact_keys,
            settings.redact_patterns,
            redact,
            is_on=settings.redact,
            keeps_content=settings.store_content,
            sources=sources,
        )
        return cls(rules, sources, Prices((*own, *built_in_prices())), scrubber, settings.shared_text_length)


def switch_or_callback(redact: Redact | bool | str | None) -> tuple[bool | str | None, Redact | None]:
    """What an argument `redact` is: the setting of that name, as a YAML file gives it too, or a user's callback."""
    return (None, redact) if callable(redact) else (redact, None)


def _or_built_in(read: Callable[[str], Any], path: str | None, built_in: Any) -> Any:
    if not path:
        return built_in
    try:
        return read(path)
    except ConfigurationError as error:
        say(logging.ERROR, str(error))
        return built_in
