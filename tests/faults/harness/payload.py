"""What a span holds follows from its id: so whoever finds one can tell whether it is whole.

The id is (trace id, span id): the trace id follows from seed and producer, the span id counts from 1.
"""

from __future__ import annotations

import hashlib
import math
import random
import threading
from dataclasses import dataclass
from typing import Any, TypeAlias

from opentelemetry.sdk.trace import IdGenerator

__all__ = ["Id", "Payload", "SequentialIds", "is_payload", "payload", "producer_trace"]

Id: TypeAlias = tuple[int, int]
"""Trace id and span id."""

_NASTY: tuple[Any, ...] = (
    "nul \x00 in the middle", "lone \ud800 surrogate", "\\u0000 as text", "quotes ' \" and \\ and %s and $1", "\r\n\t",
    "\u202eright to left\u200b", "🙂" * 50, "", " ", "é" * 3_000, "'; DROP TABLE otel.events; --",
    math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 0.1,
    2**63 - 1, -(2**63), 2**200, 0, True,
    ("a", "\x00", ""), (1, 2**64), (0.5, math.nan), (), (False, True),
)  # fmt: skip
_CATEGORIES = ("system", "task", "agent", "deployment")


@dataclass(frozen=True)
class Payload:
    """What is set on a span."""

    name: str
    attributes: dict[str, Any]


class SequentialIds(IdGenerator):
    """Ids of one producer: one trace id, and span ids from 1."""

    def __init__(self, seed: int, producer: str) -> None:
        self._trace_id, self._last = producer_trace(seed, producer), 0
        self._lock = threading.Lock()

    def generate_trace_id(self) -> int:
        """The producer's trace id."""
        return self._trace_id

    def generate_span_id(self) -> int:
        """The next number."""
        with self._lock:
            self._last += 1
            return self._last


def producer_trace(seed: int, producer: str) -> int:
    """The trace id of all that a producer emits in a run."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{producer}".encode()).digest()[:16], "big")


def payload(identity: Id) -> Payload:
    """What the span of that id holds: one of four categories, text of 0 to 300 characters, one nasty value."""
    choose = random.Random("{}:{}".format(*identity))
    attributes = {
        "otel_pg.category": choose.choice(_CATEGORIES),
        "fault.number": identity[1],
        "fault.text": f"{choose.getrandbits(1_200):x}"[: choose.randrange(300)],
        "fault.nasty": choose.choice(_NASTY),
    }
    if choose.random() < 0.1:
        attributes["key \x00 with ' and \""] = choose.random()
    return Payload(f"work {choose.randrange(10)} \u2028 {identity[1]}", attributes)


def is_payload(identity: Id, name: str, attributes: dict[str, Any]) -> bool:
    """Whether a span that was found holds what its id says; NaN equals NaN, and 0.0 is not -0.0."""
    expected = payload(identity)
    return expected.name == name and _comparable(expected.attributes) == _comparable(attributes)


def _comparable(attributes: dict[str, Any]) -> list[tuple[str, str]]:
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in attributes.items()}
    return [(key, f"{type(value).__name__} {value!r}") for key, value in plain.items()]
