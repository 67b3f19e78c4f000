"""Logfire: `@logfire.instrument`, its scrubbing on as it is by default, sent to nobody."""

from __future__ import annotations

import logfire
from opentelemetry import trace
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .measure import EIGHT, QUERY, Library, Nowhere, main


def prepare() -> Library:
    """Without its console, its metrics, and its look at the source code of calls."""
    sink = Nowhere()
    logfire.configure(
        send_to_logfire=False,
        console=False,
        metrics=False,
        inspect_arguments=False,
        additional_span_processors=[BatchSpanProcessor(sink)],
    )

    @logfire.instrument("job", extract_args=False)
    def eight(query: str) -> str:
        trace.get_current_span().set_attributes(EIGHT)
        return query

    @logfire.instrument("job", record_return=True)
    def captured(query: str) -> str:
        trace.get_current_span().set_attributes(EIGHT)
        return query

    return Library(
        packages=("logfire",),
        eight=lambda: eight(QUERY),
        captured=lambda: captured(QUERY),
        flush=logfire.force_flush,
        sink=sink,
    )


if __name__ == "__main__":
    main(prepare)
