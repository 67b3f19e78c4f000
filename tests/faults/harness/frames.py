"""PostgreSQL's protocol, message by message (protocol version 3, "Message Flow" and "Message Formats")."""

from __future__ import annotations

from dataclasses import dataclass
from struct import unpack_from

__all__ = ["CLIENT", "SERVER", "Conversation", "Frame"]

CLIENT, SERVER = "client", "server"
_REQUESTS = {80877102: "cancel", 80877103: "ssl", 80877104: "gss"}


@dataclass(frozen=True, slots=True)
class Frame:
    """One message."""

    side: str
    """Who sent it: client or server."""
    kind: str
    """Its type byte; startup, ssl, gss or cancel for those of a client that have none, answer for the one byte
    that a server says to ssl and gss, opaque for what is encrypted."""
    raw: bytes

    @property
    def body(self) -> bytes:
        """What follows type and length."""
        return self.raw[5:] if len(self.kind) == 1 else self.raw

    def __str__(self) -> str:
        return f"{self.side} {self.kind} {self.body[:40]!r}"


class Conversation:
    """Cuts what both sides of one connection say into messages."""

    def __init__(self) -> None:
        self._buffers = {CLIENT: bytearray(), SERVER: bytearray()}
        self._is_opening = True
        self._answers_due = 0
        self._is_opaque = False

    def feed(self, side: str, data: bytes) -> list[Frame]:
        """The messages that are complete with this data."""
        buffer = self._buffers[side]
        buffer += data
        found = []
        while frame := self._next(side, buffer):
            del buffer[: len(frame.raw)]
            found.append(frame)
        return found

    def _next(self, side: str, buffer: bytearray) -> Frame | None:
        if not buffer:
            return None
        if self._is_opaque:
            return Frame(side, "opaque", bytes(buffer))
        if side == CLIENT and self._is_opening:
            return self._opening(buffer)
        if side == SERVER and self._answers_due:
            self._answers_due -= 1
            self._is_opaque = buffer[0] in b"SG"
            return Frame(side, "answer", bytes(buffer[:1]))
        if len(buffer) < 5 or len(buffer) < (end := 1 + unpack_from(">I", buffer, 1)[0]):
            return None
        return Frame(side, chr(buffer[0]), bytes(buffer[:end]))

    def _opening(self, buffer: bytearray) -> Frame | None:
        if len(buffer) < 8:
            return None
        length, code = unpack_from(">II", buffer)
        if len(buffer) < length:
            return None
        kind = _REQUESTS.get(code, "startup")
        self._answers_due += kind in ("ssl", "gss")
        self._is_opening = kind != "startup"
        return Frame(CLIENT, kind, bytes(buffer[:length]))
