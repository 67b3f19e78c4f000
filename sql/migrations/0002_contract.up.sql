-- The contract: views, functions and their types, with the rights and tenants that hold for them. Its version is
-- what contract_version() answers. Within a version nothing of it is taken away, renamed, or given another type or
-- meaning; columns are added at the end. Tables are no part of it.

CREATE TABLE {tenancy} (
    is_on boolean PRIMARY KEY CHECK (is_on)
);
COMMENT ON TABLE {tenancy} IS 'One row while the views show each reader the rows of its tenants alone, else none.';
COMMENT ON COLUMN {tenancy}.is_on IS 'True.';

CREATE TABLE {tenant_readers} (
    role_name name NOT NULL,
    tenant_id text
);
COMMENT ON TABLE {tenant_readers} IS 'Which tenants'' rows a role, and whoever is a member of it, sees while tenancy is on.';
COMMENT ON COLUMN {tenant_readers}.role_name IS 'Name of the role.';
COMMENT ON COLUMN {tenant_readers}.tenant_id IS 'Tenant that it sees; NULL for all rows, also those of no tenant.';
CREATE UNIQUE INDEX {index:tenant_readers_role} ON {tenant_readers} (role_name, coalesce(tenant_id, ''), (tenant_id IS NULL));

-- The rows of a reader, for the views: current_user is the reader there, while the tables are read by their owner.
CREATE VIEW {tenant_ids} AS
SELECT r.tenant_id
  FROM {tenant_readers} AS r JOIN pg_catalog.pg_roles AS o ON o.rolname = r.role_name
 WHERE pg_catalog.pg_has_role(current_user, o.oid, 'MEMBER') AND r.tenant_id IS NOT NULL;
COMMENT ON VIEW {tenant_ids} IS 'Tenants that the current role sees. For the other views; no part of the contract.';
COMMENT ON COLUMN {tenant_ids}.tenant_id IS 'Tenant.';

CREATE VIEW {tenant_resources} AS
SELECT resource_id FROM {resources} WHERE attributes ->> 'tenant.id' IN (SELECT tenant_id FROM {tenant_ids});
COMMENT ON VIEW {tenant_resources} IS 'Resources of those tenants. For the other views; no part of the contract.';
COMMENT ON COLUMN {tenant_resources}.resource_id IS 'resources.resource_id.';

CREATE VIEW {tenant_scope} AS
SELECT NOT EXISTS (SELECT FROM {tenancy})
       OR EXISTS (SELECT FROM {tenancy} AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tableoid
                   WHERE pg_catalog.pg_has_role(current_user, c.relowner, 'MEMBER'))
       OR EXISTS (SELECT FROM {tenant_readers} AS r JOIN pg_catalog.pg_roles AS o ON o.rolname = r.role_name
                   WHERE r.tenant_id IS NULL AND pg_catalog.pg_has_role(current_user, o.oid, 'MEMBER')) AS sees_all;
COMMENT ON VIEW {tenant_scope} IS 'Whether the current role sees all rows. For the other views; no part of the contract.';
COMMENT ON COLUMN {tenant_scope}.sees_all IS 'True if tenancy is off, for the owner of the tables, and for roles that are to see all.';

-- The condition stands outside of UNION ALL: so it is one append of all partitions, that indexes can order.
CREATE VIEW {event_rows} AS
SELECT u.* FROM (
       SELECT trace_id, span_id, parent_span_id, parent_is_remote, "time", start_unix_nano, end_unix_nano,
              duration_ns, record, event_type, event_name, status, kind, severity_number, severity_text,
              status_message, service_name, agent_id, task_id, session_id, user_id, error_type, error_message, input,
              output, body, attributes, events, links, resource_id, scope_id, batch_id, batch_index,
              input_contents, output_contents, attribute_contents,
              'system'::text AS category, NULL::text AS agent_name, NULL::text AS action, NULL::text AS tool_name,
              NULL::text AS model, NULL::text AS provider, NULL::bigint AS input_tokens,
              NULL::bigint AS output_tokens, NULL::bigint AS cache_read_tokens, NULL::bigint AS cache_write_tokens,
              NULL::bigint AS reasoning_tokens, NULL::double precision AS cost
         FROM {events}
       UNION ALL
       SELECT trace_id, span_id, parent_span_id, parent_is_remote, "time", start_unix_nano, end_unix_nano,
              duration_ns, record, event_type, event_name, status, kind, severity_number, severity_text,
              status_message, service_name, agent_id, task_id, session_id, user_id, error_type, error_message, input,
              output, body, attributes, events, links, resource_id, scope_id, batch_id, batch_index,
              input_contents, output_contents, attribute_contents, 'task'::text,
              NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint,
              NULL::bigint, NULL::bigint, NULL::double precision
         FROM {task_events}
       UNION ALL
       SELECT trace_id, span_id, parent_span_id, parent_is_remote, "time", start_unix_nano, end_unix_nano,
              duration_ns, record, event_type, event_name, status, kind, severity_number, severity_text,
              status_message, service_name, agent_id, task_id, session_id, user_id, error_type, error_message, input,
              output, body, attributes, events, links, resource_id, scope_id, batch_id, batch_index,
              input_contents, output_contents, attribute_contents, 'agent'::text,
              agent_name, action, tool_name, model, provider, input_tokens, output_tokens, cache_read_tokens,
              cache_write_tokens, reasoning_tokens, cost
         FROM {agent_events}
       UNION ALL
       SELECT trace_id, span_id, parent_span_id, parent_is_remote, "time", start_unix_nano, end_unix_nano,
              duration_ns, record, event_type, event_name, status, kind, severity_number, severity_text,
              status_message, service_name, agent_id, task_id, session_id, user_id, error_type, error_message, input,
              output, body, attributes, events, links, resource_id, scope_id, batch_id, batch_index,
              input_contents, output_contents, attribute_contents,
              'deployment'::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::bigint,
              NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::double precision
         FROM {deployment_events}
       ) AS u
 WHERE ((SELECT sees_all FROM {tenant_scope})
        OR coalesce(u.attributes ->> 'tenant.id' IN (SELECT tenant_id FROM {tenant_ids}),
                    u.resource_id IN (SELECT resource_id FROM {tenant_resources})));
COMMENT ON VIEW {event_rows} IS 'Every row of the four event tables that the current role sees. For the other views; no part of the contract.';
COMMENT ON COLUMN {event_rows}.trace_id IS 'Trace id, 16 bytes; replace(trace_id::text, ''-'', '''') is OpenTelemetry''s form, and is understood in a comparison. All zero where a log record belongs to no trace.';
COMMENT ON COLUMN {event_rows}.span_id IS 'Span id, 8 bytes read as a signed big-endian integer; lpad(to_hex(span_id), 16, ''0'') is OpenTelemetry''s form. Of a log record, the span in which it was made; 0 if there was none.';
COMMENT ON COLUMN {event_rows}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span or a log record.';
COMMENT ON COLUMN {event_rows}.parent_is_remote IS 'True if the parent lives in another process; NULL without a parent.';
COMMENT ON COLUMN {event_rows}."time" IS 'When it started or happened, microseconds, UTC. A log record without a timestamp has its observed time here.';
COMMENT ON COLUMN {event_rows}.start_unix_nano IS 'Exact start (span) or timestamp (log record), nanoseconds since 1970-01-01 UTC; NULL if it had none.';
COMMENT ON COLUMN {event_rows}.end_unix_nano IS 'Exact end, nanoseconds since 1970-01-01 UTC; NULL for log records.';
COMMENT ON COLUMN {event_rows}.duration_ns IS 'end - start, nanoseconds; negative if the clock was set back. Of a log record, how long that took which it tells the end of; NULL if it does not say.';
COMMENT ON COLUMN {event_rows}.record IS 'What the row came from: span or log.';
COMMENT ON COLUMN {event_rows}.event_type IS 'Group of the event, such as task_execution, agent_action, user_action.';
COMMENT ON COLUMN {event_rows}.event_name IS 'Which event: the span''s name, or the log record''s event name.';
COMMENT ON COLUMN {event_rows}.status IS 'Outcome: started, completed, error, cancelled or suspended (it goes on in a later span that links to it).';
COMMENT ON COLUMN {event_rows}.kind IS 'Span kind as in OTLP: 0 none (log record), 1 internal, 2 server, 3 client, 4 producer, 5 consumer.';
COMMENT ON COLUMN {event_rows}.severity_number IS 'Severity of a log record, 1 (trace) to 24 (fatal4); NULL for spans.';
COMMENT ON COLUMN {event_rows}.severity_text IS 'Severity as the source wrote it; NULL for spans.';
COMMENT ON COLUMN {event_rows}.status_message IS 'Description of the OpenTelemetry span status.';
COMMENT ON COLUMN {event_rows}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {event_rows}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {event_rows}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {event_rows}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {event_rows}.user_id IS 'User id.';
COMMENT ON COLUMN {event_rows}.error_type IS 'Class of error: exception type or error code.';
COMMENT ON COLUMN {event_rows}.error_message IS 'What the error said.';
COMMENT ON COLUMN {event_rows}.input IS 'What the work was given: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {event_rows}.output IS 'What the work gave back: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {event_rows}.body IS 'Body of a log record.';
COMMENT ON COLUMN {event_rows}.attributes IS 'All attributes under their own names; null in place of what stands in input or output.';
COMMENT ON COLUMN {event_rows}.events IS 'Span events, array of {name, time_unix_nano, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {event_rows}.links IS 'Links to other spans, array of {trace_id, span_id, trace_flags, trace_state, is_remote, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {event_rows}.resource_id IS 'Who produced it: resources.resource_id.';
COMMENT ON COLUMN {event_rows}.scope_id IS 'Which instrumentation produced it: scopes.scope_id.';
COMMENT ON COLUMN {event_rows}.batch_id IS 'Batch that stored the row: event_batches.batch_id.';
COMMENT ON COLUMN {event_rows}.batch_index IS 'Position in that batch, from 0. (batch_id, batch_index) is unique.';
COMMENT ON COLUMN {event_rows}.input_contents IS 'Of a long input, the contents that make it up; input is NULL then.';
COMMENT ON COLUMN {event_rows}.output_contents IS 'The same of output.';
COMMENT ON COLUMN {event_rows}.attribute_contents IS 'Attributes whose text is long, each with the contents that make it up; in attributes they are null.';
COMMENT ON COLUMN {event_rows}.category IS 'system, task, agent or deployment.';
COMMENT ON COLUMN {event_rows}.agent_name IS 'Name of the agent.';
COMMENT ON COLUMN {event_rows}.action IS 'What was done: invoke, create, llm, embedding, tool, retrieval, memory, plan, step, guardrail ...';
COMMENT ON COLUMN {event_rows}.tool_name IS 'Name of the tool that was called.';
COMMENT ON COLUMN {event_rows}.model IS 'Model that answered, else the model that was asked.';
COMMENT ON COLUMN {event_rows}.provider IS 'Provider of the model.';
COMMENT ON COLUMN {event_rows}.input_tokens IS 'Tokens read by the model, cached ones included.';
COMMENT ON COLUMN {event_rows}.output_tokens IS 'Tokens written by the model, reasoning included.';
COMMENT ON COLUMN {event_rows}.cache_read_tokens IS 'Input tokens read from a cache.';
COMMENT ON COLUMN {event_rows}.cache_write_tokens IS 'Input tokens written to a cache.';
COMMENT ON COLUMN {event_rows}.reasoning_tokens IS 'Output tokens spent on reasoning.';
COMMENT ON COLUMN {event_rows}.cost IS 'Cost, US dollars: as the source stated it, else by the table of prices.';

CREATE VIEW {all_events} AS
SELECT e.trace_id, e.span_id, e.parent_span_id, e."time", e.start_unix_nano, e.end_unix_nano, e.duration_ns,
       e.record, e.category, e.event_type, e.event_name, e.status, e.kind, e.severity_number, e.severity_text,
       e.service_name, s.name AS scope_name,
       coalesce(e.attributes ->> 'tenant.id', r.attributes ->> 'tenant.id') AS tenant_id, e.agent_id, e.task_id,
       e.session_id, e.user_id, e.agent_name, e.action, e.tool_name, e.model, e.provider, e.input_tokens,
       e.output_tokens, e.cache_read_tokens, e.cache_write_tokens, e.reasoning_tokens, e.cost, e.error_type,
       e.error_message,
       CASE WHEN e.input_contents IS NULL THEN e.input
            ELSE {joined_contents}(e."time", e.input_contents)::json END AS input,
       CASE WHEN e.output_contents IS NULL THEN e.output
            ELSE {joined_contents}(e."time", e.output_contents)::json END AS output,
       e.body,
       CASE WHEN e.attribute_contents IS NULL THEN e.attributes
            ELSE {whole_attributes}(e."time", e.attributes, e.attribute_contents) END AS attributes,
       e.events, e.links, r.attributes AS resource
  FROM {event_rows} AS e
  LEFT JOIN {resources} AS r ON r.resource_id = e.resource_id
  LEFT JOIN {scopes} AS s ON s.scope_id = e.scope_id;
COMMENT ON VIEW {all_events} IS 'Every span and every log record, of all categories.';
COMMENT ON COLUMN {all_events}.trace_id IS 'Trace id, 16 bytes; replace(trace_id::text, ''-'', '''') is OpenTelemetry''s form, and is understood in a comparison. All zero where a log record belongs to no trace.';
COMMENT ON COLUMN {all_events}.span_id IS 'Span id, 8 bytes read as a signed big-endian integer; lpad(to_hex(span_id), 16, ''0'') is OpenTelemetry''s form. Of a log record, the span in which it was made; 0 if there was none.';
COMMENT ON COLUMN {all_events}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span or a log record.';
COMMENT ON COLUMN {all_events}."time" IS 'When it started or happened, microseconds, UTC. A log record without a timestamp has its observed time here.';
COMMENT ON COLUMN {all_events}.start_unix_nano IS 'Exact start (span) or timestamp (log record), nanoseconds since 1970-01-01 UTC; NULL if it had none.';
COMMENT ON COLUMN {all_events}.end_unix_nano IS 'Exact end, nanoseconds since 1970-01-01 UTC; NULL for log records.';
COMMENT ON COLUMN {all_events}.duration_ns IS 'end - start, nanoseconds; negative if the clock was set back. Of a log record, how long that took which it tells the end of; NULL if it does not say.';
COMMENT ON COLUMN {all_events}.record IS 'What the row came from: span or log.';
COMMENT ON COLUMN {all_events}.category IS 'system, task, agent or deployment.';
COMMENT ON COLUMN {all_events}.event_type IS 'Group of the event, such as task_execution, agent_action, user_action.';
COMMENT ON COLUMN {all_events}.event_name IS 'Which event: the span''s name, or the log record''s event name.';
COMMENT ON COLUMN {all_events}.status IS 'Outcome: started, completed, error, cancelled or suspended (it goes on in a later span that links to it).';
COMMENT ON COLUMN {all_events}.kind IS 'Span kind as in OTLP: 0 none (log record), 1 internal, 2 server, 3 client, 4 producer, 5 consumer.';
COMMENT ON COLUMN {all_events}.severity_number IS 'Severity of a log record, 1 (trace) to 24 (fatal4); NULL for spans.';
COMMENT ON COLUMN {all_events}.severity_text IS 'Severity as the source wrote it; NULL for spans.';
COMMENT ON COLUMN {all_events}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {all_events}.scope_name IS 'Instrumentation that produced it.';
COMMENT ON COLUMN {all_events}.tenant_id IS 'Tenant: the attribute tenant.id, else that of the resource; NULL if neither has it.';
COMMENT ON COLUMN {all_events}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {all_events}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {all_events}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {all_events}.user_id IS 'User id.';
COMMENT ON COLUMN {all_events}.agent_name IS 'Name of the agent.';
COMMENT ON COLUMN {all_events}.action IS 'What was done: invoke, create, llm, embedding, tool, retrieval, memory, plan, step, guardrail ...';
COMMENT ON COLUMN {all_events}.tool_name IS 'Name of the tool that was called.';
COMMENT ON COLUMN {all_events}.model IS 'Model that answered, else the model that was asked.';
COMMENT ON COLUMN {all_events}.provider IS 'Provider of the model.';
COMMENT ON COLUMN {all_events}.input_tokens IS 'Tokens read by the model, cached ones included.';
COMMENT ON COLUMN {all_events}.output_tokens IS 'Tokens written by the model, reasoning included.';
COMMENT ON COLUMN {all_events}.cache_read_tokens IS 'Input tokens read from a cache.';
COMMENT ON COLUMN {all_events}.cache_write_tokens IS 'Input tokens written to a cache.';
COMMENT ON COLUMN {all_events}.reasoning_tokens IS 'Output tokens spent on reasoning.';
COMMENT ON COLUMN {all_events}.cost IS 'Cost, US dollars: as the source stated it, else by the table of prices.';
COMMENT ON COLUMN {all_events}.error_type IS 'Class of error: exception type or error code.';
COMMENT ON COLUMN {all_events}.error_message IS 'What the error said.';
COMMENT ON COLUMN {all_events}.input IS 'What the work was given: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {all_events}.output IS 'What the work gave back: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {all_events}.body IS 'Body of a log record.';
COMMENT ON COLUMN {all_events}.attributes IS 'All attributes under their own names; null in place of what stands in input or output.';
COMMENT ON COLUMN {all_events}.events IS 'Span events, array of {name, time_unix_nano, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {all_events}.links IS 'Links to other spans, array of {trace_id, span_id, trace_flags, trace_state, is_remote, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {all_events}.resource IS 'Attributes of what produced it: host, process, version, under their own names.';

CREATE VIEW {spans} AS
SELECT e.trace_id, e.span_id, e.parent_span_id, e."time", e.start_unix_nano, e.end_unix_nano, e.duration_ns,
       e.category, e.event_type, e.event_name, e.status, e.kind, e.service_name, s.name AS scope_name,
       coalesce(e.attributes ->> 'tenant.id', r.attributes ->> 'tenant.id') AS tenant_id, e.agent_id, e.task_id,
       e.session_id, e.user_id, e.agent_name, e.action, e.tool_name, e.model, e.provider, e.input_tokens,
       e.output_tokens, e.cache_read_tokens, e.cache_write_tokens, e.reasoning_tokens, e.cost, e.error_type,
       e.error_message,
       CASE WHEN e.input_contents IS NULL THEN e.input
            ELSE {joined_contents}(e."time", e.input_contents)::json END AS input,
       CASE WHEN e.output_contents IS NULL THEN e.output
            ELSE {joined_contents}(e."time", e.output_contents)::json END AS output,
       CASE WHEN e.attribute_contents IS NULL THEN e.attributes
            ELSE {whole_attributes}(e."time", e.attributes, e.attribute_contents) END AS attributes,
       e.events, e.links, r.attributes AS resource
  FROM {event_rows} AS e
  LEFT JOIN {resources} AS r ON r.resource_id = e.resource_id
  LEFT JOIN {scopes} AS s ON s.scope_id = e.scope_id
 WHERE e.record = 'span';
COMMENT ON VIEW {spans} IS 'Every span that has ended, of all categories.';
COMMENT ON COLUMN {spans}.trace_id IS 'Trace id, 16 bytes; replace(trace_id::text, ''-'', '''') is OpenTelemetry''s form, and is understood in a comparison.';
COMMENT ON COLUMN {spans}.span_id IS 'Span id, 8 bytes read as a signed big-endian integer; lpad(to_hex(span_id), 16, ''0'') is OpenTelemetry''s form.';
COMMENT ON COLUMN {spans}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span.';
COMMENT ON COLUMN {spans}."time" IS 'When it started, microseconds, UTC.';
COMMENT ON COLUMN {spans}.start_unix_nano IS 'Exact start, nanoseconds since 1970-01-01 UTC.';
COMMENT ON COLUMN {spans}.end_unix_nano IS 'Exact end, nanoseconds since 1970-01-01 UTC.';
COMMENT ON COLUMN {spans}.duration_ns IS 'end - start, nanoseconds; negative if the clock was set back.';
COMMENT ON COLUMN {spans}.category IS 'system, task, agent or deployment.';
COMMENT ON COLUMN {spans}.event_type IS 'Group of the event, such as task_execution, agent_action, user_action.';
COMMENT ON COLUMN {spans}.event_name IS 'The span''s name.';
COMMENT ON COLUMN {spans}.status IS 'Outcome: started, completed, error, cancelled or suspended (it goes on in a later span that links to it).';
COMMENT ON COLUMN {spans}.kind IS 'Span kind as in OTLP: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.';
COMMENT ON COLUMN {spans}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {spans}.scope_name IS 'Instrumentation that produced it.';
COMMENT ON COLUMN {spans}.tenant_id IS 'Tenant: the attribute tenant.id, else that of the resource; NULL if neither has it.';
COMMENT ON COLUMN {spans}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {spans}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {spans}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {spans}.user_id IS 'User id.';
COMMENT ON COLUMN {spans}.agent_name IS 'Name of the agent.';
COMMENT ON COLUMN {spans}.action IS 'What was done: invoke, create, llm, embedding, tool, retrieval, memory, plan, step, guardrail ...';
COMMENT ON COLUMN {spans}.tool_name IS 'Name of the tool that was called.';
COMMENT ON COLUMN {spans}.model IS 'Model that answered, else the model that was asked.';
COMMENT ON COLUMN {spans}.provider IS 'Provider of the model.';
COMMENT ON COLUMN {spans}.input_tokens IS 'Tokens read by the model, cached ones included.';
COMMENT ON COLUMN {spans}.output_tokens IS 'Tokens written by the model, reasoning included.';
COMMENT ON COLUMN {spans}.cache_read_tokens IS 'Input tokens read from a cache.';
COMMENT ON COLUMN {spans}.cache_write_tokens IS 'Input tokens written to a cache.';
COMMENT ON COLUMN {spans}.reasoning_tokens IS 'Output tokens spent on reasoning.';
COMMENT ON COLUMN {spans}.cost IS 'Cost, US dollars: as the source stated it, else by the table of prices.';
COMMENT ON COLUMN {spans}.error_type IS 'Class of error: exception type or error code.';
COMMENT ON COLUMN {spans}.error_message IS 'What the error said.';
COMMENT ON COLUMN {spans}.input IS 'What the work was given: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {spans}.output IS 'What the work gave back: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {spans}.attributes IS 'All attributes under their own names; null in place of what stands in input or output.';
COMMENT ON COLUMN {spans}.events IS 'Span events, array of {name, time_unix_nano, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {spans}.links IS 'Links to other spans, array of {trace_id, span_id, trace_flags, trace_state, is_remote, attributes, order, dropped_attributes}.';
COMMENT ON COLUMN {spans}.resource IS 'Attributes of what produced it: host, process, version, under their own names.';

CREATE VIEW {errors} AS
SELECT e.trace_id, e.span_id, e.parent_span_id, e."time", e.duration_ns, e.record, e.category, e.event_type,
       e.event_name, e.service_name,
       coalesce(e.attributes ->> 'tenant.id', r.attributes ->> 'tenant.id') AS tenant_id, e.agent_id, e.task_id,
       e.session_id, e.user_id, e.action, e.tool_name, e.model, e.severity_text, e.error_type, e.error_message,
       CASE WHEN e.input_contents IS NULL THEN e.input
            ELSE {joined_contents}(e."time", e.input_contents)::json END AS input,
       CASE WHEN e.attribute_contents IS NULL THEN e.attributes
            ELSE {whole_attributes}(e."time", e.attributes, e.attribute_contents) END AS attributes
  FROM {event_rows} AS e
  LEFT JOIN {resources} AS r ON r.resource_id = e.resource_id
 WHERE e.status = 'error';
COMMENT ON VIEW {errors} IS 'Every span and log record whose status is error.';
COMMENT ON COLUMN {errors}.trace_id IS 'Trace id, 16 bytes; replace(trace_id::text, ''-'', '''') is OpenTelemetry''s form, and is understood in a comparison. All zero where a log record belongs to no trace.';
COMMENT ON COLUMN {errors}.span_id IS 'Span id, 8 bytes read as a signed big-endian integer; lpad(to_hex(span_id), 16, ''0'') is OpenTelemetry''s form. Of a log record, the span in which it was made; 0 if there was none.';
COMMENT ON COLUMN {errors}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span or a log record.';
COMMENT ON COLUMN {errors}."time" IS 'When it started or happened, microseconds, UTC. A log record without a timestamp has its observed time here.';
COMMENT ON COLUMN {errors}.duration_ns IS 'end - start, nanoseconds; negative if the clock was set back. Of a log record, how long that took which it tells the end of; NULL if it does not say.';
COMMENT ON COLUMN {errors}.record IS 'What the row came from: span or log.';
COMMENT ON COLUMN {errors}.category IS 'system, task, agent or deployment.';
COMMENT ON COLUMN {errors}.event_type IS 'Group of the event, such as task_execution, agent_action, user_action.';
COMMENT ON COLUMN {errors}.event_name IS 'Which event: the span''s name, or the log record''s event name.';
COMMENT ON COLUMN {errors}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {errors}.tenant_id IS 'Tenant: the attribute tenant.id, else that of the resource; NULL if neither has it.';
COMMENT ON COLUMN {errors}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {errors}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {errors}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {errors}.user_id IS 'User id.';
COMMENT ON COLUMN {errors}.action IS 'What was done: invoke, create, llm, embedding, tool, retrieval, memory, plan, step, guardrail ...';
COMMENT ON COLUMN {errors}.tool_name IS 'Name of the tool that was called.';
COMMENT ON COLUMN {errors}.model IS 'Model that answered, else the model that was asked.';
COMMENT ON COLUMN {errors}.severity_text IS 'Severity as the source wrote it; NULL for spans.';
COMMENT ON COLUMN {errors}.error_type IS 'Class of error: exception type or error code.';
COMMENT ON COLUMN {errors}.error_message IS 'What the error said.';
COMMENT ON COLUMN {errors}.input IS 'What the work was given: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {errors}.attributes IS 'All attributes under their own names; null in place of what stands in input or output.';

-- Each trace is looked up by the index on trace_id, for its root alone: a filter of time or a LIMIT holds for the roots.
CREATE VIEW {traces} AS
SELECT root.trace_id, root."time", whole.duration_ns, root.span_id AS root_span_id, root.event_name, root.category,
       root.event_type, root.status, root.service_name,
       coalesce(root.attributes ->> 'tenant.id', r.attributes ->> 'tenant.id') AS tenant_id,
       root.agent_id, root.task_id, root.session_id, root.user_id, whole.spans, whole.errors,
       whole.input_tokens, whole.output_tokens, whole.cost, root.error_type, root.error_message
  FROM {event_rows} AS root
  LEFT JOIN {resources} AS r ON r.resource_id = root.resource_id
 CROSS JOIN LATERAL (
       SELECT count(*) AS spans, count(*) FILTER (WHERE e.status = 'error') AS errors,
              -- clocks may say anything: a difference need not fit
              CASE WHEN max(e.end_unix_nano) IS NOT NULL AND min(e.start_unix_nano) IS NOT NULL THEN
                   greatest(least(max(e.end_unix_nano)::numeric - min(e.start_unix_nano), 9223372036854775807),
                            -9223372036854775808)::bigint END AS duration_ns,
              sum(e.input_tokens) FILTER (WHERE e.action IS DISTINCT FROM 'invoke') AS input_tokens,
              sum(e.output_tokens) FILTER (WHERE e.action IS DISTINCT FROM 'invoke') AS output_tokens,
              sum(e.cost::numeric) FILTER (WHERE e.action IS DISTINCT FROM 'invoke'
                                             AND e.cost > '-Infinity' AND e.cost < 'Infinity') AS cost,
              (array_agg(e.batch_id::text || e.batch_index
                         ORDER BY e.parent_span_id IS NOT NULL, e."time", e.start_unix_nano, e.batch_id, e.batch_index)
               FILTER (WHERE e.parent_span_id IS NULL OR e.parent_is_remote))[1] AS root_row
         FROM {event_rows} AS e WHERE e.trace_id = root.trace_id AND e.record = 'span') AS whole
 WHERE root.record = 'span' AND (root.parent_span_id IS NULL OR root.parent_is_remote)
   AND root.batch_id::text || root.batch_index = whole.root_row;
COMMENT ON VIEW {traces} IS 'Every trace whose root has ended, once; the root is its first span without a parent, else the first whose parent is in another process.';
COMMENT ON COLUMN {traces}.trace_id IS 'Trace id, 16 bytes; replace(trace_id::text, ''-'', '''') is OpenTelemetry''s form, and is understood in a comparison.';
COMMENT ON COLUMN {traces}."time" IS 'When its root started, microseconds, UTC.';
COMMENT ON COLUMN {traces}.duration_ns IS 'From the first start to the last end of its spans, nanoseconds, as far as a bigint holds.';
COMMENT ON COLUMN {traces}.root_span_id IS 'Its root: the first span without a parent, else the first whose parent is in another process; signed as span_id.';
COMMENT ON COLUMN {traces}.event_name IS 'The root''s name.';
COMMENT ON COLUMN {traces}.category IS 'Category of the root: system, task, agent or deployment.';
COMMENT ON COLUMN {traces}.event_type IS 'Event type of the root.';
COMMENT ON COLUMN {traces}.status IS 'Outcome of the root: started, completed, error, cancelled or suspended.';
COMMENT ON COLUMN {traces}.service_name IS 'The root''s service.name.';
COMMENT ON COLUMN {traces}.tenant_id IS 'Tenant of the root: the attribute tenant.id, else that of the resource; NULL if neither has it.';
COMMENT ON COLUMN {traces}.agent_id IS 'Agent of the root: the id it gave, else its name.';
COMMENT ON COLUMN {traces}.task_id IS 'Task of the root: the id it gave.';
COMMENT ON COLUMN {traces}.session_id IS 'Session or conversation id of the root.';
COMMENT ON COLUMN {traces}.user_id IS 'User id of the root.';
COMMENT ON COLUMN {traces}.spans IS 'Number of its spans that have ended.';
COMMENT ON COLUMN {traces}.errors IS 'Number of them whose status is error.';
COMMENT ON COLUMN {traces}.input_tokens IS 'Tokens that its spans sent to models; those of an agent''s own run, which sums up its calls, are left out.';
COMMENT ON COLUMN {traces}.output_tokens IS 'Tokens that its spans got from models, counted likewise.';
COMMENT ON COLUMN {traces}.cost IS 'Cost of its spans, US dollars, counted likewise; NULL if none has one.';
COMMENT ON COLUMN {traces}.error_type IS 'Class of the root''s error: exception type or error code.';
COMMENT ON COLUMN {traces}.error_message IS 'What the root''s error said.';

CREATE VIEW {tasks} AS
SELECT e.trace_id, e.span_id, e.parent_span_id, e."time", e.duration_ns, e.record, e.event_type, e.event_name,
       e.task_id, e.task_name, e.queue, e.attempt, e.status, e.service_name,
       coalesce(e.attributes ->> 'tenant.id', r.attributes ->> 'tenant.id') AS tenant_id, e.agent_id, e.session_id,
       e.user_id, e.error_type, e.error_message,
       CASE WHEN e.input_contents IS NULL THEN e.input
            ELSE {joined_contents}(e."time", e.input_contents)::json END AS input,
       CASE WHEN e.output_contents IS NULL THEN e.output
            ELSE {joined_contents}(e."time", e.output_contents)::json END AS output,
       CASE WHEN e.attribute_contents IS NULL THEN e.attributes
            ELSE {whole_attributes}(e."time", e.attributes, e.attribute_contents) END AS attributes
  FROM {task_events} AS e
  LEFT JOIN {resources} AS r ON r.resource_id = e.resource_id
 WHERE ((SELECT sees_all FROM {tenant_scope})
        OR coalesce(e.attributes ->> 'tenant.id' IN (SELECT tenant_id FROM {tenant_ids}),
                    e.resource_id IN (SELECT resource_id FROM {tenant_resources})));
COMMENT ON VIEW {tasks} IS 'Every span and log record of a task. One with status started tells of the beginning alone: the end has a row of its own.';
COMMENT ON COLUMN {tasks}.trace_id IS 'Trace id, 16 bytes; replace(trace_id::text, ''-'', '''') is OpenTelemetry''s form, and is understood in a comparison. All zero where a log record belongs to no trace.';
COMMENT ON COLUMN {tasks}.span_id IS 'Span id, 8 bytes read as a signed big-endian integer; lpad(to_hex(span_id), 16, ''0'') is OpenTelemetry''s form. Of a log record, the span in which it was made; 0 if there was none.';
COMMENT ON COLUMN {tasks}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span or a log record.';
COMMENT ON COLUMN {tasks}."time" IS 'When it started or happened, microseconds, UTC. A log record without a timestamp has its observed time here.';
COMMENT ON COLUMN {tasks}.duration_ns IS 'end - start, nanoseconds; negative if the clock was set back. Of a log record, how long that took which it tells the end of; NULL if it does not say.';
COMMENT ON COLUMN {tasks}.record IS 'What the row came from: span or log.';
COMMENT ON COLUMN {tasks}.event_type IS 'Group of the event, such as task_execution, agent_action, user_action.';
COMMENT ON COLUMN {tasks}.event_name IS 'Which event: the span''s name, or the log record''s event name.';
COMMENT ON COLUMN {tasks}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {tasks}.task_name IS 'Name of the task or workflow.';
COMMENT ON COLUMN {tasks}.queue IS 'Queue it came from.';
COMMENT ON COLUMN {tasks}.attempt IS 'Which try this is, from 1.';
COMMENT ON COLUMN {tasks}.status IS 'Outcome: started, completed, error, cancelled or suspended (it goes on in a later span that links to it).';
COMMENT ON COLUMN {tasks}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {tasks}.tenant_id IS 'Tenant: the attribute tenant.id, else that of the resource; NULL if neither has it.';
COMMENT ON COLUMN {tasks}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {tasks}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {tasks}.user_id IS 'User id.';
COMMENT ON COLUMN {tasks}.error_type IS 'Class of error: exception type or error code.';
COMMENT ON COLUMN {tasks}.error_message IS 'What the error said.';
COMMENT ON COLUMN {tasks}.input IS 'What the work was given: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {tasks}.output IS 'What the work gave back: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {tasks}.attributes IS 'All attributes under their own names; null in place of what stands in input or output.';

CREATE VIEW {agent_actions} AS
SELECT e.trace_id, e.span_id, e.parent_span_id, e."time", e.duration_ns, e.record, e.event_type, e.event_name,
       e.agent_id, e.agent_name, e.action, e.tool_name, e.model, e.provider, e.status, e.input_tokens,
       e.output_tokens, e.cache_read_tokens, e.cache_write_tokens, e.reasoning_tokens, e.cost, e.service_name,
       coalesce(e.attributes ->> 'tenant.id', r.attributes ->> 'tenant.id') AS tenant_id, e.task_id, e.session_id,
       e.user_id, e.error_type, e.error_message,
       CASE WHEN e.input_contents IS NULL THEN e.input
            ELSE {joined_contents}(e."time", e.input_contents)::json END AS input,
       CASE WHEN e.output_contents IS NULL THEN e.output
            ELSE {joined_contents}(e."time", e.output_contents)::json END AS output,
       CASE WHEN e.attribute_contents IS NULL THEN e.attributes
            ELSE {whole_attributes}(e."time", e.attributes, e.attribute_contents) END AS attributes
  FROM {agent_events} AS e
  LEFT JOIN {resources} AS r ON r.resource_id = e.resource_id
 WHERE ((SELECT sees_all FROM {tenant_scope})
        OR coalesce(e.attributes ->> 'tenant.id' IN (SELECT tenant_id FROM {tenant_ids}),
                    e.resource_id IN (SELECT resource_id FROM {tenant_resources})));
COMMENT ON VIEW {agent_actions} IS 'Every span and log record of an agent: its runs, model calls, tool calls and other actions.';
COMMENT ON COLUMN {agent_actions}.trace_id IS 'Trace id, 16 bytes; replace(trace_id::text, ''-'', '''') is OpenTelemetry''s form, and is understood in a comparison. All zero where a log record belongs to no trace.';
COMMENT ON COLUMN {agent_actions}.span_id IS 'Span id, 8 bytes read as a signed big-endian integer; lpad(to_hex(span_id), 16, ''0'') is OpenTelemetry''s form. Of a log record, the span in which it was made; 0 if there was none.';
COMMENT ON COLUMN {agent_actions}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span or a log record.';
COMMENT ON COLUMN {agent_actions}."time" IS 'When it started or happened, microseconds, UTC. A log record without a timestamp has its observed time here.';
COMMENT ON COLUMN {agent_actions}.duration_ns IS 'end - start, nanoseconds; negative if the clock was set back. Of a log record, how long that took which it tells the end of; NULL if it does not say.';
COMMENT ON COLUMN {agent_actions}.record IS 'What the row came from: span or log.';
COMMENT ON COLUMN {agent_actions}.event_type IS 'Group of the event, such as task_execution, agent_action, user_action.';
COMMENT ON COLUMN {agent_actions}.event_name IS 'Which event: the span''s name, or the log record''s event name.';
COMMENT ON COLUMN {agent_actions}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {agent_actions}.agent_name IS 'Name of the agent.';
COMMENT ON COLUMN {agent_actions}.action IS 'What was done: invoke, create, llm, embedding, tool, retrieval, memory, plan, step, guardrail ...';
COMMENT ON COLUMN {agent_actions}.tool_name IS 'Name of the tool that was called.';
COMMENT ON COLUMN {agent_actions}.model IS 'Model that answered, else the model that was asked.';
COMMENT ON COLUMN {agent_actions}.provider IS 'Provider of the model.';
COMMENT ON COLUMN {agent_actions}.status IS 'Outcome: started, completed, error, cancelled or suspended (it goes on in a later span that links to it).';
COMMENT ON COLUMN {agent_actions}.input_tokens IS 'Tokens read by the model, cached ones included.';
COMMENT ON COLUMN {agent_actions}.output_tokens IS 'Tokens written by the model, reasoning included.';
COMMENT ON COLUMN {agent_actions}.cache_read_tokens IS 'Input tokens read from a cache.';
COMMENT ON COLUMN {agent_actions}.cache_write_tokens IS 'Input tokens written to a cache.';
COMMENT ON COLUMN {agent_actions}.reasoning_tokens IS 'Output tokens spent on reasoning.';
COMMENT ON COLUMN {agent_actions}.cost IS 'Cost, US dollars: as the source stated it, else by the table of prices.';
COMMENT ON COLUMN {agent_actions}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {agent_actions}.tenant_id IS 'Tenant: the attribute tenant.id, else that of the resource; NULL if neither has it.';
COMMENT ON COLUMN {agent_actions}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {agent_actions}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {agent_actions}.user_id IS 'User id.';
COMMENT ON COLUMN {agent_actions}.error_type IS 'Class of error: exception type or error code.';
COMMENT ON COLUMN {agent_actions}.error_message IS 'What the error said.';
COMMENT ON COLUMN {agent_actions}.input IS 'What the work was given: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {agent_actions}.output IS 'What the work gave back: JSON text as it was, any other text as a JSON string.';
COMMENT ON COLUMN {agent_actions}.attributes IS 'All attributes under their own names; null in place of what stands in input or output.';

CREATE VIEW {llm_usage} AS
SELECT e.trace_id, e.span_id, e.parent_span_id, e."time", e.duration_ns, e.record, e.event_name, e.action, e.model,
       e.provider, e.status, e.input_tokens, e.output_tokens, e.cache_read_tokens, e.cache_write_tokens,
       e.reasoning_tokens, e.cost, e.agent_id, e.agent_name, e.task_id, e.session_id, e.user_id, e.service_name,
       coalesce(e.attributes ->> 'tenant.id', r.attributes ->> 'tenant.id') AS tenant_id, e.error_type
  FROM {agent_events} AS e
  LEFT JOIN {resources} AS r ON r.resource_id = e.resource_id
 WHERE ((SELECT sees_all FROM {tenant_scope})
        OR coalesce(e.attributes ->> 'tenant.id' IN (SELECT tenant_id FROM {tenant_ids}),
                    e.resource_id IN (SELECT resource_id FROM {tenant_resources})))
   AND e.action IS DISTINCT FROM 'invoke'
   AND (e.action IN ('llm', 'embedding') OR e.input_tokens IS NOT NULL OR e.output_tokens IS NOT NULL OR e.cost IS NOT NULL);
COMMENT ON VIEW {llm_usage} IS 'What models were used for: every model call, and whatever else has tokens or a cost, but for runs of agents, that sum up their calls. Sums over it count nothing twice.';
COMMENT ON COLUMN {llm_usage}.trace_id IS 'Trace id, 16 bytes; replace(trace_id::text, ''-'', '''') is OpenTelemetry''s form, and is understood in a comparison. All zero where a log record belongs to no trace.';
COMMENT ON COLUMN {llm_usage}.span_id IS 'Span id, 8 bytes read as a signed big-endian integer; lpad(to_hex(span_id), 16, ''0'') is OpenTelemetry''s form. Of a log record, the span in which it was made; 0 if there was none.';
COMMENT ON COLUMN {llm_usage}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span or a log record.';
COMMENT ON COLUMN {llm_usage}."time" IS 'When it started or happened, microseconds, UTC. A log record without a timestamp has its observed time here.';
COMMENT ON COLUMN {llm_usage}.duration_ns IS 'end - start, nanoseconds; negative if the clock was set back. Of a log record, how long that took which it tells the end of; NULL if it does not say.';
COMMENT ON COLUMN {llm_usage}.record IS 'What the row came from: span or log.';
COMMENT ON COLUMN {llm_usage}.event_name IS 'Which event: the span''s name, or the log record''s event name.';
COMMENT ON COLUMN {llm_usage}.action IS 'What was done: invoke, create, llm, embedding, tool, retrieval, memory, plan, step, guardrail ...';
COMMENT ON COLUMN {llm_usage}.model IS 'Model that answered, else the model that was asked.';
COMMENT ON COLUMN {llm_usage}.provider IS 'Provider of the model.';
COMMENT ON COLUMN {llm_usage}.status IS 'Outcome: started, completed, error, cancelled or suspended (it goes on in a later span that links to it).';
COMMENT ON COLUMN {llm_usage}.input_tokens IS 'Tokens read by the model, cached ones included.';
COMMENT ON COLUMN {llm_usage}.output_tokens IS 'Tokens written by the model, reasoning included.';
COMMENT ON COLUMN {llm_usage}.cache_read_tokens IS 'Input tokens read from a cache.';
COMMENT ON COLUMN {llm_usage}.cache_write_tokens IS 'Input tokens written to a cache.';
COMMENT ON COLUMN {llm_usage}.reasoning_tokens IS 'Output tokens spent on reasoning.';
COMMENT ON COLUMN {llm_usage}.cost IS 'Cost, US dollars: as the source stated it, else by the table of prices.';
COMMENT ON COLUMN {llm_usage}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {llm_usage}.agent_name IS 'Name of the agent.';
COMMENT ON COLUMN {llm_usage}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {llm_usage}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {llm_usage}.user_id IS 'User id.';
COMMENT ON COLUMN {llm_usage}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {llm_usage}.tenant_id IS 'Tenant: the attribute tenant.id, else that of the resource; NULL if neither has it.';
COMMENT ON COLUMN {llm_usage}.error_type IS 'Class of error: exception type or error code.';

CREATE VIEW {deployments} AS
SELECT e.trace_id, e.span_id, e.parent_span_id, e."time",
       CASE WHEN e.record = 'span' OR e.status = 'started' THEN e."time"
            ELSE e."time" - e.duration_ns / 1000.0 * interval '1 microsecond' END AS started_at,

       CASE WHEN e.record = 'span' THEN e."time" + e.duration_ns / 1000.0 * interval '1 microsecond'
            WHEN e.status <> 'started' THEN e."time" END AS ended_at,
       e.duration_ns, e.record,
       e.event_type, e.event_name, e.environment, e.pipeline, e.pipeline_run_id, e.branch, e.commit_sha,
       e.pull_request, e.result, e.build_result, e.test_result, e.status, e.service_name,
       coalesce(e.attributes ->> 'tenant.id', r.attributes ->> 'tenant.id') AS tenant_id, e.user_id, e.error_type,
       e.error_message,
       CASE WHEN e.attribute_contents IS NULL THEN e.attributes
            ELSE {whole_attributes}(e."time", e.attributes, e.attribute_contents) END AS attributes
  FROM {deployment_events} AS e
  LEFT JOIN {resources} AS r ON r.resource_id = e.resource_id
 WHERE ((SELECT sees_all FROM {tenant_scope})
        OR coalesce(e.attributes ->> 'tenant.id' IN (SELECT tenant_id FROM {tenant_ids}),
                    e.resource_id IN (SELECT resource_id FROM {tenant_resources})));
COMMENT ON VIEW {deployments} IS 'Every span and log record of a deployment or pipeline. One with status started tells of the beginning alone: the end has a row of its own.';
COMMENT ON COLUMN {deployments}.trace_id IS 'Trace id, 16 bytes; replace(trace_id::text, ''-'', '''') is OpenTelemetry''s form, and is understood in a comparison. All zero where a log record belongs to no trace.';
COMMENT ON COLUMN {deployments}.span_id IS 'Span id, 8 bytes read as a signed big-endian integer; lpad(to_hex(span_id), 16, ''0'') is OpenTelemetry''s form. Of a log record, the span in which it was made; 0 if there was none.';
COMMENT ON COLUMN {deployments}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span or a log record.';
COMMENT ON COLUMN {deployments}."time" IS 'When it started or happened, microseconds, UTC. A log record without a timestamp has its observed time here.';
COMMENT ON COLUMN {deployments}.started_at IS 'When it began, UTC; NULL if a log record tells its end alone.';
COMMENT ON COLUMN {deployments}.ended_at IS 'When it ended, UTC; NULL if the row tells of its beginning alone.';
COMMENT ON COLUMN {deployments}.duration_ns IS 'end - start, nanoseconds; negative if the clock was set back. Of a log record, how long that took which it tells the end of; NULL if it does not say.';
COMMENT ON COLUMN {deployments}.record IS 'What the row came from: span or log.';
COMMENT ON COLUMN {deployments}.event_type IS 'Group of the event, such as task_execution, agent_action, user_action.';
COMMENT ON COLUMN {deployments}.event_name IS 'Which event: the span''s name, or the log record''s event name.';
COMMENT ON COLUMN {deployments}.environment IS 'Target, such as production or staging.';
COMMENT ON COLUMN {deployments}.pipeline IS 'Name of the pipeline or deployment.';
COMMENT ON COLUMN {deployments}.pipeline_run_id IS 'Id of this run of it.';
COMMENT ON COLUMN {deployments}.branch IS 'Branch or tag that was deployed.';
COMMENT ON COLUMN {deployments}.commit_sha IS 'Revision that was deployed.';
COMMENT ON COLUMN {deployments}.pull_request IS 'Pull request or change id.';
COMMENT ON COLUMN {deployments}.result IS 'Outcome in the words of cicd.pipeline.result: success, failure, error, timeout, cancellation or skip; those of deployment.status become success and failure.';
COMMENT ON COLUMN {deployments}.build_result IS 'Outcome of the build step, the same words.';
COMMENT ON COLUMN {deployments}.test_result IS 'Outcome of the test step, the same words.';
COMMENT ON COLUMN {deployments}.status IS 'Outcome: started, completed, error, cancelled or suspended (it goes on in a later span that links to it).';
COMMENT ON COLUMN {deployments}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {deployments}.tenant_id IS 'Tenant: the attribute tenant.id, else that of the resource; NULL if neither has it.';
COMMENT ON COLUMN {deployments}.user_id IS 'User id.';
COMMENT ON COLUMN {deployments}.error_type IS 'Class of error: exception type or error code.';
COMMENT ON COLUMN {deployments}.error_message IS 'What the error said.';
COMMENT ON COLUMN {deployments}.attributes IS 'All attributes under their own names; null in place of what stands in input or output.';

CREATE VIEW {runs} AS
SELECT opened.trace_id, opened.span_id, opened.parent_span_id, opened."time", opened.start_unix_nano,
       opened.category, opened.event_type, opened.event_name,
       CASE WHEN ended.status IS NOT NULL THEN ended.status
            WHEN beat.is_fresh THEN 'started'
            ELSE 'lost' END AS status,
       CASE WHEN ended.status IS NOT NULL THEN ended.duration_ns
            ELSE (greatest(0, extract(epoch FROM (
                     CASE WHEN beat.is_fresh THEN now() ELSE coalesce(beat."time", opened.seen_at) END
                     - opened."time"))) * 1e9)::bigint END AS duration_ns,
       opened.service_name, opened.agent_id, opened.task_id, opened.session_id, opened.user_id, opened.attributes,
       opened.process_id, owner.host, owner.pid, beat."time" AS last_heartbeat, opened.seen_at,
       opened.tenant_id
  FROM {open_spans} AS opened
  LEFT JOIN {processes} AS owner ON owner.process_id = opened.process_id
  LEFT JOIN LATERAL (
       SELECT newest."time", newest."time" >= now() - 3 * owner.heartbeat_seconds * interval '1 second' AS is_fresh
         FROM {heartbeats} AS newest WHERE newest.process_id = opened.process_id
        ORDER BY newest."time" DESC LIMIT 1) AS beat ON true
  LEFT JOIN LATERAL (
       SELECT status, duration_ns FROM {task_events} AS t WHERE t.trace_id = opened.trace_id
          AND t.span_id = opened.span_id AND t."time" = opened."time" AND t.record = 'span'
       UNION ALL
       SELECT status, duration_ns FROM {agent_events} AS t WHERE t.trace_id = opened.trace_id
          AND t.span_id = opened.span_id AND t."time" = opened."time" AND t.record = 'span'
       UNION ALL
       SELECT status, duration_ns FROM {deployment_events} AS t WHERE t.trace_id = opened.trace_id
          AND t.span_id = opened.span_id AND t."time" = opened."time" AND t.record = 'span'
       UNION ALL
       SELECT status, duration_ns FROM {events} AS t WHERE t.trace_id = opened.trace_id
          AND t.span_id = opened.span_id AND t."time" = opened."time" AND t.record = 'span'
        LIMIT 1) AS ended ON true
 WHERE ((SELECT sees_all FROM {tenant_scope}) OR opened.tenant_id IN (SELECT tenant_id FROM {tenant_ids}));
COMMENT ON VIEW {runs} IS 'Every span that was seen open for longer than a second, and how it stands now.';
COMMENT ON COLUMN {runs}.trace_id IS 'Trace id, 16 bytes.';
COMMENT ON COLUMN {runs}.span_id IS 'Span id, signed as in the event tables.';
COMMENT ON COLUMN {runs}.parent_span_id IS 'Parent span id, signed as span_id; NULL for a root span.';
COMMENT ON COLUMN {runs}."time" IS 'When it started, microseconds, UTC.';
COMMENT ON COLUMN {runs}.start_unix_nano IS 'Exact start, nanoseconds since 1970-01-01 UTC.';
COMMENT ON COLUMN {runs}.category IS 'system, task, agent or deployment, as far as its attributes said when it was seen.';
COMMENT ON COLUMN {runs}.event_type IS 'Group of the event, as in the event tables.';
COMMENT ON COLUMN {runs}.event_name IS 'The span''s name.';
COMMENT ON COLUMN {runs}.status IS 'That of its row in an event table if it has ended, however late the row came; else started (it runs) if its process gave a sign of life within three heartbeats, else lost.';
COMMENT ON COLUMN {runs}.duration_ns IS 'Of what has ended, its duration; of what runs, the time since its start; of what is lost, the time to the last sign of life. Nanoseconds.';
COMMENT ON COLUMN {runs}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {runs}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {runs}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {runs}.session_id IS 'Session or conversation id.';
COMMENT ON COLUMN {runs}.user_id IS 'User id.';
COMMENT ON COLUMN {runs}.attributes IS 'Its attributes when it was seen open.';
COMMENT ON COLUMN {runs}.process_id IS 'Process that has it: processes.process_id.';
COMMENT ON COLUMN {runs}.host IS 'Name of the process''s machine.';
COMMENT ON COLUMN {runs}.pid IS 'Process id on that machine.';
COMMENT ON COLUMN {runs}.last_heartbeat IS 'Last sign of life of the process, by the server''s clock, UTC.';
COMMENT ON COLUMN {runs}.seen_at IS 'When it was seen open, by the server''s clock, UTC.';
COMMENT ON COLUMN {runs}.tenant_id IS 'Tenant: the attribute tenant.id, else that of the resource; NULL if neither has it.';

CREATE TYPE {trace_node} AS (
    ordinal integer,
    depth integer,
    path text[],
    is_orphan boolean,
    below integer,
    record text,
    span_id bigint,
    parent_span_id bigint,
    "time" timestamptz,
    duration_ns bigint,
    category text,
    event_type text,
    event_name text,
    status text,
    service_name text,
    agent_id text,
    task_id text,
    action text,
    tool_name text,
    model text,
    input_tokens bigint,
    output_tokens bigint,
    cost double precision,
    error_type text,
    error_message text,
    total_errors bigint,
    total_input_tokens numeric,
    total_output_tokens numeric,
    total_cost numeric
);
COMMENT ON TYPE {trace_node} IS 'A span or log record in the tree of its trace.';
COMMENT ON COLUMN {trace_node}.ordinal IS 'Place in the tree, from 1: parents before their children, children by their start.';
COMMENT ON COLUMN {trace_node}.depth IS 'Number of its ancestors; 0 for a root.';
COMMENT ON COLUMN {trace_node}.path IS 'Names from the root down to this one, each cut to 80 characters; of what lies deeper than 64 levels, the first 64.';
COMMENT ON COLUMN {trace_node}.is_orphan IS 'True if it stands as a root though it names a parent: the parent is not stored (yet), or is below it.';
COMMENT ON COLUMN {trace_node}.below IS 'Number of its descendants: those with the next ordinals.';
COMMENT ON COLUMN {trace_node}.record IS 'span or log; a log record is a child of the span in which it was made.';
COMMENT ON COLUMN {trace_node}.span_id IS 'Span id, signed as in the views. Of a log record, the span in which it was made.';
COMMENT ON COLUMN {trace_node}.parent_span_id IS 'Parent span id, as it was stored; NULL for a root span or a log record.';
COMMENT ON COLUMN {trace_node}."time" IS 'When it started or happened, microseconds, UTC.';
COMMENT ON COLUMN {trace_node}.duration_ns IS 'Duration, nanoseconds.';
COMMENT ON COLUMN {trace_node}.category IS 'system, task, agent or deployment.';
COMMENT ON COLUMN {trace_node}.event_type IS 'Group of the event.';
COMMENT ON COLUMN {trace_node}.event_name IS 'The span''s name, or the log record''s event name.';
COMMENT ON COLUMN {trace_node}.status IS 'Outcome: started, completed, error, cancelled or suspended.';
COMMENT ON COLUMN {trace_node}.service_name IS 'The resource''s service.name.';
COMMENT ON COLUMN {trace_node}.agent_id IS 'Agent: the id it gave, else its name.';
COMMENT ON COLUMN {trace_node}.task_id IS 'Task: the id it gave.';
COMMENT ON COLUMN {trace_node}.action IS 'What the agent did: invoke, tool, llm ...';
COMMENT ON COLUMN {trace_node}.tool_name IS 'Tool that was called.';
COMMENT ON COLUMN {trace_node}.model IS 'Model that was called.';
COMMENT ON COLUMN {trace_node}.input_tokens IS 'Tokens sent to the model, its own.';
COMMENT ON COLUMN {trace_node}.output_tokens IS 'Tokens got from the model, its own.';
COMMENT ON COLUMN {trace_node}.cost IS 'Its own cost, US dollars.';
COMMENT ON COLUMN {trace_node}.error_type IS 'Class of error: exception type or error code.';
COMMENT ON COLUMN {trace_node}.error_message IS 'What the error said.';
COMMENT ON COLUMN {trace_node}.total_errors IS 'Number of errors, its own and its descendants''.';
COMMENT ON COLUMN {trace_node}.total_input_tokens IS 'Tokens sent to models, its own and its descendants''; those of an agent''s run, which sums up its calls, are left out.';
COMMENT ON COLUMN {trace_node}.total_output_tokens IS 'Tokens got from models, counted likewise.';
COMMENT ON COLUMN {trace_node}.total_cost IS 'Cost, US dollars, counted likewise; NULL if none of them has one.';

CREATE TYPE {subtree_total} AS (
    spans bigint,
    logs bigint,
    errors bigint,
    input_tokens numeric,
    output_tokens numeric,
    cost numeric
);
COMMENT ON TYPE {subtree_total} IS 'What a part of a trace comes to.';
COMMENT ON COLUMN {subtree_total}.spans IS 'Number of spans.';
COMMENT ON COLUMN {subtree_total}.logs IS 'Number of log records.';
COMMENT ON COLUMN {subtree_total}.errors IS 'Number of spans and log records whose status is error.';
COMMENT ON COLUMN {subtree_total}.input_tokens IS 'Tokens sent to models; those of an agent''s run, which sums up its calls, are left out.';
COMMENT ON COLUMN {subtree_total}.output_tokens IS 'Tokens got from models, counted likewise.';
COMMENT ON COLUMN {subtree_total}.cost IS 'Cost, US dollars, counted likewise; NULL if none has one.';

CREATE TYPE {deployment_before_rise} AS (
    service_name text,
    rise_at timestamptz,
    value numeric,
    baseline numeric,
    deployed_at timestamptz,
    minutes_before double precision,
    environment text,
    pipeline text,
    branch text,
    commit_sha text,
    result text,
    status text,
    trace_id uuid,
    span_id bigint
);
COMMENT ON TYPE {deployment_before_rise} IS 'A rise of errors or cost, and a deployment that came before it.';
COMMENT ON COLUMN {deployment_before_rise}.service_name IS 'Service whose errors or cost rose; NULL for what names no service.';
COMMENT ON COLUMN {deployment_before_rise}.rise_at IS 'Start of the stretch in which they rose, UTC.';
COMMENT ON COLUMN {deployment_before_rise}.value IS 'Errors (a number) or cost (US dollars) in that stretch.';
COMMENT ON COLUMN {deployment_before_rise}.baseline IS 'Mean of the stretches before it, in the same unit.';
COMMENT ON COLUMN {deployment_before_rise}.deployed_at IS 'End of the deployment, else its start, UTC; NULL, like all that follows, if there was none.';
COMMENT ON COLUMN {deployment_before_rise}.minutes_before IS 'From deployed_at to rise_at, minutes; negative if it ended within the stretch.';
COMMENT ON COLUMN {deployment_before_rise}.environment IS 'Target, such as production or staging.';
COMMENT ON COLUMN {deployment_before_rise}.pipeline IS 'Name of the pipeline or deployment.';
COMMENT ON COLUMN {deployment_before_rise}.branch IS 'Branch or tag that was deployed.';
COMMENT ON COLUMN {deployment_before_rise}.commit_sha IS 'Revision that was deployed.';
COMMENT ON COLUMN {deployment_before_rise}.result IS 'Outcome in the words of cicd.pipeline.result: success, failure, error, timeout, cancellation or skip; those of deployment.status become success and failure.';
COMMENT ON COLUMN {deployment_before_rise}.status IS 'Outcome of the row: started, completed, error or cancelled.';
COMMENT ON COLUMN {deployment_before_rise}.trace_id IS 'Trace of the deployment.';
COMMENT ON COLUMN {deployment_before_rise}.span_id IS 'Span of the deployment, signed as in the views.';

CREATE FUNCTION {contract_version}() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $contract$ SELECT 1 $contract$;
COMMENT ON FUNCTION {contract_version}() IS 'Version of the contract that these views and functions keep.';

-- Linear in the rows of the trace, whatever its shape: lists of children are linked by numbers, no path is walked twice,
-- and the nested loop is off because the planner cannot know how long a trace is.
CREATE FUNCTION {trace_tree}(trace uuid) RETURNS SETOF {trace_node}
LANGUAGE plpgsql STABLE ROWS 1000 COST 10000
SET jit = off SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
AS $contract$
#variable_conflict use_column
DECLARE
    rows integer;
    records text[]; span_ids bigint[]; parent_ids bigint[]; times timestamptz[]; durations bigint[]; categories text[];
    types text[]; names text[]; statuses text[]; services text[]; agents text[]; tasks text[]; actions text[];
    tools text[]; models text[]; inputs bigint[]; outputs bigint[]; costs double precision[]; error_types text[];
    error_messages text[];
    parents integer[]; orphans boolean[]; first_child integer[]; next_sibling integer[]; marks integer[];
    ordinals integer[]; visited integer[]; depths integer[]; paths text[]; below integer[];
    errors bigint[]; input_totals numeric[]; output_totals numeric[]; cost_totals numeric[];
    root integer; node integer; child integer; parent integer; level integer; seen integer := 0;
BEGIN
    WITH numbered AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY "time", start_unix_nano, record DESC, span_id)::integer AS n,
               record, span_id, parent_span_id, "time", duration_ns, category, event_type, event_name, status,
               service_name, agent_id, task_id, action, tool_name, model, input_tokens, output_tokens, cost,
               error_type, error_message,
               CASE record WHEN 'span' THEN parent_span_id ELSE nullif(span_id, 0) END AS above
          FROM {all_events}
         WHERE trace_id = trace AND trace <> '00000000-0000-0000-0000-000000000000'
    ), homes AS (
        SELECT span_id, min(n) AS n FROM numbered WHERE record = 'span' GROUP BY span_id
    )
    SELECT count(*), array_agg(record), array_agg(span_id), array_agg(parent_span_id), array_agg("time"),
           array_agg(duration_ns), array_agg(category), array_agg(event_type), array_agg(event_name),
           array_agg(status), array_agg(service_name), array_agg(agent_id), array_agg(task_id), array_agg(action),
           array_agg(tool_name), array_agg(model), array_agg(input_tokens), array_agg(output_tokens), array_agg(cost),
           array_agg(error_type), array_agg(error_message), array_agg(home), array_agg(above IS NOT NULL AND home IS NULL),
           array_agg(CASE status WHEN 'error' THEN 1 ELSE 0 END),
           array_agg(CASE WHEN action IS DISTINCT FROM 'invoke' THEN coalesce(input_tokens, 0) ELSE 0 END),
           array_agg(CASE WHEN action IS DISTINCT FROM 'invoke' THEN coalesce(output_tokens, 0) ELSE 0 END),
           array_agg(CASE WHEN action IS DISTINCT FROM 'invoke' AND cost > '-Infinity' AND cost < 'Infinity'
                          THEN cost::numeric END)
      INTO rows, records, span_ids, parent_ids, times, durations, categories, types, names, statuses, services, agents,
           tasks, actions, tools, models, inputs, outputs, costs, error_types, error_messages, parents, orphans, errors,
           input_totals, output_totals, cost_totals
      FROM (SELECT numbered.*, homes.n AS home
              FROM numbered LEFT JOIN homes ON homes.span_id = numbered.above
             ORDER BY numbered.n) AS ordered;
    IF rows = 0 THEN
        RETURN;
    END IF;

    first_child := array_fill(0, ARRAY[rows]);
    next_sibling := first_child;
    marks := first_child;
    ordinals := first_child;
    visited := first_child;
    depths := first_child;
    below := first_child;
    paths := array_fill(''::text, ARRAY[rows]);
    FOR node IN REVERSE rows..1 LOOP
        parent := parents[node];
        IF parent IS NOT NULL THEN
            next_sibling[node] := first_child[parent];
            first_child[parent] := node;
        END IF;
    END LOOP;

    -- The first round begins at what has no parent, the second at what only a cycle leads to.
    FOR round IN 1..2 LOOP
        EXIT WHEN seen = rows;
        FOR start IN 1..rows LOOP
            CONTINUE WHEN ordinals[start] <> 0 OR round = 1 AND parents[start] IS NOT NULL;
            root := start;
            IF round = 2 THEN
                WHILE marks[root] <> start LOOP
                    marks[root] := start;
                    root := parents[root];
                END LOOP;
                node := parents[root];
                child := root;
                WHILE node <> child LOOP
                    root := least(root, node);
                    node := parents[node];
                END LOOP;
                parents[root] := NULL;
                orphans[root] := true;
            END IF;

            node := root;
            level := 0;
            <<walk>>
            LOOP
                seen := seen + 1;
                ordinals[node] := seen;
                visited[seen] := node;
                depths[node] := level;
                IF level = 0 THEN
                    paths[node] := translate(left(names[node], 80), E'\x1f', ' ');
                ELSIF level < 64 THEN
                    paths[node] := paths[parents[node]] || E'\x1f' || translate(left(names[node], 80), E'\x1f', ' ');
                ELSE
                    paths[node] := paths[parents[node]];
                END IF;
                child := first_child[node];
                IF child = root THEN
                    child := next_sibling[child];
                END IF;
                IF child <> 0 THEN
                    node := child;
                    level := level + 1;
                    CONTINUE walk;
                END IF;
                LOOP
                    EXIT walk WHEN node = root;
                    child := next_sibling[node];
                    IF child = root THEN
                        child := next_sibling[child];
                    END IF;
                    IF child <> 0 THEN
                        node := child;
                        EXIT;
                    END IF;
                    node := parents[node];
                    level := level - 1;
                END LOOP;
            END LOOP;
        END LOOP;
    END LOOP;

    FOR place IN REVERSE rows..1 LOOP
        node := visited[place];
        parent := parents[node];
        IF parent IS NOT NULL THEN
            below[parent] := below[parent] + below[node] + 1;
            errors[parent] := errors[parent] + errors[node];
            input_totals[parent] := input_totals[parent] + input_totals[node];
            output_totals[parent] := output_totals[parent] + output_totals[node];
            IF cost_totals[node] IS NOT NULL THEN
                cost_totals[parent] := coalesce(cost_totals[parent], 0) + cost_totals[node];
            END IF;
        END IF;
    END LOOP;

    RETURN QUERY
    SELECT o, d, CASE p WHEN '' THEN ARRAY[''] ELSE string_to_array(p, E'\x1f') END, orphan, b, r, s, ps, t, du, c, et,
           en, st, se, a, ta, ac, tn, m, i, ou, co, ety, em, er, ti, tou, tc
      FROM unnest(ordinals, depths, paths, orphans, below, records, span_ids, parent_ids, times, durations, categories,
                  types, names, statuses, services, agents, tasks, actions, tools, models, inputs, outputs, costs,
                  error_types, error_messages, errors, input_totals, output_totals, cost_totals)
           AS node(o, d, p, orphan, b, r, s, ps, t, du, c, et, en, st, se, a, ta, ac, tn, m, i, ou, co, ety, em, er, ti,
                   tou, tc)
     ORDER BY o;
END
$contract$;
COMMENT ON FUNCTION {trace_tree}(uuid) IS 'A trace as a tree: each of its spans and log records once, parents first. None if nothing is stored of it. Takes time in proportion to the length of the trace, also if it is one long chain, and where parents are missing or lead in a circle.';

CREATE FUNCTION {span_ancestors}(trace uuid, span bigint) RETURNS SETOF {trace_node}
LANGUAGE sql STABLE ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $contract$
WITH tree AS MATERIALIZED (SELECT * FROM {trace_tree}(trace)),
     own AS MATERIALIZED (SELECT ordinal FROM tree WHERE span_id = span AND record = 'span' ORDER BY ordinal LIMIT 1)
SELECT tree.* FROM tree, own
 WHERE tree.ordinal < own.ordinal AND tree.ordinal + tree.below >= own.ordinal
 ORDER BY tree.ordinal
$contract$;
COMMENT ON FUNCTION {span_ancestors}(uuid, bigint) IS 'The spans above a span, the root first. None for a root, and for a span that is not stored.';

CREATE FUNCTION {span_descendants}(trace uuid, span bigint) RETURNS SETOF {trace_node}
LANGUAGE sql STABLE ROWS 100 COST 10000
SET search_path = pg_catalog, pg_temp
AS $contract$
WITH tree AS MATERIALIZED (SELECT * FROM {trace_tree}(trace)),
     own AS MATERIALIZED (
         SELECT ordinal, below FROM tree WHERE span_id = span AND record = 'span' ORDER BY ordinal LIMIT 1)
SELECT tree.* FROM tree, own
 WHERE tree.ordinal > own.ordinal AND tree.ordinal <= own.ordinal + own.below
 ORDER BY tree.ordinal
$contract$;
COMMENT ON FUNCTION {span_descendants}(uuid, bigint) IS 'The spans and log records below a span, in the order of the tree.';

CREATE FUNCTION {subtree_totals}(trace uuid, span bigint DEFAULT NULL) RETURNS SETOF {subtree_total}
LANGUAGE sql STABLE ROWS 1 COST 10000
SET search_path = pg_catalog, pg_temp
AS $contract$
WITH tree AS MATERIALIZED (SELECT * FROM {trace_tree}(trace)),
     own AS MATERIALIZED (
         SELECT ordinal, below FROM tree WHERE span_id = span AND record = 'span' ORDER BY ordinal LIMIT 1),
     part AS (SELECT tree.* FROM tree
               WHERE span IS NULL
                  OR ordinal BETWEEN (SELECT ordinal FROM own) AND (SELECT ordinal + below FROM own))
SELECT count(*) FILTER (WHERE record = 'span'), count(*) FILTER (WHERE record = 'log'),
       count(*) FILTER (WHERE status = 'error'),
       coalesce(sum(input_tokens) FILTER (WHERE action IS DISTINCT FROM 'invoke'), 0),
       coalesce(sum(output_tokens) FILTER (WHERE action IS DISTINCT FROM 'invoke'), 0),
       sum(cost::numeric) FILTER (WHERE action IS DISTINCT FROM 'invoke' AND cost > '-Infinity' AND cost < 'Infinity')
  FROM part HAVING count(*) > 0
$contract$;
COMMENT ON FUNCTION {subtree_totals}(uuid, bigint) IS 'Tokens, cost and errors of a span with all that is below it, or, without a span, of the whole trace. None if it is not stored.';

CREATE FUNCTION {deployments_before_rise}(
    measure text DEFAULT 'errors',
    since timestamptz DEFAULT now() - interval '1 day',
    until timestamptz DEFAULT now(),
    lookback interval DEFAULT interval '30 minutes',
    stretch interval DEFAULT interval '5 minutes',
    compared interval DEFAULT interval '1 hour',
    factor double precision DEFAULT 2,
    minimum double precision DEFAULT NULL
) RETURNS SETOF {deployment_before_rise}
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
SET jit = off SET search_path = pg_catalog, pg_temp
AS $contract$
#variable_conflict use_column
DECLARE
    width bigint := round(extract(epoch FROM stretch));
    before bigint := round(extract(epoch FROM compared) / nullif(width, 0));
    least_value numeric := coalesce(minimum, CASE measure WHEN 'errors' THEN 5 ELSE 0.1 END);
    times numeric := factor;
    -- those that nanoseconds in a bigint can tell: there is nothing before and after, and no stretch of infinity
    oldest CONSTANT timestamptz := '1677-09-21 00:00:00+00';
    newest CONSTANT timestamptz := '2262-04-12 00:00:00+00';
    -- stretches are counted from 1970-01-01 UTC; those that are not over by then, or began before, are left out
    first bigint := ceil(extract(epoch FROM CASE WHEN since < oldest THEN oldest WHEN since > newest THEN newest
                                                 ELSE since END) / nullif(width, 0));
    last bigint := floor(extract(epoch FROM CASE WHEN until < oldest THEN oldest WHEN until > newest THEN newest
                                                 ELSE until END) / nullif(width, 0)) - 1;
    earliest timestamptz := to_timestamp((first - before) * width);
    latest timestamptz := to_timestamp((last + 1) * width);
BEGIN
    IF measure IS NULL OR measure NOT IN ('errors', 'cost') THEN
        RAISE EXCEPTION 'measure % is not allowed; allowed is errors or cost', quote_nullable(measure)
              USING ERRCODE = 'invalid_parameter_value';
    ELSIF width IS NULL OR width < 1 OR before IS NULL OR before < 1 THEN
        RAISE EXCEPTION 'stretch % and compared % are not allowed; allowed is a second or more, and as much or more',
              stretch, compared USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    WITH samples AS (
        SELECT service_name, "time", 1::numeric AS value FROM {errors}
         WHERE measure = 'errors' AND "time" >= earliest AND "time" < latest
        UNION ALL
        SELECT service_name, "time", cost::numeric FROM {llm_usage}
         WHERE measure = 'cost' AND "time" >= earliest AND "time" < latest AND cost > '-Infinity' AND cost < 'Infinity'
    ), stretches AS (
        SELECT service_name, floor(extract(epoch FROM "time") / width)::bigint AS n, sum(value) AS value
          FROM samples GROUP BY 1, 2
    ), compared_stretches AS (
        SELECT service_name, n, value,
               coalesce(sum(value) OVER (PARTITION BY service_name ORDER BY n
                                         RANGE BETWEEN before PRECEDING AND 1::bigint PRECEDING), 0) / before AS baseline
          FROM stretches
    ), judged AS (
        SELECT service_name, n, value, baseline, value >= least_value AND value > times * baseline AS is_high
          FROM compared_stretches
    ), marked AS (
        SELECT judged.*, coalesce(lag(is_high) OVER following AND lag(n) OVER following = n - 1, false) AS goes_on
          FROM judged WINDOW following AS (PARTITION BY service_name ORDER BY n)
    ), rises AS (
        SELECT service_name, to_timestamp(n * width) AS rise_at, value, baseline
          FROM marked WHERE is_high AND NOT goes_on AND n >= first
    ), deployed AS MATERIALIZED (
        SELECT d.*, coalesce(d.ended_at, d.started_at) AS deployed_at
          FROM {deployments} AS d
         WHERE d."time" >= earliest - lookback - interval '1 day' AND d."time" < latest + interval '1 day'
    ), whole AS (
        SELECT d.* FROM deployed AS d
         -- not the steps of a pipeline, nor the beginning of what has ended
         WHERE NOT EXISTS (SELECT FROM deployed AS p WHERE p.trace_id = d.trace_id AND p.span_id = d.parent_span_id
                              AND p.record = 'span' AND d.record = 'span')
           AND NOT (d.status = 'started' AND EXISTS (
                        SELECT FROM deployed AS p WHERE p.pipeline_run_id = d.pipeline_run_id AND p.status <> 'started'))
    )
    SELECT rises.service_name, rises.rise_at, rises.value, rises.baseline, whole.deployed_at,
           (extract(epoch FROM rises.rise_at - whole.deployed_at) / 60)::double precision,
           whole.environment, whole.pipeline, whole.branch, whole.commit_sha, whole.result, whole.status,
           whole.trace_id, whole.span_id
      FROM rises
      LEFT JOIN whole ON whole.deployed_at >= rises.rise_at - lookback
                     AND coalesce(whole.started_at, whole.ended_at) < rises.rise_at + stretch
     ORDER BY rises.rise_at, rises.service_name, whole.deployed_at DESC;
END
$contract$;
COMMENT ON FUNCTION {deployments_before_rise}(text, timestamptz, timestamptz, interval, interval, interval, double precision, double precision) IS 'Each rise of errors or cost between two times, by service, with every deployment that ended, or was under way, from lookback before the start of the rise to the end of its stretch. A stretch is a rise if its sum is at least minimum (by default 5 errors, or a cost of 0.1), and more than factor times the mean of the stretches of the time compared before it, and if the stretch before it is not high in the same way. A deployment that took longer than a day is not found.';

REVOKE ALL ON FUNCTION {contract_version}(), {trace_tree}(uuid), {span_ancestors}(uuid, bigint),
    {span_descendants}(uuid, bigint), {subtree_totals}(uuid, bigint),
    {deployments_before_rise}(text, timestamptz, timestamptz, interval, interval, interval, double precision, double precision)
    FROM PUBLIC;
