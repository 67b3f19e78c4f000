"""What is stored, on its way to a terminal: nothing in it may steer one."""

from __future__ import annotations

__all__ = ["harmless"]


def harmless(value: object) -> str:
    """A text as it is, but for characters that are not for show: controls, escapes, surrogates, line ends."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
