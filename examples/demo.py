"""Runs the research agent, stores what it did in PostgreSQL, and reads it back."""

from __future__ import annotations

import sys
from pathlib import Path

from opentelemetry.sdk.resources import Resource

from otel_pg_exporter import configure

sys.path.insert(0, str(Path(__file__).parent))
import research_agent


def main() -> None:
    telemetry = configure(resource=Resource.create({"service.name": "travel-demo"}))
    print("Running examples/research_agent.py ...")
    print(f"  answer: {research_agent.main()}\n")
    if not telemetry.force_flush():
        sys.exit(f"Not stored: {telemetry.last_error}")

    query = telemetry.query
    (last,) = query.task_events(name="plan a trip", limit=1)
    print(f"The task, as PostgreSQL has it:\n{query.trace(last.trace_id)}\n")
    (deployment,) = query.deployment_events(limit=1)
    print(f"The deployment before it:\n{query.trace(deployment.trace_id)}\n")

    print("Rows by table:")
    for table, count in query.counts().items():
        print(f"  {table:<20} {count:>6}")

    statistics = query.statistics()
    print("\nStatistics over all that is stored:")
    print(f"  {'':<20} {'events':>7} {'errors':>7} {'p50':>10} {'p95':>10}")
    for name, group in statistics.by_category.items():
        print(f"  {name:<20} {group.count:>7} {group.errors:>7} {ms(group.p50):>10} {ms(group.p95):>10}")
    print(f"  tokens: {statistics.input_tokens} in, {statistics.output_tokens} out")

    where = telemetry.database.server
    if where is not None:
        print(f"\nThe data lies in {where.data_dir}, in schema {telemetry.settings.schema}.")
        print("Ask it anything in SQL:")
        print('  .venv/bin/otel-pg db psql -c "SELECT event_name, status, duration_ns / 1e6 AS ms')
        print("    FROM agent_events WHERE action = 'tool' ORDER BY time DESC LIMIT 5\"")
    else:
        print(f"\nThe data lies in {telemetry.settings.target}, in schema {telemetry.settings.schema}.")
    print("To use your own PostgreSQL: OTEL_EXPORTER_POSTGRES_DSN=postgresql://user@host/database make demo")
    telemetry.shutdown()


def ms(nanoseconds: float | None) -> str:
    return "" if nanoseconds is None else f"{nanoseconds / 1e6:.1f} ms"


if __name__ == "__main__":
    main()
