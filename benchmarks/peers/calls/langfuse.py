"""Langfuse: `@observe`, with an exporter of ours in place of the one to its service."""

from __future__ import annotations

from langfuse import Langfuse, observe
from opentelemetry import trace

from .measure import EIGHT, QUERY, Library, Nowhere, main


def prepare() -> Library:
    """Its own batch processor, at its defaults."""
    sink = Nowhere()
    client = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9", span_exporter=sink)

    @observe(name="job", capture_input=False, capture_output=False)
    def eight(query: str) -> str:
        trace.get_current_span().set_attributes(EIGHT)
        return query

    @observe(name="job")
    def captured(query: str) -> str:
        trace.get_current_span().set_attributes(EIGHT)
        return query

    return Library(
        packages=("langfuse",),
        eight=lambda: eight(QUERY),
        captured=lambda: captured(QUERY),
        flush=client.flush,
        sink=sink,
    )


if __name__ == "__main__":
    main(prepare)
