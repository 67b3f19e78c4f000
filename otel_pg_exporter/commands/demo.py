"""`otel-pg demo`: something to look at."""

from __future__ import annotations

import click

from ..config import Settings
from .errors import plainly

__all__ = ["demo"]


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask before writing to a PostgreSQL of your own.")
@click.pass_obj
@plainly
def demo(settings: Settings, yes: bool) -> None:
    """Run a small agent program, store what it did, and show it."""
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    from ..demo import SERVICE, record
    from ..id_generator import id_generator
    from ..providers import configure

    if not settings.is_embedded and not yes:
        click.confirm(f"Store a few events of service {SERVICE} in {settings.target}?", abort=True, err=True)
    resource = Resource.create({"service.name": SERVICE})
    spans = TracerProvider(resource=resource, id_generator=id_generator(), shutdown_on_exit=False)
    telemetry = configure(
        settings,
        tracer_provider=spans,
        logger_provider=LoggerProvider(resource=resource, shutdown_on_exit=False),
    )
    try:
        trace_id = record(spans.get_tracer("otel_pg_exporter.demo"))
        if not telemetry.force_flush():
            raise click.ClickException(f"not stored: {telemetry.last_error}")
        click.echo(f"{telemetry.query.trace(trace_id)}\n")
    finally:
        telemetry.shutdown()
    where = "the embedded PostgreSQL" if settings.is_embedded else settings.target
    click.echo(f"It is stored in {where}, schema {settings.schema}. Look at it:")
    for command in (f"show {trace_id[:12]} --bars", "ls", "top", "errors", "deploys", "stats"):
        click.echo(f"  otel-pg {command}")
