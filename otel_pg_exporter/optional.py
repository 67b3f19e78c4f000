"""Libraries that only some callers have."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["optional"]


def optional(name: str, extra: str | None = None) -> Any:
    """The module of that name, which one of our extras may bring.

    Raises:
        ImportError: it is not installed; the message says how to get it.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise  # it is there, and lacks something itself
        wanted = f"'otel-pg-exporter[{extra}]'" if extra else name
        raise ImportError(f"this needs {name}, which is not installed. Run: pip install {wanted}", name=name) from error
