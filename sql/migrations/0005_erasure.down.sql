-- The notes of erasures go; what was erased stays so.
DELETE FROM {pruned} WHERE reason = 'erasure';
DROP INDEX {schema}.{index:pruned_erasures};
ALTER TABLE {pruned} DROP CONSTRAINT {index:pruned_reason_check};
ALTER TABLE {pruned} ADD CONSTRAINT {index:pruned_reason_check} CHECK (reason IN ('age', 'size'));
COMMENT ON TABLE {pruned} IS 'Partitions that retention has dropped.';
COMMENT ON COLUMN {pruned}.partition IS 'Its name.';
COMMENT ON COLUMN {pruned}.first_time IS 'Beginning of the time that it held, UTC.';
COMMENT ON COLUMN {pruned}."rows" IS 'Rows that it held, by PostgreSQL''s own estimate.';
COMMENT ON COLUMN {pruned}.bytes IS 'Bytes that it took with its indexes.';
COMMENT ON COLUMN {pruned}.reason IS 'age: its rows were kept for long enough; size: EVENT_MAX_BYTES was exceeded.';
COMMENT ON COLUMN {pruned}.pruned_at IS 'When it was dropped, by the server''s clock, UTC.';
COMMENT ON COLUMN {event_batches}.producer_id IS 'Exporter that wrote it: a UUID for each exporter in each process.';
COMMENT ON COLUMN {event_batches}.stored IS 'Rows that the batch stored in the four event tables; 0 if it was given up or only tells of losses.';

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
        EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', partition);
    END LOOP;
END
$identity$;
