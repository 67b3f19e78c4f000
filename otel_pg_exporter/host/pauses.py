"""Pauses of a length that chance decides, so that programs that start together do not act together for ever.

The program's own `random` is left as it is: it may be seeded, and what it gives next would be another number.
"""

from __future__ import annotations

from random import SystemRandom

__all__ = ["between"]

between = SystemRandom().uniform
"""A number of seconds from the first to the second."""
