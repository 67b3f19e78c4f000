-- name: columns
-- Columns of tables that are there, and whether a row must give them a value.
SELECT c.relname AS "table", a.attname AS "column", format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS is_needed
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY 1, a.attnum

-- name: server_state
-- Who we are, and whether the server takes writes and keeps them.
SELECT current_user::text AS role, pg_is_in_recovery() AS is_standby,
       current_setting('default_transaction_read_only') = 'on' AS is_read_only,
       current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       has_schema_privilege(%(schema)s, 'USAGE') AS may_use, has_schema_privilege(%(schema)s, 'CREATE') AS may_create

-- name: state_before_tables
-- Whether tables can be made that are missing; the last is NULL without the schema.
SELECT current_user::text AS role, current_database()::text AS database,
       current_setting('server_version') AS server_version, pg_is_in_recovery() AS is_standby,
       current_setting('default_transaction_read_only') = 'on' AS is_read_only,
       has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
       (SELECT has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE')
          FROM pg_namespace WHERE nspname = %(schema)s) AS may_create_tables

-- name: rights
-- What the role may do with each table.
SELECT c.relname AS "table", has_table_privilege(c.oid, 'INSERT') AS may_insert,
       has_table_privilege(c.oid, 'SELECT') AS may_select, pg_has_role(c.relowner, 'USAGE') AS is_owner
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s) AND c.relkind IN ('r', 'p')
 ORDER BY 1

-- name: locks
-- Sessions that have kept writers out of a table for more than two seconds.
SELECT DISTINCT ON (c.relname) c.relname AS "table", l.pid, l.mode
  FROM pg_locks l
  JOIN pg_class c ON c.oid = l.relation
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s) AND l.granted AND l.pid <> pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
   AND coalesce(now() - a.xact_start > interval '2 s', true)
 ORDER BY 1

-- name: producers
-- What each producer that was active since a moment, or has something in the spool, has told the ledger in all. An
-- erasure is none.
SELECT producer_id, min(signal) AS signal, count(*) AS batches, sum(stored)::bigint AS stored,
       sum(dropped_before)::bigint AS dropped, sum(dead_before)::bigint AS dead,
       min(first_time) AS first_time, max(last_time) AS last_time, max(committed_at) AS committed_at,
       max(sequence) AS last_sequence, max("time") AS last_batch_at
  FROM {event_batches}
 WHERE (producer_id IN (SELECT producer_id FROM {event_batches} WHERE "time" >= %(since)s)
        OR producer_id = ANY(%(waiting)s))
   AND producer_id <> '00000000-0000-0000-0000-000000000000'
 GROUP BY producer_id
 ORDER BY max(committed_at), producer_id

-- name: sequence_gaps
-- Numbers that are missing between the batches of those producers, and when their neighbours were made. What is
-- missing before a producer's first batch counts only if the ledger still has days before it.
SELECT producer_id, coalesce(previous, 0) + 1 AS first, sequence - 1 AS last, previous_at AS "after", at AS "before"
  FROM (SELECT producer_id, sequence, min("time") AS at,
               lag(sequence) OVER numbered AS previous, lag(min("time")) OVER numbered AS previous_at
          FROM {event_batches}
         WHERE sequence > 0
           AND (producer_id IN (SELECT producer_id FROM {event_batches} WHERE "time" >= %(since)s)
                OR producer_id = ANY(%(waiting)s))
         GROUP BY producer_id, sequence
        WINDOW numbered AS (PARTITION BY producer_id ORDER BY sequence)) AS neighbours
 WHERE sequence > coalesce(previous, 0) + 1
   AND (previous IS NOT NULL OR at >= %(complete_since)s)
 ORDER BY producer_id, sequence

-- name: batches_in_ledger
-- Which of some batches the ledger has.
SELECT batch_id FROM {event_batches} WHERE batch_id = ANY(%(ids)s)
