"""What was seen lately: a set that forgets what was not asked for the longest, about."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Remembered"]


class Remembered:
    """Up to `most` keys, of which the half that was used last is certain to be there."""

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._newer: set[bytes] = set()
        self._older: set[bytes] = set()

    def __contains__(self, key: bytes) -> bool:
        """Whether it is remembered; then it is for longer."""
        if key in self._newer:
            return True
        if key not in self._older:
            return False
        self._add(key)
        return True

    def update(self, keys: Iterable[bytes]) -> None:
        """Remember these."""
        for key in keys:
            self._add(key)

    def clear(self) -> None:
        """Forget all."""
        self._newer, self._older = set(), set()

    def _add(self, key: bytes) -> None:
        if len(self._newer) >= self._half:
            self._newer, self._older = set(), self._newer
        self._newer.add(key)
