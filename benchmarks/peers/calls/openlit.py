"""OpenLIT: `@openlit.trace`, which always captures, on a provider that is there already."""

from __future__ import annotations

import tempfile

import openlit
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .measure import EIGHT, QUERY, Library, Nowhere, main


def prepare() -> Library:
    """Input and output cannot be left out of a decorated call; its block has neither."""
    sink = Nowhere()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(sink))
    trace.set_tracer_provider(provider)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as prices:  # else it would fetch them
        prices.write("{}")
        prices.flush()
        openlit.init(disable_metrics=True, disable_events=True, pricing_json=prices.name)

    def eight() -> str:
        with openlit.start_trace("job"):
            trace.get_current_span().set_attributes(EIGHT)
            return QUERY

    @openlit.trace
    def captured(query: str) -> str:
        trace.get_current_span().set_attributes(EIGHT)
        return query

    return Library(
        packages=("openlit",),
        eight=eight,
        captured=lambda: captured(QUERY),
        flush=provider.force_flush,
        sink=sink,
    )


if __name__ == "__main__":
    main(prepare)
