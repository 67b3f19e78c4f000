"""MLflow: `mlflow server` with PostgreSQL behind it, spans by OTLP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

import psycopg
from opentelemetry.trace import Tracer

from .measure import Stored, main, sqlalchemy_url
from .otlp import free_port, provider, wait_for


class Mlflow:
    """One worker, since one program sends one batch after the other.

    Reports to its makers and jobs in the background are switched off.
    """

    packages = ("mlflow", "opentelemetry-sdk", "sqlalchemy", "psycopg")
    table = "spans"

    def __init__(self, dsn: str) -> None:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--backend-store-uri", sqlalchemy_url(dsn), "--workers", "1"]
        command += ["--artifacts-destination", tempfile.mkdtemp()]
        environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # evaluations in the background
        self._server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=sys.stderr)
        wait_for(f"{url}/health", self._server)
        self._provider = provider(f"{url}/v1/traces", {"x-mlflow-experiment-id": "0"})

    def tracer(self) -> Tracer:
        return self._provider.get_tracer("bench", "1.0")

    def flush(self) -> None:
        assert self._provider.force_flush(600_000)

    def server(self) -> int | None:
        return self._server.pid

    def read(self, span_id: int, connection: psycopg.Connection) -> Stored:
        row = connection.execute(
            "SELECT content, start_time_unix_nano, end_time_unix_nano FROM spans WHERE span_id = %s",
            [format(span_id, "016x")],
        ).fetchone()
        assert row is not None
        content = json.loads(row[0])
        return Stored(
            attributes={name: _plain(value) for name, value in content["attributes"].items()},
            events=[(each["name"], each["attributes"]) for each in content["events"]],
            links=[(int(each["span_id"], 16), each["attributes"]) for each in content["links"]],
            times=(row[1], row[2]),
        )

    def stop(self) -> None:
        self._provider.shutdown()
        self._server.terminate()
        self._server.wait(60)


def _plain(stored: str) -> Any:
    """Values are stored as JSON, but text that is JSON itself as it is."""
    value = json.loads(stored)
    return stored if isinstance(value, dict) else value


if __name__ == "__main__":
    main(Mlflow)
