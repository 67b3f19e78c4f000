-- name: events_of_table
-- One page of one table, in the order that was asked for.
SELECT {key} AS order_key, * FROM {table} WHERE {where} ORDER BY {order_by} LIMIT %(limit)s OFFSET %(offset)s

-- name: few_events_of_table
-- The same of those rows that are found first, with how many that are: all of them, unless there are as many as asked for.
SELECT *, count(*) OVER () AS found
  FROM (SELECT {key} AS order_key, * FROM {table} WHERE {where} LIMIT %(few)s) AS few
 ORDER BY {order_by} LIMIT %(limit)s

-- name: trace_rows
-- Every row of a trace in one table, by a function that has its plan.
SELECT * FROM {rows_of_trace}(%(trace_id)s)

-- name: trace_resources
-- The resources of some rows.
SELECT * FROM {resources} WHERE resource_id = ANY(%(ids)s)

-- name: trace_scopes
-- The instrumentation scopes of some rows.
SELECT * FROM {scopes} WHERE scope_id = ANY(%(ids)s)

-- name: contents_of_rows
-- The contents that some rows of some days refer to: texts, and lists with the texts that these are of.
WITH named AS MATERIALIZED (
    SELECT content_id, body, parts FROM {contents} WHERE content_id = ANY(%(ids)s) AND "time" = ANY(%(days)s)
)
SELECT content_id, body, parts FROM named
 UNION ALL
SELECT content_id, body, parts FROM {contents}
 WHERE content_id = ANY(ARRAY(SELECT unnest(parts) FROM named)) AND "time" = ANY(%(days)s)

-- name: same_moment
-- Begins a transaction whose statements all see the same data; else as usual_settings.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
{query:usual_settings}

-- name: statistics_of_rows
-- Counts, durations and tokens: in all, and by category, type, status and agent.
-- The tokens of an agent's own run are left out: they are the sum of its model calls.
WITH selected AS ({selected})
SELECT grouping(category, event_type, status, agent_id) AS missing,
       category, event_type, status, agent_id,
       count(*) AS count,
       count(*) FILTER (WHERE status = 'error') AS errors,
       avg(duration_ns)::float8 AS average_duration_ns,
       percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ns) AS percentiles,
       coalesce(sum(input_tokens), 0) AS input_tokens,
       coalesce(sum(output_tokens), 0) AS output_tokens,
       sum(cost) AS cost
  FROM selected
 GROUP BY GROUPING SETS ((), (category), (event_type), (status), (agent_id))

-- name: statistics_of_summaries
-- The same of summaries, and of events that are shown as summaries of one. They are added up by all four first: what
-- is left is little, whatever it is grouped by. Of what was erased nothing is left.
WITH parts AS MATERIALIZED (
    SELECT category, event_type, status, agent_id, sum(event_count) AS event_count, sum(timed) AS timed,
           sum(duration_sum) AS duration_sum, min(duration_min) AS duration_min, max(duration_max) AS duration_max,
           sum(histogram) AS histogram, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
           sum(cost) AS cost
      FROM ({selected}) AS selected
     GROUP BY 1, 2, 3, 4 HAVING sum(event_count) <> 0
)
SELECT grouping(category, event_type, status, agent_id) AS missing,
       category, event_type, status, agent_id,
       coalesce(sum(event_count), 0)::bigint AS count,
       coalesce(sum(event_count) FILTER (WHERE status = 'error'), 0)::bigint AS errors,
       (sum(duration_sum) / nullif(sum(timed), 0))::float8 AS average_duration_ns,
       coalesce(sum(timed), 0)::bigint AS timed,
       min(duration_min) AS duration_min,
       max(duration_max) AS duration_max,
       sum(histogram)::text AS histogram,
       coalesce(sum(input_tokens), 0) AS input_tokens,
       coalesce(sum(output_tokens), 0) AS output_tokens,
       sum(cost) AS cost
  FROM parts
 GROUP BY GROUPING SETS ((), (category), (event_type), (status), (agent_id))

-- name: statistics_over_time
-- Counts for each stretch of time, counted from 1970-01-01; in whole microseconds, also before 1970.
WITH selected AS ({selected}),
     moments AS (SELECT round(extract(epoch FROM "time") * 1000000)::bigint AS us, status, event_count FROM selected)
SELECT timestamptz 'epoch' + start_us * interval '1 microsecond' AS start, count, errors
  FROM (SELECT us - mod(mod(us, %(bucket)s::bigint) + %(bucket)s::bigint, %(bucket)s::bigint) AS start_us,
               sum(event_count)::bigint AS count,
               coalesce(sum(event_count) FILTER (WHERE status = 'error'), 0)::bigint AS errors
          FROM moments GROUP BY 1) AS stretches
 ORDER BY 1

-- name: select_for_statistics
-- What the statistics need of a table without tokens.
SELECT '{category}'::text AS category, event_type, status, agent_id, "time", 1 AS event_count, duration_ns,
       NULL::bigint AS input_tokens, NULL::bigint AS output_tokens, NULL::numeric AS cost
  FROM {table} WHERE {where}

-- name: select_agents_for_statistics
-- What the statistics need of the agents' table. A cost is taken to 15 digits, as a numeric, so that the sum is exact.
SELECT '{category}'::text AS category, event_type, status, agent_id, "time", 1 AS event_count, duration_ns,
       CASE WHEN action IS DISTINCT FROM 'invoke' THEN input_tokens END AS input_tokens,
       CASE WHEN action IS DISTINCT FROM 'invoke' THEN output_tokens END AS output_tokens,
       CASE WHEN action IS DISTINCT FROM 'invoke' AND cost > '-Infinity' AND cost < 'Infinity'
            THEN cost::numeric END AS cost
  FROM {table} WHERE {where}

-- name: select_summaries
-- The summaries of batches: what a batch has stored of an hour.
SELECT category, event_type, status, agent_id, "time", event_count, timed, duration_sum, duration_min, duration_max,
       histogram, input_tokens, output_tokens, cost
  FROM {event_summaries} WHERE {where}

-- name: select_by_hour
-- How many there are at each time: little, before anything is reckoned with the times.
SELECT "time", status, sum(event_count) AS event_count FROM ({selected}) AS selected GROUP BY "time", status
HAVING sum(event_count) <> 0

-- name: select_as_summaries
-- Events, each as a summary of one would show it; the buckets of the histogram are those of histograms.py.
SELECT category, event_type, status, agent_id, "time", event_count, (duration_ns IS NOT NULL)::integer AS timed,
       duration_ns::numeric AS duration_sum, duration_ns AS duration_min, duration_ns AS duration_max,
       CASE WHEN duration_ns > 0
            THEN ('1e' || 8 * (1 + trunc(ln(duration_ns::float8) / ln(1.02::float8 / 0.98))::integer))::numeric
            WHEN duration_ns <= 0 THEN 1 END AS histogram,
       input_tokens::numeric, output_tokens::numeric, cost
  FROM ({selected}) AS events

-- name: count_rows
-- Rows of each main table, exactly.
SELECT (SELECT count(*) FROM {events}) AS events,
       (SELECT count(*) FROM {task_events}) AS task_events,
       (SELECT count(*) FROM {agent_events}) AS agent_events,
       (SELECT count(*) FROM {deployment_events}) AS deployment_events,
       (SELECT count(*) FROM {event_batches}) AS event_batches

-- name: health
-- The server's version and what the ledger says.
SELECT current_setting('server_version') AS server_version,
       coalesce(sum(stored), 0)::bigint AS stored,
       coalesce(sum(events), 0)::bigint AS events,
       coalesce(sum(task_events), 0)::bigint AS task_events,
       coalesce(sum(agent_events), 0)::bigint AS agent_events,
       coalesce(sum(deployment_events), 0)::bigint AS deployment_events,
       coalesce(sum(dropped_before), 0)::bigint AS dropped,
       max(committed_at) AS last_batch_at
  FROM {event_batches}

-- name: unmatched_captures
-- Patterns of functions to be recorded that, after the last report of each service, have matched in none of
-- its processes since the one that reported was started.
WITH reports AS (
    SELECT DISTINCT ON (service_name)
           service_name,
           -- no pattern at all is text: an empty list has no type that OpenTelemetry knows
           CASE jsonb_typeof(attributes -> 'otel_pg.capture.unmatched')
                WHEN 'array' THEN attributes -> 'otel_pg.capture.unmatched' ELSE '[]' END AS patterns,
           (attributes ->> 'otel_pg.capture.begun_unix_nano')::bigint AS begun
      FROM {events}
     WHERE event_type = 'capture' AND event_name = 'otel_pg.capture.report' AND "time" > now() - interval '7 days'
     ORDER BY service_name, "time" DESC
)
SELECT service_name, array_agg(pattern ORDER BY pattern) AS patterns
  FROM reports, jsonb_array_elements_text(patterns) AS pattern
 WHERE NOT EXISTS (
           SELECT FROM {events} AS matched
            WHERE matched.event_type = 'capture' AND matched.event_name = 'otel_pg.capture.matched'
              AND matched."time" > now() - interval '7 days'
              AND matched.service_name IS NOT DISTINCT FROM reports.service_name
              AND matched.start_unix_nano >= reports.begun
              AND matched.attributes ->> 'otel_pg.capture.pattern' = pattern)
 GROUP BY service_name

-- name: is_root
-- Of a span without a parent, or with one in another process; the first half is what the index of roots holds.
record = 'span' AND (parent_span_id IS NULL OR parent_is_remote) AND (parent_span_id IS NULL OR NOT ({has_parent}))

-- name: stored_parent
-- Of a span whose parent lies in this table, and is not older than that.
EXISTS (SELECT FROM {table} AS parent
         WHERE parent.trace_id = {child}.trace_id AND parent.span_id = {child}.parent_span_id
           AND parent.record = 'span' AND parent."time" >= %(parents_since)s::timestamptz)

-- name: stored_spans
-- Which of some spans lie in this table.
SELECT trace_id, span_id FROM {table}
 WHERE trace_id = ANY(%(trace_ids)s) AND span_id = ANY(%(span_ids)s) AND record = 'span'

-- name: trace_totals
-- What some traces amount to, in one table: rows, errors, when the last row ended, and tokens and cost but for the
-- totals that agents state of themselves.
SELECT trace_id,
       count(*) FILTER (WHERE record = 'span') AS spans,
       count(*) FILTER (WHERE record = 'log') AS logs,
       count(*) FILTER (WHERE status = 'error') AS errors,
       {tokens}
  FROM {table} WHERE trace_id = ANY(%(trace_ids)s) GROUP BY trace_id

-- name: totals_of_agents
-- Tokens and cost, of which an agent's own run states the sum of its model calls. Sums of tokens need not fit a bigint;
-- those of costs are exact, as in the statistics.
coalesce(sum(input_tokens) FILTER (WHERE action IS DISTINCT FROM 'invoke'), 0) AS input_tokens,
coalesce(sum(output_tokens) FILTER (WHERE action IS DISTINCT FROM 'invoke'), 0) AS output_tokens,
sum(cost::numeric) FILTER (WHERE action IS DISTINCT FROM 'invoke' AND cost > '-Infinity' AND cost < 'Infinity') AS cost

-- name: totals_of_others
-- The same of a table without tokens.
0 AS input_tokens, 0 AS output_tokens, NULL::numeric AS cost

-- name: outermost_trace_ids
-- The first and the last trace id of a range, in one table: they are one if the range holds one trace.
(SELECT trace_id FROM {table} WHERE trace_id BETWEEN %(first)s AND %(last)s ORDER BY trace_id LIMIT 1)
UNION ALL
(SELECT trace_id FROM {table} WHERE trace_id BETWEEN %(first)s AND %(last)s ORDER BY trace_id DESC LIMIT 1)

-- name: usage_of_agents
-- What agents did: their runs, and tokens and cost of all they called. By name, for some libraries give each run an id of
-- its own, or all agents the same; a row without a name has that of other rows with its id.
SELECT name,
       count(*) FILTER (WHERE action = 'invoke') AS count,
       count(*) FILTER (WHERE action = 'invoke' AND status = 'error') AS errors,
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY duration_ns)
           FILTER (WHERE action = 'invoke') AS percentiles,
       {tokens}
  FROM (SELECT *, coalesce(agent_name, max(agent_name) OVER (PARTITION BY agent_id), agent_id) AS name
          FROM {agent_events} WHERE agent_id IS NOT NULL AND {where}) AS named
 GROUP BY name

-- name: usage_of_tools
-- What tools were called.
SELECT coalesce(tool_name, event_name) AS name,
       count(*) AS count,
       count(*) FILTER (WHERE status = 'error') AS errors,
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY duration_ns) AS percentiles,
       {tokens}
  FROM {agent_events} WHERE action = 'tool' AND {where} GROUP BY 1

-- name: usage_of_models
-- What models were called.
SELECT model AS name,
       count(*) AS count,
       count(*) FILTER (WHERE status = 'error') AS errors,
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY duration_ns) AS percentiles,
       {tokens}
  FROM {agent_events} WHERE model IS NOT NULL AND action IS DISTINCT FROM 'invoke' AND {where} GROUP BY model

-- name: most_used
-- Those that come first by one of their numbers; rows without that number come last.
SELECT * FROM ({usage}) AS usage ORDER BY {number} DESC NULLS LAST, name LIMIT %(limit)s

-- name: export_rows
-- All rows of one table that a filter selects, in an order that does not depend on who stored them: in OTLP no time is 0.
SELECT * FROM {table} WHERE {where}
 ORDER BY "time", trace_id, span_id, coalesce(start_unix_nano, 0), coalesce(observed_unix_nano, 0), batch_id, batch_index
