"""The end of a process, whichever way Python takes to it.

Most processes end by the interpreter's exit handlers. Children of multiprocessing leave by `os._exit`, past
those handlers, but run finalizers of multiprocessing; worker processes of Celery run neither, but send a signal
of Celery's. Neither is imported here: what is there already is told.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - it ends its workers in the same way as `settle`, and must come after
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

from . import forks
from .diagnostics import say

__all__ = ["flush", "register", "run", "unregister"]

_EXIT_SECONDS = 4.5  # for all handlers together
_SETTLE_SECONDS = 1.5  # of these, before the interpreter's exit handlers
_LEAST_SECONDS = 0.1
_LAST = -100  # of multiprocessing's finalizers: pools and queues have closed

Handler = Callable[[float], object]


class _Exit:
    """The handlers of this process."""

    def __init__(self) -> None:
        self.handlers: dict[Handler, Handler] = {}
        """What ends → what flushes."""
        self._is_told: set[str] = set()
        self._start_anew()
        forks.in_child(self._start_anew)
        with suppress(RuntimeError):  # the main thread has ended already
            # atexit's handlers run when no thread can be started any more
            getattr(threading, "_register_atexit", atexit.register)(self.settle)
        atexit.register(self.run)

    def watch(self) -> None:
        """Learn of other ends than the interpreter's, as far as what brings them about is there."""
        if (util := self._untold("multiprocessing.util")) is not None:
            # which a child of it runs when it begins, and then forgets all finalizers that it had before
            util.register_after_fork(self, _Exit._finalize)
            if util.process.parent_process() is not None:
                self._finalize()
        if (signals := self._untold("celery.signals")) is not None:
            signals.worker_process_shutdown.connect(self._of_celery, weak=False, dispatch_uid=__name__)

    def run(self) -> None:
        """Call the handlers, the last registered first; each gets what the others have left of the time."""
        # another thread may be at it: who comes second waits, for the process may end when this returns
        if not self._running.acquire(timeout=max(_LEAST_SECONDS, self._seconds_left)):
            return
        try:
            with _ctrl_c_put_off():
                while self.handlers:
                    handler, _ = self.handlers.popitem()
                    begun = monotonic()
                    self._call(handler, self._seconds_left)
                    self._seconds_left -= monotonic() - begun
        finally:
            self._running.release()

    def flush(self, limit: float = _EXIT_SECONDS) -> None:
        """Have everything stored that can be, and go on; the last registered first."""
        begun, seconds = monotonic(), min(limit, self._seconds_left)
        with _ctrl_c_put_off() as presses:
            for handler in reversed(tuple(self.handlers.values())):
                self._call(handler, begun + seconds - monotonic())
        if presses:
            raise KeyboardInterrupt

    def settle(self) -> None:
        """The main thread has ended: the last moment when threads can still be started."""
        begun = monotonic()
        try:
            self.flush(_SETTLE_SECONDS)
        except KeyboardInterrupt:
            if _threads_are_left():  # it is for Python's waiting for them, that comes next
                raise
        finally:
            self._seconds_left -= monotonic() - begun

    def _call(self, handler: Handler, seconds: float) -> None:
        try:
            handler(max(_LEAST_SECONDS, seconds))
        except Exception as error:  # the others have their turn
            say(logging.ERROR, f"a handler of the program's end failed: {type(error).__name__}: {error}")

    def _start_anew(self) -> None:
        self._seconds_left = _EXIT_SECONDS
        self._running = threading.Lock()
        self.watch()

    def _untold(self, name: str) -> Any:
        module = sys.modules.get(name)
        is_whole = module is not None and not getattr(module.__spec__, "_initializing", False)
        if not is_whole or name in self._is_told:
            return None
        self._is_told.add(name)
        return module

    def _finalize(self) -> None:
        from multiprocessing.util import Finalize

        # not `run`: threads of the child may still be at work, and are waited for after the finalizers
        Finalize(None, self.flush, exitpriority=_LAST)

    def _of_celery(self, **_: Any) -> None:
        self.flush()


@contextmanager
def _ctrl_c_put_off() -> Iterator[list[int]]:
    """Ctrl-C, pressed again since the program does not end at once, cuts short nothing here; gives how often it came.

    A handler of the program's own for it stays.
    """
    presses: list[int] = []
    is_ours = False
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with suppress(ValueError):  # in another thread than the main one, to which it does not come
            signal.signal(signal.SIGINT, lambda number, _: presses.append(number))
            is_ours = True
    try:
        yield presses
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _threads_are_left() -> bool:
    return any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())


def register(end: Handler, flush: Handler) -> None:
    """Have a function called when the process ends, the last registered first.

    Args:
        end: called once, with the seconds that it may take.
        flush: called with the same when the end is near, but the process may go on.
    """
    _exit.handlers.pop(end, None)
    _exit.handlers[end] = flush
    _exit.watch()


def unregister(end: Handler) -> None:
    """Do not call it after all."""
    _exit.handlers.pop(end, None)


def run() -> None:
    """The process ends now."""
    _exit.run()


def flush() -> None:
    """The process may end soon."""
    _exit.flush()


_exit = _Exit()
