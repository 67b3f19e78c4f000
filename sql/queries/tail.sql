-- name: tail_now
-- Which transactions can be seen now. The snapshot functions are those that PostgreSQL 12 has too.
SELECT txid_current_snapshot()::text AS snapshot

-- name: tail_batches
-- Batches that the first snapshot does not see and the second does, in an order that stays.
SELECT batch_id, transaction_id, first_time, last_time, events, task_events, agent_events, deployment_events
  FROM {event_batches}
 WHERE transaction_id >= txid_snapshot_xmin(%(seen)s::txid_snapshot)
   AND transaction_id < txid_snapshot_xmax(%(until)s::txid_snapshot)
   AND NOT txid_visible_in_snapshot(transaction_id, %(seen)s::txid_snapshot)
   AND txid_visible_in_snapshot(transaction_id, %(until)s::txid_snapshot)
   AND (transaction_id, batch_id) >= (%(transaction_id)s, %(batch_id)s::uuid)
 ORDER BY transaction_id, batch_id
 LIMIT %(limit)s

-- name: tail_rows
-- The rows of some batches in one table.
SELECT * FROM {table}
 WHERE batch_id = ANY(%(batch_ids)s) AND "time" BETWEEN %(first_time)s AND %(last_time)s AND {where}

-- name: listen
-- Hears of batches that are stored.
LISTEN {channel}

-- name: notify
-- Says that a batch was stored. Not in its transaction: a commit that notifies holds a lock that all others wait for.
NOTIFY {channel}
