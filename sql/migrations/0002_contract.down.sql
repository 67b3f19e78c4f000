-- Takes the contract back, and with it who sees which tenant; events stay.
DROP FUNCTION {deployments_before_rise}(text, timestamptz, timestamptz, interval, interval, interval, double precision, double precision);
DROP FUNCTION {subtree_totals}(uuid, bigint);
DROP FUNCTION {span_ancestors}(uuid, bigint);
DROP FUNCTION {span_descendants}(uuid, bigint);
DROP FUNCTION {trace_tree}(uuid);
DROP FUNCTION {contract_version}();
DROP TYPE {deployment_before_rise}, {subtree_total}, {trace_node};
DROP VIEW {runs}, {deployments}, {llm_usage}, {agent_actions}, {tasks}, {traces}, {errors}, {spans}, {all_events};
DROP VIEW {event_rows};
DROP VIEW {tenant_scope};
DROP VIEW {tenant_resources};
DROP VIEW {tenant_ids};
DROP TABLE {tenant_readers}, {tenancy};
