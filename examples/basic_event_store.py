"""Log an event of each kind, and show what was stored.

python examples/basic_event_store.py     # OTEL_EXPORTER_POSTGRES_DSN, else the embedded PostgreSQL
"""

from __future__ import annotations

from otel_pg_exporter import EventStore


def main() -> None:
    """Log, read back, count."""
    with EventStore() as store:
        store.log_system_event(event_name="login", event_type="user_action", user_id="ada", data={"ip": "::1"})
        store.log_task_event(event_name="invoice sent", task_id="42", input={"order": 7}, duration_seconds=0.8)
        store.log_agent_event(event_name="looked up", agent_id="researcher", tool_name="search", duration_seconds=0.2)
        store.log_deployment_event(
            event_name="released", environment="WSL2", branch="main", pull_request=7, result="failure"
        )
        store.force_flush()

        for query in (
            store.query_system_events,
            store.query_task_events,
            store.query_agent_events,
            store.query_deployment_events,
        ):
            for event in query(limit=1):
                print(f"{event.category:<12} {event.event_type:<16} {event.event_name:<14} {event.status}")

        statistics = store.get_event_statistics()
        print(f"{statistics.total_events} events, {statistics.errors} of them errors")
        print(f"average duration {statistics.average_duration:.1f} s")
        print("healthy" if store.get_health_status().is_healthy else "not healthy")


if __name__ == "__main__":
    main()
