"""docs/routing.md and the rules say the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from otel_pg_exporter.routing import OUTCOMES, RULES
from otel_pg_exporter.routing.conventions import SOURCES

PAGE = (Path(__file__).parents[2] / "docs" / "routing.md").read_text("utf-8")


def rule_rows() -> Iterator[str]:
    """A line for each attribute and destination."""
    for rule in RULES:
        lines: dict[str, list[str]] = {}
        for extra, routes in ((" of a span without a parent", rule.root), ("", rule.routes)):
            for value, goes in routes.items():
                lines.setdefault(shown(goes), []).append(f"`{value}`{extra}")
        if rule.default:
            lines.setdefault(shown(rule.default), []).append("any" if not rule.routes else "any other")
        for goes, values in lines.items():
            yield f"| `{rule.attribute}` | {', '.join(values)} | {goes} |"


def shown(route) -> str:
    action = f", `{route.action}`" if route.action else ""
    return f"{route.category} | `{route.event_type}`{action}"


def source_rows() -> Iterator[str]:
    """A line for each column and category, or for all categories where they agree."""
    for column in dict.fromkeys(column for sources in SOURCES.values() for column in sources):
        having = {category: tuple(names[column]) for category, names in SOURCES.items() if column in names}
        usual = having.get("system")
        where = {category: names for category, names in having.items() if names != usual}
        if usual is not None:
            where["others" if where else "all"] = usual
        for category, names in where.items():
            yield f"| `{column}` | {category} | {', '.join(f'`{name}`' for name in names)} |"


def outcome_rows() -> Iterator[str]:
    for attribute, outcomes in OUTCOMES.items():
        for value, status in outcomes.items():
            yield f"| `{attribute}` | `{value}` | `{status}` |"


def tables() -> str:
    """All three, as they stand on the page."""
    return "\n".join(
        [
            "| attribute | value | category | event type, action |", "| --- | --- | --- | --- |", *rule_rows(), "",
            "## Columns", "", "| column | category | filled by, the first that is there |", "| --- | --- | --- |",
            *source_rows(), "", "## Status", "", "| attribute | value | status |", "| --- | --- | --- |",
            *outcome_rows(),
        ]
    )  # fmt: skip


def test_the_tables_on_the_page_are_those_of_the_rules():
    """Line by line, in the same order."""
    assert tables() in PAGE
