"""docs/configuration.md and the code say the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import Field, fields
from pathlib import Path

import pytest

from otel_pg_exporter import config
from otel_pg_exporter.config import Settings, misspelt, settings
from otel_pg_exporter.errors import ConfigurationError
from otel_pg_exporter.writing import delivery

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text("utf-8")
FOREIGN = r"\b(?:OTEL_EXPORTER_POSTGRES_\w+|POSTGRES_[A-Z_]+|EVENT_[A-Z_]+)\b"


def effects() -> dict[str, str]:
    """Field → the text under it."""
    (definition,) = [node for node in ast.parse(Path(settings.__file__).read_text("utf-8")).body
                   if isinstance(node, ast.ClassDef) and node.name == "Settings"]  # fmt: skip
    pairs = zip(definition.body, definition.body[1:], strict=False)
    return {
        one.target.id: " ".join(ast.literal_eval(text.value).split())
        for one, text in pairs
        if isinstance(one, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def allowed(option: Field) -> str:
    """What the message about a wrong value says; none where any text will do."""
    try:
        config.parse(option, "", "mysql://\0(")
    except ConfigurationError as error:
        return str(error).partition("; allowed is ")[2].partition("; ")[0].replace("|", r"\|")
    return "text"


def rows() -> Iterator[str]:
    """The lines of the table."""
    for option in fields(Settings):
        about = option.metadata
        default = "" if option.default in (None, "", ()) else f"`{str(option.default).lower()}`"
        cells = [f"`{about['env']}`", f"`{about['path']}`", default, about["unit"], allowed(option)]
        yield "| " + " | ".join([*cells, effects()[option.name]]) + " |"


@pytest.mark.parametrize("row", [*rows()], ids=[option.name for option in fields(Settings)])
def test_each_setting_is_on_the_page_as_it_is(row):
    """Variable, path, default, unit, what is allowed, and its effect."""
    assert row in PAGE.splitlines()


def test_the_page_has_no_other_settings():
    """A variable that was taken out of the code does not stay on the page."""
    shown = re.findall(r"^\| `(\w+)` \| `\w+\.\w+` \|", PAGE, re.MULTILINE)

    assert [option.metadata["env"] for option in fields(Settings)] == shown


def test_every_variable_of_the_code_is_on_the_page_and_the_other_way_round():
    """Of both packages, and in the README; those of capture too."""
    sources = [path for package in ("otel_pg_exporter", "instrumentation") for path in (ROOT / package).rglob("*.py")]
    code = "\n".join(path.read_text("utf-8") for path in sources)
    constants = set(re.findall(r"^(EVENT_\w+)(?:: .*)? = ", code, re.MULTILINE))
    read = {name for name in re.findall(f'"({FOREIGN})"', code) if name not in constants}
    described = {name for name in re.findall(FOREIGN, PAGE) if name[-1] != "_"}

    assert read == described
    assert {name for name in described if name.startswith("EVENT_CAPTURE_")} == set(misspelt._CAPTURE)
    assert set(re.findall(r"\bEVENT_[A-Z_]+[A-Z]\b", (ROOT / "README.md").read_text("utf-8"))) <= described


@pytest.mark.parametrize("option", fields(Settings), ids=lambda option: option.name)
def test_every_setting_has_an_effect(option):
    """Some module beside config/settings.py and event_config.py reads it; where the database is, `conninfo` does."""
    files = [p for p in (ROOT / "otel_pg_exporter").rglob("*.py") if p.name not in {"settings.py", "event_config.py"}]
    location = {"dsn", "host", "port", "database", "user", "password", "ssl_mode", "ssl_root_cert"}
    readers = [path for path in files if re.search(rf"settings\.{option.name}\b|\"{option.name}\"", path.read_text())]

    assert readers or option.name in location


def test_every_cause_of_a_loss_is_on_the_page_of_the_event_store():
    """`failed` counts by causes: what a class of error is counted as, and what is said outright."""
    page = (ROOT / "docs" / "event-store.md").read_text("utf-8")

    assert set(re.findall(r"`([a-z_]+)`", page)) >= {
        *delivery._CAUSES.values(),
        "refused",
        "dead",
        "encoding",
        "internal",
    }
