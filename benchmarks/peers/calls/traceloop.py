"""Traceloop: `@task` of traceloop-sdk, with an exporter of ours in place of the one to its service."""

from __future__ import annotations

import os

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from traceloop.sdk import Traceloop
from traceloop.sdk.decorators import task

from .measure import EIGHT, QUERY, Library, Nowhere, main


def prepare() -> Library:
    """Its own batch processor; no instrumentors, no reports to its makers."""
    sink = Nowhere()
    Traceloop.init("bench", exporter=sink, disable_batch=False, telemetry_enabled=False, instruments=set())
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)

    @task(name="job")
    def work(query: str) -> str:
        trace.get_current_span().set_attributes(EIGHT)
        return query

    def eight() -> str:
        os.environ["TRACELOOP_TRACE_CONTENT"] = "false"  # looked at in each call; to set it takes 1 µs
        return work(QUERY)

    def captured() -> str:
        os.environ["TRACELOOP_TRACE_CONTENT"] = "true"
        return work(QUERY)

    return Library(packages=("traceloop-sdk",), eight=eight, captured=captured, flush=provider.force_flush, sink=sink)


if __name__ == "__main__":
    main(prepare)
