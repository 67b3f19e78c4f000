-- As PostgreSQL has it by itself.

ALTER TABLE {tenant_readers} REPLICA IDENTITY DEFAULT;

DO $identity$
DECLARE
    summaries regclass;
BEGIN
    FOR summaries IN
        SELECT '{event_summaries}'::regclass
        UNION ALL
        SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = '{event_summaries}'::regclass
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', summaries);
    END LOOP;
END
$identity$;
