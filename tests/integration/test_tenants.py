"""Tenancy: what one tenant's reader can learn of another's rows by the views and functions. Nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from otel_pg_exporter import grants
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.encoding.open_rows import open_row
from otel_pg_exporter.encoding.treatment import Treatment
from otel_pg_exporter.schema import partitions
from otel_pg_exporter.sql_files import CONTRACT_VIEWS

NOW = datetime.now(timezone.utc).replace(hour=12)
DAY = (NOW - datetime(1970, 1, 1, tzinfo=timezone.utc)).days
SHARED, ONLY_B = uuid.UUID(int=1), uuid.UUID(int=2)
SECRET = "of-b"
"""Stands in each text of tenant b's rows."""

ROWS = """
INSERT INTO otel.{table} (
    trace_id, span_id, batch_id, batch_index, "time", trace_flags, kind, status_code, resource_id, scope_id,
    service_name, start_unix_nano, end_unix_nano, duration_ns, record, event_type, event_name, status, agent_id,
    task_id, session_id, user_id, error_type, error_message, input, output, attributes, status_message{columns})
SELECT trace, span, '00000000-0000-0000-0000-000000000009', span, %(time)s + span * interval '1 second', 1, 1, 0,
       resource, '00000000-0000-0000-0000-000000000005', 'service ' || mark, span, span + 1, 1, record, 'x',
       'name ' || mark, 'error', mark, mark, mark, mark, mark, mark, to_jsonb(mark), to_jsonb(mark), attributes, mark
       {values}
  FROM (VALUES
    -- of the resource, of the span, both, none; a log record
    (%(shared)s::uuid, {n} + 1, '00000000-0000-0000-0000-00000000000a'::uuid, 'span', 'of-a', '{{}}'::jsonb),
    (%(shared)s, {n} + 2, '00000000-0000-0000-0000-00000000000b', 'span', 'of-b', '{{}}'),
    (%(shared)s, {n} + 3, '00000000-0000-0000-0000-00000000000c', 'span', 'of-a', '{{"tenant.id": "a"}}'),
    (%(shared)s, {n} + 4, '00000000-0000-0000-0000-00000000000c', 'span', 'of-b', '{{"tenant.id": "b"}}'),
    (%(shared)s, {n} + 5, '00000000-0000-0000-0000-00000000000a', 'span', 'of-b', '{{"tenant.id": "b"}}'),
    (%(shared)s, {n} + 6, '00000000-0000-0000-0000-00000000000c', 'log', 'of-a', '{{"tenant.id": "a"}}'),
    (%(shared)s, {n} + 7, '00000000-0000-0000-0000-00000000000c', 'log', 'of-b', '{{}}'),
    (%(shared)s, {n} + 8, '00000000-0000-0000-0000-00000000000a', 'span', 'of-a', '{{"tenant.id": null}}'),
    (%(only_b)s, {n} + 9, '00000000-0000-0000-0000-00000000000b', 'span', 'of-b', '{{}}')
  ) AS made (trace, span, resource, record, mark, attributes)
"""
MORE = {
    "events": ("", ""),
    "task_events": (", task_name, queue", ", mark, mark"),
    "agent_events": (
        ", agent_name, action, tool_name, model, provider, input_tokens, output_tokens, cost",
        ", mark, 'llm', mark, mark, mark, 7, 7, 7.0",
    ),
    "deployment_events": (
        ", environment, branch, commit_sha, pull_request, pipeline, pipeline_run_id, result",
        ", mark, mark, mark, mark, mark, mark, mark",
    ),
}
SHOWN = {"a": 4, "b": 4}
"""Rows of each table that a tenant has; null is no tenant, so that the resource's counts."""


@dataclass
class Readers:
    dsn: str
    admin: str
    a: str
    """Sees tenant a."""
    every: str
    """Sees all tenants."""
    nobody: str
    """Has no tenant."""

    def ask(self, role: str, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with psycopg.connect(make_conninfo(self.dsn, user=role)) as connection:
            return connection.execute(statement.encode(), parameters).fetchall()


@pytest.fixture
def readers(dsn: str, server_dsn: str) -> Iterator[Readers]:
    """Rows of two tenants and of none in every table; readers of one tenant, of all, of none."""
    name = uuid.uuid4().hex[:8]
    made = Readers(dsn, "postgres", f"a_{name}", f"every_{name}", f"nobody_{name}")
    database = Database(Settings(dsn=dsn))
    partitions.ensure(database, {DAY})
    with psycopg.connect(dsn, autocommit=True) as connection:
        for role in (made.a, made.every, made.nobody):
            connection.execute(f"CREATE ROLE {role} LOGIN")
        store(connection)
    grants.tenancy(database, True)
    grants.grant(database, readers=[made.a], tenants=["a"])
    grants.grant(database, readers=[made.every], every_tenant=True)
    grants.grant(database, readers=[made.nobody])
    database.close()
    yield made
    with psycopg.connect(dsn, autocommit=True) as connection:
        for role in (made.a, made.every, made.nobody):
            connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def store(connection: psycopg.Connection[Any]) -> None:
    for end, tenant in (("a", '{"tenant.id": "a", "host": "of-a"}'), ("b", '{"tenant.id": "b", "host": "of-b"}'),
                        ("c", '{"host": "shared"}')):  # fmt: skip
        connection.execute(
            "INSERT INTO otel.resources (resource_id, service_name, attributes, schema_url) VALUES (%s, 's', %s, '')",
            [f"00000000-0000-0000-0000-00000000000{end}", tenant],
        )
    connection.execute(
        "INSERT INTO otel.scopes (scope_id, name) VALUES ('00000000-0000-0000-0000-000000000005', 'scope')"
    )
    given = {"time": NOW, "shared": SHARED, "only_b": ONLY_B}
    for number, (table, (columns, values)) in enumerate(MORE.items()):
        statement = ROWS.format(table=table, columns=columns, values=values, n=100 * number)
        connection.execute(statement.encode(), given)
    for tenant in ("a", "b"):
        connection.execute(
            "INSERT INTO otel.open_spans (trace_id, span_id, time, start_unix_nano, process_id, category, event_type,"
            " event_name, service_name, attributes, tenant_id)"
            " VALUES (%s, %s, %s, 1, %s, 'task', 'x', %s, %s, '{}', %s)",
            [SHARED, ord(tenant), NOW, SHARED, f"name of-{tenant}", f"of-{tenant}", tenant],
        )


@pytest.mark.parametrize("view", CONTRACT_VIEWS)
def test_no_view_shows_another_tenants_rows(readers, view):
    """A reader of tenant a sees all of a's rows, and in them no text of b's; one without a tenant sees none."""
    mine = readers.ask(readers.a, f"SELECT v::text, tenant_id FROM otel.{view} AS v")

    assert mine
    assert {"a"} == {tenant for _, tenant in mine}
    assert not any(SECRET in text for text, _ in mine)
    assert [] == readers.ask(readers.nobody, f"SELECT FROM otel.{view}")
    assert any(SECRET in text for (text,) in readers.ask(readers.every, f"SELECT v::text FROM otel.{view} AS v"))
    wanted = {"all_events": 16, "errors": 16, "spans": 12, "traces": 1, "runs": 1}
    assert wanted.get(view, SHOWN["a"]) == len(mine)


FUNCTIONS = {
    "trace_tree": "SELECT t::text FROM otel.trace_tree(%(trace)s) AS t",
    "span_ancestors": "SELECT t::text FROM otel.span_ancestors(%(trace)s, %(span)s) AS t",
    "span_descendants": "SELECT t::text FROM otel.span_descendants(%(trace)s, %(span)s) AS t",
    "subtree_totals": "SELECT t::text FROM otel.subtree_totals(%(trace)s, %(span)s) AS t",
    "deployments_before_rise": "SELECT t::text FROM otel.deployments_before_rise('errors', %(from)s, %(to)s,"
    " minimum => 1) AS t",
    "deployments_before_rise of cost": "SELECT t::text FROM otel.deployments_before_rise('cost', %(from)s, %(to)s)"
    " AS t",
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_function_shows_another_tenants_rows(readers, function):
    """Nor by naming a trace or a span of b's; the one for whom all are shown sees them."""
    given = {"trace": ONLY_B, "span": 9, "from": NOW.replace(hour=0), "to": NOW.replace(hour=23)}

    mine = readers.ask(readers.a, FUNCTIONS[function], given)
    mine += readers.ask(readers.a, FUNCTIONS[function], {**given, "trace": SHARED, "span": 202})
    assert not any(SECRET in text for (text,) in mine)
    if not function.startswith("deployments"):
        assert [] == mine or function == "trace_tree"
    if function.startswith(("trace_tree", "deployments")):
        assert mine
        assert any(SECRET in text for (text,) in readers.ask(readers.every, FUNCTIONS[function], given))


def test_totals_count_a_tenants_own_part_of_a_trace(readers):
    """A trace that two tenants share has for each of them what is its own."""
    totals = "SELECT spans, logs, errors, input_tokens, cost FROM otel.subtree_totals(%s)"
    seen = "SELECT spans, errors, input_tokens, cost FROM otel.traces WHERE trace_id = %s"

    assert [(12, 4, 16, 28, 28)] == readers.ask(readers.a, totals, [SHARED])
    assert [(12, 12, 21, 21)] == readers.ask(readers.a, seen, [SHARED])
    assert [(24, 8, 32, 56, 56)] == readers.ask(readers.every, totals, [SHARED])


LEAKS = {
    "notice": "RAISE NOTICE '%', shown; RETURN true;",
    "error": "RETURN 1 / (CASE WHEN shown LIKE '%of-b%' THEN 0 ELSE 1 END) = 1;",
}
"""How a function tells of the rows that it is asked about."""


def leaked(readers: Readers, view: str, how: str) -> bool:
    """Whether a condition of the reader's own was asked about a row of b's."""
    heard: list[str] = []
    with psycopg.connect(make_conninfo(readers.dsn, user=readers.a)) as connection:
        connection.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
        connection.execute(
            f"CREATE FUNCTION pg_temp.leak(shown text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS"
            f" $$ BEGIN {LEAKS[how]} END $$".encode()
        )
        columns = [column.name for column in connection.execute(f"SELECT * FROM otel.{view} LIMIT 0").description]
        # one for each column, so that each can be asked early
        condition = " AND ".join(f'pg_temp.leak("{column}"::text)' for column in columns)
        try:
            connection.execute(f"SELECT count(*) FROM otel.{view} WHERE {condition}".encode())
        except psycopg.DataError:
            return True
    assert heard or how != "notice"
    return any(SECRET in message for message in heard)


@pytest.mark.parametrize("how", LEAKS)
def test_no_condition_of_a_reader_is_asked_about_another_tenants_rows(readers, how):
    """Neither a cheap function that tells what it is asked, nor an error that depends on the row; in no view."""
    assert [] == [view for view in CONTRACT_VIEWS if leaked(readers, view, how)]


def test_without_the_barrier_a_function_in_the_condition_would_tell(readers):
    """The counterpart: with the barriers lowered the same conditions see the other tenant's rows in most views."""
    with psycopg.connect(readers.dsn, autocommit=True) as connection:
        for view in (*CONTRACT_VIEWS, "event_rows"):
            connection.execute(f"ALTER VIEW otel.{view} RESET (security_barrier)")

    for how in LEAKS:
        assert {"spans", "tasks", "errors"} <= {view for view in CONTRACT_VIEWS if leaked(readers, view, how)}


def test_neither_tables_nor_their_statistics_are_open(readers):
    """What the planner knows of the columns, and the rows themselves."""
    with psycopg.connect(readers.dsn, autocommit=True) as connection:
        connection.execute("ANALYZE")
        (known,) = connection.execute("SELECT count(*) FROM pg_stats WHERE schemaname = 'otel'").fetchone()

    assert known > 100
    assert [] == readers.ask(readers.a, "SELECT FROM pg_stats WHERE schemaname = 'otel'")
    for table in ("tenant_readers", "resources", "event_batches", "event_rows", "tenant_resources"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            readers.ask(readers.a, f"SELECT FROM otel.{table}")


def test_a_reader_cannot_choose_its_tenant(readers):
    """No setting of the session and no role that it is not a member of makes it another."""
    with psycopg.connect(make_conninfo(readers.dsn, user=readers.a)) as connection:
        connection.execute("SET tenant.id = 'b'")
        connection.execute("SET search_path = pg_temp, otel")
        connection.execute(
            "CREATE TEMP TABLE tenant_readers AS SELECT %s::name AS role_name, 'b' AS tenant_id", [readers.a]
        )
        connection.execute("CREATE TEMP VIEW tenant_scope AS SELECT true AS sees_all")
        rows = connection.execute("SELECT DISTINCT tenant_id FROM otel.all_events").fetchall()
        assert [("a",)] == rows
        assert [] == connection.execute("SELECT FROM otel.trace_tree(%s)", [ONLY_B]).fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SET ROLE {readers.every}")


def test_a_member_of_a_group_sees_the_groups_tenant(readers):
    """Grants may go to a role that others are members of; a role that is dropped gives nobody anything."""
    member, group = f"m_{readers.a}", f"g_{readers.a}"
    database = Database(Settings(dsn=readers.dsn))
    with psycopg.connect(readers.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {member} LOGIN")
        grants.grant(database, readers=[group], tenants=["a", "b"], create=True)
        connection.execute(f"GRANT {group} TO {member}")
        try:
            count = "SELECT count(*) FROM otel.tasks"
            assert [(SHOWN["a"] + SHOWN["b"],)] == readers.ask(member, count)
        finally:
            connection.execute(f"DROP OWNED BY {group}; DROP ROLE {group}; DROP ROLE {member}")
    assert [(SHOWN["a"],)] == readers.ask(readers.a, count)
    grants.revoke(database, readers.a)
    assert readers.a not in grants.state(database).tenants
    grants.tenancy(database, False)
    assert [(9,)] == readers.ask(readers.nobody, count)
    database.close()


@pytest.mark.parametrize(
    ("attributes", "resource", "tenant"),
    [({}, {}, None), ({}, {"tenant.id": "r"}, "r"), ({"tenant.id": "s"}, {"tenant.id": "r"}, "s"),
     ({"tenant.id": 7}, {"tenant.id": "r"}, "7"), ({"tenant.id": ("x",)}, {"tenant.id": "r"}, None)],
)  # fmt: skip
def test_what_is_open_has_the_tenant_that_its_row_will_have(attributes, resource, tenant):
    """The span's own attribute, else the resource's; what is no name at all is nobody's."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider(resource=Resource(resource), shutdown_on_exit=False).get_tracer("test")

    assert tenant == open_row(tracer.start_span("x", attributes=attributes), Treatment.of(Settings()))["tenant_id"]
