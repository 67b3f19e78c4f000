"""`otel-pg migrate grant`, `revoke` and `tenants`: who may store, who may read, and whose rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ..config import Settings
from ..errors import ConfigurationError
from .errors import plainly
from .tables import columns, print_lines

if TYPE_CHECKING:
    from ..sql_files import Names

__all__ = ["grant", "revoke", "tenants"]

_SQL = click.option("--sql", "as_sql", is_flag=True, help="Print the statements, for a DBA; connect to nothing.")


@click.command()
@click.option("--writer", "writers", metavar="ROLE", multiple=True, help="May store events, and nothing else.")
@click.option("--reader", "readers", metavar="ROLE", multiple=True, help="May read the views, and no table.")
@click.option("--owner", metavar="ROLE", help="Is to own the tables: may migrate, make partitions and grant.")
@click.option("--tenant", "tenants", metavar="TENANT", multiple=True, help="What the readers see while tenancy is on.")
@click.option("--every-tenant", is_flag=True, help="The readers see all rows, also those of no tenant.")
@click.option("--create", is_flag=True, help="Make roles that are missing; nobody can log in as one of these.")
@_SQL
@click.pass_obj
@plainly
def grant(
    settings: Settings,
    writers: tuple[str, ...],
    readers: tuple[str, ...],
    owner: str | None,
    tenants: tuple[str, ...],
    every_tenant: bool,
    create: bool,
    as_sql: bool,
) -> None:
    """Give roles just what they need. Each of the options for roles and tenants can be repeated, but for --owner."""
    from ..schema import grants

    try:
        wanted = grants.Grant(owner, writers, readers, tenants, every_tenant, create)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from None
    if as_sql:
        _print(wanted.statements(_names(settings)))
        return
    grants.grant(
        settings,
        owner=owner,
        writers=writers,
        readers=readers,
        tenants=tenants,
        every_tenant=every_tenant,
        create=create,
    )
    for role in writers:
        click.echo(f"{role} may store events")
    for role in readers:
        click.echo(f"{role} may read the views")
    if owner:
        click.echo(f"{owner} owns the tables")
    elif readers and not tenants and not every_tenant and (found := grants.state(settings)).is_on:
        for role in (role for role in readers if role not in found.tenants):
            click.echo(f"tenancy is on, and {role} has no --tenant: it sees no row", err=True)


@click.command()
@click.argument("roles", metavar="ROLE...", nargs=-1, required=True)
@_SQL
@click.pass_obj
@plainly
def revoke(settings: Settings, roles: tuple[str, ...], as_sql: bool) -> None:
    """Take back what writers and readers were granted."""
    from ..schema import grants

    if as_sql:
        _print(statement for role in roles for statement in grants.revoke_statements(_names(settings), role))
        return
    grants.revoke(settings, *roles)
    for role in roles:
        click.echo(f"{role} may neither store nor read")


@click.command()
@click.argument("switch", type=click.Choice(["on", "off"]), required=False)
@_SQL
@click.pass_obj
@plainly
def tenants(settings: Settings, switch: str | None, as_sql: bool) -> None:
    """Show who sees which tenants; on: let readers see the rows of theirs alone; off: let them see all."""
    from ..schema import grants

    if as_sql:
        if switch is None:
            raise click.UsageError("--sql goes with on or off")
        _print(grants.tenancy_statements(_names(settings), switch == "on"))
        return
    if switch is not None:
        grants.tenancy(settings, switch == "on")
    found = grants.state(settings)
    who = "the rows of their tenants alone" if found.is_on else "all rows"
    click.echo(f"tenancy is {'on' if found.is_on else 'off'}: readers see {who}")
    rows = [
        ("", (role, "(all)" if tenant is None else tenant)) for role, seen in found.tenants.items() for tenant in seen
    ]
    print_lines(columns("role tenant"), [rows])


def _names(settings: Settings) -> Names:
    from ..sql_files import Names

    return Names(settings.schema, settings.table_prefix)


def _print(statements: Iterable[str]) -> None:
    click.echo("BEGIN;")
    for statement in statements:
        click.echo(f"{statement};")
    click.echo("COMMIT;")
