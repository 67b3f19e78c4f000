"""Run every example, and print what they stored: by table and by type.

python examples/run_all.py     # OTEL_EXPORTER_POSTGRES_DSN, else the embedded PostgreSQL
"""

from __future__ import annotations

import runpy
from datetime import datetime, timezone
from pathlib import Path

from otel_pg_exporter import EventQuery, configure

EXAMPLES = ("basic_event_store", "event_integration", "decorators", "agents", "deployments")
TABLES = {"system": "events", "task": "task_events", "agent": "agent_events", "deployment": "deployment_events"}


def main() -> None:
    """One after the other in this process, then the count."""
    begun = datetime.now(timezone.utc)
    for name in EXAMPLES:
        print(f"--- {name}.py")
        runpy.run_path(str(Path(__file__).with_name(f"{name}.py")), run_name="__main__")
    configure().force_flush()

    print("--- stored")
    with EventQuery() as query:
        for category, table in TABLES.items():
            for event_type, group in sorted(query.statistics(category, start=begun).by_type.items()):
                print(f"{table:<18} {event_type:<20} {group.count:>4}")


if __name__ == "__main__":
    main()
