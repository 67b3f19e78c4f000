"""Which block is open here: attaching and restoring OpenTelemetry's context without leaks and log lines.

The block lies in the OpenTelemetry context beside the span: whatever carries that context carries the block.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current

if TYPE_CHECKING:
    from contextvars import Token

    from .blocks import Block

P = ParamSpec("P")
R = TypeVar("R")

BLOCK_KEY = "otel_pg.block"
"""Also known to the exporter, which tells the spans of other libraries what blocks hand down."""
# Setting span and block in one go copies the context once instead of four times.
(SPAN_KEY,) = trace.set_span_in_context(trace.INVALID_SPAN, Context())


def inside(outer: Context, span: trace.Span, block: Block) -> Context:
    """The context inside a block."""
    values = dict(outer)
    values[SPAN_KEY] = span
    values[BLOCK_KEY] = block
    return Context(values)


def block_of(context: Context) -> Block | None:
    """The innermost block of a context."""
    return context.get(BLOCK_KEY)  # type: ignore[return-value]


def restore(token: Token[Context]) -> bool:
    """Undo an `attach`. False, without the log line of `detach`, when this is another thread or task."""
    try:
        token.var.reset(token)
    except (ValueError, RuntimeError):
        return False
    except AttributeError:  # a runtime context that is not built on contextvars
        detach(token)
    return True


def leave(block: Block, token: Token[Context], outer: Context) -> bool:
    """Make `outer` current again, if `block` is open here; a block left out of order changes nothing.

    Returns whether the block is now out of the way, or else still lies in the context that it was entered in.
    """
    current = get_current()
    innermost = block_of(current)
    while innermost is not None and innermost is not block:
        innermost = block_of(innermost.outer) if innermost.outer is not None else None
    if innermost is not block:
        return False
    if restore(token):
        return True
    attach(outer)
    return False


def propagate(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function so that it runs elsewhere as if called here: `executor.map(propagate(work), items)`.

    The blocks and the span that are open where `propagate` is called are those that the function sees, in any
    thread, any number of times at once: each call runs in its own copy of the context (contextvars), so
    nothing that it sets comes back. The wrapper goes to threads, not to other processes.

    asyncio needs none of this: a task copies the context when it is created, and so does `asyncio.to_thread`.
    `loop.run_in_executor` does not. For a coroutine function this has no use: call it and make a task of it.
    """
    here = contextvars.copy_context()

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # One Context cannot be entered twice at the same time; copies cost nothing.
        return here.copy().run(function, *args, **kwargs)

    return call
