-- Drops every event with its table.
DROP TABLE {pruned};
DROP FUNCTION {whole_attributes}(timestamptz, jsonb, jsonb), {joined_contents}(timestamptz, uuid[]);
DROP FUNCTION {events_of_trace}(uuid), {task_events_of_trace}(uuid), {agent_events_of_trace}(uuid),
    {deployment_events_of_trace}(uuid);
DROP TABLE {open_spans}, {heartbeats}, {processes};
DROP TABLE {events}, {task_events}, {agent_events}, {deployment_events}, {event_batches}, {event_summaries},
    {contents}, {resources}, {resource_days}, {scopes};
DROP FUNCTION {words_of_event}(json, json, jsonb, text, text), {words_of_text}(text);
