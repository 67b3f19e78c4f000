-- name: traces_of
-- The traces in which a column has a value, in one table.
SELECT DISTINCT trace_id FROM {table}
 WHERE {column} = %(value)s AND trace_id <> '00000000-0000-0000-0000-000000000000'

-- name: of_traces
-- Of a row: it is of one of some traces.
trace_id = ANY(%(traces)s)

-- name: outside_of_traces
-- Of a row: it is a log record of no trace, and a column has a value.
trace_id = '00000000-0000-0000-0000-000000000000' AND {column} = %(value)s

-- name: rows_by_day
-- How many rows of a table are to be erased, by day (counted from 1970-01-01) and trace.
SELECT ("time" AT TIME ZONE 'UTC')::date - date '1970-01-01' AS day, trace_id, count(*) AS "rows"
  FROM {table} WHERE {which} GROUP BY 1, 2

-- name: shut_out_writers
-- Waits for whoever stores a batch, and lets nobody begin to: see begin_batch.
LOCK TABLE {pruned} IN ACCESS EXCLUSIVE MODE

-- name: seen_now
-- Which transactions are seen now.
SELECT txid_current_snapshot()::text AS snapshot

-- name: batches_since
-- Batches that a snapshot does not see, and between which times their rows are; NULLs if there are none.
SELECT array_agg(batch_id) AS batches, min(first_time) AS since, max(last_time) AS until
  FROM {event_batches}
 WHERE transaction_id >= txid_snapshot_xmin(%(snapshot)s::txid_snapshot)
   AND NOT txid_visible_in_snapshot(transaction_id, %(snapshot)s::txid_snapshot)

-- name: referred_contents
-- Contents that rows of a day refer to, and the texts of the lists among these.
WITH referring AS MATERIALIZED (
    SELECT input_contents, output_contents, attribute_contents FROM {events}
     WHERE "time" >= %(begin)s AND "time" < %(end)s AND {which}
     UNION ALL
    SELECT input_contents, output_contents, attribute_contents FROM {task_events}
     WHERE "time" >= %(begin)s AND "time" < %(end)s AND {which}
     UNION ALL
    SELECT input_contents, output_contents, attribute_contents FROM {agent_events}
     WHERE "time" >= %(begin)s AND "time" < %(end)s AND {which}
     UNION ALL
    SELECT input_contents, output_contents, attribute_contents FROM {deployment_events}
     WHERE "time" >= %(begin)s AND "time" < %(end)s AND {which}
), named AS MATERIALIZED (
    SELECT unnest(input_contents) AS content_id FROM referring
     UNION
    SELECT unnest(output_contents) FROM referring
     UNION
    SELECT jsonb_array_elements_text(attribute.ids)::uuid
      FROM referring, jsonb_each(attribute_contents) AS attribute(key, ids)
)
SELECT content_id FROM named
 UNION
SELECT unnest(lists.parts) FROM {contents} AS lists JOIN named USING (content_id) WHERE lists."time" = %(begin)s

-- name: referred_of
-- Which of some contents rows of a day refer to, themselves or by lists.
SELECT content_id FROM ({query:referred_contents}) AS referred WHERE content_id IN (SELECT unnest(%(ids)s::uuid[]))

-- name: refers_besides
-- Of a row: it refers to contents, and is not among those that are to be erased.
(input_contents IS NOT NULL OR output_contents IS NOT NULL OR attribute_contents IS NOT NULL) AND ({which}) IS NOT TRUE

-- name: of_batches
-- Of a row: it is of one of some batches.
batch_id = ANY(%(batches)s) AND "time" BETWEEN %(since)s AND %(until)s

-- name: forget_kinds
-- Summaries of a day that together count nothing, of kinds of events of which nothing is left: who they were of would
-- stand in them.
WITH gone AS (
    SELECT "time", category, event_type, status, service_name, agent_id, agent_name FROM {event_summaries}
     WHERE "time" >= %(begin)s AND "time" < %(end)s
     GROUP BY "time", category, event_type, status, service_name, agent_id, agent_name
    HAVING sum(event_count) = 0
)
DELETE FROM {event_summaries} AS counted USING gone
 WHERE counted."time" >= %(begin)s AND counted."time" < %(end)s
   AND (counted."time", counted.category, counted.event_type, counted.status) =
       (gone."time", gone.category, gone.event_type, gone.status)
   AND counted.service_name IS NOT DISTINCT FROM gone.service_name
   AND counted.agent_id IS NOT DISTINCT FROM gone.agent_id
   AND counted.agent_name IS NOT DISTINCT FROM gone.agent_name

-- name: uncount
-- Takes what rows of a day come to from the summaries, by summaries of the same kinds with a minus; costs and buckets as
-- in select_agents_for_statistics and select_as_summaries. The least and the greatest duration of others stay.
INSERT INTO {event_summaries} (
    batch_id, "time", category, event_type, status, service_name, agent_id, agent_name, event_count, timed,
    duration_sum, histogram, input_tokens, output_tokens, cost
)
SELECT '00000000-0000-0000-0000-000000000000', date_trunc('hour', "time" AT TIME ZONE 'UTC') AT TIME ZONE 'UTC',
       category, event_type, status, service_name, agent_id, agent_name, -count(*), -count(duration_ns),
       -sum(duration_ns),
       -sum(CASE WHEN duration_ns > 0
                 THEN ('1e' || 8 * (1 + trunc(ln(duration_ns::float8) / ln(1.02::float8 / 0.98))::integer))::numeric
                 WHEN duration_ns <= 0 THEN 1 END),
       -sum(input_tokens) FILTER (WHERE is_counted), -sum(output_tokens) FILTER (WHERE is_counted),
       -sum(cost::numeric) FILTER (WHERE is_counted AND cost > '-Infinity' AND cost < 'Infinity')
  FROM (SELECT 'system' AS category, "time", event_type, status, service_name, agent_id, NULL AS agent_name,
               duration_ns, NULL::bigint AS input_tokens, NULL::bigint AS output_tokens, NULL::float8 AS cost,
               false AS is_counted
          FROM {events} WHERE "time" >= %(begin)s AND "time" < %(end)s AND {which}
         UNION ALL
        SELECT 'task', "time", event_type, status, service_name, agent_id, NULL, duration_ns, NULL, NULL, NULL, false
          FROM {task_events} WHERE "time" >= %(begin)s AND "time" < %(end)s AND {which}
         UNION ALL
        SELECT 'agent', "time", event_type, status, service_name, agent_id, nullif(agent_name, agent_id), duration_ns,
               input_tokens, output_tokens, cost, action IS DISTINCT FROM 'invoke'
          FROM {agent_events} WHERE "time" >= %(begin)s AND "time" < %(end)s AND {which}
         UNION ALL
        SELECT 'deployment', "time", event_type, status, service_name, agent_id, NULL, duration_ns, NULL, NULL, NULL,
               false
          FROM {deployment_events} WHERE "time" >= %(begin)s AND "time" < %(end)s AND {which}) AS erased
 GROUP BY 2, category, event_type, status, service_name, agent_id, agent_name

-- name: erase_rows
-- Erases rows of a day from one table, and notes how many of which partition.
WITH gone AS (
    DELETE FROM {table} AS erased WHERE "time" >= %(begin)s AND "time" < %(end)s AND {which}
    RETURNING erased.tableoid
)
INSERT INTO {pruned} ("table", partition, first_time, end_time, "rows", bytes, reason)
SELECT %(table)s::text, c.relname, %(begin)s, %(end)s, count(*), 0, 'erasure'
  FROM gone JOIN pg_class c ON c.oid = gone.tableoid
 GROUP BY c.relname
RETURNING "rows"

-- name: tell_writers
-- Has whoever stores from now on send texts anew: see begin_batch.
REINDEX INDEX {schema}.{index:pruned_erasures}

-- name: erase_contents
-- Erases contents of a day.
DELETE FROM {contents} WHERE "time" = %(begin)s AND content_id = ANY(%(ids)s)

-- name: erase_runs
-- Erases spans that were seen open.
DELETE FROM {open_spans} WHERE {which}
