"""MLflow: `@mlflow.trace`, exporting by OTLP, with an exporter of ours in the place of that to a collector."""

from __future__ import annotations

import os

os.environ |= {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9", "MLFLOW_DISABLE_TELEMETRY": "true"}

import mlflow
from mlflow.tracing import provider

from .measure import EIGHT, QUERY, Library, Nowhere, main


def prepare() -> Library:
    """Input and output cannot be left out of a decorated call; its block, which takes attributes, has neither."""
    sink = Nowhere()
    provider.get_otlp_exporter = lambda: sink

    def eight() -> str:
        with mlflow.start_span("job", attributes=EIGHT):
            return QUERY

    @mlflow.trace(name="job", attributes=EIGHT)
    def captured(query: str) -> str:
        return query

    return Library(
        packages=("mlflow",),
        eight=eight,
        captured=lambda: captured(QUERY),
        flush=lambda: provider.provider.get().force_flush(),
        sink=sink,
    )


if __name__ == "__main__":
    main(prepare)
