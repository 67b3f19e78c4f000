"""Client CPU of encode + COPY against encoding OTLP protobuf alone, target at most 1/6; and of encoding log records."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from realistic import cpu_per_item, log_records, medians, spans

from otel_pg_exporter.encoding.batches import encode_batch
from otel_pg_exporter.encoding.plain_rows import SpanEncoder
from otel_pg_exporter.encoding.rows import RowEncoder
from otel_pg_exporter.encoding.scrubbing import Scrubber
from otel_pg_exporter.encoding.treatment import Treatment
from otel_pg_exporter.exporter import PostgresSpanExporter

BATCHES = (2048, 512)
"""As `configure()` and as the SDK's own processor send them: each batch costs some 0.3 ms of its own."""
SPANS = 4096


def main(dsn: str) -> None:
    """Print the figures."""
    for size in BATCHES:
        measure(dsn, size)
    measure_logs()


def measure(dsn: str, size: int) -> None:
    """Print the figures for batches of this size."""
    exporter = PostgresSpanExporter(dsn, schema="bench_export", redact=False)
    looking = PostgresSpanExporter(dsn, schema="bench_export")
    for each in (exporter, looking):
        each.export(spans(size))
    # OTLP's encoder looks for no secrets, so that is a line of its own
    encoder = SpanEncoder(Treatment(scrubber=Scrubber(is_on=False)), presumes=True)

    def encode(batch: Sequence[ReadableSpan]) -> object:
        return encode_batch(batch, encoder.span, producer_id=uuid.UUID(int=1), sequence=1, signal="span")

    def encode_as_otlp(batch: Sequence[ReadableSpan]) -> object:
        return encode_spans(batch).SerializeToString()

    found = medians(
        {
            "OTLP protobuf, encoding alone": lambda: per_span(encode_as_otlp, size),
            "ours, encoding alone": lambda: per_span(encode, size),
            "ours, encoding + COPY": lambda: per_span(exporter.export, size),
            "the same, looking for secrets": lambda: per_span(looking.export, size),
        }
    )
    for each in (exporter, looking):
        each.shutdown()
        assert each.last_error is None
    otlp = found["OTLP protobuf, encoding alone"]
    print(f"\nExport: client CPU for each span (thread time, batches of {size:,}, median of 9)")
    for name, microseconds in found.items():
        print(f"  {name:<32} {microseconds:6.1f} us   1/{otlp / microseconds:.1f} of OTLP")


def measure_logs() -> None:
    """Print the figures for log records of six attributes, in one batch."""

    def encoding(is_on: bool) -> Callable[[], float]:
        encoder = RowEncoder(Treatment(scrubber=Scrubber(is_on=is_on)))

        def encode() -> float:
            made = log_records(SPANS)
            return cpu_per_item(
                lambda: encode_batch(made, encoder.log, producer_id=uuid.UUID(int=1), sequence=1, signal="log"), SPANS
            )

        return encode

    def encode_as_otlp() -> float:
        made = log_records(SPANS)
        return cpu_per_item(lambda: encode_logs(made).SerializeToString(), SPANS)

    found = medians(
        {
            "OTLP protobuf, encoding alone": encode_as_otlp,
            "ours, encoding alone": encoding(False),
            "the same, looking for secrets": encoding(True),
        }
    )
    otlp = found["OTLP protobuf, encoding alone"]
    print("\nLog records of six attributes: client CPU for each (thread time, median of 9)")
    for name, microseconds in found.items():
        print(f"  {name:<32} {microseconds:6.1f} us   {microseconds / otlp:.2f} of OTLP")


def per_span(action: Callable[[Sequence[ReadableSpan]], object], size: int) -> float:
    """CPU for each span, microseconds; of spans that were never seen before, as in a program."""
    made = spans(SPANS)
    batches = [made[i : i + size] for i in range(0, len(made), size)]
    return cpu_per_item(lambda: [action(batch) for batch in batches], len(made))
