"""Where a long text may be cut, so that what is sent again and again is the same piece each time.

An agent sends its whole history with every turn, and the turn adds to the end. JSON is cut between the values of its
lists and objects, other text between lines, from the front, by what has come so far alone: so the pieces of the
history stay what they were. A long value has a piece of its own, so that a history that loses its oldest messages
falls into the same pieces again. The pieces follow each other without a gap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecoder

__all__ = ["pieces"]

_LEAST, _LEAST_OF_LINES = 1024, 4096
"""Characters of a piece, unless it is the last: each costs some 110 bytes beside its text."""
_LARGE = 4096
"""Lists and objects of more characters are cut inside."""
_MAX_DEPTH = 4
_END_OF_LINE = re.compile(r"\\n|\n")  # as it is, and as JSON writes it
_space = re.compile(r"[ \t\n\r]*").match
_scan = JSONDecoder().raw_decode


def pieces(text: str) -> list[str]:
    """The text in pieces, of about a thousand characters or more."""
    if text[:1] in ("[", "{"):
        try:
            return _grouped(text, _between_values(text, 0, _MAX_DEPTH), _LEAST)
        except (RecursionError, ValueError, IndexError):  # no JSON after all, or of too many levels
            pass
    return _grouped(text, (found.end() for found in _END_OF_LINE.finditer(text)), _LEAST_OF_LINES)


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


def _grouped(text: str, cuts: Iterator[int], least: int) -> list[str]:
    found, begin, last = [], 0, 0
    for cut in (*cuts, len(text)):
        if cut - last >= least and last > begin:
            found.append(text[begin:last])
            begin = last
        if cut - begin >= least:
            found.append(text[begin:cut])
            begin = cut
        last = cut
    if begin < len(text):
        found.append(text[begin:])
    return found
