"""The summaries of rows, made by SQL of its own: for rows that a test put into the tables by hand, and as an oracle."""

from __future__ import annotations

from typing import Any

import psycopg

from otel_pg_exporter.routing import CATEGORIES

__all__ = ["differences", "summarise"]

_KEYS = "batch_id, hour, category, event_type, status, service_name, agent_id, agent_name"
_FIGURES = """
    count(*) AS event_count, count(duration_ns) AS timed, sum(duration_ns::numeric) AS duration_sum,
    min(duration_ns) AS duration_min, max(duration_ns) AS duration_max,
    sum(CASE WHEN duration_ns > 0
             THEN trunc(power(10::numeric, 8 * (1 + floor(ln(duration_ns::float8) / ln(1.02::float8 / 0.98))::integer)))
             ELSE duration_ns * 0 + 1 END) AS histogram,
    sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost::numeric) AS cost
"""


def summarise(connection: psycopg.Connection[Any], batches: list[Any], schema: str = "otel") -> None:
    """Store the summaries of some batches anew."""
    connection.execute(f"DELETE FROM {schema}.event_summaries WHERE batch_id = ANY(%s)".encode(), [batches])
    rows = f"SELECT * FROM ({_by_hand(schema)}) AS rows WHERE batch_id = ANY(%s)"
    connection.execute(f"INSERT INTO {schema}.event_summaries {rows}".encode(), [batches])


def differences(dsn: str, schema: str = "otel") -> list[tuple[Any, ...]]:
    """Where the summaries that are stored differ from those that the rows ask for: none, if all is well."""
    columns = "batch_id, time, category, event_type, status, service_name, agent_id, agent_name"
    stored = f"""SELECT {columns}, event_count::bigint, timed::bigint, duration_sum, duration_min, duration_max,
                        histogram, input_tokens, output_tokens, cost FROM {schema}.event_summaries"""
    by_hand = _by_hand(schema)
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            f"""WITH stored AS ({stored}), rows AS ({by_hand})
                (SELECT 'too much', * FROM stored EXCEPT ALL SELECT 'too much', * FROM rows)
                UNION ALL
                (SELECT 'missing', * FROM rows EXCEPT ALL SELECT 'missing', * FROM stored)""".encode()
        ).fetchall()


def _by_hand(schema: str) -> str:
    numbers = ("input_tokens", "output_tokens", "cost")
    parts = []
    for category, table in CATEGORIES.items():
        own = ["NULL::text AS agent_name", *(f"NULL::{kind} AS x" for kind in ("bigint", "bigint", "float8"))]
        if category == "agent":
            counted = "action IS DISTINCT FROM 'invoke'"
            own = ["CASE WHEN agent_name IS DISTINCT FROM agent_id THEN agent_name END AS agent_name"]
            own += [f"CASE WHEN {counted} AND {number} < 'Infinity'::float8 THEN {number} END" for number in numbers]
        parts.append(
            f"""SELECT batch_id, date_trunc('hour', time AT TIME ZONE 'UTC') AT TIME ZONE 'UTC',
                       '{category}', event_type, status, service_name, agent_id, duration_ns, {", ".join(own)}
                  FROM {schema}.{table}"""
        )
    named = f"""rows (batch_id, hour, category, event_type, status, service_name, agent_id, duration_ns, agent_name,
                      {", ".join(numbers)})"""
    return f"SELECT {_KEYS}, {_FIGURES} FROM ({' UNION ALL '.join(parts)}) AS {named} GROUP BY {_KEYS}"
