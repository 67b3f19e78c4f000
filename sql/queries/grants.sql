-- name: create_role
-- A role that cannot log in: whoever is to have its rights becomes a member of it.
CREATE ROLE {role}

-- name: grant_writer
-- What a program needs that stores: nothing but INSERT, and to see which migrations were applied and how far back
-- the ledger goes.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON {schema_migrations}, {pruned} TO {role};
GRANT INSERT ON {events}, {task_events}, {agent_events}, {deployment_events}, {event_batches}, {event_summaries},
    {contents}, {resources}, {resource_days}, {scopes}, {processes}, {heartbeats}, {open_spans} TO {role}

-- name: grant_reader
-- What whoever reads in SQL needs: the contract, and no table.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON {spans}, {traces}, {runs}, {tasks}, {agent_actions}, {llm_usage}, {deployments}, {errors}, {all_events}
    TO {role};
GRANT EXECUTE ON FUNCTION {contract_version}, {trace_tree}, {span_ancestors}, {span_descendants}, {subtree_totals},
    {deployments_before_rise}, {joined_contents}, {whole_attributes} TO {role}

-- name: grant_owner
-- Hands over tables, partitions, views, types and functions; a schema may hold more, and is to be used and granted.
GRANT USAGE, CREATE ON SCHEMA {schema} TO {role} WITH GRANT OPTION;
DO $owner$
DECLARE
    named name[] := ARRAY[{names}];
    kind text;
    item text;
BEGIN
    FOR kind, item IN
        WITH named_relations AS (
            SELECT c.oid, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = {schema_name} AND c.relname = ANY(named)
        )
        SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END,
               format('%I.%I', {schema_name}, relname) FROM named_relations
        UNION ALL
        SELECT 'TABLE', i.inhrelid::regclass::text FROM pg_inherits i JOIN named_relations r ON r.oid = i.inhparent
         WHERE r.relkind = 'p'
        UNION ALL
        SELECT 'FUNCTION', p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname = {schema_name} AND p.proname = ANY(named)
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO %I', kind, item, {role_name});
    END LOOP;
END
$owner$

-- name: revoke_role
-- Takes back what was granted; the schema may still be used, as it may hold other tables.
REVOKE ALL ON {events}, {task_events}, {agent_events}, {deployment_events}, {event_batches}, {event_summaries},
    {contents}, {resources}, {resource_days}, {scopes}, {processes}, {heartbeats}, {open_spans}, {schema_migrations},
    {pruned},
    {spans}, {traces}, {runs}, {tasks}, {agent_actions}, {llm_usage}, {deployments}, {errors}, {all_events} FROM {role};
REVOKE ALL ON FUNCTION {contract_version}, {trace_tree}, {span_ancestors}, {span_descendants}, {subtree_totals},
    {deployments_before_rise}, {joined_contents}, {whole_attributes} FROM {role}

-- name: forget_reader
-- A role that is no reader any more sees no tenant.
DELETE FROM {tenant_readers} WHERE role_name = %(role)s

-- name: map_tenant
-- Lets a role see the rows of a tenant; of all, and those of none, if that is NULL.
INSERT INTO {tenant_readers} (role_name, tenant_id) VALUES (%(role)s, %(tenant)s) ON CONFLICT DO NOTHING

-- name: tenancy_on
-- From now on each reader sees the rows of its tenants alone.
INSERT INTO {tenancy} (is_on) VALUES (true) ON CONFLICT DO NOTHING

-- name: tenancy_off
-- From now on each reader sees all rows.
DELETE FROM {tenancy}

-- name: raise_barrier
-- Keeps functions in a reader's WHERE from rows that it does not see.
ALTER VIEW {view} SET (security_barrier = true)

-- name: lower_barrier
-- Lets the planner order and filter as if there were no view.
ALTER VIEW {view} RESET (security_barrier)

-- name: tenancy_state
-- Whether tenancy is on.
SELECT EXISTS (SELECT FROM {tenancy}) AS is_on

-- name: tenant_readers
-- Who sees which tenant.
SELECT role_name::text AS role, tenant_id AS tenant FROM {tenant_readers} ORDER BY 1, 2 NULLS FIRST

-- name: known_roles
-- Which of some roles are there.
SELECT rolname::text AS role FROM pg_roles WHERE rolname = ANY(%(roles)s)

-- name: granted_roles
-- Who has the rights of a writer and of a reader, as one table and one view tell; NULL for everybody.
SELECT DISTINCT c.relname = %(view)s AS is_reader, r.rolname::text AS role
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL aclexplode(c.relacl) AS a
  LEFT JOIN pg_roles r ON r.oid = a.grantee
 WHERE n.nspname = %(schema)s AND a.grantee <> c.relowner
   AND (c.relname = %(view)s AND a.privilege_type = 'SELECT' OR c.relname = %(table)s AND a.privilege_type = 'INSERT')

-- name: contract_owner
-- Whether we may grant what the views show; no row if they are not there.
SELECT pg_has_role(c.relowner, 'USAGE') AS is_ours, c.relowner::regrole::text AS owner
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relname = %(view)s AND c.relkind = 'v'

-- name: shut_out
-- Which of some roles may not use the schema: its owner has to let them in, if the tables' owner is another.
SELECT role FROM unnest(%(roles)s::text[]) AS role WHERE NOT has_schema_privilege(role, %(schema)s, 'USAGE')
