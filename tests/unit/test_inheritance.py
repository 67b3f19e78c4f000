"""Spans of other libraries inside a block inherit what it says of its work."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from opentelemetry import context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from instrumentation import attributes, scope
from otel_pg_exporter.host import diagnostics
from otel_pg_exporter.processors import inheritance
from otel_pg_exporter.processors.inheritance import BLOCK_KEY, InheritanceProcessor
from otel_pg_exporter.routing.conventions import AROUND

HANDED_DOWN = {
    "otel_pg.task.id": "t", "gen_ai.agent.name": "helper", "gen_ai.agent.id": "a", "session.id": "s", "user.id": "u",
}  # fmt: skip


def started(block, given=None, parent=None, **provider):
    """The attributes of a span that is started where this block is open."""
    memory = InMemorySpanExporter()
    tracing = TracerProvider(shutdown_on_exit=False, **provider)
    tracing.add_span_processor(InheritanceProcessor())
    tracing.add_span_processor(SimpleSpanProcessor(memory))
    token = context.attach(context.set_value(BLOCK_KEY, block) if block is not None else context.Context())
    try:
        tracing.get_tracer("x").start_span("s", parent, attributes=given).end()
    finally:
        context.detach(token)
    return [dict(span.attributes) for span in memory.get_finished_spans()]


def test_both_packages_know_the_block_by_the_same_name():
    """They meet in OpenTelemetry's context alone; and all that a block hands down has a name here."""
    assert scope.BLOCK_KEY == BLOCK_KEY
    assert {*attributes.HANDED_DOWN} == {*AROUND} == {*HANDED_DOWN}
    assert attributes.CATEGORY == inheritance._OURS


def test_a_span_inherits_what_the_block_hands_down():
    """Beside what it says itself, under names of our own."""
    (found,) = started(SimpleNamespace(handed_down=HANDED_DOWN), {"session.id": "own", "n": 1})

    assert {"session.id": "own", "n": 1, **{AROUND[key]: value for key, value in HANDED_DOWN.items()}} == found


@pytest.mark.parametrize("block", [None, SimpleNamespace(handed_down={}), SimpleNamespace(handed_down={"other": 1})])
def test_without_anything_to_inherit_a_span_stays_as_it_is(block):
    """No block is open, or it says nothing of that kind."""
    assert [{"n": 1}] == started(block, {"n": 1})


def test_our_own_blocks_inherit_by_themselves():
    """They know better: an agent inside another is not that one's."""
    assert [{"otel_pg.category": "agent"}] == started(
        SimpleNamespace(handed_down=HANDED_DOWN), {"otel_pg.category": "agent"}
    )


def test_the_context_that_a_span_is_started_in_decides():
    """Not the one that is current: a span of another piece of work."""
    assert [{}] == started(SimpleNamespace(handed_down=HANDED_DOWN), parent=context.Context())


def test_what_is_not_recorded_costs_nothing_and_raises_nothing():
    """An unsampled span has no attributes."""
    assert [] == started(SimpleNamespace(handed_down=HANDED_DOWN), sampler=ALWAYS_OFF)


def test_a_strange_block_is_a_line_in_the_log(monkeypatch, caplog):
    """Something else may lie under that name."""
    monkeypatch.setattr(diagnostics, "_said", {})

    assert [{}] == started("no block")

    assert "nothing is inherited from a block: AttributeError" in caplog.text
