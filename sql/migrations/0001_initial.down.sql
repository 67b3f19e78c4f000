-- Drops every event with its table.
DROP TABLE {pruned};
DROP TABLE {open_spans}, {heartbeats}, {processes};
DROP TABLE {events}, {task_events}, {agent_events}, {deployment_events}, {event_batches}, {resources}, {scopes};
