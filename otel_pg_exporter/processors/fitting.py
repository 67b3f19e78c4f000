"""How many records fit into so many bytes, judged by some of them.

A prompt may be a hundred characters or a megabyte, so a limit in records alone says nothing about memory. Weighing
each record would cost its program too much; every sixteenth says enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from sys import getsizeof
from typing import Any

from ..host.signal_handlers import is_interruption

__all__ = ["BATCH_BYTES", "Fit", "weight"]

BATCH_BYTES = 16 << 20
"""Most that a batch is meant to hold; it is encoded, sent and spooled as a whole."""

_SPAN, _LOG = 4096, 1024
"""Bytes of a record's own objects: measured 3,950 for a span with twelve attributes, an event and a link, and 900."""
_SPAN_OF_MEMORY = 16
"""Samples after which a mean has mostly forgotten what was before."""
_MOST_VALUES = 10_000
_TEXTS, _NUMBERS_OR_NONE = (str, bytes, bytearray), (int, float, type(None))


class Fit:
    """Turns limits in bytes into limits in records.

    Args:
        max_bytes: what all records that wait may hold.
        most: records that may wait, however small they are.
        batch: records in a batch, however small they are.
    """

    def __init__(self, max_bytes: int, most: int, batch: int) -> None:
        self._max_bytes, self._most, self._batch = max_bytes, most, batch
        self._samples = 0
        self._mean = 0.0
        self.most = most
        """Records that may wait."""
        self.batch = batch
        """Records in a batch."""

    def look(self, record: Any) -> None:
        """Take a record as an example of those that come. Raises nothing: one that cannot be weighed is none."""
        try:
            weighed = weight(record)
        except Exception as error:  # a mapping of somebody's own, or one that another thread changes
            if is_interruption(error):
                raise
            return
        self._samples += 1
        self._mean += (weighed - self._mean) / min(self._samples, _SPAN_OF_MEMORY)
        self.most = max(1, min(self._most, int(self._max_bytes / self._mean)))
        self.batch = max(1, min(self._batch, int(BATCH_BYTES / self._mean), self.most))


def weight(record: Any) -> int:
    """Bytes of memory that a span or a log record holds, about."""
    log = getattr(record, "log_record", None)
    if log is not None:
        return _LOG + _within(log.attributes) + _inside(log.body)
    return _SPAN + _within(record.attributes) + sum(_within(event.attributes) for event in record.events)


def _within(attributes: Any) -> int:
    if not attributes:
        return 0
    # the SDK's own mapping locks itself for each value that is asked for
    values = getattr(attributes, "_dict", attributes).values()
    return sum(getsizeof(value) if type(value) is str else _inside(value) for value in values)


def _inside(value: Any) -> int:
    if isinstance(value, _NUMBERS_OR_NONE):
        return 0
    total, work = 0, [value]
    for _ in range(_MOST_VALUES):
        if not work:
            break
        item = work.pop()
        if isinstance(item, _TEXTS):
            total += getsizeof(item)
        elif isinstance(item, Mapping):
            work.extend(islice(item.values(), _MOST_VALUES))
        elif isinstance(item, Sequence):
            work.extend(islice(item, _MOST_VALUES))
    return total
