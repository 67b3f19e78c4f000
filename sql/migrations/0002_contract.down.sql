-- Takes the contract back, and with it who sees which tenant; events stay.
DROP FUNCTION {deployments_before_rise}(text, timestamptz, timestamptz, interval, interval, interval, double precision, double precision);
DROP FUNCTION {subtree_totals}(uuid, bigint);
DROP FUNCTION {span_ancestors}(uuid, bigint);
DROP FUNCTION {span_descendants}(uuid, bigint);
DROP FUNCTION {trace_tree}(uuid);
DROP FUNCTION {contract_version}();
DROP TYPE {deployment_before_rise}, {subtree_total}, {trace_node};
DROP VIEW {runs}, {deployments}, {llm_usage}, {agent_actions}, {tasks}, {traces}, {errors}, {spans}, {all_events};
DROP VIEW {event_rows};
DROP VIEW {tenant_scope};
DROP VIEW {tenant_resources};
DROP VIEW {tenant_ids};
DROP TABLE {tenant_readers}, {tenancy};
ALTER TABLE {open_spans} DROP COLUMN tenant_id;

CREATE VIEW {runs} AS
SELECT opened.trace_id, opened.span_id, opened.parent_span_id, opened."time", opened.start_unix_nano,
       opened.category, opened.event_type, opened.event_name,
       CASE WHEN ended.status IS NOT NULL THEN ended.status
            WHEN beat.is_fresh THEN 'started'
            ELSE 'lost' END AS status,
       CASE WHEN ended.status IS NOT NULL THEN ended.duration_ns
            ELSE (greatest(0, extract(epoch FROM (
                     CASE WHEN beat.is_fresh THEN now() ELSE coalesce(beat."time", opened.seen_at) END
                     - opened."time"))) * 1e9)::bigint END AS duration_ns,
       opened.service_name, opened.agent_id, opened.task_id, opened.session_id, opened.user_id, opened.attributes,
       opened.process_id, owner.host, owner.pid, beat."time" AS last_heartbeat, opened.seen_at
  FROM {open_spans} AS opened
  LEFT JOIN {processes} AS owner ON owner.process_id = opened.process_id
  LEFT JOIN LATERAL (
       SELECT newest."time", newest."time" >= now() - 3 * owner.heartbeat_seconds * interval '1 second' AS is_fresh
         FROM {heartbeats} AS newest WHERE newest.process_id = opened.process_id
        ORDER BY newest."time" DESC LIMIT 1) AS beat ON true
  LEFT JOIN LATERAL (
       SELECT status, duration_ns FROM {task_events} AS t WHERE t.trace_id = opened.trace_id
          AND t.span_id = opened.span_id AND t."time" = opened."time" AND t.record = 'span'
       UNION ALL
       SELECT status, duration_ns FROM {agent_events} AS t WHERE t.trace_id = opened.trace_id
          AND t.span_id = opened.span_id AND t."time" = opened."time" AND t.record = 'span'
       UNION ALL
       SELECT status, duration_ns FROM {deployment_events} AS t WHERE t.trace_id = opened.trace_id
          AND t.span_id = opened.span_id AND t."time" = opened."time" AND t.record = 'span'
       UNION ALL
       SELECT status, duration_ns FROM {events} AS t WHERE t.trace_id = opened.trace_id
          AND t.span_id = opened.span_id AND t."time" = opened."time" AND t.record = 'span'
        LIMIT 1) AS ended ON true;
COMMENT ON VIEW {runs} IS 'Every span that was seen open for longer than a second, and how it stands now.';
COMMENT ON COLUMN {runs}.trace_id IS 'Trace id, 16 bytes.';
COMMENT ON COLUMN {runs}.span_id IS 'Span id, signed as in the event tables.';
COMMENT ON COLUMN {runs}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span.';
COMMENT ON COLUMN {runs}."time" IS 'When it started, microseconds, UTC.';
COMMENT ON COLUMN {runs}.start_unix_nano IS 'Exact start, nanoseconds since 1970-01-01 UTC.';
COMMENT ON COLUMN {runs}.category IS 'system, task, agent or deployment, as far as its attributes said when it was seen.';
COMMENT ON COLUMN {runs}.event_type IS 'Group of the event, as in the event tables.';
COMMENT ON COLUMN {runs}.event_name IS 'The span''s name.';
COMMENT ON COLUMN {runs}.status IS 'That of its row in an event table if it has ended, however late the row came; else started (it runs) if its process gave a sign of life within three heartbeats, else lost.';
COMMENT ON COLUMN {runs}.duration_ns IS 'Of what has ended, its duration; of what runs, the time since its start; of what is lost, the time to the last sign of life. Nanoseconds.';
COMMENT ON COLUMN {runs}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {runs}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {runs}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {runs}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {runs}.user_id IS 'User id.';
COMMENT ON COLUMN {runs}.attributes IS 'Its attributes when it was seen open.';
COMMENT ON COLUMN {runs}.process_id IS 'Process that has it: processes.process_id.';
COMMENT ON COLUMN {runs}.host IS 'Name of the process''s machine.';
COMMENT ON COLUMN {runs}.pid IS 'Process id on that machine.';
COMMENT ON COLUMN {runs}.last_heartbeat IS 'Last sign of life of the process, by the server''s clock, UTC.';
COMMENT ON COLUMN {runs}.seen_at IS 'When it was seen open, by the server''s clock, UTC.';
