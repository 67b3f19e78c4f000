"""What of the inputs and outputs is recorded, and how much: settings from the environment and from code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from .guard import guarded, tell, warn
from .redaction import Redactor


class CaptureSettings(NamedTuple):
    """The settings in force. Lengths are in characters of the recorded text."""

    inputs: bool = True
    """Record arguments. `EVENT_CAPTURE_INPUTS`."""
    outputs: bool = True
    """Record results and yielded items. `EVENT_CAPTURE_OUTPUTS`."""
    max_length: int = 16_384
    """Longest recorded input or output in all. `EVENT_CAPTURE_MAX_LENGTH`."""
    max_string: int = 16_384
    """Longest string inside it."""
    max_items: int = 100
    """Most items of one list or mapping."""
    max_depth: int = 8
    """Deepest nesting."""
    redactor: Redactor = Redactor()
    """Built-in secrets and those of `EVENT_REDACT_KEYS` and `EVENT_REDACT_PATTERNS`."""


_LEAST = {"max_length": 64, "max_string": 16, "max_items": 1, "max_depth": 1}
_MOST = {"max_length": 10_000_000, "max_string": 10_000_000, "max_items": 100_000, "max_depth": 64}

_BETWEEN_PATTERNS = r"\n|\|\|"
_settings: CaptureSettings | None = None
_redact_keys: tuple[str, ...] = ()
_redact_patterns: tuple[re.Pattern[str], ...] = ()


def settings() -> CaptureSettings:
    """The settings in force; the environment is read once, at the first use."""
    global _settings
    if _settings is None:
        _settings = _from_environment()
    return _settings


@guarded(None)
def configure_capture(
    *,
    inputs: bool | None = None,
    outputs: bool | None = None,
    max_length: int | None = None,
    max_string: int | None = None,
    max_items: int | None = None,
    max_depth: int | None = None,
    redact_keys: Iterable[str] | None = None,
    redact_patterns: Iterable[str] | None = None,
) -> None:
    """Change what is recorded, for the whole process and from now on; what is not named stays as it is.

    `inputs` and `outputs` are what blocks do that were not given `capture_input` or `capture_output`; what is neither
    True nor False is False, and one warning.
    Lengths are in characters. `redact_keys` and `redact_patterns` (regular expressions) replace those of
    `EVENT_REDACT_KEYS` and `EVENT_REDACT_PATTERNS`; the built-in ones always hold. A value that cannot be
    used is one warning and is left out; nothing is raised.
    """
    global _settings, _redact_keys, _redact_patterns
    changed: dict[str, Any] = {}
    for name, switch in (("inputs", inputs), ("outputs", outputs)):
        if switch is not None:
            changed[name] = is_on(name, switch)
    limits = {
        "max_length": max_length,
        "max_string": max_string,
        "max_items": max_items,
        "max_depth": max_depth,
    }
    for name, limit in limits.items():
        if limit is not None and _usable_limit(name, name, limit):
            changed[name] = int(limit)
    now = settings()
    if redact_keys is not None:
        _redact_keys = _texts(redact_keys, ",", "redact_keys")
    if redact_patterns is not None:
        _redact_patterns = _compile(_texts(redact_patterns, _BETWEEN_PATTERNS, "redact_patterns"), "redact_patterns")
    if redact_keys is not None or redact_patterns is not None:
        changed["redactor"] = Redactor(_redact_keys, _redact_patterns, is_on=_is_redacting())
    _settings = now._replace(**changed)


def reload_settings() -> None:
    """Forget `configure_capture()` and read the environment again at the next use."""
    global _settings
    _settings = None


def _from_environment() -> CaptureSettings:
    global _redact_keys, _redact_patterns
    keys, patterns = "EVENT_REDACT_KEYS", "EVENT_REDACT_PATTERNS"
    _redact_keys = _texts(os.environ.get(keys, ""), ",", keys)
    _redact_patterns = _compile(_texts(os.environ.get(patterns, ""), _BETWEEN_PATTERNS, patterns), patterns)
    default = CaptureSettings()
    length = default.max_length
    text = os.environ.get("EVENT_CAPTURE_MAX_LENGTH", "").strip()
    if text:
        wanted: object = int(text) if re.fullmatch("[0-9]{1,12}", text) else text
        if _usable_limit("EVENT_CAPTURE_MAX_LENGTH", "max_length", wanted):
            length = int(text)
    return CaptureSettings(
        inputs=_switch("EVENT_CAPTURE_INPUTS"),
        outputs=_switch("EVENT_CAPTURE_OUTPUTS"),
        max_length=length,
        redactor=Redactor(_redact_keys, _redact_patterns, is_on=_is_redacting()),
    )


def _is_redacting() -> bool:
    text = os.environ.get("EVENT_REDACT", "").strip().lower()
    if text in {"false", "0", "no", "off"}:
        return False
    if text not in {"", "true", "1", "yes", "on"}:
        warn("EVENT_REDACT=%r is neither true nor false; true is used", text)
    return True


def _switch(variable: str) -> bool:
    text = os.environ.get(variable, "").strip().lower()
    if text in {"", "true", "1", "yes", "on"}:
        return True
    if text not in {"false", "0", "no", "off"}:
        # Somebody meant to say something about content, so the careful reading wins.
        warn("%s=%r is neither true nor false; false is used", variable, text)
    return False


def is_on(name: str, switch: object) -> bool:
    """What a switch says that was set in code; as in the environment, the careful reading wins."""
    if issubclass(type(switch), int):
        return switch != 0
    tell(f"{name}=<{type(switch).__name__:.64}> is neither True nor False; False is used")
    return False


def _usable_limit(shown: str, name: str, value: object) -> bool:
    least, most = _LEAST[name], _MOST[name]
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return True
    warn("%s=%r is left out: it must be a whole number from %d to %d", shown, value, least, most)
    return False


def _texts(given: str | Iterable[str], separator: str, shown: str) -> tuple[str, ...]:
    """Texts that are not empty; of one text its parts, by a regular expression for what is between them."""
    found = []
    for text in re.split(separator, given) if isinstance(given, str) else given:
        if isinstance(text, str):
            found.append(text.strip())
        else:
            warn("%s=<%s> is left out; allowed are texts", shown, type(text).__name__)
    return tuple(filter(None, found))


def _compile(patterns: Iterable[str], shown: str) -> tuple[re.Pattern[str], ...]:
    tried = [_compile_one(pattern, shown) for pattern in patterns]
    return tuple(pattern for pattern in tried if pattern is not None)


def _compile_one(pattern: str, shown: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        warn("%s: %r is left out, it is not a regular expression: %s", shown, pattern, error)
        return None
