"""What calls of models cost, in USD: a table of prices, and which tokens are billed at which of them.

`prices.json` is the built-in table; entries of the file that `EVENT_PRICES_FILE` names come before it. A price
holds from its date on; a span pays what held when it began. What is not in the table has no cost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["Price", "Prices", "Usage", "built_in_prices", "read_prices"]

_BUILT_IN: Traversable = files(__package__) / "prices.json"
_RATES = ("input", "output", "cache_read", "cache_write", "reasoning")
_KNOWN = ("provider", "model", "from", *_RATES, "source", "note")
_MAX_MODELS = 4096
_PER = 1_000_000

Usage: TypeAlias = tuple[int, int, int, int, int]
"""Tokens: input, output, cache read, cache write, reasoning. Cached input is part of the input, and reasoning
part of the output, as OpenTelemetry, OpenAI and OpenInference count."""


@dataclass(frozen=True)
class Price:
    """What a model costs from a moment on."""

    providers: tuple[str, ...]
    """Globs, lower case."""
    model: str
    """Glob, lower case."""
    since: int
    """Nanoseconds since 1970."""
    input: float
    """USD for a million tokens, as all that follow."""
    output: float
    cache_read: float
    cache_write: float
    reasoning: float

    def cost(self, usage: Usage) -> float:
        """USD for a call."""
        given, written, read, cached, reasoned = usage
        # a convention that counts apart what others count in gives a part that is larger than the whole
        plain = given - read - cached if read + cached <= given else given
        spoken = written - reasoned if reasoned <= written else written
        return (
            plain * self.input
            + read * self.cache_read
            + cached * self.cache_write
            + spoken * self.output
            + reasoned * self.reasoning
        ) / _PER


class Prices:
    """Finds the price of a model; what was found once is remembered."""

    def __init__(self, table: Sequence[Price] = ()) -> None:
        self._table = tuple(table)
        self._known: dict[tuple[Any, Any], tuple[Price, ...]] = {}

    def of(self, provider: Any, model: Any, time_ns: int) -> Price | None:
        """The price that held at a moment; None if it is not known.

        Args:
            provider: as a span names it; None if it does not.
            model: as a span names it.
            time_ns: nanoseconds since 1970.
        """
        found = self._known.get((provider, model))
        if found is None:
            found = self._find(provider, model)
            if len(self._known) >= _MAX_MODELS:
                self._known.clear()
            self._known[provider, model] = found
        for price in found:
            if price.since <= time_ns:
                return price
        return None

    def _find(self, provider: Any, model: Any) -> tuple[Price, ...]:
        """The entries that fit, pattern by pattern, those of each the newest first."""
        if type(model) is not str:
            return ()
        name = model.lower().rpartition("/")[2]
        maker = provider.lower() if type(provider) is str else None
        fitting: dict[Any, list[Price]] = {}
        for price in self._table:
            is_its = maker is None or any(fnmatchcase(maker, glob) for glob in price.providers)
            if is_its and fnmatchcase(name, price.model):
                fitting.setdefault((price.providers, price.model), []).append(price)
        return tuple(price for prices in fitting.values() for price in sorted(prices, key=lambda price: -price.since))


@lru_cache(maxsize=1)
def built_in_prices() -> tuple[Price, ...]:
    """The table that comes with this library."""
    return read_prices(_BUILT_IN)


def read_prices(path: str | Path | Traversable) -> tuple[Price, ...]:
    """A table of prices from a JSON file.

    Raises:
        ConfigurationError: the file cannot be read or has an entry that is not allowed; the message names the
            file, the entry and what is allowed.
    """
    try:
        file = Path(path) if isinstance(path, str) else path
        entries = json.loads(file.read_text("utf-8"))["prices"]
        if not isinstance(entries, list):
            raise TypeError
    except OSError as error:
        raise ConfigurationError(f"the prices in {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(f"{path} holds no prices; allowed is JSON: " + '{"prices": [{…}, …]}') from None
    table = []
    for number, entry in enumerate(entries, 1):
        try:
            table.append(_price(entry))
        except ValueError as error:
            raise ConfigurationError(f"price {number} in {path}: {error}") from None
    return tuple(table)


def _price(entry: Any) -> Price:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{entry!r:.60} is not allowed; allowed is an object with {', '.join(_KNOWN)}")
    if unknown := sorted(set(entry) - set(_KNOWN)):
        raise ValueError(f"{unknown[0]!r} is unknown; allowed are {', '.join(_KNOWN)}")
    providers = entry.get("provider", "*")
    providers = [providers] if isinstance(providers, str) else providers
    if not isinstance(providers, list) or not all(type(name) is str and name for name in providers):
        raise ValueError(f"provider={providers!r:.60} is not allowed; allowed is a glob or a list of globs")
    model = entry.get("model")
    if type(model) is not str or not model:
        raise ValueError(f"model={model!r:.60} is not allowed; allowed is a glob such as 'gpt-4o-mini*'")
    rates = {name: _rate(name, entry.get(name)) for name in _RATES}
    if rates["input"] is None:
        raise ValueError("input is missing: USD for a million tokens")
    given, written = rates["input"], rates["output"] or 0.0
    return Price(
        providers=tuple(name.lower() for name in providers),
        model=model.lower(),
        since=_moment(entry.get("from", "1970-01-01")),
        input=given,
        output=written,
        cache_read=given if rates["cache_read"] is None else rates["cache_read"],
        cache_write=given if rates["cache_write"] is None else rates["cache_write"],
        reasoning=written if rates["reasoning"] is None else rates["reasoning"],
    )


def _rate(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value < 1e9:
        raise ValueError(f"{name}={value!r:.60} is not allowed; allowed are USD for a million tokens, 0 or more")
    return float(value)


def _moment(value: Any) -> int:
    try:
        day = date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"from={value!r:.60} is not allowed; allowed is a date such as '2025-06-10'") from None
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()) * 1_000_000_000
