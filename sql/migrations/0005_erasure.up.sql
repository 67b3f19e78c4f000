-- What is erased row by row is noted beside the partitions that were dropped. A program that stores counts on texts that it
-- has sent before: each of its transactions looks whether the index is the same, which an erasure makes anew.

ALTER TABLE {pruned} DROP CONSTRAINT {index:pruned_reason_check};
ALTER TABLE {pruned} ADD CONSTRAINT {index:pruned_reason_check} CHECK (reason IN ('age', 'size', 'erasure'));
COMMENT ON TABLE {pruned} IS 'Partitions that retention has dropped, and rows that were erased.';
COMMENT ON COLUMN {pruned}.partition IS 'Its name, or that of the partition whose rows were erased.';
COMMENT ON COLUMN {pruned}.first_time IS 'Beginning of the time that it held, UTC; of erased rows, of their day.';
COMMENT ON COLUMN {pruned}."rows" IS 'Rows that it held, by PostgreSQL''s own estimate; those that were erased, exactly.';
COMMENT ON COLUMN {pruned}.bytes IS 'Bytes that it took with its indexes; 0 for erased rows, whose room later ones get.';
COMMENT ON COLUMN {pruned}.reason IS 'age: its rows were kept for long enough; size: EVENT_MAX_BYTES was exceeded; erasure: rows of some traces were erased.';
COMMENT ON COLUMN {pruned}.pruned_at IS 'When it was dropped, or they were erased, by the server''s clock, UTC.';
CREATE INDEX {index:pruned_erasures} ON {pruned} (pruned_at) WHERE reason = 'erasure';
COMMENT ON INDEX {schema}.{index:pruned_erasures} IS 'Whoever stores takes another file of it for another erasure.';
COMMENT ON COLUMN {event_batches}.producer_id IS 'Exporter that wrote it: a UUID for each exporter in each process; all zero of an erasure.';
COMMENT ON COLUMN {event_batches}.stored IS 'Rows that the batch stored in the four event tables; 0 if it was given up, or only tells of losses or of an erasure.';

-- Rows are erased by DELETE, which PostgreSQL refuses where a table is published for logical replication and has no key: so
-- these name a row by all of its columns, as summaries do since 0004.
DO $identity$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN
        SELECT unnest(ARRAY['{events}', '{task_events}', '{agent_events}', '{deployment_events}']::regclass[])
        UNION ALL
        SELECT inhrelid FROM pg_catalog.pg_inherits
         WHERE inhparent IN ('{events}'::regclass, '{task_events}'::regclass, '{agent_events}'::regclass,
                             '{deployment_events}'::regclass)
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY FULL', partition);
    END LOOP;
END
$identity$;
