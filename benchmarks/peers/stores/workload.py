"""Runs of an agent: ten realistic spans each, the first above nine calls of a tool."""

from __future__ import annotations

import itertools

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, Tracer
from realistic import attributes

SPANS = 10  # in each trace

_numbers = itertools.count()


def record(tracer: Tracer, traces: int) -> ReadableSpan:
    """Each span has 12 attributes, one event and one link, and all of a trace the same session. Returns the last."""
    links = [Link(SpanContext(1, 1, is_remote=True), {"why": "x"})]
    for _ in range(traces):
        number = next(_numbers) * SPANS
        session = f"session-{number}"
        with tracer.start_as_current_span(
            "invoke_agent travel agent", attributes=attributes(number) | {"session.id": session}, links=links
        ) as root:
            root.add_event("progress", {"step": 1, "of": "three"})
            links = [Link(root.get_span_context(), {"why": "x"})]
            for child in range(1, SPANS):
                with tracer.start_as_current_span(
                    "execute_tool search_hotels",
                    attributes=attributes(number + child) | {"session.id": session},
                    links=links,
                ) as span:
                    span.add_event("progress", {"step": child, "of": "three"})
    assert isinstance(span, ReadableSpan)
    return span
