"""What must not be shared with a forked child: locks that another thread held, connections, files, threads."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["in_child", "keep"]

_methods: list[weakref.WeakMethod[Callable[[], None]]] = []
_kept: list[Any] = []


def in_child(method: Callable[[], None]) -> None:
    """Have a bound method called in every forked child, as long as its object lives; the oldest first."""
    _methods[:] = [reference for reference in _methods if reference() is not None]
    _methods.append(weakref.WeakMethod(method))


def keep(thing: Any) -> None:
    """Never destroy what belongs to the parent: its destructor would talk to the parent's server."""
    _kept.append(thing)


def _run() -> None:
    for reference in tuple(_methods):  # starting anew adds to it
        if (method := reference()) is not None:
            method()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_run)
