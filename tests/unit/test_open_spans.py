"""What a program pays for seeing its open spans, without any database."""

from __future__ import annotations

import gc
import sys
import threading
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanContext, TraceFlags

from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.processors import open_spans
from otel_pg_exporter.processors.open_spans import OpenSpanProcessor

NOWHERE = Settings(dsn="host=127.0.0.1 port=1", spool_max_bytes=0)


class Bare:
    """A started span, as far as the processor looks at it."""

    def __init__(self, number):
        self._context = SpanContext(1, number, False, TraceFlags(1))


@pytest.fixture
def processor():
    made = OpenSpanProcessor(Database(NOWHERE))
    yield made
    made.shutdown()


def tracer(processor, sampler=None):
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider.get_tracer("test")


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "otel-pg-runs"]


def wait_for_no_thread():
    """One that has been told to end may take a moment."""
    give_up_at = time.monotonic() + 60
    while threads():
        assert time.monotonic() < give_up_at, "it does not end"
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def _no_other_threads():
    """Those of tests before."""
    wait_for_no_thread()


def test_there_is_no_thread_before_the_first_span_and_none_after_the_end(processor):
    """One thread begins with the first span, and ends with the processor."""
    assert not threads()

    for _ in range(3):
        tracer(processor).start_span("x").end()

    assert 1 == len(threads())
    processor.shutdown()
    wait_for_no_thread()
    tracer(processor).start_span("late").end()
    assert not threads()


def test_it_knows_what_is_open(processor):
    """From start to end, sampled spans only."""
    span = tracer(processor).start_span("x")
    assert [(span.context.trace_id, span.context.span_id)] == [*processor._open]
    span.end()
    assert not processor._open


class RecordOnly(Sampler):
    """Spans that record, and are not exported."""

    def should_sample(self, *arguments, **named):
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self):
        return "record only"


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, RecordOnly()], ids=["off", "record only"])
def test_what_is_not_sampled_is_no_run(processor, sampler):
    """A span that will never have a row is not looked at, and begins no thread."""
    span = tracer(processor, sampler).start_span("x")
    assert not processor._open
    assert not threads()
    span.end()


def drop(processor, count):
    """Start spans that nobody ends; gives what is kept of them, and the blocks of memory."""
    gc.collect()
    before = sys.getallocatedblocks()
    for number in range(1, count + 1):
        processor.on_start(Bare(number))
    gc.collect()
    return len(processor._open), sys.getallocatedblocks() - before


def test_a_million_spans_that_are_dropped_without_an_end_leave_nothing(processor):
    """Started and never ended, a million of them: no entry and no memory is left."""
    kept, blocks = drop(processor, 1_000_000)

    assert 0 == kept
    assert blocks < 1000


def test_a_span_of_the_sdk_that_is_dropped_is_forgotten(processor):
    """The SDK's own span objects die as well, though the processor has seen them."""
    make = tracer(processor).start_span
    for _ in range(1000):
        make("x")
    gc.collect()
    assert not processor._open


def test_strong_references_would_be_noticed(processor, monkeypatch):
    """With a processor that holds on to what it sees, entries and memory stay."""
    monkeypatch.setattr(open_spans, "ref", lambda span, callback: lambda: span)

    kept, blocks = drop(processor, 10_000)

    assert 10_000 == kept
    assert blocks > 10_000


@pytest.mark.parametrize("broken", [None, object(), Bare(1).__class__.__new__(Bare)], ids=["none", "object", "bare"])
def test_nothing_is_raised_into_the_program(processor, broken):
    """Whatever a provider hands over, start and end return."""
    processor.on_start(broken)
    processor.on_end(broken)


def test_no_thread_to_be_had_is_no_error(processor, monkeypatch):
    """A span starts all the same when the interpreter is ending."""
    make = tracer(processor).start_span

    def refuse(self):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    make("x").end()
    assert not threads()
