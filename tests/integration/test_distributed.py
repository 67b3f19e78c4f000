"""What is asked of Citus, by functions of its names that note how they were called.

A real cluster is tried by hand: docs/scale.md says how.
"""

import psycopg
import pytest
from click.testing import CliRunner

from otel_pg_exporter import migrate
from otel_pg_exporter.cli import main
from otel_pg_exporter.config import Settings
from otel_pg_exporter.errors import ConfigurationError
from otel_pg_exporter.schema import distributed
from otel_pg_exporter.sql_files import EVENT_TABLES, PARTITIONED

STUBS = """
CREATE TABLE calls (number serial, function text, relation regclass, key text, beside text, shards int);
CREATE VIEW pg_dist_partition AS SELECT relation AS logicalrelid FROM calls;
CREATE FUNCTION create_distributed_table(
    table_name regclass, distribution_column text, distribution_type text DEFAULT 'hash',
    colocate_with text DEFAULT 'default', shard_count int DEFAULT NULL
) RETURNS void LANGUAGE sql AS
    'INSERT INTO public.calls (function, relation, key, beside, shards) VALUES (''spread'', $1, $2, $4, $5)';
CREATE FUNCTION create_reference_table(table_name regclass) RETURNS void LANGUAGE sql AS
    'INSERT INTO public.calls (function, relation) VALUES (''copy'', $1)';
CREATE FUNCTION create_distributed_function(function_name regprocedure) RETURNS void LANGUAGE sql AS
    'INSERT INTO public.calls (function, key) VALUES (''copy'', $1)';
"""
SEARCHED_WITH = [
    ("copy", None, "otel.words_of_event(json,json,jsonb,text,text)", None, None),
    ("copy", None, "otel.words_of_text(text)", None, None),
]


def calls(dsn):
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT function, relation::text, key, beside, shards FROM calls ORDER BY number"
        ).fetchall()


@pytest.fixture
def citus_dsn(empty_dsn):
    """A database that has what Citus calls its functions."""
    with psycopg.connect(empty_dsn) as connection:
        connection.execute(STUBS)
    return empty_dsn


def otel_pg(dsn, *arguments):
    return CliRunner().invoke(main, ["--dsn", dsn, *arguments])


def test_tables_are_spread_by_trace_beside_each_other(citus_dsn):
    """The first with so many shards, the others where its shards are; what rows share is copied everywhere, and before
    all that the functions that they are searched with."""
    result = otel_pg(citus_dsn, "migrate", "up", "--distributed", "citus", "--shards", "4")

    assert result.exit_code == 0, result.output
    assert sorted(calls(citus_dsn)[:2]) == SEARCHED_WITH
    assert calls(citus_dsn)[2:] == [
        ("spread", "otel.events", "trace_id", "none", 4),
        ("spread", "otel.task_events", "trace_id", '"otel"."events"', None),
        ("spread", "otel.agent_events", "trace_id", '"otel"."events"', None),
        ("spread", "otel.deployment_events", "trace_id", '"otel"."events"', None),
        ("spread", "otel.open_spans", "trace_id", '"otel"."events"', None),
        ("copy", "otel.resources", None, None, None),
        ("copy", "otel.scopes", None, None, None),
    ]
    assert "distributed agent_events" in result.output


def test_a_second_time_there_is_nothing_to_do(citus_dsn):
    """Tables that are distributed stay as they are; of functions Citus itself sees that it has them."""
    otel_pg(citus_dsn, "migrate", "up", "--distributed", "citus")

    again = otel_pg(citus_dsn, "migrate", "up", "--distributed", "citus")

    assert again.output == "nothing to do\n"
    assert len(calls(citus_dsn)) == 2 + 7 + 2
    assert sorted(calls(citus_dsn)[9:]) == SEARCHED_WITH


def test_what_is_missing_is_spread_beside_what_is_there(citus_dsn):
    """Half of the tables, distributed by hand: the others go where they are."""
    settings = Settings(dsn=citus_dsn, schema="table", table_prefix="p_")
    migrate.up(settings)
    with psycopg.connect(citus_dsn) as connection:
        connection.execute("""SELECT create_distributed_table('"table".p_task_events', 'trace_id')""")

    done = distributed.distribute(settings)

    assert done == ["events", "agent_events", "deployment_events", "open_spans", "resources", "scopes"]
    assert calls(citus_dsn)[3] == ("spread", '"table".p_events', "trace_id", '"table"."p_task_events"', None)


def test_a_failure_distributes_nothing(citus_dsn):
    """All tables or none: the last call fails, and the first have not happened."""
    with psycopg.connect(citus_dsn) as connection:
        connection.execute(
            "CREATE OR REPLACE FUNCTION create_reference_table(table_name regclass) RETURNS void LANGUAGE plpgsql AS"
            " 'BEGIN RAISE EXCEPTION ''a node is away''; END'"
        )

    result = otel_pg(citus_dsn, "migrate", "up", "--distributed", "citus")

    assert result.exit_code == 1
    assert "a node is away" in result.output
    assert calls(citus_dsn) == []


def test_a_database_without_citus_is_told_apart(empty_dsn):
    """It says what to install where; the tables are there and as they were."""
    result = otel_pg(empty_dsn, "migrate", "up", "--distributed", "citus")

    assert result.exit_code == 1
    assert "has no Citus. Install it on all servers, and there: CREATE EXTENSION citus" in result.output
    with pytest.raises(ConfigurationError):
        distributed.distribute(Settings(dsn=empty_dsn))


@pytest.mark.parametrize("options", [["--shards", "4"], ["--distributed", "citus", "--to", "1"]])
def test_options_that_do_not_go_together_are_refused(empty_dsn, options):
    """As wrong usage, before anything is done."""
    result = otel_pg(empty_dsn, "migrate", "up", *options)

    assert result.exit_code == 2


def test_tables_that_are_spread_have_what_citus_asks_for(dsn):
    """Each unique key holds the trace, no trigger, no foreign key, no sequence, and a trace in every row."""
    spread = [*distributed.BY_TRACE]
    assert {*EVENT_TABLES} < {*spread} < {*PARTITIONED}
    with psycopg.connect(dsn) as connection:
        unique = connection.execute(
            "SELECT c.relname, bool_or(a.attname = 'trace_id') FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)"
            " WHERE i.indisunique AND c.relnamespace = 'otel'::regnamespace AND c.relname = ANY (%s)"
            " GROUP BY 1, i.indexrelid",
            [spread],
        ).fetchall()
        odd = connection.execute(
            "SELECT conname FROM pg_constraint WHERE contype = 'f' AND connamespace = 'otel'::regnamespace"
            " UNION ALL SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
            " WHERE NOT tgisinternal AND c.relnamespace = 'otel'::regnamespace"
            " UNION ALL SELECT relname FROM pg_class WHERE relkind = 'S' AND relnamespace = 'otel'::regnamespace"
        ).fetchall()
        optional = connection.execute(
            "SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE a.attname = 'trace_id'"
            " AND NOT a.attnotnull AND c.relnamespace = 'otel'::regnamespace AND c.relname = ANY (%s)",
            [spread],
        ).fetchall()
    assert [("open_spans", True)] == unique
    assert [] == odd == optional
