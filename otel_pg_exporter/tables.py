"""The columns of the event tables, in the order in which rows are encoded."""

from __future__ import annotations

__all__ = ["COLUMNS", "COMMON", "SPECIAL"]

COMMON = (
    "trace_id", "span_id", "batch_id", "batch_index", "time", "trace_flags", "kind", "status_code",
    "resource_id", "scope_id", "service_name", "parent_span_id", "parent_is_remote", "start_unix_nano",
    "end_unix_nano", "duration_ns", "observed_unix_nano", "record", "event_type", "event_name",
    "status", "severity_number", "severity_text", "agent_id", "task_id", "session_id", "user_id",
    "error_type", "error_message", "input", "output", "attributes", "attribute_order", "body", "events",
    "links", "dropped_attributes", "dropped_events", "dropped_links", "status_message", "trace_state",
    "fixups",
)  # fmt: skip
"""Columns that all four event tables have; sql/migrations says what each holds."""

SPECIAL = {
    "events": (),
    "task_events": ("task_name", "attempt", "queue"),
    "agent_events": (
        "agent_name", "action", "tool_name", "model", "provider", "input_tokens", "output_tokens",
        "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost",
    ),
    "deployment_events": (
        "environment", "branch", "commit_sha", "pull_request", "pipeline", "pipeline_run_id", "result",
        "build_result", "test_result",
    ),
}  # fmt: skip
"""Table → the columns that it has beside the common ones."""

COLUMNS = {table: COMMON + special for table, special in SPECIAL.items()}
"""Table → all its columns."""
