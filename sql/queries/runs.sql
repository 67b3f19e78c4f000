-- name: server_day
-- The day by the server's clock, counted from 1970-01-01 UTC.
SELECT (now() AT TIME ZONE 'UTC')::date - date '1970-01-01' AS day

-- name: insert_process
-- Says who a process is; an attempt before may have done so.
INSERT INTO {processes} (process_id, host, pid, service_name, started_at, heartbeat_seconds)
VALUES (%(process_id)s, %(host)s, %(pid)s, %(service_name)s, %(started_at)s, %(heartbeat_seconds)s)
ON CONFLICT DO NOTHING

-- name: insert_open_spans
-- Stores what some spans are while they are open; an attempt before may have done so.
INSERT INTO {open_spans} (
    trace_id, span_id, "time", start_unix_nano, parent_span_id, process_id, category, event_type, event_name,
    service_name, tenant_id, agent_id, task_id, session_id, user_id, attributes
)
SELECT trace_id, span_id, timestamptz 'epoch' + time_us * interval '1 microsecond', start_unix_nano, parent_span_id,
       %(process_id)s, category, event_type, event_name, service_name, tenant_id, agent_id, task_id, session_id, user_id,
       attributes
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS opened (
       trace_id uuid, span_id bigint, time_us bigint, start_unix_nano bigint, parent_span_id bigint, category text,
       event_type text, event_name text, service_name text, tenant_id text, agent_id text, task_id text, session_id text,
       user_id text, attributes jsonb)
ON CONFLICT DO NOTHING

-- name: insert_heartbeat
-- A sign of life.
INSERT INTO {heartbeats} (process_id, open_runs, open_since)
VALUES (%(process_id)s, %(open_runs)s, timestamptz 'epoch' + %(since_us)s * interval '1 microsecond')

-- name: running_runs
-- Runs of processes that live, the longest first. No heartbeat counts for longer than three hours, and nothing
-- that is open began before the time that the newest one states.
WITH beats AS (
    SELECT DISTINCT ON (process_id) process_id, open_since FROM {heartbeats}
     WHERE "time" >= now() - interval '3 hours'
     ORDER BY process_id, "time" DESC
)
SELECT runs.* FROM beats JOIN {runs} AS runs USING (process_id)
 WHERE "time" >= open_since AND status = 'started' AND {where}
 ORDER BY "time", span_id LIMIT %(limit)s

-- name: lost_runs
-- Runs of processes that gave their last sign of life after some time, the last one first.
WITH beats AS (
    SELECT DISTINCT ON (process_id) process_id, open_since FROM {heartbeats}
     WHERE "time" >= coalesce(%(since)s::timestamptz, now() - %(ago_us)s * interval '1 microsecond')
     ORDER BY process_id, "time" DESC
)
SELECT runs.* FROM beats JOIN {runs} AS runs USING (process_id)
 WHERE "time" >= open_since AND status = 'lost' AND {where}
 ORDER BY last_heartbeat DESC, "time", span_id LIMIT %(limit)s

-- name: seen_open
-- A row if a span of a trace was seen while it was open.
SELECT 1 AS found FROM {open_spans} WHERE trace_id = %(trace_id)s LIMIT 1

-- name: unfinished_runs
-- What of one trace has not ended, in the order in which it began.
SELECT runs.* FROM {runs} AS runs
 WHERE trace_id = %(trace_id)s AND status IN ('started', 'lost')
 ORDER BY "time", span_id LIMIT %(limit)s
