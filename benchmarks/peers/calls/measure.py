"""What a recorded call costs the thread that makes it, beside a bare span of OpenTelemetry's SDK.

Every library records the same function in two ways: with `EIGHT` attributes and nothing of what goes in or out,
and with its argument and its result as well. What is exported goes nowhere, from a thread of its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from realistic import content, cpu_per_item, medians

EIGHT: dict[str, str | int | float | bool] = {
    "agent": "travel agent",
    "model": "gpt-5",
    "conversation": "conversation-4711",
    "user": "anna",
    "retries": 2,
    "cached": False,
    "score": 0.75,
    "call": "call_9e3779b1",
}
QUERY = content(1)  # text of 300 bytes, itself JSON; the function gives it back
BARE = "bare"
CALLS = 200  # at a time: few, so that cases meet the same moments of a busy machine


class Nowhere(SpanExporter):
    """Takes spans and drops them, but for the last."""

    last: ReadableSpan | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.last = spans[-1]
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class Library:
    """A library that is set up, and the two ways of recording."""

    packages: tuple[str, ...]
    eight: Callable[[], object]
    captured: Callable[[], object]
    flush: Callable[[], object]  # returns when the thread that exports has nothing left
    sink: Nowhere


def main(prepare: Callable[[], Library]) -> None:
    """Print the cost of each case in microseconds, and how many attributes its spans have."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=25)
    rounds = arguments.parse_args().rounds
    library = prepare()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracer = provider.get_tracer("bench")

    def bare() -> None:
        with tracer.start_as_current_span("job"):
            pass

    def cost(action: Callable[[], object]) -> float:
        library.flush()
        provider.force_flush()
        return cpu_per_item(lambda: [action() for _ in range(CALLS)], CALLS)

    cases = {BARE: bare, "eight": library.eight, "captured": library.captured}
    attributes = {name: _attributes(library, cases[name]) for name in ("eight", "captured")}
    found = medians({name: lambda a=action: cost(a) for name, action in cases.items()}, rounds)  # type: ignore[misc]
    packages = (*library.packages, "opentelemetry-sdk")
    versions = {name: version(name) for name in packages}
    print(json.dumps({"microseconds": found, "attributes": attributes, "versions": versions}))


def _attributes(library: Library, action: Callable[[], object]) -> list[str]:
    """The names of those that one call leaves on its span."""
    action()
    library.flush()
    assert library.sink.last is not None, "nothing arrived at the exporter: nothing was recorded"
    return sorted(library.sink.last.attributes or {})
