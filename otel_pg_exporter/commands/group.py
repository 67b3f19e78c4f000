"""Groups of commands, and numbers, as their help shows them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

__all__ = ["AtLeastOne", "Group"]

if TYPE_CHECKING:
    _Type = click.ParamType[int]
else:
    _Type = click.ParamType  # not generic in older ones


class Group(click.Group):
    """A group whose help says what each command does in a whole sentence: click's own cuts it."""

    group_class = type

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line or more for each command."""
        commands = [(name, self.get_command(context, name)) for name in self.list_commands(context)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(1000)) for name, command in commands if command])


class AtLeastOne(_Type):
    """A whole number from 1 on; one that is too large for Python's own is as good as none."""

    name = "number"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """The number."""
        try:
            if (number := int(value)) >= 1:
                return min(number, sys.maxsize)
        except ValueError:
            pass
        self.fail(f"{value!r:.40} is not allowed; allowed is a whole number of 1 or more", parameter, context)
