"""The commands of `otel-pg`, one module each, and what they share."""
