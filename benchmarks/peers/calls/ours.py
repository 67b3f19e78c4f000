"""Ours: `@task` with attributes."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from instrumentation import task

from .measure import EIGHT, QUERY, Library, Nowhere, main


def prepare() -> Library:
    """What `configure()` adds is a processor, as here; what its exporter does is done by another thread."""
    sink = Nowhere()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(sink))
    trace.set_tracer_provider(provider)

    @task("job", attributes=EIGHT, capture_input=False, capture_output=False)
    def eight(query: str) -> str:
        return query

    @task("job", attributes=EIGHT)
    def captured(query: str) -> str:
        return query

    return Library(
        packages=("otel-pg-exporter",),
        eight=lambda: eight(QUERY),
        captured=lambda: captured(QUERY),
        flush=provider.force_flush,
        sink=sink,
    )


if __name__ == "__main__":
    main(prepare)
