"""configure() and 50,000 spans as fast as one core can: which are lost, which are stored twice? Target: none."""

from __future__ import annotations

import time
from collections import Counter

from opentelemetry import trace
from realistic import RESOURCE, attributes

from otel_pg_exporter import configure

COUNT = 50_000


def main(dsn: str) -> None:
    """Print the figures; the ids of what was created and of what is stored are compared as sets."""
    telemetry = configure(dsn=dsn, schema="bench_loss", resource=RESOURCE)
    tracer = trace.get_tracer("bench")
    created = []
    begun = time.perf_counter()
    for number in range(COUNT):
        with tracer.start_as_current_span("job", attributes=attributes(number)) as span:
            created.append(span.get_span_context().span_id)
    made = time.perf_counter() - begun
    telemetry.force_flush()
    done = time.perf_counter() - begun
    rows = telemetry.database.fetch("SELECT span_id FROM bench_loss.agent_events")
    telemetry.shutdown()
    stored = Counter(row["span_id"] & ((1 << 64) - 1) for row in rows)
    lost, twice = set(created) - set(stored), [i for i, n in stored.items() if n > 1]
    print(f"\nNo loss: {COUNT:,} realistic spans at full speed into a new schema")
    print(f"  created in {made:.1f} s ({COUNT / made:,.0f}/s), all stored after {done:.1f} s ({COUNT / done:,.0f}/s)")
    print(f"  lost {len(lost)}, stored twice {len(twice)}, unknown {len(set(stored) - set(created))}")
