"""Groups of commands, as their help shows them."""

from __future__ import annotations

import click

__all__ = ["Group"]


class Group(click.Group):
    """A group whose help says what each command does in a whole sentence: click's own cuts it."""

    group_class = type

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line or more for each command."""
        commands = [(name, self.get_command(context, name)) for name in self.list_commands(context)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(1000)) for name, command in commands if command])
