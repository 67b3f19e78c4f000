"""Owner, writers and readers: what each may do with each table, view and function, and no more."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import psycopg
import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from otel_pg_exporter import EventQuery, configure, grants, migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.errors import AccessDenied, ConfigurationError, SchemaMismatch
from otel_pg_exporter.schema import indexes, partitions
from otel_pg_exporter.sql_files import (
    CONTRACT_VIEWS,
    FUNCTIONS,
    PARTITIONED,
    READING,
    TABLES,
    VIEWS,
    WHOLE,
    WORDS,
    WRITTEN,
)

VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
STATEMENTS = {
    "SELECT": "SELECT FROM {name}",
    "INSERT": "INSERT INTO {name} DEFAULT VALUES",
    "UPDATE": "UPDATE {name} SET {column} = DEFAULT WHERE false",
    "DELETE": "DELETE FROM {name} WHERE false",
    "TRUNCATE": "TRUNCATE {name}",
}
CALLS = {
    "contract_version": "()",
    "trace_tree": "('00000000-0000-0000-0000-000000000001')",
    "span_ancestors": "('00000000-0000-0000-0000-000000000001', 1)",
    "span_descendants": "('00000000-0000-0000-0000-000000000001', 1)",
    "subtree_totals": "('00000000-0000-0000-0000-000000000001')",
    "deployments_before_rise": "()",
    **dict.fromkeys(READING, "('00000000-0000-0000-0000-000000000001')"),
    "contents_say": "(now(), '{00000000-0000-0000-0000-000000000001}', 'a')",
    "joined_contents": "(now(), '{00000000-0000-0000-0000-000000000001}')",
    "whole_attributes": "(now(), '{}', '{}')",
    "words_of_event": "('{}', '{}', '{}', '', '')",
    "words_of_text": "('')",
}
DENIED = ("42501", "42809", "55000")
"""No right; a view cannot be truncated; a view cannot be written."""


def today() -> int:
    """Counted from 1970; of the test, for a run may go on over midnight."""
    return (datetime.now(timezone.utc) - datetime(1970, 1, 1, tzinfo=timezone.utc)).days


@pytest.fixture
def new_role(server_dsn: str, dsn: str) -> Iterator[Callable[..., str]]:
    """Makes roles that can log in; they are gone at the end with all that is theirs."""
    made: list[str] = []

    def make(kind: str, options: str = "LOGIN") -> str:
        made.append(f"{kind}_{uuid.uuid4().hex[:8]}")
        execute(server_dsn, f"CREATE ROLE {made[-1]} {options}")
        return made[-1]

    yield make
    for role in made:  # first an owner, then those whom it granted something
        execute(dsn, f"DROP OWNED BY {role} CASCADE")
    for role in made:
        execute(server_dsn, f"DROP ROLE {role}")


def execute(dsn: str, *statements: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            done = connection.execute(statement.encode())
        return done.fetchall() if done.description else []


def seen(dsn: str, role: str) -> set[tuple[str, str]]:
    """Relation or function, and verb: what a role can do, found by doing it."""
    found = set()
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT c.relname, quote_ident(a.attname) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'otel'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND a.attnum = 1"
        ).fetchall()
        connection.execute(f"SET ROLE {role}")
        attempts = [
            (name, verb, STATEMENTS[verb].format(name=f"otel.{name}", column=column))
            for name, column in rows
            for verb in VERBS
        ]
        attempts += [(name, "EXECUTE", f"SELECT otel.{name}{call}") for name, call in CALLS.items()]
        for name, verb, statement in attempts:
            connection.execute("SAVEPOINT attempt")
            try:
                connection.execute(statement)
            except psycopg.Error as error:
                if error.sqlstate in DENIED:
                    continue
            finally:
                connection.execute("ROLLBACK TO attempt")
            found.add((name, verb))
    return found


EVERYBODYS = {(name, "EXECUTE") for name in WORDS}
"""For whoever sees the schema: they tell nothing but what they are given."""
READS = {(view, "SELECT") for view in CONTRACT_VIEWS} | {(name, "EXECUTE") for name in (*FUNCTIONS, *WHOLE, *WORDS)}
WRITES = {(table, "INSERT") for table in WRITTEN} | {("schema_migrations", "SELECT"), ("pruned", "SELECT")} | EVERYBODYS


def test_each_role_may_do_just_what_it_is_for(dsn, new_role):
    """Role × table, partition, view and function × verb: a role that has none, writer, reader, one of each, revoked."""
    database = Database(Settings(dsn=dsn))
    partitions.ensure(database, {today()})
    stranger, writer, reader, both, gone = map(new_role, ("stranger", "writer", "reader", "both", "gone"))
    grants.grant(database, writers=[writer, both, gone], readers=[reader, both, gone])
    grants.grant(database, writers=[writer], readers=[reader])  # once more does no harm
    grants.revoke(database, gone)
    partitions.ensure(database, {today() + 1})
    database.close()

    expected = {stranger: set(), writer: WRITES, reader: READS, both: WRITES | READS, gone: EVERYBODYS}
    assert expected == {role: seen(dsn, role) for role in expected}


def test_an_owner_that_is_no_superuser_may_do_all(dsn, new_role):
    """Handed over: every verb on every table, partition and view that takes it, migrations, partitions and grants."""
    database = Database(Settings(dsn=dsn))
    partitions.ensure(database, {today()})
    owner, reader = new_role("owner"), new_role("reader")
    grants.grant(database, owner=owner, readers=[reader])
    database.close()

    relations = {*TABLES, *(f"{table}_p{datetime.now(timezone.utc):%Y%m%d}" for table in PARTITIONED)}
    expected = {(name, verb) for name in relations for verb in VERBS} | {(view, "SELECT") for view in VIEWS}
    expected |= {(name, "EXECUTE") for name in (*FUNCTIONS, *READING)}
    # a view of one table can be written by its owner, as PostgreSQL has it
    expected |= {("tenant_resources", verb) for verb in ("INSERT", "UPDATE", "DELETE")}
    assert expected == seen(dsn, owner)
    theirs = execute(
        dsn,
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'otel'::regnamespace"
        " UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'otel'::regnamespace",
    )
    assert [(owner,)] == theirs

    mine = Database(Settings(dsn=make_conninfo(dsn, user=owner)))
    partitions.ensure(mine, {today() + 1})
    grants.tenancy(mine, True)
    grants.grant(mine, readers=[reader], tenants=["a"])
    assert READS == seen(dsn, reader)
    migrate.down(mine)
    mine.close()
    assert [] == execute(
        dsn, "SELECT relname FROM pg_class WHERE relnamespace = 'otel'::regnamespace AND relkind = 'p'"
    )


def test_everything_works_where_nobody_is_superuser(empty_dsn, server_dsn):
    """As on managed servers: a role with CREATEROLE migrates, makes the other roles, and its writer stores."""
    name = uuid.uuid4().hex[:8]
    owner, writer, reader = f"owner_{name}", f"writer_{name}", f"reader_{name}"
    database = conninfo_to_dict(empty_dsn)["dbname"]
    execute(server_dsn, f"CREATE ROLE {owner} LOGIN CREATEROLE", f"GRANT CREATE ON DATABASE {database} TO {owner}")
    try:
        mine = Settings(dsn=make_conninfo(empty_dsn, user=owner))
        migrate.up(mine)
        partitions.ahead(Database(mine), 1)
        grants.grant(mine, writers=[writer], readers=[reader], create=True)
        execute(empty_dsn, f"ALTER ROLE {writer} LOGIN", f"ALTER ROLE {reader} LOGIN")

        assert (READS, WRITES) == (seen(empty_dsn, reader), seen(empty_dsn, writer))
        store_one(make_conninfo(empty_dsn, user=writer))
        assert [("work",)] == execute(make_conninfo(empty_dsn, user=reader), "SELECT event_name FROM otel.spans")
    finally:
        for role in (reader, writer, owner):
            execute(empty_dsn, f"DROP OWNED BY {role} CASCADE")
            execute(server_dsn, f"DROP ROLE IF EXISTS {role}")


def store_one(dsn: str) -> dict[str, int]:
    """A span and a log record; what became of records, by cause."""
    spans, logs = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    telemetry = configure(dsn=dsn, auto_migrate=False, runs=False, tracer_provider=spans, logger_provider=logs)
    span = spans.get_tracer("test").start_span("work", attributes={"otel_pg.category": "task"})
    logs.get_logger("test").emit(body="done", event_name="told")
    span.end()
    telemetry.force_flush()
    telemetry.shutdown()
    return {name: count for name, count in telemetry.counts.items() if count}


@pytest.mark.parametrize("is_on", [False, True], ids=["all see all", "tenancy"])
def test_the_exporter_works_as_a_writer(dsn, new_role, is_on):
    """Spans and log records of a role that may only insert are stored, also while tenancy is on."""
    database = Database(Settings(dsn=dsn))
    partitions.ensure(database, {today(), today() + 1})
    writer = new_role("writer")
    grants.grant(database, writers=[writer])
    grants.tenancy(database, is_on)
    database.close()

    counts = store_one(make_conninfo(dsn, user=writer))

    assert not {"dropped", "spooled"} & {*counts}
    assert [("told", "log"), ("work", "span")] == execute(
        dsn, "SELECT event_name, record FROM otel.all_events ORDER BY 1"
    )


def test_a_writer_stores_what_is_indexed_by_words(empty_dsn):
    """It calls the functions that the index keeps, also where new functions are nobody's but their owner's."""
    execute(empty_dsn, "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    database = Database(Settings(dsn=empty_dsn))
    migrate.up(database)
    partitions.ensure(database, {today(), today() + 1})
    indexes.create("text", database)
    writer = f"writer_{uuid.uuid4().hex[:8]}"
    grants.grant(database, writers=[writer], create=True)
    database.close()
    execute(empty_dsn, f"ALTER ROLE {writer} LOGIN")
    try:
        counts = store_one(make_conninfo(empty_dsn, user=writer))

        assert not {"dropped", "spooled"} & {*counts}
        with EventQuery(Settings(dsn=empty_dsn)) as asking:
            assert ["told"] == [event.event_name for event in asking.events(text="done")]
    finally:
        execute(empty_dsn, f"DROP OWNED BY {writer} CASCADE", f"DROP ROLE {writer}")


def test_a_writer_needs_each_of_its_rights(dsn, new_role):
    """The counterpart: with one INSERT less nothing of a batch is stored."""
    database = Database(Settings(dsn=dsn))
    partitions.ensure(database, {today(), today() + 1})
    writer = new_role("writer")
    grants.grant(database, writers=[writer])
    database.close()
    execute(dsn, f"REVOKE INSERT ON otel.resources FROM {writer}")

    assert 2 == store_one(make_conninfo(dsn, user=writer))["spooled"]
    assert [] == execute(dsn, "SELECT FROM otel.all_events")


def test_what_a_later_step_adds_is_granted_to_those_who_had_the_like(dsn, new_role, monkeypatch):
    """A view, a table and a function of a later migration; a view that is made anew keeps its barrier."""
    from otel_pg_exporter import sql_files

    database = Database(Settings(dsn=dsn))
    reader, writer = new_role("reader"), new_role("writer")
    grants.grant(database, readers=[reader], writers=[writer])
    grants.tenancy(database, True)
    (definition,) = execute(dsn, "SELECT pg_get_viewdef('otel.errors'::regclass)")
    step = migrate.migrations()[-1]
    up = (
        "CREATE VIEW otel.later AS SELECT 1 AS one; CREATE TABLE otel.later_rows (one integer);"
        "CREATE FUNCTION otel.later_function() RETURNS integer LANGUAGE sql AS 'SELECT 1';"
        "REVOKE ALL ON FUNCTION otel.later_function() FROM PUBLIC;"
        f"CREATE OR REPLACE VIEW otel.errors AS {definition[0]}"
    )
    later = type(step)(step.version + 1, "later", up, "SELECT 1")
    granting = {
        "grant_reader": ";GRANT SELECT ON otel.later TO {role};GRANT EXECUTE ON FUNCTION otel.later_function TO {role}",
        "grant_writer": ";GRANT INSERT ON otel.later_rows TO {role}",
    }
    queries = sql_files._queries()
    for name, more in granting.items():  # what the author of a step adds to sql/queries/grants.sql
        monkeypatch.setitem(queries, name, queries[name] + more)
    sql_files.query.cache_clear()
    steps = (*migrate.migrations(), later)
    monkeypatch.setattr(migrate, "migrations", lambda: steps)
    try:
        assert [later.version] == [done.version for done in migrate.up(database)]
    finally:
        monkeypatch.undo()
        sql_files.query.cache_clear()
        database.close()

    mine = {(name, verb) for name, verb in seen(dsn, reader) | seen(dsn, writer) if name.startswith("later")}
    assert {("later", "SELECT"), ("later_rows", "INSERT")} == mine
    assert [(1,)] == execute(make_conninfo(dsn, user=reader), "SELECT otel.later_function()")
    assert [(["security_barrier=true"],)] == execute(dsn, "SELECT reloptions FROM pg_class WHERE relname = 'errors'")


def test_a_role_that_is_missing_is_named_with_the_statement_that_makes_it(dsn):
    """Nothing is granted, unless it is to be made."""
    with pytest.raises(ConfigurationError, match='CREATE ROLE "no_such_role" LOGIN'):
        grants.grant(Settings(dsn=dsn), readers=["no_such_role"])


def test_tenants_are_refused_while_every_reader_sees_all(dsn, new_role):
    """Whoever names a tenant believes that the others are hidden."""
    with pytest.raises(ConfigurationError, match="migrate tenants on"):
        grants.grant(Settings(dsn=dsn), readers=[new_role("reader")], tenants=["a"])


def test_one_who_does_not_own_the_views_is_told_who_does(dsn, new_role):
    """PostgreSQL would only warn."""
    beggar = new_role("beggar")
    execute(dsn, f"GRANT USAGE ON SCHEMA otel TO {beggar}; GRANT SELECT ON otel.spans TO {beggar}")

    with pytest.raises(AccessDenied, match="belong to postgres"):
        grants.grant(Settings(dsn=make_conninfo(dsn, user=beggar)), readers=[beggar])


def test_without_the_views_the_command_is_named(empty_dsn, new_role):
    """Tables of the first step alone have nothing for a reader."""
    migrate.up(Settings(dsn=empty_dsn), to=1)

    with pytest.raises(SchemaMismatch, match="otel-pg migrate up"):
        grants.grant(Settings(dsn=empty_dsn), readers=["pg_monitor"])


@pytest.mark.parametrize("role", ["", "x" * 64, "a\0b", "x$owner$; DROP"])
def test_a_name_that_cannot_be_a_roles_is_refused(role):
    """Before a statement is made of it."""
    with pytest.raises(ConfigurationError, match="is not allowed"):
        grants.Grant(readers=[role])


def test_one_name_is_one_role():
    """A text in place of a list is not its letters."""
    wanted = grants.Grant(readers="grafana", writers="app", tenants="acme")

    assert (["app", "grafana"], ("acme",)) == (wanted.roles, wanted.tenants)


def test_names_are_quoted(dsn, server_dsn):
    """Whatever a role or a tenant is called."""
    role, tenant = f"""it's "{uuid.uuid4().hex[:8]}" %s \\""", "o'x\\%s"
    try:
        grants.tenancy(Settings(dsn=dsn), True)
        grants.grant(Settings(dsn=dsn), readers=[role], writers=[role], tenants=[tenant], owner=role, create=True)

        assert {role: [tenant]} == grants.state(Settings(dsn=dsn)).tenants
    finally:
        quoted = '"' + role.replace('"', '""') + '"'
        execute(dsn, f"DROP OWNED BY {quoted} CASCADE", f"DROP ROLE {quoted}")


def test_a_prefix_has_roles_of_its_own(dsn, new_role):
    """Grants hold for the tables of one prefix."""
    reader = new_role("reader")
    prefixed = Settings(dsn=dsn, table_prefix="app_")
    migrate.up(prefixed)
    grants.grant(prefixed, readers=[reader])

    assert {(f"app_{name}", verb) for name, verb in READS if verb == "SELECT"} | EVERYBODYS == seen(dsn, reader)
    assert [(1,)] == execute(make_conninfo(dsn, user=reader), "SELECT otel.app_contract_version()")
