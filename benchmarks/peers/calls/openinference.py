"""OpenInference: the decorator `tracer.chain` of openinference-instrumentation, which always captures."""

from __future__ import annotations

from openinference.instrumentation import TraceConfig, TracerProvider
from opentelemetry import trace
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .measure import EIGHT, QUERY, Library, Nowhere, main


def prepare() -> Library:
    """Input and output cannot be left out of a decorated call; its block, which takes attributes, has neither."""
    sink = Nowhere()
    provider = TracerProvider(config=TraceConfig())
    provider.add_span_processor(BatchSpanProcessor(sink))
    tracer = provider.get_tracer("bench")

    def eight() -> str:
        with tracer.start_as_current_span("job", openinference_span_kind="chain", attributes=EIGHT):
            return QUERY

    @tracer.chain(name="job")
    def captured(query: str) -> str:
        trace.get_current_span().set_attributes(EIGHT)
        return query

    return Library(
        packages=("openinference-instrumentation",),
        eight=eight,
        captured=lambda: captured(QUERY),
        flush=provider.force_flush,
        sink=sink,
    )


if __name__ == "__main__":
    main(prepare)
