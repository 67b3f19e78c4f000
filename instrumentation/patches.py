"""Functions that are recorded because a pattern names them, in code that is left as it is.

    from instrumentation import instrument, uninstrument

    instrument(tasks=["myapp.jobs:*"], agents=["myapp.agents:*.run"])
    ...
    uninstrument()

Modules are patched when they have been imported (wrapt's post-import hooks), those that are imported already
at once, and names under which other modules hold the functions as well.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from . import attributes as names
from .events import event
from .functions import is_recorded
from .guard import guarded, report, warn
from .kinds import action, agent, deployment, task
from .patterns import Pattern

_KINDS: Mapping[str, Callable[[str], Any]] = {
    "tasks": task,
    "agents": agent,
    "actions": action,
    "deployments": deployment,
}
_CACHED = type(functools.lru_cache(lambda: None))


@dataclass
class Wish:
    """A pattern, and what became of it."""

    kind: str
    pattern: Pattern
    functions: int = 0
    """Functions found so far."""
    problem: str | None = None
    """Why what it names in a module that was imported is not recorded; None if none was."""

    def __str__(self) -> str:
        return f"{self.kind} {self.pattern.text}"


@dataclass
class _Patch:
    owner: Any
    name: str
    before: Any
    after: Any


def instrument(
    *,
    tasks: Iterable[str] = (),
    agents: Iterable[str] = (),
    actions: Iterable[str] = (),
    deployments: Iterable[str] = (),
) -> None:
    """Record the functions that the patterns name, as if decorated; adds to what was named before.

    A pattern is `module:function` or `module:Class.method`; `*` and `?` match within a part, `**` any number of
    parts. Names that begin with an underscore are matched only when they are written out. Functions that a
    module has imported from elsewhere, or that are decorated already, are left alone; what several patterns
    name is the first of task, agent, action and deployment. Functions of the script that is run itself
    (`__main__`) cannot be named.

    Raises:
        ValueError: what is no pattern.
        ImportError: wrapt is not installed.
    """
    given = {"tasks": tasks, "agents": agents, "actions": actions, "deployments": deployments}
    for kind, texts in given.items():
        if isinstance(texts, str):
            raise ValueError(f"{kind}={texts!r:.60} is not allowed; allowed is a list of patterns")
    wishes = [Wish(kind, Pattern(text)) for kind, texts in given.items() for text in texts]
    _patches.add(wishes)


def uninstrument() -> None:
    """Put every function back as it was, and forget the patterns."""
    _patches.remove()


def unmatched() -> list[Wish]:
    """The patterns that have matched nothing so far, beside those of modules that are there and not imported yet."""
    return [wish for wish in _patches.wishes if not wish.functions and _absence(wish)]


def report_unmatched() -> None:
    """Say in the log which patterns have matched nothing, and send an event that says so. Never raises."""
    missing = unmatched()
    for wish in missing:
        warn("capture: nothing is recorded for %s: %s", wish, _absence(wish))
    _send(
        "otel_pg.capture.report",
        severity="warn" if missing else "info",
        attributes={
            names.CAPTURE_UNMATCHED: [str(wish) for wish in missing],
            names.CAPTURE_BEGUN: _patches.begun_unix_nano,
        },
    )


def _absence(wish: Wish) -> str | None:
    if wish.problem and not wish.pattern.fits_module("__main__"):
        return wish.problem
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    # when a program ends, its __file__ is gone from Python 3.14 on
    name = spec.name if spec else Path(sys.argv[0]).stem if sys.argv else ""
    if any(map(wish.pattern.fits_module, (name, "__main__"))):
        return "that is the program itself, run as __main__; move its functions into a module, or decorate them"
    return None if wish.pattern.has_module() else "there is no such module"


def _send(name: str, **given: Any) -> None:
    event(name, category="system", event_type="capture", **given)


class _Patches:
    """What is patched in this process."""

    def __init__(self) -> None:
        self.wishes: list[Wish] = []
        self.begun_unix_nano = 0
        self._lock = threading.RLock()
        self._done: list[_Patch] = []
        self._finder: _Finder | None = None

    def add(self, wishes: list[Wish]) -> None:
        with self._lock:
            self.begun_unix_nano = self.begun_unix_nano or time.time_ns()
            known = {str(wish) for wish in self.wishes}
            new = [wish for wish in wishes if str(wish) not in known]
            if not new:
                return
            if self._finder is None:
                self._finder = _Finder(self)
                self._finder.install()
            self.wishes = sorted([*self.wishes, *new], key=lambda wish: [*_KINDS].index(wish.kind))
            for name, module in [*sys.modules.items()]:
                if isinstance(module, ModuleType) and any(wish.pattern.fits_module(name) for wish in new):
                    self.patch(name, module)

    def remove(self) -> None:
        with self._lock:
            if self._finder is not None:
                self._finder.take_out()
                self._finder = None
            for patch in reversed(self._done):
                if vars(patch.owner).get(patch.name) is patch.after:
                    setattr(patch.owner, patch.name, patch.before)
            self._exchange({id(patch.after): patch.before for patch in self._done})
            self._done, self.wishes, self.begun_unix_nano = [], [], 0

    def wants(self, name: str) -> bool:
        """Whether a module must be looked at when it is there."""
        return any(wish.pattern.fits_module(name) for wish in self.wishes)

    @guarded(None)
    def patch(self, name: str, module: ModuleType) -> None:
        """Patch what the patterns name in a module."""
        with self._lock:
            wishes = [wish for wish in self.wishes if wish.pattern.fits_module(name)]
            had = [wish for wish in wishes if wish.functions]
            begin = len(self._done)
            made: dict[int, Any] = {}
            for owner, path, raw in [*_members(module, module.__name__, ())]:
                meant = [wish for wish in wishes if wish.pattern.fits_path(path)]
                # a name that is written out may stand for what a pattern may not
                if any(self._fulfil(wish, module, owner, path, raw, made) for wish in meant):
                    for wish in meant:
                        wish.functions += 1
            self._exchange({id(patch.before): patch.after for patch in self._done[begin:]})
            for wish in wishes:
                if wish.functions and wish not in had:
                    _send("otel_pg.capture.matched", attributes={names.CAPTURE_PATTERN: str(wish)})
                elif not wish.functions and wish.problem is None:
                    wish.problem = _absence_in(module, name, wish.pattern)

    def _fulfil(
        self, wish: Wish, module: ModuleType, owner: Any, path: tuple[str, ...], raw: Any, made: dict[int, Any]
    ) -> bool:
        """Have a function recorded; False if it cannot be."""
        function = raw.__func__ if type(raw) in (staticmethod, classmethod) else raw
        if is_recorded(function):
            return True
        if problem := _problem(function, module, wish.pattern):
            wish.problem = f"{'.'.join(path)} in {module.__name__} {problem}"
            return False
        try:
            # two names for one function get one wrapper
            after = made.get(id(raw)) or _KINDS[wish.kind](".".join(path))(raw)
            setattr(owner, path[-1], after)
        except Exception as error:
            wish.problem = f"{'.'.join(path)} cannot be replaced: {type(error).__name__}"
            report(f"capture of {module.__name__}:{'.'.join(path)}", error)
            return False
        made[id(raw)] = after
        self._done.append(_Patch(owner, path[-1], raw, after))
        return True

    @staticmethod
    def _exchange(replacements: Mapping[int, Any]) -> None:
        """Replace functions, by identity, in the modules that hold them under names of their own."""
        if not replacements:
            return
        for module in [*sys.modules.values()]:
            if type(module) is not ModuleType:  # a lazy module would be loaded by a look into it
                continue
            for name, value in [*vars(module).items()]:
                if id(value) in replacements:
                    setattr(module, name, replacements[id(value)])


def _members(owner: Any, module: str, path: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...], Any]]:
    """(owner, path, value) of what a module and its own classes hold, the classes themselves left out."""
    for name, value in [*vars(owner).items()]:
        # type(), because a proxy's __class__ would make the thing that it stands for
        if not issubclass(type(value), type):
            yield owner, (*path, name), value
        elif value.__module__ == module and value.__qualname__ == ".".join((*path, name)):
            yield from _members(value, module, (*path, name))


def _problem(function: Any, module: ModuleType, pattern: Pattern) -> str | None:
    """Why this is not to be recorded; None if it is."""
    if type(function) not in (FunctionType, _CACHED):
        return f"is a {type(function).__name__}, not a function"
    is_local = "<locals>" in getattr(function, "__qualname__", "")
    if function.__module__ != module.__name__ and not (pattern.is_plain and is_local):
        return f"comes from {function.__module__}: name it there"
    return None


def _absence_in(module: ModuleType, name: str, pattern: Pattern) -> str:
    """Why a module has no function that is named."""
    found: Any = module
    for part in pattern.path if pattern.is_plain else ():
        found = vars(found).get(part) if issubclass(type(found), (type, ModuleType)) else None
    if issubclass(type(found), type):
        return f"{'.'.join(pattern.path)} in {name} is a class: name its methods, as in {pattern.text}.*"
    return f"module {name} has no such function"


class _Finder:
    """Learns first that a module is about to be imported, and has wrapt say when it has been."""

    def __init__(self, patches: _Patches) -> None:
        self._patches = patches
        self._announced: set[str] = set()

    def install(self) -> None:
        from wrapt import register_post_import_hook

        register_post_import_hook(lambda module: None, "sys")  # puts wrapt's finder in place: ours must be before it
        self._register = register_post_import_hook
        sys.meta_path.insert(0, self)

    def take_out(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """None: others find the module."""
        if name not in self._announced and self._patches.wants(name):
            self._announced.add(name)
            self._register(self._imported, name)

    def _imported(self, module: ModuleType) -> None:
        self._announced.discard(module.__name__)
        self._patches.patch(module.__name__, module)


_patches = _Patches()
