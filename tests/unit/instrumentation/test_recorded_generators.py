"""Generators and async generators: they behave as undecorated, and their span is current only inside them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import json
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from instrumentation import action, current, task
from instrumentation import attributes as names


def span_id() -> int:
    return trace.get_current_span().get_span_context().span_id


# The same moves are made on a plain and on a decorated generator; what comes out must be equal.


def talkative() -> Generator[object, object, str]:
    got = yield "first"
    while True:
        try:
            got = yield ("got", got)
        except ValueError as error:
            got = ("caught", str(error))
        if got == "stop":
            return "returned"


def stubborn() -> Generator[int, None, None]:
    while True:
        try:
            yield 1
        except GeneratorExit:
            yield 2


def returns_on_close() -> Generator[int, None, str]:
    try:
        yield 1
    except GeneratorExit:
        return "closed value"
    return "not reached"


def raises_on_close() -> Generator[int, None, None]:
    try:
        yield 1
    finally:
        raise LookupError("while closing")


def raises_stop_iteration() -> Generator[int, None, None]:
    yield 1
    raise StopIteration("inside")


def delegates() -> Generator[object, object, object]:
    result = yield from talkative()
    yield ("sub", result)
    return "outer"


def empty() -> Generator[None, None, None]:
    return
    yield


Move = Callable[[Any], object]


def start(g: Any) -> object:
    return next(g)


def send(value: object) -> Move:
    return lambda g: g.send(value)


def throw(*error: Any) -> Move:
    return lambda g: g.throw(*error)


def close(g: Any) -> object:
    return g.close()


MOVES: dict[str, list[Move]] = {
    "to the end": [start, send("a"), send("stop"), start, start],
    "throw caught": [start, send("a"), throw(ValueError("v")), send("stop")],
    "throw not caught": [start, throw(KeyError("k")), start],
    "throw a type": [start, start, throw(ValueError), start],
    "throw before start": [throw(KeyError("k")), start],
    "throw StopIteration": [start, throw(StopIteration("x")), start],
    "throw GeneratorExit": [start, throw(GeneratorExit()), start],
    "throw at the end": [start, close, throw(KeyError("k"))],
    "close": [start, close, close, start],
    "close before start": [close, start],
    "send before start": [send("a"), start],
}
GENERATORS = [
    talkative,
    stubborn,
    returns_on_close,
    raises_on_close,
    raises_stop_iteration,
    delegates,
    empty,
]


def play(generator: Any, moves: list[Move]) -> list[object]:
    log: list[object] = []
    for move in moves:
        try:
            log.append(move(generator))
        except BaseException as error:
            log.append((type(error), error.args, type(error.__cause__), type(error.__context__)))
    return log


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what `stubborn` does when dropped
@pytest.mark.parametrize("moves", MOVES)
@pytest.mark.parametrize("generator", GENERATORS, ids=lambda g: g.__name__)
def test_the_same_as_undecorated(recorded: Any, generator: Any, moves: str) -> None:
    """next, send, throw and close give and raise what they do undecorated, in every order."""
    assert play(task(generator)(), MOVES[moves]) == play(generator(), MOVES[moves])
    assert not trace.get_current_span().get_span_context().is_valid


async def a_talkative() -> AsyncGenerator[object, object]:
    got = yield "first"
    while got != "stop":
        try:
            await asyncio.sleep(0)
            got = yield ("got", got)
        except ValueError as error:
            got = ("caught", str(error))


async def a_stubborn() -> AsyncGenerator[int, None]:
    while True:
        try:
            yield 1
        except GeneratorExit:
            yield 2


async def a_awaits_on_close() -> AsyncGenerator[int, None]:
    try:
        yield 1
    finally:
        await asyncio.sleep(0)


async def a_raises_on_close() -> AsyncGenerator[int, None]:
    try:
        yield 1
    finally:
        raise LookupError("while closing")


async def a_swallows_close() -> AsyncGenerator[int, None]:
    try:
        yield 1
    except GeneratorExit:
        pass


async def a_raises_stop() -> AsyncGenerator[int, None]:
    yield 1
    raise StopAsyncIteration("inside")


A_MOVES: dict[str, list[Move]] = {
    "to the end": [lambda g: g.asend(None), lambda g: g.asend("a"), lambda g: g.asend("stop"), lambda g: g.asend(None)],
    "throw caught": [lambda g: g.asend(None), lambda g: g.asend(1), lambda g: g.athrow(ValueError("v"))],
    "throw not caught": [lambda g: g.asend(None), lambda g: g.athrow(KeyError("k")), lambda g: g.asend(None)],
    "throw before start": [lambda g: g.athrow(KeyError("k")), lambda g: g.asend(None)],
    "throw GeneratorExit": [lambda g: g.asend(None), lambda g: g.athrow(GeneratorExit()), lambda g: g.asend(None)],
    "close": [lambda g: g.asend(None), lambda g: g.aclose(), lambda g: g.aclose(), lambda g: g.asend(None)],
    "close before start": [lambda g: g.aclose(), lambda g: g.asend(None)],
    "send before start": [lambda g: g.asend("a"), lambda g: g.asend(None)],
}
A_GENERATORS = [a_talkative, a_stubborn, a_awaits_on_close, a_raises_on_close, a_swallows_close, a_raises_stop]


async def a_play(generator: Any, moves: list[Move]) -> list[object]:
    log: list[object] = []
    for move in moves:
        try:
            log.append(await move(generator))  # type: ignore[misc]
        except BaseException as error:
            log.append((type(error), error.args, type(error.__cause__)))
    return log


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("moves", A_MOVES)
@pytest.mark.parametrize("generator", A_GENERATORS, ids=lambda g: g.__name__)
def test_the_same_as_undecorated_async(recorded: Any, complaints_expected: Any, generator: Any, moves: str) -> None:
    """asend, athrow and aclose give and raise what they do undecorated."""
    decorated = asyncio.run(a_play(task(generator)(), A_MOVES[moves]))
    assert decorated == asyncio.run(a_play(generator(), A_MOVES[moves]))
    assert "Failed to detach" not in complaints_expected.text


def test_a_span_from_the_first_step(recorded: Any) -> None:
    """The span starts at the first step, and a generator that is never started has none."""

    @task
    def work() -> Iterator[int]:
        yield 1

    work()
    work().close()
    gc.collect()
    assert recorded.spans == []
    made = work()
    with recorded.tracer.start_as_current_span("consumer"):
        assert list(made) == [1]
    assert recorded.named(recorded.spans[0].name).parent.span_id == recorded.named("consumer").context.span_id


@pytest.mark.parametrize("way", ["close", "drop", "break"])
def test_a_consumer_that_leaves_cancels(recorded: Any, way: str) -> None:
    """A generator that is closed or dropped half-way ends once, as cancelled, with what it gave."""

    @task
    def work() -> Iterator[int]:
        yield 1
        yield 2
        yield 3

    made = work()
    next(made)
    next(made)
    if way == "close":
        made.close()
    del made
    gc.collect()
    span = recorded.span
    assert span.attributes[names.STATUS] == "cancelled"
    assert span.attributes[names.ERROR_TYPE] == "GeneratorExit"
    assert span.status.description == "cancelled: GeneratorExit"
    assert span.attributes[names.ITEMS] == 2
    assert span.attributes[names.OUTPUT_VALUE] == "[1,2]"


def test_items_and_return_value(recorded: Any) -> None:
    """Items are counted and the first ones kept; a return value is kept beside them."""

    @task
    def work(n: int) -> Generator[int, None, str | None]:
        yield from range(n)
        return "done" if n == 2 else None

    @task
    def consumer() -> list[object]:
        result = yield from work(2)
        return [result]

    assert list(work(3)) == [0, 1, 2]
    assert list(work(500)) == list(range(500))
    made = consumer()
    assert (next(made), next(made)) == (0, 1)
    with pytest.raises(StopIteration) as stopped:
        next(made)
    assert stopped.value.value == ["done"]
    three, many, two, _ = recorded.spans
    assert (three.attributes[names.ITEMS], three.attributes[names.OUTPUT_VALUE]) == (3, "[0,1,2]")
    assert many.attributes[names.ITEMS] == 500
    assert json.loads(many.attributes[names.OUTPUT_VALUE]) == [*range(100), "… 400 more"]
    assert json.loads(two.attributes[names.OUTPUT_VALUE]) == {"items": [0, 1], "returned": "done"}


def test_long_items_keep_the_limit(recorded: Any) -> None:
    """The recorded items stay below the limit in all and are valid JSON."""

    @task
    def work() -> Iterator[str]:
        for _ in range(50):
            yield "x" * 3_000
        return "y" * 100_000  # type: ignore[return-value]

    list(work())
    output = recorded.span.attributes[names.OUTPUT_VALUE]
    assert len(output) <= 16_384
    assert json.loads(output)["items"][-1].endswith("more")


def body_with_blocks(seen: list[int]) -> Iterator[int]:
    seen.append(span_id())
    yield 1
    with action("open across a yield"):
        seen.append(span_id())
        yield 2
        seen.append(span_id())
        with trace.get_tracer_provider().get_tracer("x").start_as_current_span("theirs"):
            seen.append(span_id())
            yield 3
            seen.append(span_id())
        seen.append(span_id())
    seen.append(span_id())
    yield 4


def check_what_the_body_saw(recorded: Any, seen: list[int], name: str) -> None:
    own = recorded.named(name).context.span_id
    inner = recorded.named("open across a yield")
    theirs = recorded.named("theirs")
    assert seen == [
        own,
        *[inner.context.span_id] * 2,
        *[theirs.context.span_id] * 2,
        inner.context.span_id,
        own,
    ]
    assert inner.parent.span_id == own
    assert theirs.parent.span_id == inner.context.span_id


def test_the_consumer_sees_its_own_span(recorded: Any) -> None:
    """Between items the consumer's span is current whatever the body holds open, and the body finds its own again."""
    seen: list[int] = []
    made = task("work")(body_with_blocks)(seen)
    consumer: list[int] = []
    with recorded.tracer.start_as_current_span("consumer"):
        here = span_id()
        for _ in made:
            consumer.append(span_id())
            assert current().span_id == "0" * 16
            with task("between items"):
                pass
        consumer.append(span_id())
    assert set(consumer) == {here}
    check_what_the_body_saw(recorded, seen, "work")
    assert {span.parent.span_id for span in recorded.spans if span.name == "between items"} == {here}


def test_interleaved_generators(recorded: Any) -> None:
    """Two generators stepped in turn keep apart what they have open."""
    first: list[int] = []
    second: list[int] = []
    steps = zip(task("one")(body_with_blocks)(first), task("two")(body_with_blocks)(second), strict=True)
    assert len(list(steps)) == 4
    assert not set(first) & set(second)
    for name, seen in (("one", first), ("two", second)):
        own = recorded.named(name).context.span_id
        assert (seen[0], seen[-1]) == (own, own)


def test_each_step_in_another_thread(recorded: Any) -> None:
    """A generator that each step finds in another thread sees its own spans, and no thread keeps them."""
    seen: list[int] = []
    left: list[int] = []

    def body() -> Iterator[int]:
        yield 1
        with action("inner") as inner:
            yield 2
            assert current() is inner
            seen.append(span_id())
        seen.append(span_id())
        yield 3

    made = task("work")(body)()
    for _ in range(4):

        def step() -> None:
            next(made, None)
            left.append(span_id())

        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    assert left == [0, 0, 0, 0]
    assert seen == [recorded.named("inner").context.span_id, recorded.named("work").context.span_id]


@pytest.mark.parametrize("where", ["thread", "context", "gc in a thread"])
def test_closed_elsewhere(recorded: Any, where: str) -> None:
    """Closing a half-read generator in another thread or context ends it once, without a word in the log."""
    seen: list[int] = []
    made: Any = [task("work")(body_with_blocks)(seen)]
    with recorded.tracer.start_as_current_span("consumer"):
        here = span_id()
        next(made[0])
        next(made[0])
        assert span_id() == here

        def drop() -> None:
            made.clear()
            gc.collect()

        if where == "context":
            contextvars.copy_context().run(made[0].close)
        else:
            thread = threading.Thread(target=made[0].close if where == "thread" else drop)
            thread.start()
            thread.join()
        assert span_id() == here
    assert recorded.named("work").attributes[names.STATUS] == "cancelled"
    assert recorded.named("open across a yield").attributes[names.STATUS] == "cancelled"


async def a_body(seen: list[int]) -> AsyncIterator[int]:
    seen.append(span_id())
    yield 1
    async with action("open across a yield"):
        await asyncio.sleep(0)
        seen.append(span_id())
        yield 2
        seen.append(span_id())
    await asyncio.sleep(0)
    seen.append(span_id())
    yield 3


def test_async_consumer_sees_its_own_span(recorded: Any) -> None:
    """The same holds for async generators, also when each step is a task of its own."""
    for own_tasks in (False, True):
        seen: list[int] = []

        async def main(seen: list[int] = seen, own_tasks: bool = own_tasks) -> None:
            with recorded.tracer.start_as_current_span("consumer"):
                here = span_id()
                made = task("work")(a_body)(seen)
                for expected in (1, 2, 3):
                    step = made.__anext__()
                    item = await (asyncio.wait_for(asyncio.ensure_future(step), 60) if own_tasks else step)
                    assert (item, span_id()) == (expected, here)
                await made.aclose()
                assert span_id() == here

        asyncio.run(main())
        inner, own = recorded.spans[-3].context.span_id, recorded.spans[-2].context.span_id
        assert seen == [own, inner, inner, own]
        assert recorded.spans[-2].attributes[names.ITEMS] == 3


@pytest.mark.parametrize("way", ["break", "aclose in another task", "drop", "left to the loop", "cancel", "error"])
def test_async_generators_left_half_way(recorded: Any, way: str) -> None:
    """However a consumer leaves an async generator, its span ends once, with the right status, and nothing leaks."""
    seen: list[int] = []
    kept: list[Any] = []

    async def body() -> AsyncIterator[int]:
        try:
            async with action("inner"):
                yield 1
                seen.append(1)
                await asyncio.sleep(60 if way == "cancel" else 0)
                if way == "error":
                    raise ValueError("bad")
                yield 2
        finally:
            await asyncio.sleep(0)

    async def main() -> None:
        made: Any = task("work")(body)()
        if way == "left to the loop":
            kept.append(made)
        async for _ in made:
            break
        if way == "aclose in another task":
            await asyncio.create_task(made.aclose())
        elif way == "cancel":
            waiting = asyncio.ensure_future(made.__anext__())
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        elif way == "error":
            with pytest.raises(ValueError, match="bad"):
                await made.__anext__()
        elif way == "break":
            await made.aclose()
        del made
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)
        assert span_id() == 0

    asyncio.run(main())
    work, inner = recorded.named("work"), recorded.named("inner")
    for span in (work, inner):
        if way == "error":
            assert span.status.description == "ValueError: bad"
            assert names.STATUS not in span.attributes
        else:
            assert span.attributes[names.STATUS] == "cancelled"
            expected = "asyncio.exceptions.CancelledError" if way == "cancel" else "GeneratorExit"
            assert span.attributes[names.ERROR_TYPE] == expected
        assert span.status.status_code is StatusCode.ERROR


def test_a_step_dropped_in_the_middle(recorded: Any) -> None:
    """An async step that is abandoned while it waits, and cleaned up by another context, leaves no trace there."""

    async def body() -> AsyncIterator[int]:
        await Forever()
        yield 1

    class Forever:
        def __await__(self) -> Iterator[None]:
            yield None

    made: Any = task("work")(body)()
    step = made.__anext__()
    contextvars.copy_context().run(step.send, None)
    assert span_id() == 0
    with recorded.tracer.start_as_current_span("somebody"):
        here = span_id()
        with pytest.raises(GeneratorExit):
            step.throw(GeneratorExit())
        assert span_id() == here
    assert recorded.named("work").attributes[names.STATUS] == "cancelled"


def test_the_loop_knows_one_generator(recorded: Any) -> None:
    """The hooks of the event loop see the decorated async generator only, and stay as they were."""
    first: list[Any] = []

    async def main() -> None:
        before = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=first.append)
        installed = sys.get_asyncgen_hooks()
        made = task(a_awaits_on_close)()
        await made.__anext__()
        assert sys.get_asyncgen_hooks() == installed
        assert first == [made]
        await made.aclose()
        sys.set_asyncgen_hooks(*before)

    asyncio.run(main())


def test_stays_a_generator(recorded: Any) -> None:
    """isinstance and inspect see real generators, in the states that they are in."""
    made = task(talkative)()
    assert inspect.isgenerator(made)
    assert inspect.getgeneratorstate(made) == inspect.GEN_CREATED
    next(made)
    assert inspect.getgeneratorstate(made) == inspect.GEN_SUSPENDED
    made.close()
    assert inspect.getgeneratorstate(made) == inspect.GEN_CLOSED


def test_no_reference_cycles(recorded: Any) -> None:
    """What a failed call or generator held is free at once, without the garbage collector."""
    import weakref

    class Big:
        pass

    @task(capture_input=False)
    def fails(big: Big) -> Iterator[int]:
        yield 1
        raise ValueError("x")

    @task(capture_input=False)
    def fails_at_once(big: Big) -> None:
        raise ValueError("x")

    gc.disable()
    try:
        for function in (fails, fails_at_once):
            big = Big()
            alive = weakref.ref(big)
            with pytest.raises(ValueError, match="x"):
                list(function(big) or ())
            del big
            assert alive() is None
    finally:
        gc.enable()
