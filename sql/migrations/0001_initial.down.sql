-- Drops every event with its table.
DROP TABLE {events}, {task_events}, {agent_events}, {deployment_events}, {event_batches}, {resources}, {scopes};
