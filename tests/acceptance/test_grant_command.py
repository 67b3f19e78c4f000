"""`otel-pg migrate grant`, `revoke` and `tenants` as they are typed, and the SQL that they print."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import make_conninfo

from otel_pg_exporter.cli import main


class Shell:
    """Commands for one database, and role names that end in something that no other test uses."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.end = uuid.uuid4().hex[:8]

    def __call__(self, line: str, code: int = 0) -> str:
        """What a command says; a name with @ after it is that of a role of this test."""
        arguments = line.replace("@", f"_{self.end}").split()
        done = CliRunner().invoke(main, ["--dsn", self.dsn, "migrate", *arguments])
        assert code == done.exit_code, done.output
        return done.output.replace(f"_{self.end}", "@")

    def rights(self, role: str) -> set[tuple[str, str]]:
        """What the catalogue says that a role was granted."""
        with psycopg.connect(self.dsn) as connection:
            return set(
                connection.execute(
                    "SELECT c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a"
                    " WHERE c.relnamespace = 'otel'::regnamespace AND a.grantee = %s::regrole"
                    " UNION SELECT p.proname, a.privilege_type FROM pg_proc p, aclexplode(p.proacl) a"
                    " WHERE p.pronamespace = 'otel'::regnamespace AND a.grantee = %s::regrole",
                    [role, role],
                ).fetchall()
            )


@pytest.fixture
def migrate(dsn: str) -> Iterator[Shell]:
    """The command; its roles are gone at the end."""
    shell = Shell(dsn)
    yield shell
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows: Any = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"%{shell.end}"])
        for (role,) in rows.fetchall():
            connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_roles_are_made_given_what_they_need_and_deprived_of_it(migrate):
    """Without --create a role that is missing is named; a reader of tenants waits for tenancy."""
    assert 'CREATE ROLE "app@" LOGIN' in migrate("grant --writer app@", 1)
    assert "app@ may store events\nbi@ may read the views\n" == migrate("grant --writer app@ --reader bi@ --create")
    assert "otel-pg migrate tenants on" in migrate("grant --reader acme@ --tenant acme --create", 1)
    assert "tenancy is on: readers see the rows of their tenants alone\n" == migrate("tenants on")
    assert "acme@ may read the views\n" == migrate("grant --reader acme@ --tenant acme --create")
    assert "bi@ has no --tenant: it sees no row" in migrate("grant --reader bi@")
    shown = migrate("tenants")
    assert "acme@" in shown
    assert "bi@" not in shown
    assert "bi@ may neither store nor read\n" == migrate("revoke bi@")
    assert set() == migrate.rights(f"bi_{migrate.end}")
    assert "readers see all rows" in migrate("tenants off")
    assert "no role is named" in migrate("grant", 2)
    assert "no reader is named" in migrate("grant --writer app@ --tenant a", 2)


def test_the_sql_that_is_printed_does_the_same(migrate):
    """What a DBA is sent: run as it is, with nothing of ours, it gives the rights that the command gives."""
    printed = migrate("grant --writer dba_app@ --reader dba_bi@ --tenant acme --create --sql")
    printed += migrate("tenants on --sql")
    migrate("grant --writer app@ --reader bi@ --create")

    with psycopg.connect(migrate.dsn, autocommit=True) as connection:
        connection.execute(printed.replace("@", f"_{migrate.end}").encode())

    for role in ("app", "bi"):
        given = migrate.rights(f"{role}_{migrate.end}")
        assert given
        assert given == migrate.rights(f"dba_{role}_{migrate.end}")
    assert "dba_bi@" in migrate("tenants")
    with psycopg.connect(migrate.dsn, autocommit=True) as connection:
        connection.execute(migrate("revoke dba_bi@ --sql").replace("@", f"_{migrate.end}").encode())
        connection.execute(migrate("tenants off --sql").encode())
    assert set() == migrate.rights(f"dba_bi_{migrate.end}")
    assert "tenancy is off: readers see all rows\n" == migrate("tenants")


def test_the_sql_that_hands_over_does_so(migrate):
    """The new owner may grant; it needs no connection to be printed."""
    printed = migrate("grant --owner boss@ --create --sql").replace("@", f"_{migrate.end}")
    with psycopg.connect(migrate.dsn, autocommit=True) as connection:
        connection.execute(printed.encode())
        connection.execute(f"ALTER ROLE boss_{migrate.end} LOGIN CREATEROLE")
    migrate.dsn = make_conninfo(migrate.dsn, user=f"boss_{migrate.end}")

    assert "bi@ may read the views\n" == migrate("grant --reader bi@ --create")


def test_a_command_that_names_what_it_cannot_use_says_so(migrate):
    """--sql of tenants needs a switch, and a role has to be there to be deprived."""
    assert 'there is no role "nobody_at_all"' in migrate("revoke nobody_at_all", 1)
    assert "--sql goes with on or off" in migrate("tenants --sql", 2)
