"""Functions that the configuration names, for `instrumentation` to record: in pyproject.toml

    [tool.otel_pg.capture]
    tasks = ["myapp.jobs:*"]
    agents = ["myapp.agents:*.run"]

or in `EVENT_CAPTURE_TASKS`, `_AGENTS`, `_ACTIONS` and `_DEPLOYMENTS`, separated by commas, each of which wins over
its key. The file is `EVENT_CAPTURE_FILE`, else the nearest pyproject.toml from the working folder up that
has the table.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Mapping
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..host.diagnostics import say
from ..host.optional import optional

__all__ = ["FILE", "KINDS", "capture_file", "capture_named", "named_functions"]

FILE = "EVENT_CAPTURE_FILE"
KINDS = {
    "tasks": "EVENT_CAPTURE_TASKS",
    "agents": "EVENT_CAPTURE_AGENTS",
    "actions": "EVENT_CAPTURE_ACTIONS",
    "deployments": "EVENT_CAPTURE_DEPLOYMENTS",
}
"""Key of the table → the variable that wins over it."""
_TABLES = ("capture", "routing")
_PARENT = "_OTEL_PG_PARENT"
_REPORT_SECONDS = 30.0
"""By then a program that runs for long has imported what it imports."""
_VALUED_OPTIONS = {"-W", "-X", "--check-hash-based-pycs"}


def capture_named() -> None:
    """Have `instrumentation` record what the configuration names, and report what it names in vain.

    Raises:
        ConfigurationError: a value is not allowed.
        ImportError: wrapt, or what reads pyproject.toml, is not installed.
    """
    is_first = _PARENT not in os.environ
    os.environ.setdefault(_PARENT, str(os.getpid()))
    named = named_functions(os.environ)
    if not any(named.values()):
        return
    if (file := capture_file(os.environ)) is not None:
        os.environ[FILE] = str(file)  # children may run in another folder
    if foreign := _foreign_instrumentation():
        say(
            logging.ERROR,
            f"named functions are not recorded: the program has an 'instrumentation' of its own: {foreign}",
        )
        return
    optional("wrapt", extra="auto")  # what `instrumentation` patches with; it knows no extras
    patches: Any = import_module("instrumentation.patches")
    try:
        patches.instrument(**named)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    if is_first:
        _report_later(patches.report_unmatched)


def named_functions(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """Kind → patterns.

    Raises:
        ConfigurationError: the file cannot be read, or holds what is not allowed.
    """
    file = capture_file(environ)
    table = _table(file) if file else {}
    named = {}
    for kind, variable in KINDS.items():
        given = environ.get(variable, "")
        named[kind] = [text.strip() for text in given.split(",") if text.strip()] if given else table.get(kind, [])
    return named


def capture_file(environ: Mapping[str, str]) -> Path | None:
    """The file that names functions; None if there is none."""
    if given := environ.get(FILE):
        return Path(given)
    here = Path(_working_folder() or os.sep)
    for folder in (here, *here.parents):
        file = folder / "pyproject.toml"
        try:
            if "otel_pg" in file.read_text("utf-8") and _table(file):
                return file
        except (OSError, UnicodeDecodeError):
            continue
    return None


def _table(file: Path) -> dict[str, list[str]]:
    try:
        toml: Any = import_module("tomllib")
    except ImportError:  # Python 3.10
        toml = optional("tomli", extra="auto")
    try:
        tables = toml.loads(file.read_text("utf-8")).get("tool", {}).get("otel_pg", {})
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from None
    if unknown := [key for key in tables if key not in _TABLES]:
        raise ConfigurationError(f"{file}: tool.otel_pg.{unknown[0]} is not known; known are {', '.join(_TABLES)}")
    found = tables.get("capture", {})
    if not isinstance(found, dict) or (unknown := [key for key in found if key not in KINDS]):
        name = f"capture.{unknown[0]}" if isinstance(found, dict) else "capture"
        raise ConfigurationError(f"{file}: tool.otel_pg.{name} is not known; known are {', '.join(KINDS)}")
    for key, value in found.items():
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise ConfigurationError(
                f"{file}: tool.otel_pg.capture.{key}={value!r:.60} is not allowed; allowed is a list of patterns"
            )
    return found


def _foreign_instrumentation() -> str | None:
    """Where the program's own module of that name is: loading ours would hide it."""
    ours = Path(__file__).resolve().parents[2] / "instrumentation" / "__init__.py"
    loaded = sys.modules.get("instrumentation")
    origin = getattr(loaded, "__file__", None)
    if loaded is None:
        # the folder of the script is put first on sys.path only after this
        folders = filter(None, (_script_folder(sys.orig_argv), _working_folder()))
        spec = PathFinder.find_spec("instrumentation", [*folders, *sys.path])
        origin = spec.origin if spec else None
    return None if origin and Path(origin).resolve() == ours else str(origin)


def _working_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it is gone
        return None


def _script_folder(command: list[str]) -> str | None:
    """The folder of the script in a command line; the working folder for -c and -m."""
    rest = iter(command[1:])
    for argument in rest:
        if argument in _VALUED_OPTIONS:
            next(rest, None)
        elif not argument.startswith("-"):
            here = _working_folder()
            return str(Path(here, argument).resolve().parent) if here else os.path.dirname(argument)
        elif argument[1:2] in {"c", "m"}:
            break
    return _working_folder()


def _report_later(report: Any) -> None:
    """Once, after a while or at the end; not in a child of a fork."""
    process, once = os.getpid(), threading.Lock()

    def tell() -> None:
        if os.getpid() == process and once.acquire(blocking=False):
            timer.cancel()
            atexit.unregister(tell)
            report()

    timer = threading.Timer(_REPORT_SECONDS, tell)
    timer.daemon = True
    timer.start()
    atexit.register(tell)
