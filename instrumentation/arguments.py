"""The arguments of a recorded call, by the names of their parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from . import attributes as names
from .blocks import Block
from .encoding import json_text
from .guard import guarded


class Inputs:
    """The names of a function's parameters, found once, to give arguments their names at each call."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._names: list[str] = []
        self._rest = "args"
        self._drop_first = False
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            return  # some built-in functions have none
        self._names = [p.name for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
        self._rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "args")
        qualified = getattr(function, "__qualname__", "").rpartition("<locals>.")[2]
        # A method is still a plain function while its class is made; its name says where it is defined.
        self._drop_first = "." in qualified and self._names[:1] in (["self"], ["cls"], ["mcs"], ["mcls"])

    @guarded(None)
    def record(self, block: Block, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Write the arguments onto the block, without `self` and `cls`."""
        text = self._text(args, kwargs)
        if text is not None:
            block.span.set_attribute(names.INPUT_VALUE, text)

    def _text(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        given: dict[str, Any] = dict(zip(self._names, args, strict=False))
        if self._drop_first and args:
            del given[self._names[0]]
        if len(args) > len(self._names):
            given[self._rest] = args[len(self._names) :]
        if kwargs and not given.keys().isdisjoint(kwargs):  # (a, /, **rest) takes an a of either kind
            kwargs = {f"{name}'" if name in given else name: value for name, value in kwargs.items()}
        given.update(kwargs)
        return json_text(given) if given else None
