"""What `--since` and `--until` understand, and how a command says what went wrong."""

from __future__ import annotations

import errno
from datetime import datetime, timedelta, timezone

import click
import pytest

from otel_pg_exporter.commands.errors import moment, plainly

CONTEXT = click.Context(click.Command("x"))
OPTION = click.Option(["--since"])


@pytest.mark.parametrize(
    ("text", "ago"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604_800), ("2w", 1_209_600), ("0s", 0)],
)
def test_a_length_of_time_is_counted_back_from_now(text, ago):
    """In seconds, minutes, hours, days or weeks."""
    begun = datetime.now(timezone.utc)

    found = moment(CONTEXT, OPTION, text)

    assert begun <= found + timedelta(seconds=ago) <= datetime.now(timezone.utc)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25", (2026, 11, 25)),
        ("2026-11-25T14:30", (2026, 11, 25, 14, 30)),
        ("2026-11-25 14:30:05", (2026, 11, 25, 14, 30, 5)),
        ("2026-11-25T14:30:00Z", (2026, 11, 25, 14, 30)),
        ("2026-11-25T14:30:00+01:00", (2026, 11, 25, 13, 30)),
    ],
)
def test_a_time_is_utc_if_it_names_no_zone(text, expected):
    """A day, a minute or a second."""
    assert datetime(*expected, tzinfo=timezone.utc) == moment(CONTEXT, OPTION, text)


@pytest.mark.parametrize("text", ["", "yesterday", "5", "h", "-2h", "2026-13-01", "9" * 5000 + "d", "99999999999999d"])
def test_anything_else_says_what_is_allowed(text):
    """In a line."""
    with pytest.raises(click.BadParameter, match=r"is not allowed; allowed is a number and s, m, h, d or w \(90m"):
        moment(CONTEXT, OPTION, text)


def test_a_file_that_cannot_be_used_is_named():
    """It may be one that is read, such as another user's spool."""

    @plainly
    def command() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/var/spool/otel-pg")

    with pytest.raises(click.ClickException, match=r"^cannot use /var/spool/otel-pg: Permission denied$"):
        command()
