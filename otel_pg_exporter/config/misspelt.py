"""Environment variables that look like one of ours, and are none: what they were to change stays as it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from ..host.diagnostics import warn

__all__ = ["tell"]

_OURS = "OTEL_EXPORTER_POSTGRES"
_PREFIXES = (_OURS, "EVENT_", "POSTGRES_")
"""The first is ours alone; of the others somebody else may have variables."""
_CAPTURE = (
    "EVENT_CAPTURE_INPUTS", "EVENT_CAPTURE_OUTPUTS", "EVENT_CAPTURE_MAX_LENGTH", "EVENT_CAPTURE_TASKS",
    "EVENT_CAPTURE_AGENTS", "EVENT_CAPTURE_ACTIONS", "EVENT_CAPTURE_DEPLOYMENTS", "EVENT_CAPTURE_FILE",
)  # fmt: skip
"""What is read where records are made."""
_LIKENESS = 0.87
"""From here on a name is taken for another: POSTGRES_PASS is, POSTGRES_DB of the Docker image is not."""


def tell(environ: Mapping[str, str], names: Collection[str]) -> None:
    """Warn of each variable that is not one of these names, nor one of `instrumentation`, but almost."""
    known = {*names, *_CAPTURE}
    for name in sorted(environ):
        if name in known or not name.startswith(_PREFIXES):
            continue
        # what is set is not what was meant; that there are two of a kind may be meant
        meant = get_close_matches(name, [one for one in known if not environ.get(one)], n=1, cutoff=_LIKENESS)
        if meant:
            warn(f"the environment variable {name} is not known, and does nothing: did you mean {meant[0]}?")
        elif name.startswith(_OURS):
            warn(f"the environment variable {name} is not known, and does nothing")
