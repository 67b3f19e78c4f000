"""Who may do what with the tables: an owner, writers that only insert, readers that see the views and no table.

    from otel_pg_exporter import grants
    grants.grant(writers=["app"], readers=["grafana"])         # as the environment says
    grants.tenancy(True)
    grants.grant(readers=["acme"], tenants=["acme"])           # sees the rows of that tenant alone

Roles belong to the whole server and not everybody may make them: they are there already, or are made with
`create=True`. What later migrations add is granted by the migration to whoever had the like before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..config import Settings
from ..database import Database, opened
from ..errors import AccessDenied, ConfigurationError, SchemaMismatch
from ..sql_files import CONTRACT_VIEWS, FUNCTIONS, READING, TABLES, TYPES, VIEWS, Names, bind, query, quote

__all__ = [
    "Grant",
    "State",
    "grant",
    "renew",
    "revoke",
    "revoke_statements",
    "state",
    "tenancy",
    "tenancy_statements",
]

_BARRIERS = (*CONTRACT_VIEWS, "event_rows")
_NAME_BYTES = 63


@dataclass(frozen=True)
class Grant:
    """Rights to be given."""

    owner: str | None = None
    """Role that is to own tables, partitions, views and functions."""
    writers: Sequence[str] = ()
    """Roles that are to store events."""
    readers: Sequence[str] = ()
    """Roles that are to read the views."""
    tenants: Sequence[str] = ()
    """Tenants whose rows these readers see while tenancy is on."""
    every_tenant: bool = False
    """Let these readers see all rows, also those of no tenant."""
    create: bool = False
    """Make the roles that are missing; they cannot log in."""

    def __post_init__(self) -> None:
        for name in ("writers", "readers", "tenants"):
            if isinstance(given := getattr(self, name), str):  # one name, not its letters
                object.__setattr__(self, name, (given,))
        if not self.roles:
            raise ConfigurationError("no role is named; needed is an owner, a writer or a reader")
        for role in self.roles:
            _check(role)
        if (self.tenants or self.every_tenant) and not self.readers:
            raise ConfigurationError("tenants are for readers, and no reader is named")

    @property
    def roles(self) -> list[str]:
        """All of them, each once."""
        return list(dict.fromkeys([*self.writers, *self.readers, *([self.owner] if self.owner else [])]))

    def statements(self, names: Names, known: Iterable[str] = ()) -> list[str]:
        """The SQL, to be run as one transaction by the owner of the tables or a superuser.

        Args:
            names: of the tables.
            known: roles that are there and need not be made.
        """
        found = [_for_role("create_role", names, role) for role in self.roles if self.create and role not in known]
        found += [_for_role("grant_writer", names, role) for role in self.writers]
        for role in self.readers:
            found.append(_for_role("grant_reader", names, role))
            for tenant in (*self.tenants, *([None] if self.every_tenant else [])):
                found.append(bind(query("map_tenant", names), {"role": role, "tenant": tenant}))
        if self.owner:
            found.append(_owner(names, self.owner))  # last: whoever hands over may grant no more
        return found


@dataclass(frozen=True)
class State:
    """Who sees what."""

    is_on: bool
    """Whether readers see the rows of their tenants alone."""
    tenants: dict[str, list[str | None]]
    """Role → its tenants; None for all rows."""


def grant(
    where: Settings | Database | None = None,
    *,
    owner: str | None = None,
    writers: Sequence[str] = (),
    readers: Sequence[str] = (),
    tenants: Sequence[str] = (),
    every_tenant: bool = False,
    create: bool = False,
    **overrides: Any,
) -> None:
    """Give roles what they need, in one transaction; once more does no harm. The arguments are those of `Grant`, and
    fields of `Settings` in place of `where`.

    Raises:
        ConfigurationError: a role is missing, or tenants are named while tenancy is off.
        SchemaMismatch: the tables are older than the views.
        AccessDenied: this needs the owner of the tables, and `create` the right CREATEROLE.
    """
    wanted = Grant(owner, writers, readers, tenants, every_tenant, create)
    with opened(where, **overrides) as database, database.connection() as connection:
        _require_contract(database, connection)
        known = _known(database, connection, wanted.roles)
        missing = [role for role in wanted.roles if role not in known]
        if missing and not create:
            made = "; ".join(f"CREATE ROLE {quote(role)} LOGIN" for role in missing)
            raise ConfigurationError(f"there is no role {', '.join(map(quote, missing))}. Make it first: {made}")
        if (wanted.tenants or every_tenant) and not _is_on(database, connection):
            raise ConfigurationError(
                "tenancy is off, every reader sees all rows. Run first: otel-pg migrate tenants on"
            )
        _run(connection, wanted.statements(database.names, known))
        inside = {"roles": wanted.roles, "schema": database.names.schema}
        if shut_out := [row["role"] for row in connection.execute(database.sql("shut_out").encode(), inside)]:
            statement = f"GRANT USAGE ON SCHEMA {quote(database.names.schema)} TO {', '.join(map(quote, shut_out))}"
            raise AccessDenied(f"the schema is not ours to grant; let its owner run: {statement}")


def revoke(where: Settings | Database | None = None, *roles: str, **overrides: Any) -> None:
    """Take back what roles were granted as writers and readers, and their tenants.

    Raises:
        ConfigurationError: a role is not there; nothing is taken back then.
    """
    with opened(where, **overrides) as database, database.connection() as connection:
        _require_contract(database, connection)
        known = _known(database, connection, roles)
        if missing := [role for role in roles if role not in known]:
            raise ConfigurationError(f"there is no role {', '.join(map(quote, missing))}")
        for role in roles:
            _run(connection, revoke_statements(database.names, role))


def revoke_statements(names: Names, role: str) -> list[str]:
    """The SQL of `revoke`, to be run as one transaction."""
    _check(role)
    return [_for_role("revoke_role", names, role), bind(query("forget_reader", names), {"role": role})]


def tenancy(where: Settings | Database | None = None, on: bool = True, **overrides: Any) -> None:
    """Let each reader see the rows of its tenants alone, or let all readers see all rows again."""
    with opened(where, **overrides) as database, database.connection() as connection:
        _require_contract(database, connection)
        _run(connection, tenancy_statements(database.names, on))


def tenancy_statements(names: Names, on: bool) -> list[str]:
    """The SQL of `tenancy`, to be run as one transaction."""
    if not on:
        return [query("tenancy_off", names), *_barriers("lower_barrier", names)]
    return [query("tenancy_on", names), *_barriers("raise_barrier", names)]


def state(where: Settings | Database | None = None, **overrides: Any) -> State:
    """Whether tenancy is on, and who sees which tenants. Changes nothing."""
    with opened(where, **overrides) as database, database.connection() as connection:
        _require_contract(database, connection)
        is_on = _is_on(database, connection)
        tenants: dict[str, list[str | None]] = {}
        for row in connection.execute(database.sql("tenant_readers").encode()).fetchall():
            tenants.setdefault(row["role"], []).append(row["tenant"])
    return State(is_on, tenants)


def renew(database: Database, connection: Any) -> None:
    """After a migration, give what it added to whoever had the like, and raise the barriers again."""
    if not _contract_owner(database, connection):
        return
    names = database.names
    parameters = {
        "schema": names.schema,
        "view": f"{names.prefix}spans",
        "table": f"{names.prefix}event_batches",
    }
    for row in connection.execute(database.sql("granted_roles").encode(), parameters).fetchall():
        _run(connection, [_for_role("grant_reader" if row["is_reader"] else "grant_writer", names, row["role"])])
    if _is_on(database, connection):
        _run(connection, tenancy_statements(names, True))


def _owner(names: Names, role: str) -> str:
    objects = [names.prefix + name for name in (*TABLES, *VIEWS, *TYPES, *FUNCTIONS, *READING)]
    literals = ", ".join(f"'{name}'" for name in objects)
    filled = _for_role("grant_owner", names, role).replace("{names}", literals)
    filled = filled.replace("{schema_name}", f"'{names.schema}'")
    return filled.replace("{role_name}", bind("%(role)s", {"role": role}).strip())


def _for_role(statement: str, names: Names, role: str | None) -> str:
    return query(statement, names).replace("{role}", "PUBLIC" if role is None else quote(role))


def _barriers(statement: str, names: Names) -> list[str]:
    return [query(statement, names).replace("{view}", names.table(view)) for view in _BARRIERS]


def _check(role: str) -> None:
    # $owner$ would end the quotation in which the name stands
    if not role or "\0" in role or "$owner$" in role or len(role.encode()) > _NAME_BYTES:
        raise ConfigurationError(f"role {role!r:.80} is not allowed; allowed is a name of at most {_NAME_BYTES} bytes")


def _known(database: Database, connection: Any, roles: Iterable[str]) -> set[str]:
    """Which of the roles are there."""
    rows = connection.execute(database.sql("known_roles").encode(), {"roles": [*roles]}).fetchall()
    return {row["role"] for row in rows}


def _require_contract(database: Database, connection: Any) -> None:
    where = f"schema {database.settings.schema!r} of {database.settings.target}"
    found = _contract_owner(database, connection)
    if not found:
        raise SchemaMismatch(f"{where} has no views. Run: otel-pg migrate up")
    if not found[0]["is_ours"]:
        # PostgreSQL only warns when one who is not the owner grants
        raise AccessDenied(f"the views in {where} belong to {found[0]['owner']}, who alone can do this")


def _contract_owner(database: Database, connection: Any) -> list[dict[str, Any]]:
    parameters = {"schema": database.names.schema, "view": f"{database.names.prefix}spans"}
    rows: list[dict[str, Any]] = connection.execute(database.sql("contract_owner").encode(), parameters).fetchall()
    return rows


def _is_on(database: Database, connection: Any) -> bool:
    (row,) = connection.execute(database.sql("tenancy_state").encode()).fetchall()
    return bool(row["is_on"])


def _run(connection: Any, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(statement.encode())
