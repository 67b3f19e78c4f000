"""What the blocks of `instrumentation` hand down to the spans of other libraries inside them.

A block says which task, agent, session and user its work belongs to, and so do the blocks inside. A call of a model
that an instrumentor records says nothing of it, so it is told here, under names of our own: what it says itself comes
first, and other backends see nothing that they would take for its own words.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import Span, SpanProcessor

from .conventions import AROUND
from .diagnostics import warn

__all__ = ["BLOCK_KEY", "InheritanceProcessor"]

BLOCK_KEY = "otel_pg.block"
"""Under which the innermost block lies in OpenTelemetry's context; `instrumentation.scope` has the same name."""
_OURS = "otel_pg.category"


class InheritanceProcessor(SpanProcessor):
    """Sets `otel_pg.around.*` on spans that are started inside a block and are none."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Hand down what the block around says. Raises nothing."""
        try:
            block: Any = (get_current() if parent_context is None else parent_context).get(BLOCK_KEY)
            if block is None or _OURS in (span.attributes or ()):
                return
            handed_down = {AROUND[key]: value for key, value in block.handed_down.items() if key in AROUND}
            if handed_down:
                span.set_attributes(handed_down)
        except Exception as error:
            warn(f"a span inherits nothing: {type(error).__name__}: {error}", topic="inheritance")
