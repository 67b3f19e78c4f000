"""What a later `configure()` asks of what is set up already: what still has an effect, and what is only told."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..config import Settings
from ..encoding.scrubbing import Redact
from ..encoding.treatment import Treatment
from ..host.diagnostics import say

__all__ = ["hear", "tell_of_changes"]


def tell_of_changes(standing: Settings, later: Settings) -> None:
    """Say which settings come too late."""
    if changed := standing.differences(later):
        say(
            logging.WARNING,
            "the same tables were set up before, by configure() or from outside: these settings have no effect any"
            f" more: {', '.join(changed)}. Give them to the first call, or in the environment",
        )


def hear(redact: Redact | None, treatments: Iterable[Treatment]) -> None:
    """Have a callback asked of all that is stored from now on, and say so where another one is asked already."""
    if redact is not None and sum(not treatment.scrubber.ask(redact) for treatment in treatments):
        say(
            logging.WARNING,
            "the same tables were set up before, by configure() or from outside, with another redact: that one holds",
        )
