"""What the blocks of `instrumentation` hand down to the spans of other libraries inside them.

A block says which task, agent, session and user its work belongs to, and so do the blocks inside. A call of a model
that an instrumentor records says nothing of it, so it is told here, under names of our own: what it says itself comes
first, and other backends see nothing that they would take for its own words.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import Span, SpanProcessor

from ..host.diagnostics import warn
from ..host.signal_handlers import is_interruption
from ..routing.conventions import AROUND

__all__ = ["BLOCK_KEY", "InheritanceProcessor", "handed_down"]

BLOCK_KEY = "otel_pg.block"
"""Under which the innermost block lies in OpenTelemetry's context; `instrumentation.scope` has the same name."""
_OURS = "otel_pg.category"


class InheritanceProcessor(SpanProcessor):
    """Sets `otel_pg.around.*` on spans that are started inside a block and are none."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Hand down what the block around says. Raises nothing."""
        context = get_current() if parent_context is None else parent_context
        if BLOCK_KEY in context and _OURS not in (span.attributes or ()) and (inherited := handed_down(context)):
            span.set_attributes(inherited)


def handed_down(context: Context) -> dict[str, Any]:
    """What the block around says, as `otel_pg.around.*`; nothing outside of blocks. Raises nothing."""
    try:
        block: Any = context.get(BLOCK_KEY)
        said = {} if block is None else block.handed_down
        return {AROUND[key]: value for key, value in said.items() if key in AROUND}
    except Exception as error:
        if is_interruption(error):
            raise
        warn(f"nothing is inherited from a block: {type(error).__name__}: {error}", topic="inheritance")
        return {}
