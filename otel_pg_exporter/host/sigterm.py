"""SIGTERM, if `flush_on_sigterm` asks for it: what has ended is stored, then the signal does what it did before.

Python runs no exit handlers when SIGTERM kills a program. The handler here does its work in a thread and lets
the program go on meanwhile: the line that was interrupted may hold the very locks that storing needs.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

from . import exits, forks
from .diagnostics import say

__all__ = ["install"]


class _Handler:
    """What SIGTERM does in this process."""

    def __init__(self) -> None:
        self._previous: Any = signal.SIG_DFL
        self._start_anew()
        forks.in_child(self._start_anew)

    def _start_anew(self) -> None:
        self._thread: threading.Thread | None = None
        self._is_stored = False

    def install(self) -> None:
        current = signal.getsignal(signal.SIGTERM)
        if current in {self._handle, signal.SIG_IGN}:
            return
        if threading.current_thread() is not threading.main_thread() or current is None:
            is_python = current is not None  # SIG_DFL is 0
            reason = "configure() was not called in the main thread" if is_python else "its handler is not Python's"
            say(logging.WARNING, f"EVENT_FLUSH_ON_SIGTERM has no effect: {reason}")
            return
        self._previous = current
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._store, name="otel-pg-sigterm", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is ending, and its exit handlers store
                self._is_stored = True
        if self._is_stored:
            self._start_anew()
            self._pass_on(number, frame)

    def _store(self) -> None:
        try:
            (exits.flush if callable(self._previous) else exits.run)()
        finally:
            self._is_stored = True
            if forks.are_greenlets():
                os.kill(os.getpid(), signal.SIGTERM)
            else:  # which may sleep, and is not woken by a signal that another thread gets
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if callable(self._previous):
            self._previous(number, frame)
        else:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)


_handler = _Handler()


def install() -> None:
    """Store before SIGTERM ends the program. In the main thread only; elsewhere it is a warning."""
    _handler.install()
