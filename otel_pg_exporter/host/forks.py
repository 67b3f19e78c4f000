"""What must not be shared with a forked child: locks that another thread held, connections, files, threads.

Python tells of a fork, except where a server in C forked by itself (uWSGI): whoever is called for each record
or batch asks `notice()`, which compares process ids. Of gevent's `patch_all()` nobody tells either: whoever is about
to start a thread for good asks `can_start_threads()`.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = ["Guard", "are_greenlets", "can_start_threads", "in_child", "keep", "notice"]

_numbers = itertools.count()
_methods: dict[int, tuple[weakref.ref[Any], Callable[[Any], None]]] = {}
_kept: list[Any] = []
_pid = os.getpid()
_make_lock = threading.Lock
_THREADS = "otel-pg-"
"""How the names of our threads begin."""


def in_child(method: Callable[[], None]) -> None:
    """Have a bound method called in every forked child, as long as its object lives; the oldest first."""
    # each step is one that no other thread can come between: several register and forget at once
    number, forget = next(_numbers), _methods.pop
    bound: Any = method
    _methods[number] = weakref.ref(bound.__self__, lambda _: forget(number, None)), bound.__func__


def keep(thing: Any) -> None:
    """Never destroy what belongs to the parent: its destructor would talk to the parent's server."""
    _kept.append(thing)


def notice() -> None:
    """Begin anew if this process was forked without Python's knowledge."""
    if _pid != os.getpid():
        _run()


def can_start_threads() -> bool:
    """Whether a thread that is started here will run; asked before one is.

    Not in a thread of gevent's pool: what is a greenlet there runs only while that thread waits in gevent. And if
    gevent has put its own in place of threads and locks since ours were made, and none is in use yet, all begin anew:
    a greenlet that waits for a lock of before stops all others, and so the one that holds it. Programs that are
    recorded from outside call `patch_all()` when we are there already, and gunicorn's workers after the fork.
    """
    global _make_lock
    if threading.Lock is not _make_lock:
        _make_lock = threading.Lock
        if not any(thread.name.startswith(_THREADS) for thread in threading.enumerate()):
            _run()
    return not are_greenlets() or bool(sys.modules["gevent"].get_hub().main_hub)


def are_greenlets() -> bool:
    """Whether threads are greenlets of gevent's, and their numbers not those of the system."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


class Guard:
    """A lock that is free in a forked child, even if another thread held it at the fork.

    Reentrant: a signal handler or a destructor may come between the lines that hold it, in the same thread.
    """

    def __init__(self) -> None:
        self._renew()
        in_child(self._renew)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.release()

    def _renew(self) -> None:
        self._lock = threading.RLock()


def _run() -> None:
    global _pid
    _pid = os.getpid()
    for reference, method in tuple(_methods.values()):  # starting anew adds to it
        if (thing := reference()) is not None:
            try:
                method(thing)
            except Exception:  # the others must still begin anew
                sys.excepthook(*sys.exc_info())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_run)
