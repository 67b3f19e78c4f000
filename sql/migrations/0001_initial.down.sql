-- Drops every event with its table.
DROP TABLE {open_spans}, {heartbeats}, {processes};
DROP TABLE {events}, {task_events}, {agent_events}, {deployment_events}, {event_batches}, {event_summaries}, {resources}, {scopes};
