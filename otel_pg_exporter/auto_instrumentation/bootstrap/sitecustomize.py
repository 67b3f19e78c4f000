"""Runs at the start of every Python program that `otel-pg run` starts, and of its children.

Python runs only the first sitecustomize that it finds: this one runs the one that it hides. Alone in its
folder, because that folder is on PYTHONPATH. Nothing that goes wrong in here stops the program.
"""

import os
import sys

TYPE_CHECKING = False  # typing itself is not worth its time in every child
if TYPE_CHECKING:
    from collections.abc import Callable

_HERE = os.path.dirname(os.path.realpath(__file__))
_PARENT = "_OTEL_PG_PARENT"
_IS_FIRST = _PARENT not in os.environ  # a child that cannot be recorded is silent about it


def _is_here(folder: str) -> bool:
    return os.path.realpath(folder or os.curdir) == _HERE


def _guarded(what: str, step: "Callable[[], None]") -> None:
    try:
        step()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit would end the program before it began
        if _IS_FIRST:
            text = " ".join(str(error).split())
            sys.stderr.write(f"otel-pg: {what} failed, the program goes on: {type(error).__name__}: {text}\n")


def _run_hidden() -> None:
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        sys.modules["sitecustomize"] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


def _start() -> None:
    from otel_pg_exporter.auto_instrumentation.autostart import start

    start()


def _begin() -> None:
    before = os.environ.get("PYTHONPATH")
    # a process that the start itself starts must not start the same again
    others = [folder for folder in (before or "").split(os.pathsep) if folder and not _is_here(folder)]
    if before is not None:
        os.environ["PYTHONPATH"] = os.pathsep.join(others)
    sys.path[:] = [folder for folder in sys.path if not _is_here(folder)]
    try:
        _guarded("the sitecustomize that it hides", _run_hidden)
        _guarded("the start", _start)
    finally:
        os.environ.setdefault(_PARENT, str(os.getpid()))
        if before is not None:
            os.environ["PYTHONPATH"] = before


_begin()
