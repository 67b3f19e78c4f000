"""Client CPU of encode + COPY, against encoding OTLP protobuf alone. Target: at most 1/5."""

from __future__ import annotations

import uuid

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from realistic import cpu_per_item, medians, spans

from otel_pg_exporter.batches import encode_batch
from otel_pg_exporter.exporter import PostgresSpanExporter
from otel_pg_exporter.rows import RowEncoder

BATCH = 512


def main(dsn: str) -> None:
    """Print the figures."""
    made = spans(4 * BATCH)
    batches = [made[i : i + BATCH] for i in range(0, len(made), BATCH)]
    exporter = PostgresSpanExporter(dsn, schema="bench_export")
    encoder = RowEncoder()
    exporter.export(batches[0])

    def encode() -> None:
        for batch in batches:
            encode_batch(batch, encoder.span, producer_id=uuid.UUID(int=1), sequence=1, signal="span")

    cases = {
        "OTLP protobuf, encoding alone": lambda: [encode_spans(b).SerializeToString() for b in batches],
        "ours, encoding alone": encode,
        "ours, encoding + COPY": lambda: [exporter.export(b) for b in batches],
    }
    found = medians({name: lambda a=action: cpu_per_item(a, len(made)) for name, action in cases.items()})
    exporter.shutdown()
    assert exporter.last_error is None
    otlp = found["OTLP protobuf, encoding alone"]
    print("\nExport: client CPU for each span (thread time, batches of 512, median of 9)")
    for name, microseconds in found.items():
        print(f"  {name:<32} {microseconds:6.1f} us   1/{otlp / microseconds:.1f} of OTLP")
