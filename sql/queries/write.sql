-- name: begin_batch
-- Opens the transaction of a batch.
BEGIN ISOLATION LEVEL READ COMMITTED;
{query:batch_settings}

-- name: begin_batch_with_texts
-- The same of a batch that refers to contents. Whoever erases waits for the lock, and makes an index anew: batch_settings
-- looks at that once the lock is had.
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL lock_timeout = %(lock_timeout)s;
LOCK TABLE {pruned} IN ACCESS SHARE MODE;
{query:batch_settings}

-- name: batch_settings
-- A server that answers before its own disk has the rows would let us forget them too early;
-- a stricter setting than "on" is left alone. While the server waits for rows no timeout of its own holds:
-- from a client that has vanished it would wait for hours, and keep its batch from the next attempt.
-- The last column says which tables these are: others if they were made anew, or behind a pooler are another server's, or if
-- something was erased since.
SELECT set_config('lock_timeout', %(lock_timeout)s, true),
       set_config('statement_timeout', %(statement_timeout)s, true),
       set_config('tcp_keepalives_idle', '10', true),
       set_config('tcp_keepalives_interval', '2', true),
       CASE WHEN current_setting('synchronous_commit') IN ('off', 'local')
            THEN set_config('synchronous_commit', 'on', true) END,
       CASE WHEN current_setting('server_version_num')::integer >= 170000
            THEN set_config('transaction_timeout', '0', true) END,
       concat_ws(' ', pg_postmaster_start_time(), pg_relation_filenode(to_regclass('{resources}')),
                 pg_relation_filenode(to_regclass('{schema}.{index:pruned_erasures}'))) AS tables

-- name: end_trial
-- Ends a transaction in which rows were only tried: rules that wait for the COMMIT are looked at, and nothing is kept.
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK

-- name: claim_batch
-- Claims the id of a batch: no row inserted means that it is stored already.
INSERT INTO {event_batches} (
    batch_id, "time", producer_id, sequence, signal, spooled, stored, dropped_before, dead_before,
    events, task_events, agent_events, deployment_events, first_time, last_time
) VALUES (
    %(batch_id)s, timestamptz 'epoch' + %(time_us)s * interval '1 microsecond', %(producer_id)s, %(sequence)s, %(signal)s, %(spooled)s, %(stored)s, %(dropped_before)s, %(dead_before)s,
    %(events)s, %(task_events)s, %(agent_events)s, %(deployment_events)s,
    timestamptz 'epoch' + %(first_us)s * interval '1 microsecond',
    timestamptz 'epoch' + %(last_us)s * interval '1 microsecond'
) ON CONFLICT DO NOTHING

-- name: batch_has_rows
-- Whether a batch was stored with rows: that it was given up is a row of the ledger too.
SELECT stored FROM {event_batches}
 WHERE batch_id = %(batch_id)s AND "time" = timestamptz 'epoch' + %(time_us)s * interval '1 microsecond' AND stored > 0

-- name: wait_for_no_disk
-- For what a later COMMIT of the same connection makes safe: that waits until the disk has all of the log before it.
SET LOCAL synchronous_commit = off

-- name: insert_resource
-- Stores a resource, and the last day of what refers to it; another writer may have done so. The day first: whoever
-- takes out a resource that has no days shuts out whoever stores one, and sees the days of all before.
INSERT INTO {resource_days} (resource_id, "time")
VALUES (%(id)s, timestamptz 'epoch' + %(last_day)s * interval '24 hours')
ON CONFLICT DO NOTHING;
INSERT INTO {resources} (resource_id, service_name, attributes, attribute_order, schema_url, fixups)
VALUES (%(id)s, %(service_name)s, %(attributes)s, %(attribute_order)s, %(schema_url)s, %(fixups)s)
ON CONFLICT DO NOTHING

-- name: insert_scope
-- Stores an instrumentation scope; another writer may have done so.
INSERT INTO {scopes} (scope_id, name, version, schema_url, attributes, attribute_order, fixups)
VALUES (%(id)s, %(name)s, %(version)s, %(schema_url)s, %(attributes)s, %(attribute_order)s, %(fixups)s)
ON CONFLICT DO NOTHING

-- name: insert_contents
-- Stores texts that rows share, and lists of them; another writer may have done so. In order, so that two never wait
-- for each other.
INSERT INTO {contents} (content_id, "time", body, parts)
SELECT content_id, timestamptz 'epoch' + day * interval '24 hours', body, parts
  FROM json_to_recordset(%(contents)s) AS shared(content_id uuid, day integer, body text, parts uuid[])
 ORDER BY content_id, day
ON CONFLICT DO NOTHING

-- name: crowded_hours
-- Hours of the last days, that have been over for an hour, and have many more summaries than kinds of events.
SELECT "time"
  FROM {event_summaries}
 WHERE "time" >= now() - interval '3 days' AND "time" <= now() - interval '2 hours'
 GROUP BY "time"
HAVING count(*) > %(most)s
   AND count(*) > 2 * count(DISTINCT (category, event_type, status, service_name, agent_id, agent_name))
 ORDER BY "time"

-- name: merge_summaries
-- The summaries of an hour become one for each kind of event. What is added meanwhile stays beside it.
WITH gone AS (DELETE FROM {event_summaries} WHERE "time" = %(hour)s RETURNING *)
INSERT INTO {event_summaries} (
    batch_id, "time", category, event_type, status, service_name, agent_id, agent_name, event_count, timed,
    duration_sum, duration_min, duration_max, histogram, input_tokens, output_tokens, cost
)
SELECT '00000000-0000-0000-0000-000000000000', "time", category, event_type, status, service_name, agent_id, agent_name,
       sum(event_count), sum(timed), sum(duration_sum), min(duration_min), max(duration_max), sum(histogram),
       sum(input_tokens), sum(output_tokens), sum(cost)
  FROM gone
 GROUP BY "time", category, event_type, status, service_name, agent_id, agent_name
HAVING sum(event_count) <> 0
