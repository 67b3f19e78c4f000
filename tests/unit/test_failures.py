"""Each class of PostgreSQL's errors leads to what has to be done about it."""

from __future__ import annotations

import traceback

import psycopg
import pytest

from otel_pg_exporter.config import Settings
from otel_pg_exporter.database.connecting import connect
from otel_pg_exporter.database.failures import translate
from otel_pg_exporter.errors import AccessDenied, DatabaseError, DatabaseUnavailable, DataRefused, SchemaMismatch

SETTINGS = Settings(dsn="host=h user=ada dbname=shop password=secret")

CLASSES = {
    DatabaseUnavailable: "08000 08003 08006 25006 25P03 40001 40P01 53000 53100 53200 53300 55000 55P03 57014 57P01"
    " 57P02 57P03 57P05 58000 58030 XX000 XX001",
    AccessDenied: "28000 28P01 3D000 42501",
    SchemaMismatch: "3F000 42P01 42703 42804 42883",
    DataRefused: "22001 22003 22021 22P02 22P03 22P05 23502 23503 23505 23514 23P01 54000",
    DatabaseError: "0A000 42601 P0001 ZZ999",
}


class Diagnosis:
    """What the server says beside its message."""

    message_primary, context, constraint_name = "refused", None, "rule"


def refused(state, text="refused", **said):
    error = psycopg.Error(text)
    error.sqlstate = state
    diagnosis = type("Said", (Diagnosis,), {"message_primary": text, **said})
    return type("Refused", (type(error),), {"sqlstate": state, "diag": diagnosis, "__str__": lambda self: text})(text)


@pytest.mark.parametrize(
    ("state", "kind"), [(state, kind) for kind, states in CLASSES.items() for state in states.split()]
)
def test_each_code_has_its_class(state, kind):
    """A code is worth another try, needs a person, or is the row's fault; an unknown one is none of these."""
    found = translate(refused(state), SETTINGS)

    assert (kind, state) == (type(found), found.sqlstate)
    assert "secret" not in str(found)


def test_a_row_without_a_partition_is_no_bad_row():
    """The check violation that names no constraint is a partition that is still to be made."""
    found = translate(refused("23514", constraint_name=None), SETTINGS)

    assert DatabaseError is type(found)


ADVICE = {
    'FATAL: no pg_hba.conf entry for host "1.2.3.4", user "ada", database "shop"': 'a line for role "ada"',
    'FATAL: password authentication failed for user "ada"': "Set POSTGRES_PASSWORD",
    'FATAL: database "shop" does not exist': 'CREATE DATABASE "shop"',
    'FATAL: role "ada" is not permitted to log in': 'ALTER ROLE "ada" LOGIN',
    'FATAL: permission denied for database "shop"': 'GRANT CONNECT ON DATABASE "shop" TO "ada"',
    "FATAL: sorry, too many clients already": "raise max_connections",
    "FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute": "raise max_connections",
}


@pytest.mark.parametrize("text", ADVICE)
def test_what_a_server_says_while_it_is_connected_to_has_no_code(text):
    """Its text tells what is wrong, and the message what to do."""
    assert ADVICE[text] in str(translate(psycopg.OperationalError(text), SETTINGS))


@pytest.mark.parametrize(
    ("text", "right", "statement"),
    [
        ("permission denied for table events", "INSERT", 'GRANT INSERT ON "otel"."events" TO "ada"'),
        ("permission denied for table events", "SELECT", 'GRANT SELECT ON "otel"."events" TO "ada"'),
        ("permission denied for table schema_migrations", "INSERT", 'SELECT ON "otel"."schema_migrations" TO "ada"'),
        ("permission denied for schema otel", "INSERT", 'GRANT USAGE ON SCHEMA "otel" TO "ada"'),
        ("permission denied for database shop", "SELECT", 'GRANT CREATE ON DATABASE "shop" TO "ada"'),
        ("must be owner of table events", "INSERT", "a member of the owner's role"),
    ],
)
def test_a_missing_right_is_named_as_the_statement_that_grants_it(text, right, statement):
    """As the owner has to run it."""
    assert statement in str(translate(refused("42501", text), SETTINGS, right))


@pytest.mark.parametrize(
    ("context", "place"),
    [
        ("COPY task_events, line 301", ("task_events", 301)),
        ("COPY a2_events, Zeile 7, Spalte attributes", ("a2_events", 7)),
        ("JSON data, line 1: x\nCOPY events, line 11, column body", ("events", 11)),
        ("SQL function f", None),
        (None, None),
    ],
)
def test_the_place_of_a_refused_row_is_read_in_any_language(context, place):
    """Table and line stand in the last line of the context."""
    assert place == translate(refused("22P05", context=context), SETTINGS).place


def test_what_a_trigger_raises_at_a_row_is_about_the_row():
    """Without a place, as in a trigger for each statement, it may mean anything, and the batch waits."""
    said = "PL/pgSQL function no() line 1 at RAISE"
    found = translate(refused("P0001", context=f"{said}\nCOPY task_events, line 3"), SETTINGS)

    assert (DataRefused, ("task_events", 3)) == (type(found), found.place)
    assert DatabaseError is type(translate(refused("P0001", context=said), SETTINGS))


def test_what_the_driver_says_in_lines_becomes_sentences():
    """Lines that go on with a small letter belong to the one before."""
    said = "connection failed: Connection refused\n\tIs the server running on that host\n\tand accepting connections?\n"

    message = str(translate(psycopg.OperationalError(said), SETTINGS))

    assert message.endswith(
        "dbname=shop password=***: Connection refused. Is the server running on that host and accepting connections?"
    )


def test_a_table_of_locks_that_is_full_is_named():
    """PostgreSQL says that it is out of shared memory; what that has to do with partitions is for us to say."""
    message = str(translate(refused("53200", message_primary="out of shared memory"), SETTINGS))

    assert "raise max_locks_per_transaction" in message
    assert "otel-pg partitions prune" in message


AT = 'connection to server at "1.2.3.4", port 5432 failed: '


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f'connection failed: {AT}FATAL:  database "shop" does not exist\n', ': database "shop" does not exist. Set'),
        (f"connection failed: {AT}Connection refused\n", f": {AT}Connection refused"),
        ("connection is bad: no such file\n", "***: no such file"),
        (
            f"connection failed: {AT}Connection refused\n{AT}FATAL:  the database system is starting up\n",
            f": {AT}Connection refused {AT}FATAL:  the database system is starting up",
        ),
    ],
)
def test_what_is_said_already_is_not_said_again(said, told):
    """That the connection failed; and where, if it is the server that refused it. Of several places each is told."""
    message = str(translate(psycopg.OperationalError(said), SETTINGS))

    assert "dbname=shop" in message
    assert told in message
    assert "connection failed" not in message


def test_the_place_in_our_statement_is_left_out():
    """The line that PostgreSQL quotes is of no use to who reads the log."""
    text = "permission denied for schema otel\nLINE 1: SELECT version FROM otel.schema_migrations\n                ^"

    message = str(translate(refused("42501", text, message_primary="permission denied for schema otel"), SETTINGS))

    assert "permission denied for schema otel. GRANT USAGE" in message


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://ada:planted%ZZ@h/shop",
        "postgresql://ada:plan zzyx@h/shop",
        "postgresql://ada:plan%00zzyx@h/shop",
        "host=h user=ada password=plan zzyx dbname=shop",
        "host=h user=ada password='planted dbname=shop",
        "host=h pasword=planted",
        "postgresql://ada@h/shop?pasword=planted%ZZ",
    ],
)
def test_what_libpq_quotes_of_a_password_is_told_to_nobody(dsn):
    """It is the first thing that is wrong with a password that is not encoded; nor is it in the traceback."""
    with pytest.raises(DatabaseUnavailable) as told:
        connect(dsn, Settings(dsn=dsn))

    raised = "".join(traceback.format_exception(told.value)).splitlines()[-1]
    assert told.value.__suppress_context__
    assert not [word for word in ("planted", "zzyx") if word in raised]


def test_a_parameter_that_libpq_does_not_know_is_named():
    """It is shown where the database is, so it is none of the password."""
    dsn = "postgresql://h/shop?tiemout=5"
    with pytest.raises(DatabaseUnavailable, match='invalid URI query parameter: "tiemout"'):
        connect(dsn, Settings(dsn=dsn))


def test_what_the_driver_said_is_the_cause_of_other_errors():
    """Where a server is away, for instance: it quotes nothing of a password."""
    with pytest.raises(DatabaseUnavailable) as told:
        connect("host=127.0.0.1 port=1 password=planted", SETTINGS)

    assert isinstance(told.value.__cause__, psycopg.OperationalError)
    assert "planted" not in str(told.value.__cause__)
