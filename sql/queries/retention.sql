-- name: held_partitions
-- Partitions that are there, with the days that they cover (the first, and the one after the last, from 1970-01-01),
-- and whether we may drop them. Rows are estimated; bytes and is_empty are NULL unless asked for.
WITH bounds AS MATERIALIZED ( -- asked for once: a partition may be dropped at any moment
    SELECT p.relname AS "table", c.relname AS partition, c.oid, c.reltuples,
           pg_has_role(c.relowner, 'USAGE') OR pg_has_role(n.nspowner, 'USAGE') AS is_ours,
           pg_get_expr(c.relpartbound, c.oid) AS bound
      FROM pg_class p
      JOIN pg_namespace n ON n.oid = p.relnamespace
      JOIN pg_inherits i ON i.inhparent = p.oid
      JOIN pg_class c ON c.oid = i.inhrelid
     WHERE n.nspname = %(schema)s AND p.relname = ANY(%(tables)s))
SELECT "table", partition, oid::bigint AS oid, is_ours,
       greatest(reltuples, pg_stat_get_live_tuples(oid), 0)::bigint AS "rows",
       CASE WHEN %(with_sizes)s THEN pg_total_relation_size(oid) END AS bytes,
       CASE WHEN %(with_sizes)s THEN pg_relation_size(oid) = 0 END AS is_empty,
       (lower::timestamptz AT TIME ZONE 'UTC')::date - date '1970-01-01' AS lower,
       (upper::timestamptz AT TIME ZONE 'UTC' + interval '1 day' - interval '1 microsecond')::date
           - date '1970-01-01' AS upper
  FROM (SELECT bounds.*, (regexp_match(bound, 'FROM [(]''([0-9][^'']+)'''))[1] AS lower,
               (regexp_match(bound, 'TO [(]''([0-9][^'']+)'''))[1] AS upper
          FROM bounds) AS found
 WHERE lower IS NOT NULL AND upper IS NOT NULL
 ORDER BY upper, "table", lower

-- name: held_bytes
-- What all tables take on disk, with partitions and indexes.
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint AS bytes
  FROM pg_class p
  JOIN pg_namespace n ON n.oid = p.relnamespace
  LEFT JOIN pg_inherits i ON i.inhparent = p.oid AND p.relkind = 'p'
  JOIN pg_class c ON c.oid = coalesce(i.inhrelid, p.oid)
 WHERE n.nspname = %(schema)s AND p.relname = ANY(%(tables)s) AND p.relkind IN ('r', 'p')

-- name: try_retention
-- Lets one process at a time drop partitions. Ends with the transaction, and waits for nobody.
SELECT pg_try_advisory_xact_lock(hashtextextended(%(key)s, 0)) AS is_ours

-- name: note_pruned
-- Tells what is about to be dropped in this transaction, if it is there still; no row if it is not.
INSERT INTO {pruned} ("table", partition, first_time, end_time, "rows", bytes, reason)
SELECT %(table)s::text, %(partition)s::text, timestamptz 'epoch' + %(lower)s * interval '24 hours',
       timestamptz 'epoch' + %(upper)s * interval '24 hours', %(rows)s, pg_total_relation_size(c.oid), %(reason)s::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = %(oid)s AND n.nspname = %(schema)s AND c.relname = %(partition)s::text AND c.relispartition
RETURNING 1

-- name: drop_partition
-- For a moment nobody reads from its table or writes into it.
DROP TABLE {partition}

-- name: forget_summaries
-- Takes out what the rows of a partition come to, where it is not a partition that can be dropped: other categories
-- are kept for longer.
DELETE FROM {event_summaries}
 WHERE category = %(category)s
   AND "time" >= timestamptz 'epoch' + %(lower)s * interval '24 hours'
   AND "time" < timestamptz 'epoch' + %(upper)s * interval '24 hours'

-- name: ledger_begin
-- The first day of which the ledger is certain to have every batch, counted from 1970-01-01; NULL if it lost none.
SELECT (max(end_time) AT TIME ZONE 'UTC')::date - date '1970-01-01' AS day FROM {pruned} WHERE "table" = 'event_batches'

-- name: forget_processes
-- Takes out some processes of whose runs and signs of life nothing is left.
DELETE FROM {processes}
 WHERE process_id IN (
       SELECT process_id FROM {processes} AS p
        WHERE started_at < now() - interval '1 day'
          AND NOT EXISTS (SELECT FROM {heartbeats} AS h WHERE h.process_id = p.process_id)
          AND NOT EXISTS (SELECT FROM {open_spans} AS o WHERE o.process_id = p.process_id)
        LIMIT 1000)
RETURNING 1

-- name: idle_resources
-- Resources of whose days nothing is left.
SELECT resource_id FROM {resources} AS r
 WHERE NOT EXISTS (SELECT FROM {resource_days} AS d WHERE d.resource_id = r.resource_id)
 LIMIT 10000

-- name: shut_out_resources
-- Waits for whoever stores a resource, and lets nobody begin to: see insert_resource.
LOCK TABLE {resources} IN SHARE ROW EXCLUSIVE MODE

-- name: forget_resources
-- Takes out some resources, but for those that were used meanwhile.
DELETE FROM {resources} AS r
 WHERE resource_id = ANY(%(ids)s)
   AND NOT EXISTS (SELECT FROM {resource_days} AS d WHERE d.resource_id = r.resource_id)
