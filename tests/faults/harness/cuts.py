"""Where a wire is cut: meddlers that wait for their moment, once for each `arm()`.

The writer sends a whole transaction as one query string, "BEGIN; …; INSERT …; COPY …; COMMIT", and then the
rows of each COPY. The server carries out the COMMIT as soon as it has the last CopyDone, and says so with
CommandComplete "COMMIT". So a cut before the COMMIT is one before the last CopyDone gets to the server
(before the query itself, where nothing is copied), and one after it is before CommandComplete gets back.
"""

from __future__ import annotations

import random
import threading
import time

from .frames import CLIENT, SERVER, Frame
from .wire import Link

__all__ = ["AfterCommit", "BeforeCommit", "Cut", "CutAt", "LateCommit", "RaceCommit", "Recorder"]


class Recorder:
    """Cuts nothing, and keeps each message."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def __call__(self, link: Link, frame: Frame) -> bool:
        """Keep it."""
        self.frames.append(frame)
        return True


class Cut:
    """What all have in common: armed or not, and how often it happened."""

    def __init__(self) -> None:
        self.is_armed = False
        self.count = 0
        """Cuts so far."""
        self._lock = threading.Lock()

    def arm(self) -> None:
        """Cut at the next occasion."""
        self.is_armed = True

    def _fires(self) -> bool:
        with self._lock:
            fires, self.is_armed = self.is_armed, False
            self.count += fires
            return fires


class CutAt(Cut):
    """Cuts at one message of one side, counted over all connections from 0 since it was armed.

    Args:
        side: whose message.
        number: which.
        is_forwarded: the other side still gets it.
    """

    def __init__(self, side: str, number: int, is_forwarded: bool) -> None:
        super().__init__()
        self._side, self._number, self._is_forwarded = side, number, is_forwarded
        self._seen = 0

    def __call__(self, link: Link, frame: Frame) -> bool:
        """Count it, and cut."""
        if not self.is_armed or frame.side != self._side:
            return True
        self._seen += 1
        if self._seen <= self._number or not self._fires():
            return True
        if self._is_forwarded:
            link.send(frame)
        link.cut()
        return False


class _CommitCut(Cut):
    """Knows the message with which a batch's transaction is committed, and the answer to it."""

    def __init__(self) -> None:
        super().__init__()
        self._copies: dict[int, int] = {}

    def __call__(self, link: Link, frame: Frame) -> bool:
        """Follow the transaction of each connection."""
        if frame.side == CLIENT and self._commits(link.number, frame):
            return self.at_commit(link, frame)
        if frame.side == SERVER and frame.kind == "C" and frame.body == b"COMMIT\x00" and link.number in self._copies:
            del self._copies[link.number]
            return self.at_answer(link, frame)
        return True

    def at_commit(self, link: Link, frame: Frame) -> bool:
        """The server will commit when it gets this; whether to forward it."""
        return True

    def at_answer(self, link: Link, frame: Frame) -> bool:
        """The client will know when it gets this; whether to forward it."""
        return True

    def _commits(self, link: int, frame: Frame) -> bool:
        if frame.kind == "Q" and frame.body.rstrip(b"\x00").endswith(b"COMMIT") and b"INSERT INTO" in frame.body:
            self._copies[link] = frame.body.count(b"FROM STDIN (FORMAT binary)")
        elif frame.kind == "c" and link in self._copies:
            self._copies[link] -= 1
        else:
            return False
        return not self._copies[link]


class BeforeCommit(_CommitCut):
    """The server never gets to its COMMIT."""

    def at_commit(self, link: Link, frame: Frame) -> bool:
        """Cut instead of forwarding it."""
        if self._fires():
            link.cut()
            return False
        return True


class AfterCommit(_CommitCut):
    """The server has committed, and the client is never told."""

    def at_answer(self, link: Link, frame: Frame) -> bool:
        """Cut instead of forwarding it."""
        if self._fires():
            link.cut()
            return False
        return True


class RaceCommit(_CommitCut):
    """The COMMIT is on its way when the wire is cut: the server may be quicker, or the cut.

    Args:
        seed: for the time between, up to `seconds`; in one of four there is none.
        seconds: the longest.
    """

    def __init__(self, seed: int, seconds: float = 0.003) -> None:
        super().__init__()
        self._random, self._seconds = random.Random(seed), seconds

    def at_commit(self, link: Link, frame: Frame) -> bool:
        """Forward and cut, in one moment."""
        if not self._fires():
            return True
        link.send(frame)
        time.sleep(max(0.0, self._random.uniform(-self._seconds / 3, self._seconds)))
        link.cut()
        return False


class LateCommit(_CommitCut):
    """The client is cut off, connects again and sends its batch again; then the first COMMIT gets to the server.

    Args:
        seed: for the time between the second attempt and the COMMIT of the first, up to `seconds`.
        seconds: the longest.
    """

    def __init__(self, seed: int, seconds: float = 0.015) -> None:
        super().__init__()
        self._random, self._seconds = random.Random(seed), seconds
        self._again = threading.Event()

    def __call__(self, link: Link, frame: Frame) -> bool:
        """Notice the second attempt as well."""
        if frame.side == CLIENT and frame.kind == "Q" and b"INSERT INTO" in frame.body:
            link.send(frame)
            if b"COMMIT" in frame.body:
                self._again.set()
                super().__call__(link, frame)
            return False
        return super().__call__(link, frame)

    def at_commit(self, link: Link, frame: Frame) -> bool:
        """Cut the client off, and forward when it is back."""
        if not self._fires():
            return True
        self._again.clear()
        link.cut(CLIENT)
        self._again.wait(10)
        time.sleep(self._random.uniform(0.002, self._seconds))
        link.send(frame)
        link.finish()
        return False
