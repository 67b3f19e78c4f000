"""Events: one log record each, with name, time, severity, and the trace they belong to."""

from __future__ import annotations

import time
from typing import Any

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider

from instrumentation import action, agent, event, events, outcome, task
from otel_pg_exporter import routing
from otel_pg_exporter.events import shapes


def test_a_plain_event(recorded: Any) -> None:
    """An event is a log record with its name, both times in nanoseconds, severity info, and category system."""
    before = time.time_ns()
    event("orders.found")
    after = time.time_ns()
    record = recorded.log
    assert record.event_name == "orders.found"
    assert before <= record.timestamp <= after
    assert before <= record.observed_timestamp <= after
    assert record.severity_number is SeverityNumber.INFO
    assert record.severity_text is None
    assert record.body is None
    assert (record.trace_id, record.span_id) == (0, 0)
    assert dict(record.attributes) == {"otel_pg.category": "system"}


def test_everything_that_can_be_said(recorded: Any) -> None:
    """All arguments arrive where the storage side looks for them."""
    event(
        "user.clicked",
        body={"button": 1, "password": "pw"},
        severity="warn",
        category="agent",
        event_type="user_action",
        status="completed",
        attributes={"a": [1, 2], "b": {"c": 1}},
        user_id="u",
        session_id="s",
        task_id="t",
        agent_id="a",
    )
    record = recorded.log
    assert record.body == {"button": 1, "password": "[redacted]"}
    assert record.severity_number is SeverityNumber.WARN
    assert {key: value for key, value in record.attributes.items() if key != "a"} == {
        "b": '{"c":1}',
        "otel_pg.category": "agent",
        "otel_pg.event_type": "user_action",
        "otel_pg.status": "completed",
        "user.id": "u",
        "session.id": "s",
        "otel_pg.task.id": "t",
        "gen_ai.agent.id": "a",
    }
    assert list(record.attributes["a"]) == [1, 2]


@pytest.mark.parametrize(
    ("severity", "number"),
    [
        ("trace", 1),
        ("debug", 5),
        ("INFO", 9),
        ("warning", 13),
        ("error", 17),
        ("fatal", 21),
        (10, 10),
        (SeverityNumber.ERROR2, 18),
    ],
)
def test_severities(recorded: Any, severity: Any, number: int) -> None:
    """Severity is a word or OpenTelemetry's number."""
    event("e", severity=severity)
    assert recorded.log.severity_number is SeverityNumber(number)


@pytest.mark.parametrize(
    ("argument", "value", "allowed"),
    [
        ("severity", "eror", "trace, debug, info, warn, warning, error, fatal, critical, 1 to 24"),
        ("severity", 99, "trace, debug"),
        ("severity", True, "trace, debug"),
        ("severity", SeverityNumber.UNSPECIFIED, "trace, debug"),
        ("category", "agnet", "task, agent, deployment, system"),
        ("category", ["agent"], "task, agent"),
        ("status", "ok", "started, completed, error, cancelled, suspended"),
    ],
    ids=str,
)
def test_a_word_that_is_not_known(
    recorded: Any, complaints_expected: pytest.LogCaptureFixture, argument: str, value: Any, allowed: str
) -> None:
    """One line says what is allowed, and the event is recorded as if the word had been left out."""
    events._tell_of_misfit.__wrapped__.cache_clear()
    for _ in range(2):
        event("e", **{argument: value})
    (line,) = [record.getMessage() for record in complaints_expected.records]
    assert line.startswith(f"event(): {argument}={value!r} is left out; allowed are {allowed}")
    for record in recorded.logs:
        assert record.severity_number is SeverityNumber.INFO
        assert dict(record.attributes) == {"otel_pg.category": "system"}


def test_attributes_that_are_no_mapping(recorded: Any, complaints_expected: pytest.LogCaptureFixture) -> None:
    """The event is recorded without them, and one line says so."""
    event("e", attributes="abc")  # type: ignore[arg-type]
    assert recorded.log.event_name == "e"
    assert complaints_expected.messages == ["attributes=<str> is left out; allowed is a mapping"]


def test_capture_and_storage_know_the_same_words() -> None:
    """Capture may not import storage, so it has a copy."""
    assert outcome._RESULTS == shapes.RESULTS
    assert set(events._CATEGORIES) == set(routing.CATEGORIES)
    assert events._STATUSES == routing.STATUSES


def test_inside_a_block(recorded: Any) -> None:
    """An event in a block is in its trace and inherits task, agent, session and user, unless it says them itself."""
    with task("t", task_id="t-1", user_id="u"), agent("a", agent_id="a-1", session_id="s") as block:
        event("e", user_id="other")
        ids = int(block.trace_id, 16), int(block.span_id, 16)
    record = recorded.log
    assert (record.trace_id, record.span_id) == ids
    assert dict(record.attributes) == {
        "otel_pg.task.id": "t-1",
        "gen_ai.agent.name": "a",
        "gen_ai.agent.id": "a-1",
        "session.id": "s",
        "user.id": "other",
        "otel_pg.category": "system",
    }


@pytest.mark.parametrize("agent_id", [None, "a-1"])
def test_a_task_inside_an_agent_is_not_called_as_the_agent(recorded: Any, agent_id: str | None) -> None:
    """The storage side would take the agent's name for the task's; whose task it is, the id says."""
    with agent("support", agent_id=agent_id):
        event("task.created", category="task", task_id=7)
        with task("answer", task_id=8) as answer:
            answer.event("progress")
    assert len(recorded.logs) == 2
    for record in recorded.logs:
        assert "gen_ai.agent.name" not in record.attributes
        assert record.attributes["gen_ai.agent.id"] == (agent_id or "support")


def test_inside_a_span_of_others(recorded: Any) -> None:
    """An event is in the trace of whatever span is current."""
    with recorded.tracer.start_as_current_span("theirs") as span:
        event("e")
    assert recorded.log.span_id == span.get_span_context().span_id


def test_an_event_of_a_block(recorded: Any) -> None:
    """block.event() belongs to that block, also when an inner one is open or the block has ended."""
    with agent("outer") as outer:
        with action("inner"):
            outer.event("found", rows=3, name="x", self="y")
        outer.event("done")
    outer.event("late")
    for record in recorded.logs:
        assert (record.trace_id, record.span_id) == (int(outer.trace_id, 16), int(outer.span_id, 16))
        assert record.attributes["otel_pg.category"] == "agent"
        assert record.attributes["otel_pg.event_type"] == "agent_action"
        assert record.attributes["gen_ai.agent.name"] == "outer"
    assert [recorded.logs[0].attributes[key] for key in ("rows", "name", "self")] == [3, "x", "y"]


def test_attributes_of_an_event_of_a_block(recorded: Any, complaints_expected: pytest.LogCaptureFixture) -> None:
    """As a mapping, as event() takes them, too; what is none is told, and the others are recorded."""
    with task("t") as block:
        block.event("mapping", attributes={"rows": 3}, columns=2)
        block.event("none", attributes=["rows"], columns=2)  # type: ignore[arg-type]
    assert recorded.logs[0].attributes.items() >= {"rows": 3, "columns": 2}.items()
    assert recorded.logs[1].attributes["columns"] == 2
    assert ["attributes" in record.attributes for record in recorded.logs] == [False, False]
    assert complaints_expected.messages == ["attributes=<list> is left out; allowed is a mapping"]


def test_a_broken_log_sdk_does_not_hurt(
    recorded: Any, monkeypatch: pytest.MonkeyPatch, complaints_expected: pytest.LogCaptureFixture
) -> None:
    """A logger that raises costs the event, not the program, and one line says so."""

    def broken(*args: object, **kwargs: object) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(LoggerProvider, "get_logger", broken)
    from instrumentation import signals

    monkeypatch.setattr(signals, "_logger", (None, None))
    for _ in range(3):
        event("e")
    assert len(complaints_expected.records) == 1
