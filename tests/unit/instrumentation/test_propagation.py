"""Work in threads and executors that belongs to the block that started it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from opentelemetry import baggage, context, trace

from instrumentation import action, agent, current, propagate, task


def test_executor_map(recorded: Any) -> None:
    """Many calls at once, in more threads than one, are all inside the block, and none sees another's."""
    barrier = threading.Barrier(4)

    @action
    def work(number: int) -> int:
        barrier.wait(60)
        assert current().name.endswith("work")
        return number * 2

    with ThreadPoolExecutor(4) as executor:
        with agent("support", session_id="s") as block:
            assert list(executor.map(propagate(work), range(8))) == [0, 2, 4, 6, 8, 10, 12, 14]
        left = executor.submit(lambda: trace.get_current_span().get_span_context().span_id).result()
    assert left == 0
    inner = [span for span in recorded.spans if span.name != "support"]
    assert len(inner) == 8
    for span in inner:
        assert span.parent.span_id == int(block.span_id, 16)
        assert span.attributes["session.id"] == "s"


def test_without_propagate_nothing_goes_along(recorded: Any) -> None:
    """A bare thread is not inside the block: that is what propagate is for."""
    with ThreadPoolExecutor(1) as executor, agent("support"):
        assert executor.submit(lambda: current().name).result() == "none"
        assert executor.submit(propagate(lambda: current().name)).result() == "support"


def test_the_context_is_that_of_the_wrapping(recorded: Any) -> None:
    """The context is the one at propagate(), with baggage, and stays so after the block has ended."""
    token = context.attach(baggage.set_baggage("k", "v"))
    with task("t"):
        wrapped = propagate(lambda: (current().name, baggage.get_baggage("k")))
    context.detach(token)
    assert wrapped() == wrapped() == ("t", "v")
    assert baggage.get_baggage("k") is None


def test_keeps_the_function(recorded: Any) -> None:
    """Name, arguments, result and exceptions go through."""

    def divide(a: int, *, b: int) -> float:
        return a / b

    wrapped = propagate(divide)
    assert wrapped.__name__ == "divide"
    assert wrapped(6, b=3) == 2
    try:
        wrapped(1, b=0)
    except ZeroDivisionError:
        pass
    else:
        raise AssertionError


def test_nested_calls(recorded: Any) -> None:
    """A propagated function may call itself: each call has its own copy of the context."""

    def down(n: int) -> int:
        return wrapped(n - 1) + 1 if n else 0

    wrapped = propagate(down)
    assert wrapped(5) == 5


def test_asyncio_needs_nothing(recorded: Any) -> None:
    """Tasks and asyncio.to_thread are inside the block by themselves; run_in_executor is with propagate."""

    async def name() -> str:
        return current().name

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        with task("t"):
            return [
                await asyncio.create_task(name()),
                *(await asyncio.gather(name(), name())),
                await asyncio.to_thread(lambda: current().name),
                await loop.run_in_executor(None, propagate(lambda: current().name)),
            ]

    assert asyncio.run(main()) == ["t"] * 5
