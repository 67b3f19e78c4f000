"""A decorated call with 8 attributes against a bare span without attributes. Target: at most 1.6 times."""

from __future__ import annotations

import json

from opentelemetry import trace
from opentelemetry.sdk.trace import RandomIdGenerator, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from realistic import content, cpu_per_item, medians

from instrumentation import task
from otel_pg_exporter import TimeOrderedIdGenerator

CALLS = 5000


class Nowhere(SpanExporter):
    """Takes spans and drops them."""

    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing to close."""


def main() -> None:
    """Print the figures."""
    usual, ours = (
        TracerProvider(id_generator=ids, shutdown_on_exit=False)
        for ids in (RandomIdGenerator(), TimeOrderedIdGenerator())
    )
    for provider in (usual, ours):
        provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    trace.set_tracer_provider(ours)
    tracer, with_our_ids = usual.get_tracer("bench"), ours.get_tracer("bench")
    five = {"a": 1, "b": "two", "c": 3.0, "d": True, "e": "five"}  # with category, type and name of ours: 8

    @task("job", attributes=five, capture_input=False, capture_output=False)
    def decorated() -> None:
        """Eight attributes, nothing captured."""

    @task("job", attributes=five)
    def captured(text: str, number: int) -> str:
        """Input and output are captured as well."""
        return text

    @task("job", attributes=five)
    def structured(query: dict[str, object], number: int) -> dict[str, object]:
        """Input and output are mappings: 300 bytes of JSON text each."""
        return query

    def bare() -> None:
        with tracer.start_as_current_span("job"):
            pass

    def bare_with_our_ids() -> None:
        with with_our_ids.start_as_current_span("job"):
            pass

    cases = {
        "bare span, no attributes": bare,
        "the same, with our ids": bare_with_our_ids,
        "decorated, 8 attributes": decorated,
    }
    query = json.loads(content(1))
    cases["the same, with input and output"] = lambda: captured("some text", 5)
    cases["the same, as a dict"] = lambda: structured(query, 5)

    def repeat(action: object) -> float:
        return cpu_per_item(lambda: [action() for _ in range(CALLS)], CALLS)

    found = medians({name: lambda a=action: repeat(a) for name, action in cases.items()}, rounds=15)
    print("\nHot path: CPU for each call (thread time, SDK with BatchSpanProcessor, median of 15)")
    for name, microseconds in found.items():
        print(f"  {name:<32} {microseconds:6.1f} us   {microseconds / found['bare span, no attributes']:.2f} x")
