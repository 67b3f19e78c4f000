"""The columns of the event tables, in the order in which rows are encoded."""

from __future__ import annotations

__all__ = ["COLUMNS", "COMMON", "FRONT", "KIND", "NUMBERS", "SPECIAL", "SUMMARY"]

FRONT = (
    "trace_id", "span_id", "batch_id", "batch_index", "time", "trace_flags", "start_unix_nano", "end_unix_nano",
    "duration_ns", "attributes", "events", "links", "parent_span_id", "parent_is_remote", "resource_id", "scope_id",
    "service_name", "event_name", "input", "input_attribute", "output", "output_attribute",
    "status_message", "error_type", "error_message",
)  # fmt: skip
"""Columns that differ from record to record, whatever their shape."""

COMMON = (
    *FRONT, "kind", "status_code", "record", "event_type", "status", "attribute_order", "observed_unix_nano",
    "severity_number", "severity_text", "body", "dropped_attributes", "dropped_events", "dropped_links",
    "trace_state", "fixups", "input_contents", "output_contents", "attribute_contents",
    "agent_id", "task_id", "session_id", "user_id",
)  # fmt: skip
"""Columns that all four event tables have; sql/migrations says what each holds."""

SPECIAL = {
    "events": (),
    "task_events": ("task_name", "queue", "attempt"),
    "agent_events": (
        "agent_name", "action", "tool_name", "model", "provider", "input_tokens", "output_tokens",
        "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost",
    ),
    "deployment_events": (
        "environment", "branch", "commit_sha", "pull_request", "pipeline", "pipeline_run_id", "result",
        "build_result", "test_result",
    ),
}  # fmt: skip
"""Table → the columns that it has beside the common ones, text before numbers."""

KIND = ("event_type", "status", "agent_id", "agent_name")
"""What rows of one table are counted by, beside their service and hour."""

NUMBERS = ("input_tokens", "output_tokens", "cost")
"""What is added up."""

SUMMARY = (
    "batch_id", "time", "category", "event_type", "status", "service_name", "agent_id", "agent_name",
    "event_count", "timed", "duration_sum", "duration_min", "duration_max", "histogram", *NUMBERS,
)  # fmt: skip
"""The columns of event_summaries, in the order in which its rows are encoded."""

COLUMNS = {table: COMMON + special for table, special in SPECIAL.items()}
"""Table → all its columns."""
