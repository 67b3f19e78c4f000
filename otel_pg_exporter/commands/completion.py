"""`otel-pg completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

_PROGRAM, _VARIABLE = "otel-pg", "_OTEL_PG_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a shell's completion: eval "$(otel-pg completion bash)"."""
    found = get_completion_class(shell)
    assert found is not None  # the three are click's own
    click.echo(found(context.find_root().command, {}, _PROGRAM, _VARIABLE).source())
