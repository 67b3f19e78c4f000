"""Generators and async generators, driven step by step so that their span is current only while they run.

Between two steps the consumer sees its own context, whatever the body has opened meanwhile; at the next step
the body sees what it saw when it stopped. Each step is attached and restored in one piece, so a generator may
be resumed and closed by different threads and tasks.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

from opentelemetry.context import attach, get_current

from . import attributes as names
from .arguments import Inputs
from .blocks import Block
from .capture import settings
from .encoding import json_text
from .guard import guarded
from .recipe import Recipe
from .scope import restore

_LEAST = 64


def iterated(
    recipe: Recipe,
    work: Generator[Any, Any, Any],
    inputs: Inputs,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Generator[Any, Any, Any]:
    """The generator `work`, recorded from its first step to its end."""
    block, items = _started(recipe, inputs, args, kwargs)
    inside = block.context or get_current()
    step: Callable[[Any], Any] = work.send
    given: Any = None
    while True:
        token = attach(inside)
        try:
            item = step(given)
        except StopIteration as stop:
            restore(token)
            items.end(None, stop.value)
            return stop.value
        except BaseException as error:
            restore(token)
            items.end(error)
            given = None  # it may be this error, and would keep this frame alive
            raise
        inside = get_current()
        restore(token)
        items.add(item)
        try:
            given = yield item
            step = work.send
        except BaseException as thrown:
            # close() and garbage collection come as GeneratorExit, which means the same thrown inside.
            step, given = work.throw, thrown


async def iterated_async(
    recipe: Recipe,
    work: AsyncGenerator[Any, Any],
    inputs: Inputs,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> AsyncGenerator[Any, Any]:
    """The async generator `work`, recorded from its first step to its end."""
    block, items = _started(recipe, inputs, args, kwargs)
    inside = block.context or get_current()
    step: Callable[[Any], Awaitable[Any]] = lambda _: _first_step(work)  # noqa: E731
    given: Any = None
    while True:
        token = attach(inside)
        try:
            item = await step(given)
        except StopAsyncIteration:
            restore(token)
            items.end(None)
            return
        except BaseException as error:
            restore(token)
            items.end(error)
            given = None
            raise
        inside = get_current()
        restore(token)
        items.add(item)
        try:
            given = yield item
            step = work.asend
        except BaseException as thrown:
            step, given = work.athrow, thrown


def _first_step(work: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    # At its end the event loop closes every generator that it knows, all at once. It must know only ours, which
    # closes `work`: closing both fails with "asynchronous generator is already running".
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return work.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _started(recipe: Recipe, inputs: Inputs, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Block, _Items]:
    block = Block(recipe)
    block.start()
    if block.span.is_recording() and recipe.captures_input():
        inputs.record(block, args, kwargs)
    return block, _Items(block, recipe)


class _Items:
    """What a generator yielded: how many, and the first ones as they were when they were yielded."""

    def __init__(self, block: Block, recipe: Recipe) -> None:
        self._block = block
        self._count = 0
        self._texts: list[str] = []
        self._captures = block.span.is_recording() and recipe.captures_output()
        self._left = settings().max_length * 3 // 4

    def add(self, item: object) -> None:
        self._count += 1
        if self._captures and self._left >= _LEAST and len(self._texts) < settings().max_items:
            try:
                text = json_text(item, self._left)
            except BaseException as interruption:  # by a signal; the generator does not go on after it
                self.end(interruption)
                raise
            self._left -= len(text) + 1
            self._texts.append(text)

    def end(self, error: BaseException | None, returned: object = None) -> None:
        """Write the items and end the block."""
        self._write(returned)
        self._block.outer = None
        self._block.end(error)

    @guarded(None)
    def _write(self, returned: object) -> None:
        span = self._block.span
        if not span.is_recording():
            return
        span.set_attribute(names.ITEMS, self._count)
        if not self._captures or self._block.has_output:
            return
        texts = self._texts
        if len(texts) < self._count:
            texts = [*texts, f'"… {self._count - len(texts)} more"']
        output = f"[{','.join(texts)}]"
        if returned is not None:
            rest = max(_LEAST, settings().max_length // 4 - _LEAST)
            output = f'{{"items":{output},"returned":{json_text(returned, rest)}}}'
        span.set_attribute(names.OUTPUT_VALUE, output)
