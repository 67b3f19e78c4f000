"""`with` and `async with` blocks: how they end, what they give back, and what can be said in them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Iterator
from enum import Enum
from typing import Any

import click.exceptions
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from instrumentation import action, agent, configure_capture, current, deployment, event, outcome, resume, task
from instrumentation import attributes as names

WORDS = [task, agent, action, deployment]


class GreenletExit(BaseException):
    __module__ = "greenlet"


def span_id() -> int:
    return trace.get_current_span().get_span_context().span_id


def enter_and_leave(word: Any, asynchronous: bool, error: BaseException | None) -> None:
    async def main() -> None:
        async with word("block"):
            if error is not None:
                raise error

    if asynchronous:
        coroutine = main()
        try:
            coroutine.send(None)  # by hand: asyncio.run() has its own idea of KeyboardInterrupt
        except StopIteration:
            pass
        return
    with word("block"):
        if error is not None:
            raise error


@pytest.mark.parametrize("asynchronous", [False, True], ids=["with", "async with"])
@pytest.mark.parametrize("word", WORDS, ids=lambda w: w.__name__)
@pytest.mark.parametrize(
    ("error", "code", "status", "shown"),
    [
        (None, StatusCode.UNSET, None, None),
        (ValueError("bad"), StatusCode.ERROR, None, "ValueError: bad"),
        (asyncio.CancelledError(), StatusCode.ERROR, "cancelled", "cancelled: CancelledError"),
        (KeyboardInterrupt(), StatusCode.ERROR, "cancelled", "cancelled: KeyboardInterrupt"),
        (GeneratorExit(), StatusCode.ERROR, "cancelled", "cancelled: GeneratorExit"),
        (GreenletExit(), StatusCode.ERROR, "cancelled", "cancelled: GreenletExit"),
        (SystemExit(0), StatusCode.UNSET, None, None),
        (SystemExit(3), StatusCode.ERROR, None, "SystemExit: 3"),
        (click.exceptions.Exit(0), StatusCode.UNSET, None, None),
        (click.exceptions.Exit(3), StatusCode.ERROR, None, "Exit: 3"),
    ],
    ids=repr,
)
def test_ways_of_leaving(
    recorded: Any, asynchronous: bool, word: Any, error: Any, code: Any, status: Any, shown: Any
) -> None:
    """A block ends as functions do, lets every exception through, and gives the context back."""
    if error is None:
        enter_and_leave(word, asynchronous, None)
    else:
        with pytest.raises(type(error)) as caught:
            enter_and_leave(word, asynchronous, error)
        assert caught.value is error
    assert span_id() == 0
    span = recorded.span
    assert span.name == "block"
    assert (span.status.status_code, span.status.description) == (code, shown)
    assert span.attributes.get(names.STATUS) == status


def test_the_block_object(recorded: Any) -> None:
    """The block knows its name and ids, and is what `current()` gives."""
    with task("import") as block:
        assert current() is block
        assert block.name == "import"
        assert block.span is trace.get_current_span()
        ids = block.trace_id, block.span_id
    span = recorded.span
    assert ids == (format(span.context.trace_id, "032x"), format(span.context.span_id, "016x"))
    assert span.instrumentation_scope.name == "instrumentation"


def test_task_attributes(recorded: Any) -> None:
    """A task says its name, id, attempt and queue."""
    with task("import", task_id="t-1", attempt=2, queue="nightly", attributes={"rows": 3}):
        pass
    assert dict(recorded.span.attributes) == {
        "rows": 3,
        "otel_pg.category": "task",
        "otel_pg.event_type": "task_execution",
        "otel_pg.task.name": "import",
        "otel_pg.task.id": "t-1",
        "otel_pg.task.attempt": 2,
        "otel_pg.task.queue": "nightly",
    }


def test_agent_attributes(recorded: Any) -> None:
    """An agent says who it is, with GenAI's names; the span has the plain name."""
    with agent("support", agent_id="a-1", model="m", provider="p", session_id="s", user_id="u"):
        pass
    assert recorded.span.name == "support"
    assert dict(recorded.span.attributes) == {
        "otel_pg.category": "agent",
        "otel_pg.event_type": "agent_action",
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "support",
        "gen_ai.agent.id": "a-1",
        "gen_ai.request.model": "m",
        "gen_ai.provider.name": "p",
        "session.id": "s",
        "user.id": "u",
    }


@pytest.mark.parametrize(
    ("kind", "operation", "span_kind"),
    [
        ("tool", "execute_tool", SpanKind.INTERNAL),
        ("llm", "chat", SpanKind.CLIENT),
        ("retrieval", "retrieval", SpanKind.INTERNAL),
        ("embedding", "embeddings", SpanKind.CLIENT),
        ("handoff", None, SpanKind.INTERNAL),
    ],
)
def test_action_attributes(recorded: Any, kind: str, operation: str | None, span_kind: SpanKind) -> None:
    """An action says what kind it is, in our word and in GenAI's."""
    with action("look up", kind=kind, tool_call_id="c-1", model="m"):
        pass
    span = recorded.span
    assert span.kind is span_kind
    assert span.attributes["otel_pg.category"] == "agent"
    assert span.attributes["otel_pg.action"] == kind
    assert span.attributes.get("gen_ai.operation.name") == operation
    assert span.attributes.get("gen_ai.tool.name") == ("look up" if kind == "tool" else None)
    assert span.attributes["gen_ai.tool.call.id"] == "c-1"
    assert span.attributes["gen_ai.request.model"] == "m"


def test_a_kind_that_looks_like_a_slip_is_said_once(recorded: Any, complaints_expected: Any) -> None:
    """When the decorator or block is made; a word that is like none of ours is the program's own."""
    for _ in range(2):
        for kind in ("llmm", "Tools", "handoff", "rerank", "llm" * 20):
            action("a", kind=kind)
    with action("a", kind="llmm"):
        pass
    assert recorded.span.attributes["otel_pg.action"] == "llmm"
    assert complaints_expected.messages == [
        "kind='llmm' of an action is taken for a word of your own; did you mean 'llm'?",
        "kind='Tools' of an action is taken for a word of your own; did you mean 'tool'?",
    ]


def test_deployment_attributes(recorded: Any) -> None:
    """A deployment says what went where, how build and tests went, and how it ended."""
    with deployment(
        "shop", environment="prod", branch="main", commit="abc", pull_request=7, pipeline="release", run_id=42
    ) as block:
        block.build("success")
        block.tests("failure")
    assert dict(recorded.span.attributes) == {
        "otel_pg.category": "deployment",
        "otel_pg.event_type": "deployment",
        "deployment.name": "shop",
        "deployment.environment.name": "prod",
        "vcs.ref.head.name": "main",
        "vcs.ref.head.revision": "abc",
        "vcs.change.id": "7",
        "cicd.pipeline.name": "release",
        "cicd.pipeline.run.id": "42",
        "otel_pg.deployment.build": "success",
        "otel_pg.deployment.tests": "failure",
        "cicd.pipeline.result": "success",
    }


@pytest.mark.parametrize(
    ("say", "raised", "result", "failed"),
    [
        (lambda b: None, None, "success", False),
        (lambda b: None, ValueError, "error", True),
        (lambda b: None, KeyboardInterrupt, "cancellation", True),
        (lambda b: b.fail("no luck"), None, "failure", True),
        (lambda b: b.cancel("by hand"), None, "cancellation", True),
        (lambda b: b.result("skip"), None, "skip", False),
        (lambda b: b.result("timeout"), None, "timeout", True),
        (lambda b: b.result("timeout"), ValueError, "timeout", True),
        (lambda b: b.result("cancellation"), None, "cancellation", True),
    ],
)
def test_deployment_results(recorded: Any, say: Any, raised: Any, result: str, failed: bool) -> None:
    """The result follows from how the block is left, unless it was said."""
    with contextlib.nullcontext() if raised is None else pytest.raises(raised), deployment("shop") as block:
        say(block)
        if raised is not None:
            raise raised
    assert recorded.span.attributes["cicd.pipeline.result"] == result
    assert (recorded.span.status.status_code is StatusCode.ERROR) is failed
    assert (recorded.span.attributes.get(names.STATUS) == "cancelled") is (result == "cancellation")


def test_results_of_other_words(recorded: Any, complaints_expected: pytest.LogCaptureFixture) -> None:
    """A result that OpenTelemetry does not know is stored as it is, and one line says which words it knows."""
    outcome._tell_of_own_word.__wrapped__.cache_clear()  # type: ignore[attr-defined]
    for _ in range(2):
        with deployment("shop") as block:
            block.build("sucess")
            block.tests("passed")
            block.result("failed")
    attributes = recorded.spans[0].attributes
    assert attributes[names.BUILD] == "sucess"
    assert attributes[names.TESTS] == "passed"
    assert attributes[names.PIPELINE_RESULT] == "failed"
    assert recorded.spans[0].status.status_code is StatusCode.ERROR
    known = "success, failure, error, timeout, cancellation, skip"
    assert complaints_expected.messages == [
        f"build('sucess') is stored as a word of your own; OpenTelemetry's are {known}",
        f"tests('passed') is stored as a word of your own; OpenTelemetry's are {known}",
        f"result('failed') is stored as a word of your own; OpenTelemetry's are {known}",
    ]


def test_fail_and_cancel(recorded: Any) -> None:
    """fail() and cancel() decide the status of a block that no exception leaves."""
    with task("message") as block:
        block.fail("disk full")
    with task("exception") as block:
        block.fail(OSError("disk full"))
    with task("cancelled") as block:
        block.cancel("not needed")
    with task("cancelled plainly") as block:
        block.cancel()
    message, exception, cancelled, plainly = recorded.spans
    assert message.status.description == "disk full"
    assert names.ERROR_TYPE not in message.attributes
    assert exception.status.description == "OSError: disk full"
    assert exception.attributes[names.ERROR_TYPE] == "OSError"
    assert exception.events[0].attributes["exception.escaped"] == "False"
    assert cancelled.status.description == "cancelled: not needed"
    assert plainly.status.description == "cancelled"
    assert {span.attributes[names.STATUS] for span in (cancelled, plainly)} == {"cancelled"}
    assert {span.status.status_code for span in recorded.spans} == {StatusCode.ERROR}


def test_usage(recorded: Any) -> None:
    """usage() writes tokens as ints and the cost as float, each only when given."""
    with action("ask", kind="llm") as block:
        block.usage(input_tokens=10, output_tokens=5, cost=1)
        block.usage(cache_read_tokens=3, cache_write_tokens=2, reasoning_tokens=1)
    found = {key: value for key, value in recorded.span.attributes.items() if "usage" in key or "cost" in key}
    assert found == {
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 3,
        "gen_ai.usage.cache_write.input_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "otel_pg.cost": 1.0,
    }
    assert type(found["otel_pg.cost"]) is float


def test_usage_takes_the_numbers_of_numpy(recorded: Any) -> None:
    """Sums of a column of pandas are such numbers."""
    numpy = pytest.importorskip("numpy")
    with action("ask", kind="llm") as block:
        block.usage(input_tokens=numpy.int64(10), cost=numpy.float32(0.5))
    assert recorded.span.attributes["gen_ai.usage.input_tokens"] == 10
    assert recorded.span.attributes["otel_pg.cost"] == 0.5


def test_set_keeps_primitives_and_encodes_the_rest(recorded: Any) -> None:
    """Primitives and lists of one primitive type stay, what is a text in JSON is that text, all else is JSON text."""

    class Color(Enum):
        RED = "red"

    with task("t") as block:
        block.set("text", "a")
        block.set_attributes({"yes": True, "int": 1, "float": 0.5, "none": None})
        block.set("list", ["a", "b"])
        block.set("mixed", [1, "b", None])
        block.set("dict", {"a": {"b": [1]}})
        block.set("enum", Color.RED)
        block.set("bytes", b"raw")
        block.set("object", len)
        block.set("big", 2**70)
        block.set(7, "key")  # type: ignore[arg-type]
    found = {key: value for key, value in recorded.span.attributes.items() if not key.startswith("otel_pg")}
    assert found == {
        "text": "a",
        "yes": True,
        "int": 1,
        "float": 0.5,
        "list": ("a", "b"),
        "mixed": '[1,"b",null]',
        "dict": '{"a":{"b":[1]}}',
        "enum": "red",
        "bytes": "raw",
        "object": "<built-in function len>",
        "big": str(2**70),
        "7": "key",
    }


class Hostile:
    """Raises wherever it is touched."""

    def _raise(self, *args: object) -> Any:
        raise BaseException("hostile")

    __repr__ = __str__ = __len__ = __bool__ = __eq__ = __iter__ = __int__ = __float__ = __index__ = _raise
    __format__ = __contains__ = __getitem__ = keys = items = __fspath__ = _raise
    __hash__ = None  # type: ignore[assignment]


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def cyclic() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


HOSTILE = [Hostile(), cyclic(), "\0", "\ud800", 2**5000, float("nan"), b"\xff", object(), {1: {2: cyclic()}}, (), None]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"attributes": [("a", 1)]}, "attributes=<list> is left out; allowed is a mapping"),
        ({"attempt": "3x"}, "attempt=<str> is left out; allowed is a whole number from 0 on"),
        ({"attempt": 1.5}, "attempt=<float> is left out; allowed is a whole number from 0 on"),
        ({"attempt": -1}, "attempt=<int> is left out; allowed is a whole number from 0 on"),
        ({"capture_input": "no"}, "capture_input=<str> is neither True nor False; False is used"),
        ({"capture_output": "no"}, "capture_output=<str> is neither True nor False; False is used"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_told(
    recorded: Any, complaints_expected: pytest.LogCaptureFixture, given: dict[str, Any], line: str
) -> None:
    """An argument of a wrong kind is one line, and the rest is recorded; content only by who says so."""
    for _ in range(2):
        assert task("t", **given)(lambda x: x)(5) == 5
    assert complaints_expected.messages == [line]
    attributes = recorded.spans[0].attributes
    assert names.TASK_ATTEMPT not in attributes
    assert (names.INPUT_VALUE in attributes) is ("capture_input" not in given)
    assert (names.OUTPUT_VALUE in attributes) is ("capture_output" not in given)


@pytest.mark.parametrize(
    "slip",
    [
        lambda: task("t", capture_input="no"),  # type: ignore[call-overload]
        lambda: action("a", kind="tol"),
        lambda: current().usage(cost="much"),  # type: ignore[arg-type]
        lambda: current().usage(3),  # type: ignore[call-arg]
        lambda: current().tests("sucess"),
        lambda: event("e", severity="eror"),
        lambda: resume("no token"),
        lambda: configure_capture(max_length=5, redact_patterns=["("]),
    ],
)
def test_a_handler_of_the_log_that_raises_hurts_nobody(recorded: Any, complaints_expected: Any, slip: Any) -> None:
    """What we have to say of a slip goes through handlers of the program's, that may do anything."""

    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no log")

    logger, handler = logging.getLogger("instrumentation"), Raises()
    outcome._tell_of_own_word.__wrapped__.cache_clear()  # type: ignore[attr-defined]
    logger.addHandler(handler)
    try:
        with task("t"):
            slip()
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("value", HOSTILE, ids=lambda v: type(v).__name__)
def test_no_method_raises(recorded: Any, value: Any, complaints_expected: Any) -> None:
    """Every method takes every value in every place without raising, and the span still comes out."""
    with task(value, task_id=value, attempt=value, queue=value, session_id=value, attributes=value):
        pass
    for word in WORDS:
        with word("t", attributes={"a": value}, span_kind=value, capture_input=value, event_type=value) as block:
            block.set("key", value)
            block.set(value, value)
            block.set_attributes(value)
            block.set_attributes({"nested": [value]})
            block.input(value)
            block.output(value)
            block.usage(input_tokens=value, cost=value)
            block.result(value)
            block.build(value)
            block.tests(value)
            block.fail(value)
            block.cancel(value)
            block.event(value, key=value)
            event(value, body=value, severity=value, category=value, status=value, attributes=value, user_id=value)
            event("e", body=[value], attributes={"a": value})
        word("f")(lambda x: x)(value)
    with action("a", kind=value, model=value), deployment("d", commit=value, run_id=value):
        pass
    assert len(recorded.spans) == 1 + 2 * len(WORDS) + 2
    assert recorded.everything().encode()


def test_wrong_calls_say_what_is_wrong(recorded: Any, complaints_expected: Any) -> None:
    """Each wrong call is one line a minute, with the names that are wrong and those allowed, and without values."""
    goes_on = "; your code goes on, what this call says is not recorded"
    allowed = "; allowed are whole numbers from 0 on, for cost any finite number; your code goes on"
    tokens = "input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost"
    with agent("a") as block:
        for _ in range(2):
            block.usage(inputtokens="s3cret")  # type: ignore[call-arg]
            block.usage(costs="s3cret")  # type: ignore[call-arg]
            block.set("s3cret")  # type: ignore[call-arg]
            block.usage(input_tokens=3, cost="s3cret")  # type: ignore[arg-type]
            block.usage(output_tokens="s3cret", reasoning_tokens=[1])  # type: ignore[arg-type]
            block.usage(output_tokens=-1, reasoning_tokens=1.5, cost=float("nan"))  # type: ignore[arg-type]
    assert complaints_expected.messages == [
        f"Block.usage got an unexpected keyword argument 'inputtokens'; it takes {tokens}{goes_on}",
        f"Block.usage got an unexpected keyword argument 'costs'; it takes {tokens}{goes_on}",
        f"Block.set missing a required argument: 'value'; it takes key, value{goes_on}",
        f"Block.usage left out cost=<str>{allowed}",
        f"Block.usage left out output_tokens=<str>, reasoning_tokens=<list>{allowed}",
        f"Block.usage left out output_tokens=<int>, reasoning_tokens=<float>, cost=<float>{allowed}",
    ]
    assert recorded.span.attributes["gen_ai.usage.input_tokens"] == 3


def test_a_wrong_call_records_the_rest(recorded: Any, complaints_expected: Any) -> None:
    """It may stand where nothing is run before production; a type checker says it earlier."""
    for _ in range(2):
        with task("t", sesion_id="s3cret", task_id="42"), action("a", "s3cret", model="m"):  # type: ignore[call-overload]
            pass

        @deployment(commit_sha="s3cret")  # type: ignore[call-overload]
        def release() -> int:
            return 1

        assert release() == 1
    told = [message.partition("; it takes name, ") for message in complaints_expected.messages]
    assert [start for start, _, _ in told] == [
        "task() left out sesion_id", "action() left out a positional <str>", "deployment() left out commit_sha",
    ]  # fmt: skip
    assert all(end.endswith(", capture_output; your code goes on") for _, _, end in told)
    assert [span.name for span in recorded.spans[:3]] == ["a", "t", "release"]
    assert recorded.spans[1].attributes[names.TASK_ID] == "42"
    with pytest.raises(TypeError, match="records calls of functions"):
        task(property(release))  # where functions are recorded, a slip is seen when the module is loaded


def test_an_exception_without_text(recorded: Any) -> None:
    """An exception whose str() raises passes through and is recorded by its type."""
    with pytest.raises(HostileError), task("t"):
        raise HostileError
    assert recorded.span.attributes[names.ERROR_TYPE] == f"{__name__}.HostileError"
    assert recorded.span.status.description == "HostileError: <no message: str() failed>"


def test_after_the_end_nothing_happens(recorded: Any) -> None:
    """Methods of a block that has ended do nothing and log nothing."""
    with task("t") as block:
        pass
    block.set("late", 1)
    block.output(1)
    block.fail("late")
    block.usage(input_tokens=1)
    block.result("failure")
    assert "late" not in recorded.span.attributes
    assert recorded.span.status.status_code is StatusCode.UNSET


def test_current_without_a_block(recorded: Any) -> None:
    """Outside of blocks, also inside a span of others, current() does nothing and has ids of zeros."""
    with recorded.tracer.start_as_current_span("theirs"):
        nothing = current()
        nothing.set("a", 1)
        nothing.output("x")
        nothing.fail("x")
        nothing.event("lost")
    assert (nothing.trace_id, nothing.span_id) == ("0" * 32, "0" * 16)
    assert dict(recorded.span.attributes) == {}
    assert recorded.span.status.status_code is StatusCode.UNSET
    assert recorded.logs == []


# Inheritance.


def test_inner_blocks_inherit(recorded: Any) -> None:
    """What is inside inherits task id, agent, session and user; names, attempts and models are not inherited."""
    with (
        task("nightly", task_id="t-1", attempt=3, queue="q", user_id="u"),
        agent("support", agent_id="a-1", session_id="s", model="m"),
        action("search"),
    ):
        pass
    found = recorded.named("search").attributes
    assert found["otel_pg.task.id"] == "t-1"
    assert found["gen_ai.agent.name"] == "support"
    assert found["gen_ai.agent.id"] == "a-1"
    assert found["session.id"] == "s"
    assert found["user.id"] == "u"
    assert {"otel_pg.task.attempt", "otel_pg.task.name", "otel_pg.task.queue", "gen_ai.request.model"}.isdisjoint(found)


def test_the_inner_word_wins(recorded: Any) -> None:
    """What a block says itself beats what it inherits, and an inner agent does not bear the outer one's id."""
    with (
        agent("outer", agent_id="a-1", session_id="s-1"),
        agent("inner", session_id="s-2"),
        action("search", user_id="u-2"),
    ):
        pass
    found = recorded.named("search").attributes
    assert (found["gen_ai.agent.name"], found["session.id"], found["user.id"]) == ("inner", "s-2", "u-2")
    assert "gen_ai.agent.id" not in found
    assert "gen_ai.agent.id" not in recorded.named("inner").attributes


def test_ids_set_later_are_inherited(recorded: Any) -> None:
    """An id that becomes known inside a block holds for what comes after, and for this block only."""
    with task("outer"):
        with task("middle") as middle:
            middle.set("session.id", "s")
            with action("after"):
                pass
        with action("beside"):
            pass
    assert recorded.named("after").attributes["session.id"] == "s"
    assert recorded.named("middle").attributes["session.id"] == "s"
    assert "session.id" not in recorded.named("beside").attributes


def test_inheritance_into_functions_tasks_and_generators(recorded: Any) -> None:
    """Decorated functions, asyncio tasks and generators inherit too."""

    @action
    async def search() -> None:
        await asyncio.sleep(0)

    @action
    def stream() -> Iterator[int]:
        yield 1

    async def main() -> None:
        with agent("support", session_id="s"):
            later = asyncio.create_task(search())
            list(stream())
            await asyncio.to_thread(action("threaded")(lambda: None))
        await later

    asyncio.run(main())
    for span in recorded.spans:
        assert span.attributes["session.id"] == "s"
        assert span.attributes["gen_ai.agent.name"] == "support"
        if span.name != "support":
            assert span.parent.span_id == recorded.named("support").context.span_id


def test_a_context_of_others_carries_the_block(recorded: Any) -> None:
    """Who carries only OpenTelemetry's context to a thread carries the block, and a fresh context has none."""
    from opentelemetry import context

    found: list[Any] = []
    with agent("support", session_id="s"):
        carried = context.get_current()

    def work() -> None:
        for given in (carried, context.Context()):
            token = context.attach(given)
            with action("inside") as block:
                found.append(block.handed_down)
            context.detach(token)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [{"session.id": "s", "gen_ai.agent.name": "support"}, {}]


# Misuse.


def test_the_same_object_again(recorded: Any) -> None:
    """One object used for several blocks, one after the other or in itself, makes a span for each."""
    block = task("t")
    with block as first:
        first.set("n", 1)
    with block as second:
        second.set("n", 2)
        with block as third:
            third.set("n", 3)
            assert current() is third
        assert current() is second
    assert span_id() == 0
    one, three, two = recorded.spans
    assert [span.attributes["n"] for span in (one, two, three)] == [1, 2, 3]
    assert three.parent.span_id == two.context.span_id
    assert two.parent is None


def test_the_same_object_in_many_threads(recorded: Any) -> None:
    """One object entered by many threads at once makes a span for each, each in its own thread."""
    block = task("t")
    barrier = threading.Barrier(8)
    left: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            barrier.wait()
            with block as mine:
                mine.set("number", number)
                barrier.wait()
                with action("inside") as inner:
                    inner.set("number", number)
                barrier.wait()
        left.append(span_id())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left == [0] * 8
    outer = {span.context.span_id: span for span in recorded.spans if span.name == "t"}
    assert len(outer) == 160
    inner = [span for span in recorded.spans if span.name == "inside"]
    assert len({span.parent.span_id for span in inner}) == 160
    assert all(outer[span.parent.span_id].attributes["number"] == span.attributes["number"] for span in inner)


@pytest.mark.parametrize("order", ["outer first", "middle first"])
def test_left_out_of_order(recorded: Any, order: str) -> None:
    """Blocks left in the wrong order all end, and the context comes back in the end."""
    with recorded.tracer.start_as_current_span("around"):
        here = span_id()
        blocks = [task("a"), task("b"), task("c")]
        for block in blocks:
            block.__enter__()
        for index in [0, 1, 2] if order == "outer first" else [1, 2, 0]:
            blocks[index].__exit__(None, None, None)
        assert span_id() == here
        blocks[0].__exit__(None, None, None)
    assert len(recorded.spans) == 4
    assert span_id() == 0


def test_left_in_another_context(recorded: Any) -> None:
    """A block entered in one task or thread and left in another ends, without a word in the log."""
    block = task("t")
    contextvars.copy_context().run(block.__enter__)
    block.__exit__(None, None, None)
    assert span_id() == 0

    async def main() -> None:
        inherited = task("u")
        async with task("around"):
            here = span_id()
            inherited.__enter__()

            async def leave() -> int:
                await inherited.__aexit__(None, None, None)
                return span_id()

            assert await asyncio.create_task(leave()) == here
        assert span_id() == 0

    asyncio.run(main())
    assert {span.name for span in recorded.spans} == {"t", "u", "around"}


def test_entered_again_after_being_left_elsewhere(recorded: Any) -> None:
    """An object that was left in another context can be entered again where it is still current."""

    def main() -> None:
        block = task("t")
        block.__enter__()
        contextvars.copy_context().run(block.__exit__, None, None, None)
        with block, action("inside"):
            pass
        task("other").__exit__(None, None, None)

    contextvars.copy_context().run(main)
    assert [span.name for span in recorded.spans] == ["t", "inside", "t"]


def test_a_leaked_inner_block(recorded: Any) -> None:
    """A block that an undecorated generator holds open does not outlive the block around the consumer."""

    def undecorated() -> Iterator[int]:
        with action("leaked"):
            yield 1

    with task("around"):
        made = undecorated()
        next(made)
    assert span_id() == 0
    made.close()
    assert span_id() == 0


def test_never_entered_never_recorded(recorded: Any) -> None:
    """Exit without entry is harmless."""
    task("t").__exit__(None, None, None)
    assert recorded.spans == []


def test_ancestors_are_not_kept(recorded: Any) -> None:
    """A chain of tasks that each start the next does not keep all the blocks before it alive."""
    import gc
    import weakref

    alive: list[Any] = []

    async def link(n: int) -> None:
        with task("link") as block:
            alive.append(weakref.ref(block))
            if n:
                following = asyncio.create_task(link(n - 1))
        if n:
            await asyncio.sleep(0)
            running.append(following)
        else:
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 4

    running: list[Any] = []

    async def main() -> None:
        await link(20)
        while running:
            await running.pop(0)

    asyncio.run(main())
    assert len(alive) == 21


def test_our_attributes_survive_a_flood(recorded: Any, complaints_expected: Any) -> None:
    """When a user sets more attributes than the SDK keeps, those that say what the row is are not the ones dropped."""
    with agent("support", session_id="s"), action("flood") as block:
        for number in range(500):
            block.set(f"n{number}", number)
    found = recorded.named("flood").attributes
    assert len(found) <= 128
    assert {names.CATEGORY, names.SESSION_ID, names.AGENT_NAME, names.TOOL_NAME, names.ACTION} <= set(found)
