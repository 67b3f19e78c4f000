-- name: usual_settings
-- Settings as PostgreSQL has them by itself, for one transaction: what is set for a role or a database must not change
-- what we read. And nothing is compiled: statements that go over many partitions have thousands of expressions, each of
-- which is used for a few rows.
SELECT set_config('DateStyle', 'ISO, MDY', true), set_config('extra_float_digits', '1', true),
       set_config('quote_all_identifiers', 'off', true), set_config('standard_conforming_strings', 'on', true),
       set_config('TimeZone', 'UTC', true), set_config('jit', 'off', true)

-- name: lock_schema
-- Lets one process at a time change the tables. Ends with the transaction: safe behind PgBouncer.
SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))

-- name: has_migrations_table
-- Whether any migration was ever applied. Reads the catalogue itself: to_regclass() may answer from what this
-- session knew before it waited for the lock.
SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = %(schema)s AND tablename = %(table)s) AS present

-- name: create_schema
-- The schema and the record of its migrations.
CREATE SCHEMA IF NOT EXISTS {schema}

-- name: has_schema
-- Whether the schema is there: creating it again would need a right that the role may not have.
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %(schema)s) AS present

-- name: create_migrations_table
-- Which migrations were applied.
CREATE TABLE IF NOT EXISTS {schema_migrations} (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: comment_migrations_table
-- What the record is.
COMMENT ON TABLE {schema_migrations} IS 'Migrations that were applied to this schema and prefix.';
COMMENT ON COLUMN {schema_migrations}.version IS 'Number of the migration, from 1 on.';
COMMENT ON COLUMN {schema_migrations}.name IS 'What its file is called after the number.';
COMMENT ON COLUMN {schema_migrations}.applied_at IS 'Start of the transaction that applied it, by the server''s clock, UTC.'

-- name: applied_migrations
-- Versions that were applied, oldest first.
SELECT version, name, applied_at FROM {schema_migrations} ORDER BY version

-- name: record_migration
-- Notes a migration in the transaction that applies it.
INSERT INTO {schema_migrations} (version, name) VALUES (%(version)s, %(name)s)

-- name: forget_migration
-- Takes the note back in the transaction that reverts it.
DELETE FROM {schema_migrations} WHERE version = %(version)s

-- name: drop_migrations_table
-- When nothing is left to record.
DROP TABLE {schema_migrations}

-- name: partition_bounds
-- What the partitions of tables cover: the first day, and the one after the last, from 1970-01-01, and exactly, in
-- microseconds since then; NULLs for a table that has none. A partition without an end on one side has no day there.
WITH bounds AS MATERIALIZED ( -- asked for once: a partition may be dropped at any moment
    SELECT p.relname AS "table", pg_get_expr(c.relpartbound, c.oid) AS bound
      FROM pg_class p
      JOIN pg_namespace n ON n.oid = p.relnamespace
      LEFT JOIN pg_inherits i ON i.inhparent = p.oid
      LEFT JOIN pg_class c ON c.oid = i.inhrelid
     WHERE n.nspname = %(schema)s AND p.relname = ANY(%(tables)s))
SELECT "table", (lower::timestamptz AT TIME ZONE 'UTC')::date - date '1970-01-01' AS lower,
       (upper::timestamptz AT TIME ZONE 'UTC')::date - date '1970-01-01' AS upper,
       CASE WHEN is_range THEN coalesce(round(extract(epoch FROM lower::timestamptz) * 1000000)::bigint,
                                        -9223372036854775807) END AS lower_us,
       CASE WHEN is_range THEN coalesce(round(extract(epoch FROM upper::timestamptz) * 1000000)::bigint,
                                        9223372036854775807) END AS upper_us
  FROM (SELECT "table", left(bound, 10) = 'FOR VALUES' AS is_range,
               (regexp_match(bound, 'FROM [(]''([0-9][^'']+)'''))[1] AS lower,
               (regexp_match(bound, 'TO [(]''([0-9][^'']+)'''))[1] AS upper
          FROM bounds) AS found
 ORDER BY 1, 2

-- name: has_name
-- A row if something of a schema has a name.
SELECT 1 AS found
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relname = %(name)s

-- name: limit_time
-- Limits of our own for one transaction, in place of those that the role has, and the usual settings.
{query:usual_settings},
       set_config('lock_timeout', %(lock_timeout)s, true),
       set_config('statement_timeout', %(statement_timeout)s, true),
       set_config('idle_in_transaction_session_timeout', %(statement_timeout)s, true),
       CASE WHEN current_setting('server_version_num')::integer >= 170000
            THEN set_config('transaction_timeout', '0', true) END

-- name: create_partition
-- A partition, made beside its table and then attached: writers and readers are not blocked.
CREATE TABLE {partition} (LIKE {parent} INCLUDING ALL)

-- name: identify_partition
-- Its rows have no key: a subscriber to its table is told of one that is deleted by all of its columns.
ALTER TABLE {partition} REPLICA IDENTITY FULL

-- name: attach_partition
-- Makes it a partition.
ALTER TABLE {parent} ATTACH PARTITION {partition} FOR VALUES FROM ({lower}) TO ({upper})

-- name: limit_locks
-- The longest wait for a lock in this transaction, milliseconds, unless it is shorter already.
SELECT set_config('lock_timeout', %(millis)s::text, true)
 WHERE (SELECT setting::bigint NOT BETWEEN 1 AND %(millis)s FROM pg_settings WHERE name = 'lock_timeout')
