-- Summaries are merged, and readers taken away, by DELETE, which PostgreSQL refuses where a table is published for logical
-- replication and has no key: so these name a row by all of its columns.

ALTER TABLE {tenant_readers} REPLICA IDENTITY FULL;

DO $identity$
DECLARE
    summaries regclass;
BEGIN
    FOR summaries IN
        SELECT '{event_summaries}'::regclass
        UNION ALL
        SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = '{event_summaries}'::regclass
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY FULL', summaries);
    END LOOP;
END
$identity$;
