"""What the help desk can look up."""

from __future__ import annotations

_ORDERS = {7: {"article": "teapot", "arrives_in": 2}}


def find_order(number: int) -> dict[str, object]:
    """An order by its number."""
    return {"number": number, "article": _ORDERS[number]["article"]}


def days_until(number: int) -> int:
    """Days until an order arrives."""
    return int(str(_ORDERS[number]["arrives_in"]))
