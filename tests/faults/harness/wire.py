"""A proxy between a client and PostgreSQL, which knows where a message begins and ends.

with Wire(server_conninfo) as wire:
    settings = Settings(dsn=wire.conninfo)
    wire.meddler = CutAt(CLIENT, 7)     # messages, one by one: see cuts.py
    wire.refuse(); wire.restore()       # connections are refused, and those there are, reset
    wire.swallow(); wire.restore()      # connections are taken, and nothing is ever answered
    wire.vanish(); wire.restore()       # packets get lost: connecting hangs, and what is sent is never acknowledged
    wire.delay = 1.0                    # seconds before each answer of the server
    with wire.flapping(1.0, 1.0): ...   # up and down, in turn
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .frames import CLIENT, SERVER, Conversation, Frame

__all__ = ["Link", "Meddler", "Wire"]

_LOOK_SECONDS = 0.02
_ATTACH_FILTER, _DETACH_FILTER = 26, 27  # Linux: SO_ATTACH_FILTER and SO_DETACH_FILTER
_DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
"""A program for the kernel's packet filter: return 0, the length of what is let through."""


class Link:
    """One connection through the wire; its messages are handled by one thread, in the order of their coming."""

    def __init__(self, wire: Wire, number: int, client: socket.socket, server: socket.socket) -> None:
        self.number = number
        """Counts the wire's connections from 1."""
        self._doomed_at = float("inf")
        self._wire = wire
        self._sockets = {CLIENT: client, SERVER: server}
        self._conversation = Conversation()

    def send(self, frame: Frame) -> None:
        """Forward a message to the other side, or do nothing if that is gone."""
        receiver = self._sockets.get(SERVER if frame.side == CLIENT else CLIENT)
        if receiver is not None:
            with suppress(OSError):
                receiver.sendall(frame.raw)

    def cut(self, *sides: str) -> None:
        """Reset the connection to both sides, or to those that are named."""
        for side in sides or (CLIENT, SERVER):
            if found := self._sockets.pop(side, None):
                with suppress(OSError):
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                found.close()

    def lose(self, is_losing: bool) -> None:
        """Have the kernel lose each packet of the client, or no more."""
        client = self._sockets.get(CLIENT)
        if client is not None:
            with suppress(OSError):
                _lose(client, is_losing)

    def doom(self, seconds: float = 0.0) -> None:
        """Have it cut after that time; until then it forwards as before."""
        self._doomed_at = time.monotonic() + seconds

    def run(self) -> None:
        """Forward until either side is gone."""
        try:
            while len(self._sockets) == 2 and (remaining := self._doomed_at - time.monotonic()) > 0:
                if self._wire.is_swallowing:
                    time.sleep(_LOOK_SECONDS)
                    continue
                readable, _, _ = select.select([*self._sockets.values()], [], [], min(_LOOK_SECONDS, remaining))
                for side, found in tuple(self._sockets.items()):
                    if found in readable and side in self._sockets:
                        self._pass_on(side, found)
        except OSError:
            pass  # a side has reset it
        finally:
            if self._doomed_at <= time.monotonic():
                self.cut()
            for found in self._sockets.values():
                found.close()
            self._sockets.clear()

    def finish(self) -> None:
        """For a meddler that has cut the client: hear the server out, so that it can do what it was told."""
        server = self._sockets.get(SERVER)
        if server is not None:
            server.settimeout(5)
            with suppress(OSError):
                while b"Z\x00\x00\x00\x05I" not in server.recv(1 << 16):
                    pass

    def _pass_on(self, side: str, found: socket.socket) -> None:
        data = found.recv(1 << 18)
        if not data:
            other = self._sockets.pop(SERVER if side == CLIENT else CLIENT, None)
            if other is not None:
                other.close()
            return
        if side == SERVER and self._wire.delay:
            self._wait(self._wire.delay)
        for frame in self._conversation.feed(side, data):
            meddler = self._wire.meddler
            if meddler is None or meddler(self, frame):
                self.send(frame)
            if side not in self._sockets:
                return

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (remaining := min(until, self._doomed_at) - time.monotonic()) > 0:
            time.sleep(min(remaining, _LOOK_SECONDS))


Meddler: TypeAlias = Callable[[Link, Frame], bool]
"""Sees each message before it is forwarded, in the link's thread; False keeps it from being forwarded."""


class Wire:
    """The proxy. Listens on a port of its own, which it keeps over `refuse` and `restore`."""

    def __init__(self, upstream: str) -> None:
        self.delay = 0.0
        """Seconds before each answer of the server."""
        self.meddler: Meddler | None = None
        self.is_swallowing = False
        self.accepted = 0
        """Connections that were made."""
        self._upstream = upstream
        self._links: list[Link] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0
        """Where it listens."""
        self._listen()

    @property
    def conninfo(self) -> str:
        """For clients."""
        return make_conninfo(self._upstream, host="127.0.0.1", port=self.port)

    def refuse(self) -> None:
        """Take no connections, and reset those there are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept()
            listener.close()
        self.cut_all()

    def swallow(self) -> None:
        """Take connections and data, and answer nothing."""
        self.is_swallowing = True

    def vanish(self) -> None:
        """Lose the packets of all clients, as a firewall that drops them: not even a SYN is answered."""
        self.is_swallowing = True
        self._lose(True)

    def restore(self) -> None:
        """Forward again."""
        self._lose(False)
        self.is_swallowing = False
        if self._listener is None:
            self._listen()

    def cut_all(self) -> int:
        """Reset all connections there are; gives how many."""
        with self._lock:
            for link in self._links:
                link.doom()
            return len(self._links)

    @contextmanager
    def flapping(self, up_seconds: float, down_seconds: float) -> Iterator[None]:
        """Refuse and restore in turn, beginning with a refusal; restored at the end."""
        ended = threading.Event()

        def flap() -> None:
            while True:
                self.refuse()
                is_over = ended.wait(down_seconds)
                self.restore()
                if is_over or ended.wait(up_seconds):
                    return

        thread = threading.Thread(target=flap, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def close(self) -> None:
        """Refuse for good."""
        self.is_swallowing = False
        self.refuse()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lose(self, is_losing: bool) -> None:
        if self._listener is not None:
            _lose(self._listener, is_losing)
        with self._lock:
            for link in self._links:
                link.lose(is_losing)

    def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="wire", daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, listener), name="wire-link", daemon=True).start()

    def _serve(self, client: socket.socket, listener: socket.socket) -> None:
        while self.is_swallowing and self._listener is not None:
            time.sleep(_LOOK_SECONDS)
        try:
            server = _connected(self._upstream)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _look_after(client)
        with self._lock:
            self.accepted += 1
            link = Link(self, self.accepted, client, server)
            if self._listener is not listener:  # refused meanwhile
                link.doom()
            self._links.append(link)
        link.run()
        with self._lock:
            self._links.remove(link)


def _look_after(client: socket.socket) -> None:
    """Notice a client that has vanished as soon as a server does that a writer has asked for it (begin_batch)."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)


def _lose(found: socket.socket, is_losing: bool) -> None:
    if is_losing:
        program = struct.pack("HP", 1, ctypes.addressof(_DROP_ALL))
        found.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
        return
    with suppress(FileNotFoundError):  # it has none
        found.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)


def _connected(conninfo: str) -> socket.socket:
    parts = conninfo_to_dict(conninfo)
    host, port = str(parts.get("host") or "127.0.0.1"), int(parts.get("port") or 5432)
    if host.startswith("/"):
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server
    return socket.create_connection((host, port), timeout=10)
