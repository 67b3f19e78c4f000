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
    package = name.partition(".")[0]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in {name, package}:
            raise  # it is there, and lacks something itself
        wanted = f"'otel-pg-exporter[{extra}]'" if extra else package
        said = f"this needs {package}, which is not installed. Run: pip install {wanted}"
        raise ImportError(said, name=name) from error
