"""The column cost of spans that bring none: which attributes say it, decided once for all spans of a shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..routing import Route
from .binary_copy import NULL, float8
from .flattened import part_of
from .pricing import Prices

__all__ = ["Costing", "costing"]

Costing: TypeAlias = Callable[[Mapping[str, Any], int], bytes]
"""Gives the encoded column for a record's attributes and its start, nanoseconds since 1970."""

_PRICED = frozenset({"llm", "embedding"})
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


def costing(routed: Route, sources: Mapping[str, str], prices: Prices) -> Costing | None:
    """How to tell what a span cost; None if it is no call of a model, or says neither model nor tokens.

    Agents and workflows have no cost of their own: they sum up the calls under them, which have theirs.
    """
    if routed.category != "agent" or routed.action not in _PRICED:
        return None
    if "model" not in sources or not ("input_tokens" in sources or "output_tokens" in sources):
        return None
    model, provider = sources["model"], sources.get("provider")
    tokens = [sources.get(column) for column in _TOKENS]
    counts_apart = (tokens[0] or "").startswith("mlflow.")

    def cost(attributes: Mapping[str, Any], time_ns: int) -> bytes:
        maker, name = _value(attributes, provider) if provider else None, _value(attributes, model)
        if type(name) is not str or (maker is not None and type(maker) is not str):
            return NULL
        price = prices.of(maker, name, time_ns)
        if price is None:
            return NULL
        given, written, read, cached, reasoned = [_count(attributes, source) for source in tokens]
        if counts_apart and maker == "anthropic":
            given += read + cached  # MLflow keeps Anthropic's numbers as they are
        return float8(price.cost((given, written, read, cached, reasoned)))

    return cost


def _value(attributes: Mapping[str, Any], source: str) -> Any:
    key, sign, name = source.partition("#")
    value = attributes[key]
    return part_of(value, name) if sign else value


def _count(attributes: Mapping[str, Any], source: str | None) -> int:
    value = source and _value(attributes, source)
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and value > 0 else 0
