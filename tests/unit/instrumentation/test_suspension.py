"""Blocks that pause and go on elsewhere."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json

import pytest
from opentelemetry import trace
from opentelemetry.trace import NoOpTracerProvider

from instrumentation import action, agent, current, deployment, resume, task

RESUMABLE = {
    "task": (lambda: task("pay", task_id="42", attempt=2, queue="q", user_id="u"), ("otel_pg.task.attempt", 2)),
    "agent": (lambda: agent("ada", agent_id="a1", session_id="s", model="m"), ("gen_ai.request.model", "m")),
    "tool": (lambda: action("search", tool_call_id="c"), ("gen_ai.tool.name", "search")),
    "llm": (lambda: action("gpt", kind="llm", model="m"), ("otel_pg.action", "llm")),
    "deployment": (lambda: deployment("shop", environment="prod", commit="4f"), ("vcs.ref.head.revision", "4f")),
}


def says(token):
    """What a token holds."""
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def forged(**changes):
    """A token with a right checksum that says something else."""
    with task("x") as block:
        content = {**says(block.suspend()), **changes}
    body = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
    return f"1.{body}.{hashlib.sha256(body.encode()).hexdigest()[:16]}"


@pytest.mark.parametrize("kind", RESUMABLE)
def test_a_resumed_block_is_a_child_of_the_same_kind_with_a_link(recorded, kind):
    """Name, span kind and what the block was told of itself come back; the user's own attributes do not."""
    make, (key, value) = RESUMABLE[kind]
    with make() as first:
        first.set("note", "mine")
        token = first.suspend()
    with resume(token) as second:
        second.set("more", 1)

    before, after = recorded.spans

    assert "suspended" == before.attributes["otel_pg.status"]
    assert before.context.trace_id == after.context.trace_id
    assert before.context.span_id == after.parent.span_id
    assert after.parent.is_remote
    assert [before.context.span_id] == [link.context.span_id for link in after.links]
    assert (before.name, before.kind) == (after.name, after.kind)
    ended = {"note", "otel_pg.status", "cicd.pipeline.result", "more"}
    assert {k: v for k, v in before.attributes.items() if k not in ended} == {
        k: v for k, v in after.attributes.items() if k not in ended
    }
    assert value == after.attributes[key]
    assert "cicd.pipeline.result" not in before.attributes
    assert "note" not in after.attributes


def test_what_is_inside_a_resumed_block_inherits_from_the_suspended_one(recorded):
    """Ids that were handed down go on; those of a block around the resumption do not come in."""
    with agent("ada", session_id="s"), action("ask") as asking:
        token = asking.suspend()
    with task("worker", task_id="w"), resume(token), action("inside"):
        pass

    inside = recorded.named("inside")

    assert ("ada", "s") == (inside.attributes["gen_ai.agent.name"], inside.attributes["session.id"])
    assert "otel_pg.task.id" not in inside.attributes
    assert recorded.named("worker").context.trace_id != inside.context.trace_id


def test_after_its_suspension_a_block_takes_nothing_more(recorded, caplog):
    """An error afterwards, an output, a second suspension: the span stays as it was, and nothing is logged."""

    @task
    def work() -> str:
        first = current().suspend()
        assert first == current().suspend()
        current().fail("too late")
        return first

    with pytest.raises(KeyError), task("other") as block:
        block.suspend()
        raise KeyError("pause")
    assert work()

    for span in recorded.spans:
        assert "suspended" == span.attributes["otel_pg.status"]
        assert span.status.is_unset
        assert "output.value" not in span.attributes
    assert not caplog.records


def test_a_decorated_function_goes_on(recorded):
    """`@resume(token)` on a coroutine function: each call is a child of its own, under the suspended name."""
    with task("import") as block:
        token = block.suspend()

    @resume(token)
    async def go_on(day: str) -> str:
        return day

    assert "monday" == asyncio.run(go_on("monday"))
    assert "tuesday" == asyncio.run(go_on("tuesday"))

    first, *others = recorded.spans
    assert ["import", "import"] == [span.name for span in others]
    assert {first.context.span_id} == {span.parent.span_id for span in others}
    assert ['{"day":"monday"}', '"monday"'] == [others[0].attributes[f"{end}put.value"] for end in ("in", "out")]


def test_a_token_holds_no_secret_and_neither_input_nor_output(recorded):
    """Arguments, results and attributes stay out; an id that looks like a key is redacted before."""
    secret = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"
    with task("pay", task_id=secret, attributes={"card": "4111"}) as block:
        block.input({"password": "hunter2"})
        token = block.suspend()

    text = json.dumps(says(token))

    for hidden in (secret, "hunter2", "4111"):
        assert hidden not in text
    assert len(token) < 1000


BAD = {
    "no token": ("hello", "no token"),
    "not text": (42, "no token"),
    "none": (None, "no token"),
    "cut": (lambda token: token[:-20], "no token"),
    "changed": (lambda token: token.replace(token[8], "A" if token[8] != "A" else "B"), "damaged"),
    "later version": (lambda token: "2" + token[1:], "version 2"),
    "no name": (lambda token: forged(name=None), "something else"),
    "zeros": (lambda token: forged(place="0" * 32 + "-" + "0" * 16 + "-01"), "something else"),
    "no such kind": (lambda token: forged(kind=99), "something else"),
    "known is no mapping": (lambda token: forged(known=7), "something else"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_token_is_said_and_the_work_is_recorded_all_the_same(recorded, complaints_expected, case):
    """A warning and an attribute say why, without the token; nothing is raised, and the block is a block."""
    given, reason = BAD[case]
    with task("first") as block:
        token = block.suspend()
    given = given(token) if callable(given) else given

    with task("around"), resume(given) as second:
        assert second.span.is_recording()

    span = recorded.named("task")
    assert reason in span.attributes["otel_pg.resume.error"]
    assert recorded.named("around").context.span_id == span.parent.span_id
    assert not span.links
    (line,) = complaints_expected.records
    assert reason in line.getMessage()
    assert str(given) not in line.getMessage()


def test_a_wrong_call_of_resume_goes_on_all_the_same(recorded, complaints_expected):
    """What it does not take is left out and told of, by name; without a token the work is recorded where it stands."""
    with task("pay") as first:
        token = first.suspend()
    for block in (resume(token, {"note": "s3cret"}, attribute={"note": "s3cret"}), resume()):
        with block:
            pass

    _, again, alone = recorded.spans
    assert ("pay", first.span_id) == (again.name, f"{again.parent.span_id:016x}")
    assert (None, "the text is no token that suspend() gave") == (
        alone.parent, alone.attributes["otel_pg.resume.error"],
    )  # fmt: skip
    misfits, no_token = complaints_expected.messages
    assert (
        "resume() left out attribute, a positional <dict>; it takes token, attributes, capture_input, capture_output;"
        " your code goes on"
    ) == misfits
    assert no_token.startswith("resume(): the text is no token")


def test_without_an_sdk_tokens_are_empty_and_go_on_quietly(recorded, monkeypatch, caplog):
    """What recorded nothing suspends into the empty token, which resumes as a block of its own."""
    provider = NoOpTracerProvider()
    with monkeypatch.context() as patched:
        patched.setattr(trace, "get_tracer_provider", lambda: provider)
        with task("first") as block:
            token = block.suspend()
    assert "" == token == current().suspend()

    with resume(token):
        pass

    assert recorded.span.parent is None
    assert "otel_pg.resume.error" not in recorded.span.attributes
    assert not caplog.records
