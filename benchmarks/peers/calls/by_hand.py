"""No library: the SDK's span with its attributes, and JSON of the standard library, as one would write it by hand."""

from __future__ import annotations

import json

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .measure import EIGHT, QUERY, Library, Nowhere, main


def prepare() -> Library:
    """Nothing is looked for in what goes in and out, and nothing is cut."""
    sink = Nowhere()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(sink))
    tracer = provider.get_tracer("bench")

    def work(query: str) -> str:
        return query

    def eight() -> str:
        with tracer.start_as_current_span("job", attributes=EIGHT):
            return work(QUERY)

    def captured() -> str:
        with tracer.start_as_current_span("job", attributes=EIGHT) as span:
            span.set_attribute("input.value", json.dumps({"query": QUERY}))
            result = work(QUERY)
            span.set_attribute("output.value", json.dumps(result))
            return result

    return Library(packages=(), eight=eight, captured=captured, flush=provider.force_flush, sink=sink)


if __name__ == "__main__":
    main(prepare)
