-- The five main tables and the two that keep what their rows share.
-- Append-only; partitioned by time without a default partition; no foreign keys and no triggers,
-- so that a partition can be dropped, and the tables distributed, on their own.

CREATE TABLE {resources} (
    resource_id uuid PRIMARY KEY,
    service_name text,
    attributes jsonb NOT NULL CHECK (jsonb_typeof(attributes) = 'object'),
    attribute_order text,
    schema_url text NOT NULL,
    fixups jsonb CHECK (jsonb_typeof(fixups) = 'array'),
    first_seen timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {resources} IS 'OpenTelemetry resources, each stored once, for as long as rows refer to it.';
COMMENT ON COLUMN {resources}.resource_id IS 'First 16 bytes of the SHA-256 of the content.';
COMMENT ON COLUMN {resources}.service_name IS 'The attribute service.name.';
COMMENT ON COLUMN {resources}.attributes IS 'All attributes under their own names.';
COMMENT ON COLUMN {resources}.attribute_order IS 'As in the event tables.';
COMMENT ON COLUMN {resources}.schema_url IS 'Schema URL of the resource; empty if it has none.';
COMMENT ON COLUMN {resources}.fixups IS 'As in the event tables.';
COMMENT ON COLUMN {resources}.first_seen IS 'When the row was written, UTC.';

CREATE TABLE {resource_days} (
    resource_id uuid NOT NULL,
    "time" timestamptz NOT NULL,
    PRIMARY KEY (resource_id, "time")
) PARTITION BY RANGE ("time");
COMMENT ON TABLE {resource_days} IS 'Days up to which rows refer to a resource: when retention has dropped all of them, the resource goes too.';
COMMENT ON COLUMN {resource_days}.resource_id IS 'Which resource: resources.resource_id.';
COMMENT ON COLUMN {resource_days}."time" IS 'Start of the latest day, UTC, of the rows of a batch that refer to it; the partition key.';

CREATE TABLE {scopes} (
    scope_id uuid PRIMARY KEY,
    name text,
    version text,
    schema_url text,
    attributes jsonb CHECK (jsonb_typeof(attributes) = 'object'),
    attribute_order text,
    fixups jsonb CHECK (jsonb_typeof(fixups) = 'array'),
    first_seen timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {scopes} IS 'OpenTelemetry instrumentation scopes, each stored once.';
COMMENT ON COLUMN {scopes}.scope_id IS 'First 16 bytes of the SHA-256 of the content; all zero for no scope.';
COMMENT ON COLUMN {scopes}.name IS 'Name of the instrumentation.';
COMMENT ON COLUMN {scopes}.version IS 'Version of the instrumentation.';
COMMENT ON COLUMN {scopes}.schema_url IS 'Schema URL of what it emits.';
COMMENT ON COLUMN {scopes}.attributes IS 'All attributes under their own names.';
COMMENT ON COLUMN {scopes}.attribute_order IS 'As in the event tables.';
COMMENT ON COLUMN {scopes}.fixups IS 'As in the event tables.';
COMMENT ON COLUMN {scopes}.first_seen IS 'When the row was written, UTC.';

CREATE TABLE {event_batches} (
    batch_id uuid NOT NULL,
    "time" timestamptz NOT NULL,
    producer_id uuid NOT NULL,
    sequence bigint NOT NULL,
    signal text NOT NULL CHECK (signal IN ('span', 'log')),
    spooled boolean NOT NULL,
    stored integer NOT NULL,
    dropped_before bigint NOT NULL,
    dead_before bigint NOT NULL,
    events integer NOT NULL,
    task_events integer NOT NULL,
    agent_events integer NOT NULL,
    deployment_events integer NOT NULL,
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT now(),
    transaction_id bigint NOT NULL DEFAULT txid_current(),
    PRIMARY KEY (batch_id, "time")
) PARTITION BY RANGE ("time");
COMMENT ON TABLE {event_batches} IS 'The ledger: one row for each batch, in the same transaction as its rows.';
COMMENT ON COLUMN {event_batches}.batch_id IS 'UUIDv7 made by the exporter before the first attempt; a batch that is here is not stored again.';
COMMENT ON COLUMN {event_batches}."time" IS 'The time in batch_id, milliseconds, UTC; the partition key.';
COMMENT ON COLUMN {event_batches}.producer_id IS 'Exporter that wrote it: a UUID for each exporter in each process.';
COMMENT ON COLUMN {event_batches}.sequence IS 'Counts the batches of a producer from 1; a gap is a batch that is not stored. 0 for an event that was stored at once or in a transaction of the program, and for a row that only tells of losses: these are not counted.';
COMMENT ON COLUMN {event_batches}.signal IS 'What the batch holds: span or log.';
COMMENT ON COLUMN {event_batches}.spooled IS 'True if it waited on disk because PostgreSQL could not take it.';
COMMENT ON COLUMN {event_batches}.stored IS 'Rows that the batch stored in the four event tables; 0 if it was given up or only tells of losses.';
COMMENT ON COLUMN {event_batches}.dropped_before IS 'Records that this producer gave up since its previous stored batch; with stored = 0, those of this batch.';
COMMENT ON COLUMN {event_batches}.dead_before IS 'Rows that were set aside, because PostgreSQL refuses what they hold, since the producer''s previous stored batch.';
COMMENT ON COLUMN {event_batches}.events IS 'Rows stored in events.';
COMMENT ON COLUMN {event_batches}.task_events IS 'Rows stored in task_events.';
COMMENT ON COLUMN {event_batches}.agent_events IS 'Rows stored in agent_events.';
COMMENT ON COLUMN {event_batches}.deployment_events IS 'Rows stored in deployment_events.';
COMMENT ON COLUMN {event_batches}.first_time IS 'Earliest time of its rows, UTC.';
COMMENT ON COLUMN {event_batches}.last_time IS 'Latest time of its rows, UTC.';
COMMENT ON COLUMN {event_batches}.committed_at IS 'Start of the transaction that stored it, by the server''s clock, UTC.';
COMMENT ON COLUMN {event_batches}.transaction_id IS 'Transaction that stored it, as txid_current() counts: what a tail compares with snapshots, since neither times nor sequences are in the order of commits.';
CREATE INDEX {index:event_batches_transaction} ON {event_batches} (transaction_id);

CREATE TABLE {event_summaries} (
    batch_id uuid NOT NULL,
    "time" timestamptz NOT NULL,
    category text NOT NULL,
    event_type text NOT NULL,
    status text NOT NULL,
    service_name text,
    agent_id text,
    agent_name text,
    event_count integer NOT NULL,
    timed integer NOT NULL,
    duration_sum numeric,
    duration_min bigint,
    duration_max bigint,
    histogram numeric,
    input_tokens numeric,
    output_tokens numeric,
    cost numeric
) PARTITION BY RANGE ("time");
COMMENT ON TABLE {event_summaries} IS 'What the rows of a batch come to, for each hour and kind of event; in the same transaction as the rows. Statistics of whole hours read it in place of the events.';
COMMENT ON COLUMN {event_summaries}.batch_id IS 'Batch whose rows are counted: event_batches.batch_id; all zero where the summaries of several were merged, once the hour was over.';
COMMENT ON COLUMN {event_summaries}."time" IS 'Start of the hour that the rows'' time falls into, UTC; the partition key.';
COMMENT ON COLUMN {event_summaries}.category IS 'system, task, agent or deployment: which table the rows are in.';
COMMENT ON COLUMN {event_summaries}.event_type IS 'Their event_type.';
COMMENT ON COLUMN {event_summaries}.status IS 'Their status.';
COMMENT ON COLUMN {event_summaries}.service_name IS 'Their service_name.';
COMMENT ON COLUMN {event_summaries}.agent_id IS 'Their agent_id.';
COMMENT ON COLUMN {event_summaries}.agent_name IS 'Their agent_name where it is not the agent_id; NULL of other categories.';
COMMENT ON COLUMN {event_summaries}.event_count IS 'Number of rows.';
COMMENT ON COLUMN {event_summaries}.timed IS 'Rows that have a duration.';
COMMENT ON COLUMN {event_summaries}.duration_sum IS 'Sum of duration_ns, nanoseconds; NULL if no row has one.';
COMMENT ON COLUMN {event_summaries}.duration_min IS 'The shortest, nanoseconds.';
COMMENT ON COLUMN {event_summaries}.duration_max IS 'The longest, nanoseconds.';
COMMENT ON COLUMN {event_summaries}.histogram IS 'Durations by buckets of 2 % to both sides: a number in base 10^8 whose digit n, from 0, is how many are in [r^(n-1), r^n) nanoseconds, with r = 1.02/0.98; digit 0 is how many are below 1 ns. So sum(histogram) is the histogram of all.';
COMMENT ON COLUMN {event_summaries}.input_tokens IS 'Sum over model calls and tools; an agent''s own run (action invoke) states the sum of its calls, and is left out. NULL if no row has any.';
COMMENT ON COLUMN {event_summaries}.output_tokens IS 'The same of output_tokens.';
COMMENT ON COLUMN {event_summaries}.cost IS 'The same of cost, US dollars, each taken to 15 digits, so that the sum is exact.';

CREATE TABLE {contents} (
    content_id uuid NOT NULL,
    "time" timestamptz NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (content_id, "time")
) PARTITION BY RANGE ("time");
COMMENT ON TABLE {contents} IS 'Long texts, or parts of them, that rows of one day refer to: each once a day, however often it was sent.';
COMMENT ON COLUMN {contents}.content_id IS 'First 16 bytes of the SHA-256 of the text in UTF-8.';
COMMENT ON COLUMN {contents}."time" IS 'Start of the day, UTC, on which the rows are that refer to it; the partition key.';
COMMENT ON COLUMN {contents}.body IS 'The text: whole, or a part of JSON between two of its values. The parts of an input or output follow each other without a gap.';

CREATE TABLE {events} (
    trace_id uuid NOT NULL,
    span_id bigint NOT NULL,
    batch_id uuid NOT NULL,
    batch_index integer NOT NULL,
    "time" timestamptz NOT NULL,
    trace_flags integer NOT NULL,
    kind smallint NOT NULL,
    status_code smallint NOT NULL,
    resource_id uuid NOT NULL,
    scope_id uuid NOT NULL,
    service_name text,
    parent_span_id bigint,
    parent_is_remote boolean,
    start_unix_nano bigint,
    end_unix_nano bigint,
    duration_ns bigint,
    observed_unix_nano bigint,
    record text NOT NULL CHECK (record IN ('span', 'log')),
    event_type text NOT NULL,
    event_name text NOT NULL,
    status text NOT NULL CHECK (status IN ('started', 'completed', 'error', 'cancelled', 'suspended')),
    severity_number smallint,
    severity_text text,
    agent_id text,
    task_id text,
    session_id text,
    user_id text,
    error_type text,
    error_message text,
    input json,
    input_attribute smallint,
    output json,
    output_attribute smallint,
    attributes jsonb NOT NULL CHECK (jsonb_typeof(attributes) = 'object'),
    attribute_order text,
    body jsonb,
    events jsonb CHECK (jsonb_typeof(events) = 'array'),
    links jsonb CHECK (jsonb_typeof(links) = 'array'),
    dropped_attributes integer,
    dropped_events integer,
    dropped_links integer,
    status_message text,
    trace_state text,
    fixups jsonb CHECK (jsonb_typeof(fixups) = 'array'),
    input_contents uuid[],
    output_contents uuid[],
    attribute_contents jsonb CHECK (jsonb_typeof(attribute_contents) = 'object')
) PARTITION BY RANGE ("time");
COMMENT ON TABLE {events} IS 'System events: user actions, operations, configuration changes, errors, and every record of no other category.';
COMMENT ON COLUMN {events}.trace_id IS 'Trace id, 16 bytes. All zero where a log record belongs to no trace.';
COMMENT ON COLUMN {events}.span_id IS 'Span id, 8 bytes read as a signed big-endian integer; to_hex(span_id) shows OpenTelemetry''s form (pad to 16). 0 where a log record belongs to no span.';
COMMENT ON COLUMN {events}.batch_id IS 'Batch that stored the row: event_batches.batch_id.';
COMMENT ON COLUMN {events}.batch_index IS 'Position in that batch, from 0. (batch_id, batch_index) is unique.';
COMMENT ON COLUMN {events}."time" IS 'When it started or happened, microseconds, UTC; the partition key. A log record without a timestamp has its observed time here.';
COMMENT ON COLUMN {events}.trace_flags IS 'W3C trace flags; bit 0 means sampled.';
COMMENT ON COLUMN {events}.kind IS 'Span kind as in OTLP: 0 none (log record), 1 internal, 2 server, 3 client, 4 producer, 5 consumer.';
COMMENT ON COLUMN {events}.status_code IS 'OpenTelemetry span status: 0 unset, 1 ok, 2 error. 0 for log records.';
COMMENT ON COLUMN {events}.resource_id IS 'Who produced it: resources.resource_id.';
COMMENT ON COLUMN {events}.scope_id IS 'Which instrumentation produced it: scopes.scope_id.';
COMMENT ON COLUMN {events}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {events}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span or a log record.';
COMMENT ON COLUMN {events}.parent_is_remote IS 'True if the parent lives in another process; NULL without a parent.';
COMMENT ON COLUMN {events}.start_unix_nano IS 'Exact start (span) or timestamp (log record), nanoseconds since 1970-01-01 UTC; NULL if it had none.';
COMMENT ON COLUMN {events}.end_unix_nano IS 'Exact end, nanoseconds since 1970-01-01 UTC; NULL for log records.';
COMMENT ON COLUMN {events}.duration_ns IS 'end - start in nanoseconds; negative if the clock was set back. Of a log record, its attribute otel_pg.duration_ns, else NULL.';
COMMENT ON COLUMN {events}.observed_unix_nano IS 'When a log record was seen by the SDK, nanoseconds since 1970-01-01 UTC; NULL for spans.';
COMMENT ON COLUMN {events}.record IS 'What the row came from: span or log.';
COMMENT ON COLUMN {events}.event_type IS 'Group of the event, such as task_execution, agent_action, user_action.';
COMMENT ON COLUMN {events}.event_name IS 'Which event: the span''s name, or the log record''s event name.';
COMMENT ON COLUMN {events}.status IS 'Outcome: started, completed, error, cancelled or suspended (it goes on in a later span that links to it).';
COMMENT ON COLUMN {events}.severity_number IS 'Severity of a log record, 1 (trace) to 24 (fatal4); NULL for spans.';
COMMENT ON COLUMN {events}.severity_text IS 'Severity as the source wrote it; NULL for spans.';
COMMENT ON COLUMN {events}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {events}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {events}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {events}.user_id IS 'User id.';
COMMENT ON COLUMN {events}.error_type IS 'Class of error: exception type or error code.';
COMMENT ON COLUMN {events}.error_message IS 'What the error said.';
COMMENT ON COLUMN {events}.input IS 'What the work was given: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {events}.input_attribute IS 'Which attribute stands in input alone: its position in attributes, where it is null, in jsonb''s own order of keys, from 0; NULL if attributes has them all.';
COMMENT ON COLUMN {events}.output IS 'What the work gave back: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {events}.output_attribute IS 'Which attribute stands in output alone: its position in attributes, where it is null, in jsonb''s own order of keys, from 0; NULL if attributes has them all.';
COMMENT ON COLUMN {events}.attributes IS 'All attributes under their own names; null in place of what stands in input or output.';
COMMENT ON COLUMN {events}.attribute_order IS 'Order of the attributes as they were set: the n-th character is chr(48 + position of the key in jsonb''s own order); NULL if jsonb''s order is theirs.';
COMMENT ON COLUMN {events}.body IS 'Body of a log record.';
COMMENT ON COLUMN {events}.events IS 'Span events, array of {name, time_unix_nano, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {events}.links IS 'Span links, array of {trace_id, span_id, trace_flags, trace_state, is_remote, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {events}.dropped_attributes IS 'Attributes that the SDK dropped at its limit; NULL means none.';
COMMENT ON COLUMN {events}.dropped_events IS 'Span events that the SDK dropped; NULL means none.';
COMMENT ON COLUMN {events}.dropped_links IS 'Span links that the SDK dropped; NULL means none.';
COMMENT ON COLUMN {events}.status_message IS 'Description of the OpenTelemetry span status.';
COMMENT ON COLUMN {events}.trace_state IS 'W3C tracestate header; NULL if empty.';
COMMENT ON COLUMN {events}.fixups IS 'Where jsonb or text cannot hold a value as it was (NUL, lone surrogate, NaN, bytes, integers beyond 64 bits ...): array of [path, kind, original]; NULL for most rows. A kind of cut, object or cycle says that the original is gone.';
COMMENT ON COLUMN {events}.input_contents IS 'Of a long input, the contents that make it up, in order: contents.content_id of the day of the row; input is NULL then.';
COMMENT ON COLUMN {events}.output_contents IS 'The same of output.';
COMMENT ON COLUMN {events}.attribute_contents IS 'Attributes whose text is long, each with the ids of the contents that make it up; in attributes they are null.';
CREATE INDEX {index:events_time} ON {events} ("time");
CREATE INDEX {index:events_trace} ON {events} (trace_id);
CREATE INDEX {index:events_errors} ON {events} ("time") WHERE status = 'error';
-- Health looks for the few events that say which named functions were found.
CREATE INDEX {index:events_capture} ON {events} ("time") WHERE event_type = 'capture';

CREATE TABLE {task_events} (
    trace_id uuid NOT NULL,
    span_id bigint NOT NULL,
    batch_id uuid NOT NULL,
    batch_index integer NOT NULL,
    "time" timestamptz NOT NULL,
    trace_flags integer NOT NULL,
    kind smallint NOT NULL,
    status_code smallint NOT NULL,
    resource_id uuid NOT NULL,
    scope_id uuid NOT NULL,
    service_name text,
    parent_span_id bigint,
    parent_is_remote boolean,
    start_unix_nano bigint,
    end_unix_nano bigint,
    duration_ns bigint,
    observed_unix_nano bigint,
    record text NOT NULL CHECK (record IN ('span', 'log')),
    event_type text NOT NULL,
    event_name text NOT NULL,
    status text NOT NULL CHECK (status IN ('started', 'completed', 'error', 'cancelled', 'suspended')),
    severity_number smallint,
    severity_text text,
    agent_id text,
    task_id text,
    session_id text,
    user_id text,
    error_type text,
    error_message text,
    input json,
    input_attribute smallint,
    output json,
    output_attribute smallint,
    attributes jsonb NOT NULL CHECK (jsonb_typeof(attributes) = 'object'),
    attribute_order text,
    body jsonb,
    events jsonb CHECK (jsonb_typeof(events) = 'array'),
    links jsonb CHECK (jsonb_typeof(links) = 'array'),
    dropped_attributes integer,
    dropped_events integer,
    dropped_links integer,
    status_message text,
    trace_state text,
    fixups jsonb CHECK (jsonb_typeof(fixups) = 'array'),
    input_contents uuid[],
    output_contents uuid[],
    attribute_contents jsonb CHECK (jsonb_typeof(attribute_contents) = 'object'),
    task_name text,
    attempt integer,
    queue text
) PARTITION BY RANGE ("time");
COMMENT ON TABLE {task_events} IS 'Tasks: units of work, queue jobs, workflows.';
COMMENT ON COLUMN {task_events}.trace_id IS 'Trace id, 16 bytes. All zero where a log record belongs to no trace.';
COMMENT ON COLUMN {task_events}.span_id IS 'Span id, 8 bytes read as a signed big-endian integer; to_hex(span_id) shows OpenTelemetry''s form (pad to 16). 0 where a log record belongs to no span.';
COMMENT ON COLUMN {task_events}.batch_id IS 'Batch that stored the row: event_batches.batch_id.';
COMMENT ON COLUMN {task_events}.batch_index IS 'Position in that batch, from 0. (batch_id, batch_index) is unique.';
COMMENT ON COLUMN {task_events}."time" IS 'When it started or happened, microseconds, UTC; the partition key. A log record without a timestamp has its observed time here.';
COMMENT ON COLUMN {task_events}.trace_flags IS 'W3C trace flags; bit 0 means sampled.';
COMMENT ON COLUMN {task_events}.kind IS 'Span kind as in OTLP: 0 none (log record), 1 internal, 2 server, 3 client, 4 producer, 5 consumer.';
COMMENT ON COLUMN {task_events}.status_code IS 'OpenTelemetry span status: 0 unset, 1 ok, 2 error. 0 for log records.';
COMMENT ON COLUMN {task_events}.resource_id IS 'Who produced it: resources.resource_id.';
COMMENT ON COLUMN {task_events}.scope_id IS 'Which instrumentation produced it: scopes.scope_id.';
COMMENT ON COLUMN {task_events}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {task_events}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span or a log record.';
COMMENT ON COLUMN {task_events}.parent_is_remote IS 'True if the parent lives in another process; NULL without a parent.';
COMMENT ON COLUMN {task_events}.start_unix_nano IS 'Exact start (span) or timestamp (log record), nanoseconds since 1970-01-01 UTC; NULL if it had none.';
COMMENT ON COLUMN {task_events}.end_unix_nano IS 'Exact end, nanoseconds since 1970-01-01 UTC; NULL for log records.';
COMMENT ON COLUMN {task_events}.duration_ns IS 'end - start in nanoseconds; negative if the clock was set back. Of a log record, its attribute otel_pg.duration_ns, else NULL.';
COMMENT ON COLUMN {task_events}.observed_unix_nano IS 'When a log record was seen by the SDK, nanoseconds since 1970-01-01 UTC; NULL for spans.';
COMMENT ON COLUMN {task_events}.record IS 'What the row came from: span or log.';
COMMENT ON COLUMN {task_events}.event_type IS 'Group of the event, such as task_execution, agent_action, user_action.';
COMMENT ON COLUMN {task_events}.event_name IS 'Which event: the span''s name, or the log record''s event name.';
COMMENT ON COLUMN {task_events}.status IS 'Outcome: started, completed, error, cancelled or suspended (it goes on in a later span that links to it).';
COMMENT ON COLUMN {task_events}.severity_number IS 'Severity of a log record, 1 (trace) to 24 (fatal4); NULL for spans.';
COMMENT ON COLUMN {task_events}.severity_text IS 'Severity as the source wrote it; NULL for spans.';
COMMENT ON COLUMN {task_events}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {task_events}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {task_events}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {task_events}.user_id IS 'User id.';
COMMENT ON COLUMN {task_events}.error_type IS 'Class of error: exception type or error code.';
COMMENT ON COLUMN {task_events}.error_message IS 'What the error said.';
COMMENT ON COLUMN {task_events}.input IS 'What the work was given: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {task_events}.input_attribute IS 'Which attribute stands in input alone: its position in attributes, where it is null, in jsonb''s own order of keys, from 0; NULL if attributes has them all.';
COMMENT ON COLUMN {task_events}.output IS 'What the work gave back: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {task_events}.output_attribute IS 'Which attribute stands in output alone: its position in attributes, where it is null, in jsonb''s own order of keys, from 0; NULL if attributes has them all.';
COMMENT ON COLUMN {task_events}.attributes IS 'All attributes under their own names; null in place of what stands in input or output.';
COMMENT ON COLUMN {task_events}.attribute_order IS 'Order of the attributes as they were set: the n-th character is chr(48 + position of the key in jsonb''s own order); NULL if jsonb''s order is theirs.';
COMMENT ON COLUMN {task_events}.body IS 'Body of a log record.';
COMMENT ON COLUMN {task_events}.events IS 'Span events, array of {name, time_unix_nano, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {task_events}.links IS 'Span links, array of {trace_id, span_id, trace_flags, trace_state, is_remote, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {task_events}.dropped_attributes IS 'Attributes that the SDK dropped at its limit; NULL means none.';
COMMENT ON COLUMN {task_events}.dropped_events IS 'Span events that the SDK dropped; NULL means none.';
COMMENT ON COLUMN {task_events}.dropped_links IS 'Span links that the SDK dropped; NULL means none.';
COMMENT ON COLUMN {task_events}.status_message IS 'Description of the OpenTelemetry span status.';
COMMENT ON COLUMN {task_events}.trace_state IS 'W3C tracestate header; NULL if empty.';
COMMENT ON COLUMN {task_events}.fixups IS 'Where jsonb or text cannot hold a value as it was (NUL, lone surrogate, NaN, bytes, integers beyond 64 bits ...): array of [path, kind, original]; NULL for most rows. A kind of cut, object or cycle says that the original is gone.';
COMMENT ON COLUMN {task_events}.input_contents IS 'Of a long input, the contents that make it up, in order: contents.content_id of the day of the row; input is NULL then.';
COMMENT ON COLUMN {task_events}.output_contents IS 'The same of output.';
COMMENT ON COLUMN {task_events}.attribute_contents IS 'Attributes whose text is long, each with the ids of the contents that make it up; in attributes they are null.';
COMMENT ON COLUMN {task_events}.task_name IS 'Name of the task or workflow.';
COMMENT ON COLUMN {task_events}.attempt IS 'Which try this is, from 1.';
COMMENT ON COLUMN {task_events}.queue IS 'Queue it came from.';
CREATE INDEX {index:task_events_time} ON {task_events} ("time");
CREATE INDEX {index:task_events_trace} ON {task_events} (trace_id);
CREATE INDEX {index:task_events_errors} ON {task_events} ("time") WHERE status = 'error';
-- The few rows that wait for their end, which may come from another process.
CREATE INDEX {index:task_events_started} ON {task_events} (task_id, "time") WHERE status = 'started';

CREATE TABLE {agent_events} (
    trace_id uuid NOT NULL,
    span_id bigint NOT NULL,
    batch_id uuid NOT NULL,
    batch_index integer NOT NULL,
    "time" timestamptz NOT NULL,
    trace_flags integer NOT NULL,
    kind smallint NOT NULL,
    status_code smallint NOT NULL,
    resource_id uuid NOT NULL,
    scope_id uuid NOT NULL,
    service_name text,
    parent_span_id bigint,
    parent_is_remote boolean,
    start_unix_nano bigint,
    end_unix_nano bigint,
    duration_ns bigint,
    observed_unix_nano bigint,
    record text NOT NULL CHECK (record IN ('span', 'log')),
    event_type text NOT NULL,
    event_name text NOT NULL,
    status text NOT NULL CHECK (status IN ('started', 'completed', 'error', 'cancelled', 'suspended')),
    severity_number smallint,
    severity_text text,
    agent_id text,
    task_id text,
    session_id text,
    user_id text,
    error_type text,
    error_message text,
    input json,
    input_attribute smallint,
    output json,
    output_attribute smallint,
    attributes jsonb NOT NULL CHECK (jsonb_typeof(attributes) = 'object'),
    attribute_order text,
    body jsonb,
    events jsonb CHECK (jsonb_typeof(events) = 'array'),
    links jsonb CHECK (jsonb_typeof(links) = 'array'),
    dropped_attributes integer,
    dropped_events integer,
    dropped_links integer,
    status_message text,
    trace_state text,
    fixups jsonb CHECK (jsonb_typeof(fixups) = 'array'),
    input_contents uuid[],
    output_contents uuid[],
    attribute_contents jsonb CHECK (jsonb_typeof(attribute_contents) = 'object'),
    agent_name text,
    action text,
    tool_name text,
    model text,
    provider text,
    input_tokens bigint,
    output_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    cost double precision
) PARTITION BY RANGE ("time");
COMMENT ON TABLE {agent_events} IS 'Agents: their runs, model calls, tool calls and other actions.';
COMMENT ON COLUMN {agent_events}.trace_id IS 'Trace id, 16 bytes. All zero where a log record belongs to no trace.';
COMMENT ON COLUMN {agent_events}.span_id IS 'Span id, 8 bytes read as a signed big-endian integer; to_hex(span_id) shows OpenTelemetry''s form (pad to 16). 0 where a log record belongs to no span.';
COMMENT ON COLUMN {agent_events}.batch_id IS 'Batch that stored the row: event_batches.batch_id.';
COMMENT ON COLUMN {agent_events}.batch_index IS 'Position in that batch, from 0. (batch_id, batch_index) is unique.';
COMMENT ON COLUMN {agent_events}."time" IS 'When it started or happened, microseconds, UTC; the partition key. A log record without a timestamp has its observed time here.';
COMMENT ON COLUMN {agent_events}.trace_flags IS 'W3C trace flags; bit 0 means sampled.';
COMMENT ON COLUMN {agent_events}.kind IS 'Span kind as in OTLP: 0 none (log record), 1 internal, 2 server, 3 client, 4 producer, 5 consumer.';
COMMENT ON COLUMN {agent_events}.status_code IS 'OpenTelemetry span status: 0 unset, 1 ok, 2 error. 0 for log records.';
COMMENT ON COLUMN {agent_events}.resource_id IS 'Who produced it: resources.resource_id.';
COMMENT ON COLUMN {agent_events}.scope_id IS 'Which instrumentation produced it: scopes.scope_id.';
COMMENT ON COLUMN {agent_events}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {agent_events}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span or a log record.';
COMMENT ON COLUMN {agent_events}.parent_is_remote IS 'True if the parent lives in another process; NULL without a parent.';
COMMENT ON COLUMN {agent_events}.start_unix_nano IS 'Exact start (span) or timestamp (log record), nanoseconds since 1970-01-01 UTC; NULL if it had none.';
COMMENT ON COLUMN {agent_events}.end_unix_nano IS 'Exact end, nanoseconds since 1970-01-01 UTC; NULL for log records.';
COMMENT ON COLUMN {agent_events}.duration_ns IS 'end - start in nanoseconds; negative if the clock was set back. Of a log record, its attribute otel_pg.duration_ns, else NULL.';
COMMENT ON COLUMN {agent_events}.observed_unix_nano IS 'When a log record was seen by the SDK, nanoseconds since 1970-01-01 UTC; NULL for spans.';
COMMENT ON COLUMN {agent_events}.record IS 'What the row came from: span or log.';
COMMENT ON COLUMN {agent_events}.event_type IS 'Group of the event, such as task_execution, agent_action, user_action.';
COMMENT ON COLUMN {agent_events}.event_name IS 'Which event: the span''s name, or the log record''s event name.';
COMMENT ON COLUMN {agent_events}.status IS 'Outcome: started, completed, error, cancelled or suspended (it goes on in a later span that links to it).';
COMMENT ON COLUMN {agent_events}.severity_number IS 'Severity of a log record, 1 (trace) to 24 (fatal4); NULL for spans.';
COMMENT ON COLUMN {agent_events}.severity_text IS 'Severity as the source wrote it; NULL for spans.';
COMMENT ON COLUMN {agent_events}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {agent_events}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {agent_events}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {agent_events}.user_id IS 'User id.';
COMMENT ON COLUMN {agent_events}.error_type IS 'Class of error: exception type or error code.';
COMMENT ON COLUMN {agent_events}.error_message IS 'What the error said.';
COMMENT ON COLUMN {agent_events}.input IS 'What the work was given: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {agent_events}.input_attribute IS 'Which attribute stands in input alone: its position in attributes, where it is null, in jsonb''s own order of keys, from 0; NULL if attributes has them all.';
COMMENT ON COLUMN {agent_events}.output IS 'What the work gave back: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {agent_events}.output_attribute IS 'Which attribute stands in output alone: its position in attributes, where it is null, in jsonb''s own order of keys, from 0; NULL if attributes has them all.';
COMMENT ON COLUMN {agent_events}.attributes IS 'All attributes under their own names; null in place of what stands in input or output.';
COMMENT ON COLUMN {agent_events}.attribute_order IS 'Order of the attributes as they were set: the n-th character is chr(48 + position of the key in jsonb''s own order); NULL if jsonb''s order is theirs.';
COMMENT ON COLUMN {agent_events}.body IS 'Body of a log record.';
COMMENT ON COLUMN {agent_events}.events IS 'Span events, array of {name, time_unix_nano, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {agent_events}.links IS 'Span links, array of {trace_id, span_id, trace_flags, trace_state, is_remote, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {agent_events}.dropped_attributes IS 'Attributes that the SDK dropped at its limit; NULL means none.';
COMMENT ON COLUMN {agent_events}.dropped_events IS 'Span events that the SDK dropped; NULL means none.';
COMMENT ON COLUMN {agent_events}.dropped_links IS 'Span links that the SDK dropped; NULL means none.';
COMMENT ON COLUMN {agent_events}.status_message IS 'Description of the OpenTelemetry span status.';
COMMENT ON COLUMN {agent_events}.trace_state IS 'W3C tracestate header; NULL if empty.';
COMMENT ON COLUMN {agent_events}.fixups IS 'Where jsonb or text cannot hold a value as it was (NUL, lone surrogate, NaN, bytes, integers beyond 64 bits ...): array of [path, kind, original]; NULL for most rows. A kind of cut, object or cycle says that the original is gone.';
COMMENT ON COLUMN {agent_events}.input_contents IS 'Of a long input, the contents that make it up, in order: contents.content_id of the day of the row; input is NULL then.';
COMMENT ON COLUMN {agent_events}.output_contents IS 'The same of output.';
COMMENT ON COLUMN {agent_events}.attribute_contents IS 'Attributes whose text is long, each with the ids of the contents that make it up; in attributes they are null.';
COMMENT ON COLUMN {agent_events}.agent_name IS 'Name of the agent.';
COMMENT ON COLUMN {agent_events}.action IS 'What was done: invoke, create, llm, embedding, tool, retrieval, memory, plan, step, guardrail ...';
COMMENT ON COLUMN {agent_events}.tool_name IS 'Name of the tool that was called.';
COMMENT ON COLUMN {agent_events}.model IS 'Model that answered, else the model that was asked.';
COMMENT ON COLUMN {agent_events}.provider IS 'Provider of the model.';
COMMENT ON COLUMN {agent_events}.input_tokens IS 'Tokens read by the model, cached ones included.';
COMMENT ON COLUMN {agent_events}.output_tokens IS 'Tokens written by the model, reasoning included.';
COMMENT ON COLUMN {agent_events}.cache_read_tokens IS 'Input tokens read from a cache.';
COMMENT ON COLUMN {agent_events}.cache_write_tokens IS 'Input tokens written to a cache.';
COMMENT ON COLUMN {agent_events}.reasoning_tokens IS 'Output tokens spent on reasoning.';
COMMENT ON COLUMN {agent_events}.cost IS 'Cost in US dollars as the producer stated it.';
CREATE INDEX {index:agent_events_time} ON {agent_events} ("time");
CREATE INDEX {index:agent_events_trace} ON {agent_events} (trace_id);
CREATE INDEX {index:agent_events_errors} ON {agent_events} ("time") WHERE status = 'error';
CREATE INDEX {index:agent_events_agent} ON {agent_events} (agent_id, "time") WHERE agent_id IS NOT NULL;
-- An agent is looked for by its id and by its name, which are mostly one.
CREATE INDEX {index:agent_events_name} ON {agent_events} (agent_name, "time")
    WHERE agent_name IS NOT NULL AND agent_name IS DISTINCT FROM agent_id;

CREATE TABLE {deployment_events} (
    trace_id uuid NOT NULL,
    span_id bigint NOT NULL,
    batch_id uuid NOT NULL,
    batch_index integer NOT NULL,
    "time" timestamptz NOT NULL,
    trace_flags integer NOT NULL,
    kind smallint NOT NULL,
    status_code smallint NOT NULL,
    resource_id uuid NOT NULL,
    scope_id uuid NOT NULL,
    service_name text,
    parent_span_id bigint,
    parent_is_remote boolean,
    start_unix_nano bigint,
    end_unix_nano bigint,
    duration_ns bigint,
    observed_unix_nano bigint,
    record text NOT NULL CHECK (record IN ('span', 'log')),
    event_type text NOT NULL,
    event_name text NOT NULL,
    status text NOT NULL CHECK (status IN ('started', 'completed', 'error', 'cancelled', 'suspended')),
    severity_number smallint,
    severity_text text,
    agent_id text,
    task_id text,
    session_id text,
    user_id text,
    error_type text,
    error_message text,
    input json,
    input_attribute smallint,
    output json,
    output_attribute smallint,
    attributes jsonb NOT NULL CHECK (jsonb_typeof(attributes) = 'object'),
    attribute_order text,
    body jsonb,
    events jsonb CHECK (jsonb_typeof(events) = 'array'),
    links jsonb CHECK (jsonb_typeof(links) = 'array'),
    dropped_attributes integer,
    dropped_events integer,
    dropped_links integer,
    status_message text,
    trace_state text,
    fixups jsonb CHECK (jsonb_typeof(fixups) = 'array'),
    input_contents uuid[],
    output_contents uuid[],
    attribute_contents jsonb CHECK (jsonb_typeof(attribute_contents) = 'object'),
    environment text,
    branch text,
    commit_sha text,
    pull_request text,
    pipeline text,
    pipeline_run_id text,
    result text,
    build_result text,
    test_result text
) PARTITION BY RANGE ("time");
COMMENT ON TABLE {deployment_events} IS 'Deployments and pipeline runs.';
COMMENT ON COLUMN {deployment_events}.trace_id IS 'Trace id, 16 bytes. All zero where a log record belongs to no trace.';
COMMENT ON COLUMN {deployment_events}.span_id IS 'Span id, 8 bytes read as a signed big-endian integer; to_hex(span_id) shows OpenTelemetry''s form (pad to 16). 0 where a log record belongs to no span.';
COMMENT ON COLUMN {deployment_events}.batch_id IS 'Batch that stored the row: event_batches.batch_id.';
COMMENT ON COLUMN {deployment_events}.batch_index IS 'Position in that batch, from 0. (batch_id, batch_index) is unique.';
COMMENT ON COLUMN {deployment_events}."time" IS 'When it started or happened, microseconds, UTC; the partition key. A log record without a timestamp has its observed time here.';
COMMENT ON COLUMN {deployment_events}.trace_flags IS 'W3C trace flags; bit 0 means sampled.';
COMMENT ON COLUMN {deployment_events}.kind IS 'Span kind as in OTLP: 0 none (log record), 1 internal, 2 server, 3 client, 4 producer, 5 consumer.';
COMMENT ON COLUMN {deployment_events}.status_code IS 'OpenTelemetry span status: 0 unset, 1 ok, 2 error. 0 for log records.';
COMMENT ON COLUMN {deployment_events}.resource_id IS 'Who produced it: resources.resource_id.';
COMMENT ON COLUMN {deployment_events}.scope_id IS 'Which instrumentation produced it: scopes.scope_id.';
COMMENT ON COLUMN {deployment_events}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {deployment_events}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span or a log record.';
COMMENT ON COLUMN {deployment_events}.parent_is_remote IS 'True if the parent lives in another process; NULL without a parent.';
COMMENT ON COLUMN {deployment_events}.start_unix_nano IS 'Exact start (span) or timestamp (log record), nanoseconds since 1970-01-01 UTC; NULL if it had none.';
COMMENT ON COLUMN {deployment_events}.end_unix_nano IS 'Exact end, nanoseconds since 1970-01-01 UTC; NULL for log records.';
COMMENT ON COLUMN {deployment_events}.duration_ns IS 'end - start in nanoseconds; negative if the clock was set back. Of a log record, its attribute otel_pg.duration_ns, else NULL.';
COMMENT ON COLUMN {deployment_events}.observed_unix_nano IS 'When a log record was seen by the SDK, nanoseconds since 1970-01-01 UTC; NULL for spans.';
COMMENT ON COLUMN {deployment_events}.record IS 'What the row came from: span or log.';
COMMENT ON COLUMN {deployment_events}.event_type IS 'Group of the event, such as task_execution, agent_action, user_action.';
COMMENT ON COLUMN {deployment_events}.event_name IS 'Which event: the span''s name, or the log record''s event name.';
COMMENT ON COLUMN {deployment_events}.status IS 'Outcome: started, completed, error, cancelled or suspended (it goes on in a later span that links to it).';
COMMENT ON COLUMN {deployment_events}.severity_number IS 'Severity of a log record, 1 (trace) to 24 (fatal4); NULL for spans.';
COMMENT ON COLUMN {deployment_events}.severity_text IS 'Severity as the source wrote it; NULL for spans.';
COMMENT ON COLUMN {deployment_events}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {deployment_events}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {deployment_events}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {deployment_events}.user_id IS 'User id.';
COMMENT ON COLUMN {deployment_events}.error_type IS 'Class of error: exception type or error code.';
COMMENT ON COLUMN {deployment_events}.error_message IS 'What the error said.';
COMMENT ON COLUMN {deployment_events}.input IS 'What the work was given: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {deployment_events}.input_attribute IS 'Which attribute stands in input alone: its position in attributes, where it is null, in jsonb''s own order of keys, from 0; NULL if attributes has them all.';
COMMENT ON COLUMN {deployment_events}.output IS 'What the work gave back: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {deployment_events}.output_attribute IS 'Which attribute stands in output alone: its position in attributes, where it is null, in jsonb''s own order of keys, from 0; NULL if attributes has them all.';
COMMENT ON COLUMN {deployment_events}.attributes IS 'All attributes under their own names; null in place of what stands in input or output.';
COMMENT ON COLUMN {deployment_events}.attribute_order IS 'Order of the attributes as they were set: the n-th character is chr(48 + position of the key in jsonb''s own order); NULL if jsonb''s order is theirs.';
COMMENT ON COLUMN {deployment_events}.body IS 'Body of a log record.';
COMMENT ON COLUMN {deployment_events}.events IS 'Span events, array of {name, time_unix_nano, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {deployment_events}.links IS 'Span links, array of {trace_id, span_id, trace_flags, trace_state, is_remote, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {deployment_events}.dropped_attributes IS 'Attributes that the SDK dropped at its limit; NULL means none.';
COMMENT ON COLUMN {deployment_events}.dropped_events IS 'Span events that the SDK dropped; NULL means none.';
COMMENT ON COLUMN {deployment_events}.dropped_links IS 'Span links that the SDK dropped; NULL means none.';
COMMENT ON COLUMN {deployment_events}.status_message IS 'Description of the OpenTelemetry span status.';
COMMENT ON COLUMN {deployment_events}.trace_state IS 'W3C tracestate header; NULL if empty.';
COMMENT ON COLUMN {deployment_events}.fixups IS 'Where jsonb or text cannot hold a value as it was (NUL, lone surrogate, NaN, bytes, integers beyond 64 bits ...): array of [path, kind, original]; NULL for most rows. A kind of cut, object or cycle says that the original is gone.';
COMMENT ON COLUMN {deployment_events}.input_contents IS 'Of a long input, the contents that make it up, in order: contents.content_id of the day of the row; input is NULL then.';
COMMENT ON COLUMN {deployment_events}.output_contents IS 'The same of output.';
COMMENT ON COLUMN {deployment_events}.attribute_contents IS 'Attributes whose text is long, each with the ids of the contents that make it up; in attributes they are null.';
COMMENT ON COLUMN {deployment_events}.environment IS 'Target, such as production or staging.';
COMMENT ON COLUMN {deployment_events}.branch IS 'Branch or tag that was deployed.';
COMMENT ON COLUMN {deployment_events}.commit_sha IS 'Revision that was deployed.';
COMMENT ON COLUMN {deployment_events}.pull_request IS 'Pull request or change id.';
COMMENT ON COLUMN {deployment_events}.pipeline IS 'Name of the pipeline or deployment.';
COMMENT ON COLUMN {deployment_events}.pipeline_run_id IS 'Id of this run of it.';
COMMENT ON COLUMN {deployment_events}.result IS 'Outcome in the words of cicd.pipeline.result: success, failure, error, timeout, cancellation or skip; those of deployment.status become success and failure.';
COMMENT ON COLUMN {deployment_events}.build_result IS 'Outcome of the build step, the same words.';
COMMENT ON COLUMN {deployment_events}.test_result IS 'Outcome of the test step, the same words.';
CREATE INDEX {index:deployment_events_time} ON {deployment_events} ("time");
CREATE INDEX {index:deployment_events_trace} ON {deployment_events} (trace_id);
CREATE INDEX {index:deployment_events_errors} ON {deployment_events} ("time") WHERE status = 'error';

CREATE TABLE {processes} (
    process_id uuid PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    service_name text,
    started_at timestamptz NOT NULL,
    heartbeat_seconds integer NOT NULL CHECK (heartbeat_seconds > 0)
);
COMMENT ON TABLE {processes} IS 'Processes that had a span open for longer than a second.';
COMMENT ON COLUMN {processes}.process_id IS 'UUID that the process gave itself; a forked child has its own.';
COMMENT ON COLUMN {processes}.host IS 'Name of the machine, as the machine knows it.';
COMMENT ON COLUMN {processes}.pid IS 'Process id on that machine.';
COMMENT ON COLUMN {processes}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {processes}.started_at IS 'When it began to look after its open spans, by its own clock, UTC.';
COMMENT ON COLUMN {processes}.heartbeat_seconds IS 'Time from one heartbeat to the next while it has runs, s.';

CREATE TABLE {heartbeats} (
    process_id uuid NOT NULL,
    "time" timestamptz NOT NULL DEFAULT now(),
    open_runs integer NOT NULL,
    open_since timestamptz NOT NULL
) PARTITION BY RANGE ("time");
COMMENT ON TABLE {heartbeats} IS 'Signs of life: one row for each heartbeat of a process that has runs.';
COMMENT ON COLUMN {heartbeats}.process_id IS 'Who lives: processes.process_id.';
COMMENT ON COLUMN {heartbeats}."time" IS 'When, by the server''s clock, UTC; the partition key.';
COMMENT ON COLUMN {heartbeats}.open_runs IS 'Spans that the process had open for longer than a second.';
COMMENT ON COLUMN {heartbeats}.open_since IS 'Start of the earliest of them, by the process''s clock, UTC: none that was open has an earlier start.';
CREATE INDEX {index:heartbeats_process} ON {heartbeats} (process_id, "time");

CREATE TABLE {open_spans} (
    trace_id uuid NOT NULL,
    span_id bigint NOT NULL,
    "time" timestamptz NOT NULL,
    start_unix_nano bigint NOT NULL,
    parent_span_id bigint,
    process_id uuid NOT NULL,
    category text NOT NULL CHECK (category IN ('system', 'task', 'agent', 'deployment')),
    event_type text NOT NULL,
    event_name text NOT NULL,
    service_name text,
    agent_id text,
    task_id text,
    session_id text,
    user_id text,
    tenant_id text,
    attributes jsonb NOT NULL CHECK (jsonb_typeof(attributes) = 'object'),
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (trace_id, span_id, "time")
) PARTITION BY RANGE ("time");
COMMENT ON TABLE {open_spans} IS 'Spans that were seen open for longer than a second, as they were then; how they stand now says the view runs.';
COMMENT ON COLUMN {open_spans}.trace_id IS 'Trace id, 16 bytes.';
COMMENT ON COLUMN {open_spans}.span_id IS 'Span id, signed as in the event tables.';
COMMENT ON COLUMN {open_spans}."time" IS 'When it started, microseconds, UTC; the partition key, and that of its row in an event table.';
COMMENT ON COLUMN {open_spans}.start_unix_nano IS 'Exact start, nanoseconds since 1970-01-01 UTC.';
COMMENT ON COLUMN {open_spans}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span.';
COMMENT ON COLUMN {open_spans}.process_id IS 'Process that has it: processes.process_id.';
COMMENT ON COLUMN {open_spans}.category IS 'system, task, agent or deployment, as far as its attributes said by then.';
COMMENT ON COLUMN {open_spans}.event_type IS 'Group of the event, as in the event tables.';
COMMENT ON COLUMN {open_spans}.event_name IS 'The span''s name.';
COMMENT ON COLUMN {open_spans}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {open_spans}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {open_spans}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {open_spans}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {open_spans}.user_id IS 'User id.';
COMMENT ON COLUMN {open_spans}.tenant_id IS 'Tenant: the attribute tenant.id, else that of the resource.';
COMMENT ON COLUMN {open_spans}.attributes IS 'Its attributes when it was seen, under their own names; what jsonb cannot hold is replaced.';
COMMENT ON COLUMN {open_spans}.seen_at IS 'When it was seen open, by the server''s clock, UTC.';
CREATE INDEX {index:open_spans_process} ON {open_spans} (process_id, "time");

CREATE TABLE {pruned} (
    "table" text NOT NULL,
    partition text NOT NULL,
    first_time timestamptz NOT NULL,
    end_time timestamptz NOT NULL,
    "rows" bigint NOT NULL,
    bytes bigint NOT NULL,
    reason text NOT NULL CHECK (reason IN ('age', 'size')),
    pruned_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {pruned} IS 'Partitions that retention has dropped.';
COMMENT ON COLUMN {pruned}."table" IS 'Table that it belonged to, without a prefix.';
COMMENT ON COLUMN {pruned}.partition IS 'Its name.';
COMMENT ON COLUMN {pruned}.first_time IS 'Beginning of the time that it held, UTC.';
COMMENT ON COLUMN {pruned}.end_time IS 'End of that time, UTC; not in it. After the latest of event_batches the ledger is certain to have every batch.';
COMMENT ON COLUMN {pruned}."rows" IS 'Rows that it held, by PostgreSQL''s own estimate.';
COMMENT ON COLUMN {pruned}.bytes IS 'Bytes that it took with its indexes.';
COMMENT ON COLUMN {pruned}.reason IS 'age: its rows were kept for long enough; size: EVENT_MAX_BYTES was exceeded.';
COMMENT ON COLUMN {pruned}.pruned_at IS 'When it was dropped, by the server''s clock, UTC.';

-- A server plans for hundreds of partitions longer than it looks into them all: a function plans once for each session.
-- A bitmap has a second node for each partition, that is set up for nothing in all but one, and compiling pays for none.
CREATE FUNCTION {events_of_trace}(uuid) RETURNS SETOF {events}
LANGUAGE plpgsql STABLE ROWS 100
SET plan_cache_mode = force_generic_plan SET enable_bitmapscan = off SET jit = off
SET search_path = pg_catalog, pg_temp
AS $reading$ BEGIN RETURN QUERY SELECT * FROM {events} WHERE trace_id = $1; END $reading$;
COMMENT ON FUNCTION {events_of_trace}(uuid) IS 'The rows of a trace in events, to whoever may read that.';
CREATE FUNCTION {task_events_of_trace}(uuid) RETURNS SETOF {task_events}
LANGUAGE plpgsql STABLE ROWS 100
SET plan_cache_mode = force_generic_plan SET enable_bitmapscan = off SET jit = off
SET search_path = pg_catalog, pg_temp
AS $reading$ BEGIN RETURN QUERY SELECT * FROM {task_events} WHERE trace_id = $1; END $reading$;
COMMENT ON FUNCTION {task_events_of_trace}(uuid) IS 'The rows of a trace in task_events, to whoever may read that.';
CREATE FUNCTION {agent_events_of_trace}(uuid) RETURNS SETOF {agent_events}
LANGUAGE plpgsql STABLE ROWS 100
SET plan_cache_mode = force_generic_plan SET enable_bitmapscan = off SET jit = off
SET search_path = pg_catalog, pg_temp
AS $reading$ BEGIN RETURN QUERY SELECT * FROM {agent_events} WHERE trace_id = $1; END $reading$;
COMMENT ON FUNCTION {agent_events_of_trace}(uuid) IS 'The rows of a trace in agent_events, to whoever may read that.';
CREATE FUNCTION {deployment_events_of_trace}(uuid) RETURNS SETOF {deployment_events}
LANGUAGE plpgsql STABLE ROWS 100
SET plan_cache_mode = force_generic_plan SET enable_bitmapscan = off SET jit = off
SET search_path = pg_catalog, pg_temp
AS $reading$ BEGIN RETURN QUERY SELECT * FROM {deployment_events} WHERE trace_id = $1; END $reading$;
COMMENT ON FUNCTION {deployment_events_of_trace}(uuid) IS 'The rows of a trace in deployment_events, to whoever may read that.';
REVOKE ALL ON FUNCTION {events_of_trace}(uuid), {task_events_of_trace}(uuid), {agent_events_of_trace}(uuid),
    {deployment_events_of_trace}(uuid) FROM PUBLIC;

-- Whoever may see a row may see what it consists of: so these read as the owner of the tables does, by ids alone.
CREATE FUNCTION {joined_contents}(of_day timestamptz, ids uuid[]) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET plan_cache_mode = force_generic_plan SET search_path = pg_catalog, pg_temp
AS $reading$
DECLARE
    joined text;
    parts bigint;
BEGIN
    SELECT string_agg(c.body, '' ORDER BY wanted.place), count(*) INTO joined, parts
      FROM unnest(ids) WITH ORDINALITY AS wanted(id, place)
      JOIN {contents} AS c
        ON c.content_id = wanted.id AND c."time" = date_trunc('day', of_day AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    RETURN CASE WHEN parts = cardinality(ids) THEN joined END;
END
$reading$;
COMMENT ON FUNCTION {joined_contents}(timestamptz, uuid[]) IS 'The text that contents make up, by the time of the row that refers to them; NULL if some are gone.';
CREATE FUNCTION {whole_attributes}(of_day timestamptz, attributes jsonb, shared jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $reading$
BEGIN
    RETURN attributes || (
        SELECT jsonb_object_agg(each.key, {joined_contents}(of_day, ARRAY(
                   SELECT id::uuid FROM jsonb_array_elements_text(each.value) WITH ORDINALITY AS listed(id, place)
                    ORDER BY place)))
          FROM jsonb_each(shared) AS each);
END
$reading$;
COMMENT ON FUNCTION {whole_attributes}(timestamptz, jsonb, jsonb) IS 'Attributes with those whose text is in contents, by the time of the row.';
REVOKE ALL ON FUNCTION {joined_contents}(timestamptz, uuid[]), {whole_attributes}(timestamptz, jsonb, jsonb) FROM PUBLIC;

-- What a search for text looks at. Each is a function, that a server plans for many partitions as one call; the optional
-- index keeps what they give, and has to be made anew where that changes. A tsvector holds a million bytes, and a row must
-- not be refused for that: of a long value the beginning counts.
CREATE FUNCTION {words_of_text}(value text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000
SET search_path = pg_catalog, pg_temp
AS $words$
BEGIN
    RETURN to_tsvector('simple', regexp_replace(left(value, 50000), E'\\\\(u[0-9A-Fa-f]{4}|.)', ' ', 'g'));
END
$words$;
COMMENT ON FUNCTION {words_of_text}(text) IS 'The words of the beginning of a text that may be JSON, or a part of it: with its keys, without what is escaped, in lower case.';
CREATE FUNCTION {words_of_event}(input json, output json, body jsonb, error_type text, error_message text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000
SET search_path = pg_catalog, pg_temp
AS $words$
BEGIN
    -- what stands between keeps a phrase within one of them
    RETURN coalesce(CASE WHEN length(input::text) <= 50000
                         THEN json_to_tsvector('simple', input, '["string", "numeric"]')
                         ELSE {words_of_text}(input::text)
                    END, '') || '''|'':1'::tsvector
        || coalesce(CASE WHEN length(output::text) <= 50000
                         THEN json_to_tsvector('simple', output, '["string", "numeric"]')
                         ELSE {words_of_text}(output::text)
                    END, '') || '''|'':1'::tsvector
        || coalesce(CASE WHEN length(body::text) <= 50000
                         THEN jsonb_to_tsvector('simple', body, '["string", "numeric"]')
                         ELSE {words_of_text}(body::text)
                    END, '') || '''|'':1'::tsvector
        || to_tsvector('simple', left(coalesce(error_type, '') || ' ' || coalesce(error_message, ''), 10000));
END
$words$;
COMMENT ON FUNCTION {words_of_event}(json, json, jsonb, text, text) IS 'The words of an event, in lower case: of its JSON texts and numbers, not keys, as they are written, and of its error. Of a long value the beginning counts, as words_of_text gives it.';
-- Whoever stores calls them where there is an index, and they tell nothing but what they are given.
GRANT EXECUTE ON FUNCTION {words_of_text}(text), {words_of_event}(json, json, jsonb, text, text) TO PUBLIC;
