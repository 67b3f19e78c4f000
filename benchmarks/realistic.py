"""The span that all figures are about: 12 attributes with 300 bytes of JSON in and out, one event, one link,
a resource of six attributes."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable

from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link

from otel_pg_exporter import TimeOrderedIdGenerator

RESOURCE = Resource(
    {
        "service.name": "bench", "service.version": "1.2.3", "service.instance.id": "6f9619ff-8b86-d011-b42d",
        "deployment.environment.name": "test", "telemetry.sdk.language": "python", "telemetry.sdk.version": "1.45.2",
    }
)  # fmt: skip


def _scattered(number: int) -> str:
    """Eight hex digits, of no pattern, as ids are."""
    return f"{(number + 1) * 0x9E3779B1 % 2**32:08x}"


def content(number: int) -> str:
    """300 bytes of JSON that differ from those of any other number."""
    return json.dumps(
        {
            "question": f"Which hotels near conference centre {_scattered(number)} have a room free on Friday, and"
            " what would three nights cost with breakfast and a parking place? Prefer quiet ones, not above the tram.",
            "top_k": 5,
            "filters": {"city": "Lisbon", "stars": 4, "near": ["metro", "park"]},
            "language": "en",
        }
    )


def attributes(number: int) -> dict[str, str | int | float | bool]:
    """Of one span: what differs between spans in a program differs here, so that no cache can know it."""
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search_hotels",
        "gen_ai.agent.name": "travel agent",
        "gen_ai.request.model": "gpt-5",
        "session.id": f"session-{_scattered(number)}",
        "user.id": "anna",
        "input.value": content(2 * number),
        "output.value": content(2 * number + 1),
        "retries": 2,
        "cached": False,
        "score": 0.75,
        "gen_ai.tool.call.id": f"call_{_scattered(number + 1)}",
    }


_numbers = itertools.count()


def spans(count: int) -> list[ReadableSpan]:
    """Finished spans, each made through the SDK; no two calls give the same."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=RESOURCE, id_generator=TimeOrderedIdGenerator(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("bench", "1.0")
    for _ in range(count):
        with (
            tracer.start_as_current_span("root") as root,
            tracer.start_as_current_span(
                "execute_tool search_hotels",
                attributes=attributes(next(_numbers)),
                links=[Link(root.get_span_context(), {"why": "x"})],
            ) as span,
        ):
            span.add_event("progress", {"step": 1, "of": "three"})
    return [span for span in memory.get_finished_spans() if span.name != "root"]


def log_records(count: int) -> list[ReadableLogRecord]:
    """Log records as a program's own logging makes them: a line with two arguments, three attributes and three of its
    place in the code."""
    memory = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    logger = provider.get_logger("bench")
    for _ in range(count):
        number = next(_numbers)
        logger.emit(
            timestamp=time.time_ns(),
            severity_number=SeverityNumber.INFO,
            severity_text="INFO",
            body=f"order {_scattered(number)} of customer anna was taken in {number % 50 / 10} ms",
            attributes={
                "order_id": _scattered(number), "customer": "anna", "took_ms": number % 50 / 10,
                "code.file.path": "/srv/shop/orders.py", "code.function.name": "take", "code.line.number": 142,
            },
        )  # fmt: skip
    return [*memory.get_finished_logs()]


def cpu_per_item(action: Callable[[], object], items: int) -> float:
    """CPU time of this thread, microseconds for each item."""
    begun = time.thread_time_ns()
    action()
    return (time.thread_time_ns() - begun) / items / 1000


def medians(cases: dict[str, Callable[[], float]], rounds: int = 9) -> dict[str, float]:
    """The median of each case; the cases take turns, so that a busy machine hits all of them."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, measure in cases.items():
            found[name].append(measure())
    return {name: statistics.median(values) for name, values in found.items()}
