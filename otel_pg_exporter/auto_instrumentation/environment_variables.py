"""What `opentelemetry-instrument` reads before it starts a program: variables that it offers as options.

It offers `--exporter_postgres_dsn`. And it is the one moment at which the stock distro can be kept from giving
up: it sends metrics to OTLP unless told otherwise, and without an OTLP exporter records nothing at all.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points

__all__ = ["OTEL_EXPORTER_POSTGRES_DSN"]

OTEL_EXPORTER_POSTGRES_DSN = "OTEL_EXPORTER_POSTGRES_DSN"
"""Where the database is."""


def _keep_the_stock_distro_going() -> None:
    """Metrics go nowhere, where `postgres` is asked for and they could go nowhere else."""
    named = f"{os.environ.get('OTEL_TRACES_EXPORTER', '')},{os.environ.get('OTEL_LOGS_EXPORTER', '')}"
    can_otlp = any(found.name == "otlp_proto_grpc" for found in entry_points(group="opentelemetry_metrics_exporter"))
    if "postgres" in named.split(",") and not os.environ.get("OTEL_METRICS_EXPORTER") and not can_otlp:
        os.environ["OTEL_METRICS_EXPORTER"] = "none"


_keep_the_stock_distro_going()
