"""The tables: created, upgraded and taken back, step by step.

Each step of sql/migrations and its record in `schema_migrations` are one transaction, under a lock that
ends with it: twenty processes that start at once apply each step once, also behind PgBouncer.

    from otel_pg_exporter import migrate
    migrate.up()        # as the environment says; or migrate.up(schema="telemetry")
    migrate.status()
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from ..config import Settings
from ..database import Database, opened
from ..errors import AccessDenied, SchemaMismatch
from ..sql_files import Migration, migrations
from . import grants, obstacles

__all__ = ["Step", "down", "ensure", "show", "status", "up"]

_STEP_SECONDS = 3600.0
"""A role's own limit for statements must not keep a step from its end."""
_ASK_SECONDS = 5.0


@dataclass(frozen=True)
class Step:
    """One migration, applied or not."""

    version: int
    name: str
    applied_at: datetime | None
    """None if it is still to be applied."""


def up(where: Settings | Database | None = None, *, to: int | None = None, **overrides: Any) -> list[Step]:
    """Apply the steps that are missing, up to version `to`; gives those that this call applied.

    Args:
        where: settings; default the environment's.
        to: a version; default the newest.
        overrides: fields of `Settings`, in place of `where`: dsn, schema, table_prefix …

    Raises:
        AccessDenied: the role may not create the schema or its tables.
        SchemaMismatch: the tables are newer than this library.
        DatabaseError: the server refused; the failing step has left no trace.
    """
    with opened(where, **overrides) as database:
        _status(database)  # a role that may not read it would be told that the tables are of an earlier version
        return _up(database, to)


def down(where: Settings | Database | None = None, *, to: int = 0, **overrides: Any) -> list[Step]:
    """Take back the steps above version `to`, newest first, with what their tables hold; arguments as of `up`."""
    with opened(where, **overrides) as database:
        return _down(database, to)


def status(where: Settings | Database | None = None, **overrides: Any) -> list[Step]:
    """Every step, oldest first. Changes nothing; arguments as of `up`."""
    with opened(where, **overrides) as database:
        return _status(database)


def show(schema: str = "otel", prefix: str = "") -> str:
    """The SQL of all steps for a schema and a prefix, to be read or run by hand."""
    names = Database(Settings(schema=schema, table_prefix=prefix)).names
    return "\n".join(f"-- {step.version:04d} {step.name}\n{names.fill(step.up)}" for step in migrations())


def ensure(database: Database) -> None:
    """Bring the tables to this version, or say why they are not: what an exporter does on first use.

    Raises:
        SchemaMismatch: the tables are older and `auto_migrate` is off, or they are newer.
    """
    applied = {step.version for step in _status(database) if step.applied_at}
    missing = [step for step in migrations() if step.version not in applied]
    if missing and not database.settings.auto_migrate:
        raise SchemaMismatch(
            f"schema {database.settings.schema!r} of {database.settings.target} lacks migration"
            f" {missing[0].version:04d} and EVENT_AUTO_MIGRATE is off. Run: otel-pg migrate up"
        )
    if missing:
        _up(database, None)


def _up(database: Database, to: int | None) -> list[Step]:
    wanted = [step for step in migrations() if to is None or step.version <= to]
    try:
        done = [step for _ in wanted if (step := _apply(database, wanted))]
    except AccessDenied as error:
        # of a schema the server says that something is denied, but not what
        found, _ = obstacles.ask_before(database, _ASK_SECONDS)
        if not found:
            raise
        said = str(error.__cause__).partition("\n")[0]
        raise AccessDenied(f"{database.settings.target}: {said}: {found[0]}", sqlstate=error.sqlstate) from error
    applied = {step.version: step for step in _status(database)}
    return [applied[step.version] for step in done]


def _down(database: Database, to: int) -> list[Step]:
    unwanted = [step for step in reversed(migrations()) if step.version > to]
    reverted = [step for _ in unwanted if (step := _revert(database, unwanted))]
    return [Step(step.version, step.name, None) for step in reverted]


def _status(database: Database) -> list[Step]:
    with database.connection() as connection:
        known = _applied(database, connection)
    newest = max((step.version for step in migrations()), default=0)
    if known and max(known) > newest:
        raise SchemaMismatch(
            f"schema {database.settings.schema!r} of {database.settings.target} has migration {max(known):04d};"
            f" this version of otel-pg-exporter knows {newest:04d}. Upgrade it: pip install -U otel-pg-exporter"
        )
    return [Step(step.version, step.name, known.get(step.version)) for step in migrations()]


def _apply(database: Database, wanted: list[Migration]) -> Migration | None:
    """Apply the first that is missing now, whatever others have applied and taken back since the one before it."""
    with database.until(monotonic() + _STEP_SECONDS).connection() as connection:
        connection.execute(database.sql("lock_schema").encode(), {"key": database.names.lock_key})
        applied = _applied(database, connection)
        step = next((step for step in wanted if step.version not in applied), None)
        if step is None:
            return None
        schema = {"schema": database.names.schema}
        row = connection.execute(database.sql("has_schema").encode(), schema).fetchone()
        if not (row and row["present"]):
            connection.execute(database.sql("create_schema").encode())
        connection.execute(database.sql("create_migrations_table").encode())
        connection.execute(database.sql("comment_migrations_table").encode())
        connection.execute(database.names.fill(step.up).encode())
        grants.renew(database, connection)
        connection.execute(database.sql("record_migration").encode(), {"version": step.version, "name": step.name})
    return step


def _revert(database: Database, unwanted: list[Migration]) -> Migration | None:
    """Take back the first, the newest, that is applied now."""
    with database.until(monotonic() + _STEP_SECONDS).connection() as connection:
        connection.execute(database.sql("lock_schema").encode(), {"key": database.names.lock_key})
        applied = _applied(database, connection)
        step = next((step for step in unwanted if step.version in applied), None)
        if step is None:
            return None
        connection.execute(database.names.fill(step.down).encode())
        connection.execute(database.sql("forget_migration").encode(), {"version": step.version})
        if not _applied(database, connection):
            connection.execute(database.sql("drop_migrations_table").encode())
    return step


def _applied(database: Database, connection: Any) -> dict[int, datetime]:
    table = {"schema": database.names.schema, "table": f"{database.names.prefix}schema_migrations"}
    row = connection.execute(database.sql("has_migrations_table").encode(), table).fetchone()
    if not row["present"]:
        return {}
    rows = connection.execute(database.sql("applied_migrations").encode()).fetchall()
    return {row["version"]: row["applied_at"] for row in rows}
