"""Which functions a pattern names: `myapp.jobs:*`, `myapp.**:Worker.run`, `shop.tasks:import_[a-m]*`."""

from __future__ import annotations

import itertools
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from importlib.machinery import PathFinder

_WILD = set("*?[")
_EXAMPLES = "module:function or module:Class.method, where * and ? match within a part and ** any number of parts"


class Pattern:
    """A pattern `module:path`, matched part by part.

    A part that begins with an underscore is matched only by one that is written with it. `**` stands for any
    number of public parts, also none.

    Raises:
        ValueError: it is no pattern; the message says what is allowed.
    """

    def __init__(self, text: str) -> None:
        module, colon, path = text.strip().partition(":") if isinstance(text, str) else ("", "", "")
        self.module, self.path = tuple(module.split(".")), tuple(path.split("."))
        if not colon or "" in self.module + self.path or any(part.isspace() for part in self.module + self.path):
            raise ValueError(f"pattern {text!r:.100} is not allowed; allowed is {_EXAMPLES}")
        self.text = text.strip()

    def fits_module(self, name: str) -> bool:
        """Whether functions of a module may be meant."""
        return _fits(self.module, tuple(name.split(".")))

    def fits_path(self, path: tuple[str, ...]) -> bool:
        """Whether a function is meant, by its names from the module down: ("Worker", "run")."""
        return _fits(self.path, path)

    def has_module(self) -> bool:
        """Whether a module that fits could be imported; looked up on sys.path, nothing is imported."""
        literal = list(itertools.takewhile(lambda part: not _WILD & set(part), self.module))
        if not literal:
            return any(self._is_below(sys.path, ""))
        places: Sequence[str] | None = sys.path
        for depth in range(len(literal)):
            spec = PathFinder.find_spec(".".join(literal[: depth + 1]), places) if places is not None else None
            if spec is None:
                return False
            places = spec.submodule_search_locations
        name = ".".join(literal)
        return self.fits_module(name) or any(self._is_below(places or (), f"{name}."))

    def _is_below(self, places: Sequence[str], prefix: str) -> Iterator[bool]:
        for found in pkgutil.iter_modules(list(places), prefix):
            yield self.fits_module(found.name)
            if found.ispkg and ("**" in self.module or len(self.module) > found.name.count(".") + 1):
                spec = PathFinder.find_spec(found.name, list(places))
                if spec is not None and spec.submodule_search_locations:
                    yield from self._is_below(spec.submodule_search_locations, f"{found.name}.")

    @property
    def is_plain(self) -> bool:
        """Whether it names one function, letter by letter."""
        return not _WILD & set(self.text)


def _fits(parts: tuple[str, ...], names: tuple[str, ...]) -> bool:
    if not parts:
        return not names
    if parts[0] == "**":
        if _fits(parts[1:], names):
            return True
        return bool(names) and not names[0].startswith("_") and _fits(parts, names[1:])
    if not names or (names[0].startswith("_") and not parts[0].startswith("_")):
        return False
    return fnmatchcase(names[0], parts[0]) and _fits(parts[1:], names[1:])
