"""Ids of traces and spans, for the providers that we make.

A provider of the program's own can have them too: `TracerProvider(id_generator=TimeOrderedIdGenerator())`, or
`OTEL_PYTHON_ID_GENERATOR=otel_pg` where OpenTelemetry sets it up.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from random import Random
from time import time

from opentelemetry.environment_variables import OTEL_PYTHON_ID_GENERATOR
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

from .errors import ConfigurationError
from .host import forks

__all__ = ["TimeOrderedIdGenerator", "id_generator"]

_GROUP = "opentelemetry_id_generator"


class TimeOrderedIdGenerator(RandomIdGenerator):
    """Trace ids in the order of time; span ids at random.

    A trace id begins with 32 bits of seconds since 1970, when its trace began, as AWS X-Ray's do. In the index of
    another day it belongs at an end, whose page is in memory, so that it takes no disk to know that it is not there.
    The other 96 bits are random, of which samplers need 64, and W3C Trace Context's flag 56.

    The random numbers are its own. OpenTelemetry's are those of the module `random`: a program that seeds it gives
    the traces of every run the same ids (opentelemetry-python issue 4376), and draws other numbers if it is recorded.
    """

    def __init__(self) -> None:
        self._renew()
        forks.in_child(self._renew)

    def generate_trace_id(self) -> int:
        """128 bits."""
        forks.notice()
        return (int(time()) & 0xFFFFFFFF) << 96 | self._random_bits(96)

    def generate_span_id(self) -> int:
        """64 bits, not all of them zero."""
        forks.notice()
        return self._random_bits(64) or self.generate_span_id()

    def _renew(self) -> None:
        self._random_bits = Random().getrandbits  # seeded by the system


def id_generator() -> IdGenerator:
    """The one that the environment names, else ours.

    Raises:
        ConfigurationError: there is none of that name.
    """
    name = os.environ.get(OTEL_PYTHON_ID_GENERATOR, "").strip()
    if not name:
        return TimeOrderedIdGenerator()
    known = {found.name: found for found in entry_points(group=_GROUP)}
    if name not in known:
        raise ConfigurationError(
            f"{OTEL_PYTHON_ID_GENERATOR}={name!r:.60} is not allowed; allowed are {', '.join(sorted(known))}"
        )
    made: IdGenerator = known[name].load()()
    return made
