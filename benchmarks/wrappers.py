"""What wrapping a function costs each call: a closure under functools.wraps, as ours, against wrapt.decorator."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import wrapt
from realistic import cpu_per_item, medians

CALLS = 50_000


def empty(text: str, number: int = 0) -> None:
    """Nothing but the call."""


@functools.wraps(empty)
def closure(*args: Any, **kwargs: Any) -> Any:
    """As `instrumentation.functions` wraps plain functions, without the span."""
    return empty(*args, **kwargs)


@wrapt.decorator
def passing(wrapped: Callable[..., Any], instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The same by wrapt."""
    return wrapped(*args, **kwargs)


def main() -> None:
    """Print the figures."""
    cases = {"undecorated": empty, "functools.wraps": closure, "wrapt.decorator": passing(empty)}

    def repeat(call: Callable[..., Any]) -> float:
        return cpu_per_item(lambda: [call("x", number=1) for _ in range(CALLS)], CALLS)

    found = medians({name: lambda c=call: repeat(c) for name, call in cases.items()})
    print("\nWrappers: CPU for each call of an empty function (thread time, median of 9)")
    for name, microseconds in found.items():
        print(f"  {name:<32} {microseconds:6.2f} us")
