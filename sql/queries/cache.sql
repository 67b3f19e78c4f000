-- name: seen
-- What an answer of this transaction is true for: the tables, by server, database, role and partitions, and the
-- transactions that it sees; and whether the ledger has a batch that an earlier snapshot does not see. That costs no
-- more than the batches since the oldest transaction that ran then. The snapshot functions are those that
-- PostgreSQL 12 has too.
SELECT concat_ws(' ', pg_postmaster_start_time(), database.oid, '{event_batches}'::regclass::oid, current_user,
                 partitions.count, partitions.sum) AS tables,
       txid_current_snapshot()::text AS snapshot,
       EXISTS (
           SELECT FROM {event_batches}
            WHERE transaction_id >= txid_snapshot_xmin(%(snapshot)s::txid_snapshot)
              AND NOT txid_visible_in_snapshot(transaction_id, %(snapshot)s::txid_snapshot)
       ) AS is_newer
  FROM pg_database AS database,
       (SELECT count(*), sum(inhrelid::bigint) FROM pg_inherits
         WHERE inhparent IN ('{events}'::regclass, '{task_events}'::regclass, '{agent_events}'::regclass,
                             '{deployment_events}'::regclass, '{event_batches}'::regclass)) AS partitions
 WHERE database.datname = current_database()
