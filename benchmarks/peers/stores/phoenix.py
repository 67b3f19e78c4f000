"""Arize Phoenix: `phoenix serve` with PostgreSQL, spans by OTLP."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import psycopg
from opentelemetry.trace import Tracer

from .measure import Stored, main, sqlalchemy_url
from .otlp import free_port, provider, wait_for


class Phoenix:
    """Its own settings, with what reports to its makers switched off."""

    packages = ("arize-phoenix", "opentelemetry-sdk", "asyncpg")
    table = "spans"

    def __init__(self, dsn: str) -> None:
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        environment = os.environ | {
            "PHOENIX_SQL_DATABASE_URL": sqlalchemy_url(dsn),
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(port),
            "PHOENIX_GRPC_PORT": str(free_port()),
            "PHOENIX_TELEMETRY_ENABLED": "false",
            "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
            "PHOENIX_WORKING_DIR": tempfile.mkdtemp(),
        }
        command = [sys.executable, "-m", "phoenix.server.main", "serve"]
        self._server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=sys.stderr)
        wait_for(f"{self._url}/healthz", self._server)
        self._provider = provider(f"{self._url}/v1/traces")

    def tracer(self) -> Tracer:
        return self._provider.get_tracer("bench", "1.0")

    def flush(self) -> None:
        assert self._provider.force_flush(600_000)

    def server(self) -> int | None:
        return self._server.pid

    def read(self, span_id: int, connection: psycopg.Connection) -> Stored:
        row = connection.execute(
            "SELECT attributes, events FROM spans WHERE span_id = %s", [format(span_id, "016x")]
        ).fetchone()
        assert row is not None
        # its table has times to the microsecond, and no place for what else there is
        return Stored(attributes=dict(_flat(row[0])), events=[(each["name"], each["attributes"]) for each in row[1]])

    def stop(self) -> None:
        self._provider.shutdown()
        self._server.terminate()
        self._server.wait(60)


def _flat(nested: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Phoenix keeps a.b as b within a."""
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, value


if __name__ == "__main__":
    main(Phoenix)
