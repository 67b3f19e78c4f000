"""What it costs a span to be seen while it is open: CPU of on_start and on_end together. Target: at most 2 us."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from realistic import cpu_per_item, medians

from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.processors.open_spans import OpenSpanProcessor

SPANS = 5000


def main() -> None:
    """Print the figures."""
    processor = OpenSpanProcessor(Database(Settings(dsn="host=127.0.0.1 port=1")))
    providers = {name: TracerProvider(shutdown_on_exit=False) for name in ("alone", "seen")}
    providers["seen"].add_span_processor(processor)
    tracers = {name: provider.get_tracer("bench") for name, provider in providers.items()}
    spans = [tracers["alone"].start_span("job") for _ in range(SPANS)]
    ended = [span._readable_span() for span in spans]
    processor.on_start(spans[0])  # the thread begins

    def notes() -> None:
        for span, readable in zip(spans, ended, strict=True):
            processor.on_start(span)
            processor.on_end(readable)

    def whole(name: str) -> None:
        for _ in range(SPANS):
            tracers[name].start_span("job").end()

    found = medians(
        {
            "on_start and on_end": lambda: cpu_per_item(notes, SPANS),
            "a bare span, not seen": lambda: cpu_per_item(lambda: whole("alone"), SPANS),
            "a bare span, seen": lambda: cpu_per_item(lambda: whole("seen"), SPANS),
        },
        rounds=15,
    )
    processor.shutdown()
    print("\nOpen spans: CPU for each span (thread time, median of 15)")
    for name, microseconds in found.items():
        share = microseconds / found["a bare span, not seen"]
        print(f"  {name:<32} {microseconds:6.2f} us   {share:.2f} x")


if __name__ == "__main__":
    main()
