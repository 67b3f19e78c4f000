-- name: row_says
-- Whether an event says something: in its columns, or in one of the parts that its long texts consist of.
({words_of_event}(input, output, body, error_type, error_message) @@ {asked}
    OR {contents_say}("time", input_contents || output_contents, {asked}))

-- name: row_says_by_parts
-- The same by parts that are known to say it, as an index has them.
({words_of_event}(input, output, body, error_type, error_message) @@ {asked}
    OR input_contents && {parts} OR output_contents && {parts})

-- name: row_says_itself
-- Whether an event says something of which no part of a long text says anything.
{words_of_event}(input, output, body, error_type, error_message) @@ {asked}

-- name: parts_that_say
-- The parts of long texts that say something, and the lists with some of these, by the name under which it is looked
-- for; of each day apart, and whether they are few in all, or many: then none is named.
(WITH said AS MATERIALIZED (
     SELECT content_id, "time" FROM {contents} WHERE {words_of_text}(body) @@ {asked}{bounds} LIMIT %(some_parts)s + 1),
     counted AS MATERIALIZED (
     SELECT count(*) <= %(few_parts)s AS is_few, count(*) > %(some_parts)s AS is_many FROM said),
     found AS (
     SELECT content_id, "time" FROM said
      UNION ALL
     SELECT content_id, "time" FROM {contents}
      WHERE (SELECT is_few FROM counted) AND parts && ARRAY(SELECT content_id FROM said){bounds}
      UNION ALL
     SELECT DISTINCT content_id, "time"
       FROM (SELECT content_id, "time", unnest(parts) AS part FROM {contents}
              WHERE (SELECT NOT is_few AND NOT is_many FROM counted) AND parts IS NOT NULL{bounds}) AS lists
      WHERE part IN (SELECT content_id FROM said))
SELECT '{term}' AS term, is_few, is_many, "time" AS day, ids
  FROM counted LEFT JOIN (SELECT "time", array_agg(content_id) AS ids FROM found GROUP BY "time") AS of_days ON NOT is_many)

-- name: tables_indexed
-- Tables of which all partitions have some optional index.
SELECT "table", "index"
  FROM unnest(%(tables)s::text[]) AS "table"
 CROSS JOIN unnest(%(indexes)s::text[]) AS "index"
  JOIN pg_class c ON c.relname = %(prefix)s || "table" || '_' || "index" AND c.relkind = 'I'
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = %(schema)s
  JOIN pg_index i ON i.indexrelid = c.oid AND i.indisvalid

-- name: plan_for_indexes
-- The next statements are to find rows by what indexes say, before any is looked at.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true),
       set_config('enable_bitmapscan', 'on', true)

-- name: plan_as_usual
-- They are not any more.
SELECT set_config('enable_seqscan', NULL, true), set_config('enable_indexscan', NULL, true),
       set_config('enable_bitmapscan', NULL, true)

-- name: index_of_attributes
-- Which attributes an event has.
gin (attributes jsonb_path_ops)

-- name: index_of_text
-- Which words an event has, and of which parts its long texts consist.
gin ({words_of_event}(input, output, body, error_type, error_message), input_contents, output_contents)

-- name: index_of_text_in_parts
-- Which words a part of a long text has, and of which parts a list is.
gin ({words_of_text}(body), parts)

-- name: index_of_task
-- Of which task an event is, of those that are of one.
btree (task_id) WHERE task_id IS NOT NULL

-- name: index_of_task_name
-- What a task is called.
btree (task_name) WHERE task_name IS NOT NULL

-- name: index_of_session
-- To which session or conversation an event belongs, of those that belong to one.
btree (session_id) WHERE session_id IS NOT NULL

-- name: index_of_user
-- To which user an event belongs, of those that belong to one.
btree (user_id) WHERE user_id IS NOT NULL

-- name: indexed_partitions
-- Each partition of some tables, with the optional index that it has or is to have; NULLs for a table
-- without partitions. One that is not attached was left by an interruption, and is not valid if that came earlier.
SELECT p.relname AS "table", x.oid IS NOT NULL AS is_on, c.relname AS partition, found.relname AS "index",
       coalesce(found.is_valid, false) AS is_valid, coalesce(found.is_attached, false) AS is_attached,
       coalesce(pg_relation_size(found.oid), 0) AS bytes
  FROM pg_class p
  JOIN pg_namespace n ON n.oid = p.relnamespace
  LEFT JOIN pg_class x ON x.relnamespace = n.oid AND x.relkind = 'I' AND x.relname = p.relname || '_' || %(index)s::text
  LEFT JOIN pg_inherits i ON i.inhparent = p.oid
  LEFT JOIN pg_class c ON c.oid = i.inhrelid
  LEFT JOIN LATERAL (
       SELECT k.oid, k.relname, d.indisvalid AS is_valid, h.inhparent IS NOT NULL AS is_attached
         FROM pg_index d
         JOIN pg_class k ON k.oid = d.indexrelid
         LEFT JOIN pg_inherits h ON h.inhrelid = k.oid AND h.inhparent = x.oid
        WHERE d.indrelid = c.oid AND (h.inhparent IS NOT NULL OR k.relname = c.relname || %(suffix)s::text)
        ORDER BY is_attached DESC LIMIT 1) AS found ON true
 WHERE n.nspname = %(schema)s AND p.relname = ANY(%(tables)s) AND p.relkind = 'p'
 ORDER BY c.relname

-- name: read_committed
-- Keeps no snapshot from one statement to the next, whatever is the default: an index that is built beside would wait
-- for it.
SET TRANSACTION ISOLATION LEVEL READ COMMITTED

-- name: try_indexes
-- Lets one process at a time build indexes, for as long as it takes. Ends with the transaction, and waits for nobody.
SELECT pg_try_advisory_xact_lock(hashtextextended(%(key)s, 0)) AS is_ours,
       set_config('idle_in_transaction_session_timeout', '0', true)

-- name: create_table_index
-- The index of a table itself, without those of its partitions: what makes later partitions have one. For a moment
-- nobody writes into the table.
CREATE INDEX IF NOT EXISTS {index} ON ONLY {table} USING {method}

-- name: create_partition_index
-- The index of a partition; nobody is kept from writing meanwhile. Stands in no transaction.
CREATE INDEX CONCURRENTLY {index} ON {partition} USING {method}

-- name: learn_partition
-- Has the server learn how frequent is what the indexes of a partition hold; else it takes each word for one that many
-- rows have. Nobody is kept from writing meanwhile. Stands in no transaction.
ANALYZE {partition}

-- name: attach_index
-- Makes it a part of the table's index. For a moment nobody uses the partition.
ALTER INDEX {table_index} ATTACH PARTITION {index}

-- name: drop_partition_index
-- Takes out what an interruption has left. Stands in no transaction.
DROP INDEX CONCURRENTLY IF EXISTS {index}

-- name: drop_table_index
-- Takes out an index with those of all partitions. For a moment nobody uses the table.
DROP INDEX IF EXISTS {index}

-- name: has_builder
-- Whether a session has the lock with which it builds an index of a partition: its process may have died. Waiting for
-- that lock would keep it, in turn, from its end.
SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = %(schema)s AND c.relname = %(partition)s
                  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted) AS is_there
