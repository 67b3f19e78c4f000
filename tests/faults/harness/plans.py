"""How a server goes about a question, and the optional indexes that it has for that."""

from __future__ import annotations

from typing import Any

import psycopg

from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.reading.questions import Question

__all__ = ["asked", "names_of_indexes"]


def asked(settings: Settings, question: Question[Any]) -> tuple[list[tuple[str, str, list[Any]]], Any]:
    """What a question asks, in one transaction: each statement, its plan and its rows; and the answer."""
    told: list[tuple[str, str, list[Any]]] = []
    rows: Any = None
    database = Database(settings)
    with database.connection("same_moment") as connection:
        try:
            while True:
                statement, parameters = question.send(rows)
                lines = connection.execute(f"EXPLAIN {statement}".encode(), parameters).fetchall()
                rows = connection.execute(statement.encode(), parameters).fetchall()
                told.append((statement, "\n".join(line["QUERY PLAN"] for line in lines), [*rows]))
        except StopIteration as done:
            answer = done.value
    database.close()
    return told, answer


def names_of_indexes(settings: Settings) -> set[str]:
    """Every optional index."""
    with psycopg.connect(settings.dsn) as connection:
        found = connection.execute(
            "SELECT indexname FROM pg_indexes WHERE schemaname = %s"
            " AND indexdef ~ 'USING (gin|btree [(](task_id|task_name|session_id|user_id)[)])'",
            [settings.schema],
        )
        return {name for (name,) in found}
