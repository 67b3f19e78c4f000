-- name: has_citus
-- Whether the database is a Citus coordinator.
SELECT to_regproc('create_distributed_table') IS NOT NULL AS present

-- name: distributed_tables
-- Those of these tables that Citus keeps on other servers already.
SELECT c.relname AS "table"
  FROM pg_dist_partition d
  JOIN pg_class c ON c.oid = d.logicalrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s)

-- name: distribute_table
-- Spreads a table, with its partitions and those to come, over the servers by trace: whole traces stay together.
SELECT create_distributed_table(%(table)s::regclass, 'trace_id', colocate_with => %(beside)s, shard_count => %(shards)s)

-- name: distribute_table_beside
-- The same, so that its shards lie where those of another table with the same traces lie.
SELECT create_distributed_table(%(table)s::regclass, 'trace_id', colocate_with => %(beside)s)

-- name: copy_table_everywhere
-- Puts a whole copy of a small table on each server.
SELECT create_reference_table(%(table)s::regclass)

-- name: copy_functions_everywhere
-- Puts functions that rows are searched with on each server; one that is there stays as it is.
SELECT create_distributed_function(p.oid::regprocedure)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = %(schema)s AND p.proname = ANY(%(functions)s)
