"""Where a long text may be cut, so that what is sent again and again is the same piece each time.

An agent sends its whole history with every turn, and the turn adds to the end. JSON is cut between the values of its
lists and objects, other text between lines, from the front, by what has come so far alone: so the pieces of the
history stay what they were. A history that loses its oldest messages falls into the same pieces again after some, for
long values, and one in four of the others by their checksum, end a piece wherever it began. The pieces follow each
other without a gap.

What may be a history is cut finely, since what follows the last cut is sent anew with each turn; elsewhere that would
only cost more rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecoder
from zlib import crc32

__all__ = ["pieces"]

_ENOUGH, _LEAST = 2048, 1024
"""Characters after which a piece ends, and after which it ends by chance: each costs some 110 bytes beside its text."""
_ONE_IN = 4
_MESSAGE = 256
"""In a history, a value of so many characters ends a piece."""
_LARGE = 4096
"""Lists and objects of more characters are cut inside."""
_MAX_DEPTH = 4
_END_OF_LINE = re.compile(r"\\n|\n")  # as it is, and as JSON writes it
_space = re.compile(r"[ \t\n\r]*").match
_scan = JSONDecoder().raw_decode


def pieces(text: str, *, is_history: bool = False) -> list[str]:
    """The text in pieces: of one to two thousand characters mostly, of a history in JSON one for each message."""
    if text[:1] in ("[", "{"):
        try:
            return _grouped(text, _between_values(text, 0, _MAX_DEPTH), _MESSAGE if is_history else _ENOUGH)
        except (RecursionError, ValueError, IndexError):  # no JSON after all, or of too many levels
            pass
    return _grouped(text, (found.end() for found in _END_OF_LINE.finditer(text)), _ENOUGH)


def _between_values(text: str, start: int, depth: int) -> Iterator[int]:
    """Ends of the values of the list or object that begins at `start`."""
    is_object = text[start] == "{"
    place = start + 1
    while text[place := _space(text, place).end()] not in "]}":  # type: ignore[union-attr]  # it always matches
        if is_object:
            _, place = _scan(text, place)
            place = _space(text, place).end() + 1  # type: ignore[union-attr]
            place = _space(text, place).end()  # type: ignore[union-attr]
        _, end = _scan(text, place)
        if end - place > _LARGE and depth > 1 and text[place] in "[{":
            yield from _between_values(text, place, depth - 1)
        yield end
        place = _space(text, end).end()  # type: ignore[union-attr]
        if text[place] == ",":
            place += 1


def _grouped(text: str, cuts: Iterator[int], long: int) -> list[str]:
    found, begin, last = [], 0, 0
    for cut in (*cuts, len(text)):
        if cut - last >= _ENOUGH and last > begin:
            found.append(text[begin:last])
            begin = last
        size = cut - begin
        if cut - last >= long or size >= _ENOUGH or (size >= _LEAST and _ends_by_chance(text[last:cut])):
            found.append(text[begin:cut])
            begin = cut
        last = cut
    if begin < len(text):
        found.append(text[begin:])
    return found


def _ends_by_chance(value: str) -> bool:
    return crc32(value.encode("utf-8", "surrogatepass")) % _ONE_IN == 0
