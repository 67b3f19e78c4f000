"""Decorated functions of every kind: what they return, how they end, and what is written of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import copy
import functools
import gc
import inspect
import pickle
import traceback
import types
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from instrumentation import action, agent, current, deployment, task
from instrumentation import attributes as names


class Boom(Exception):
    pass


def boom() -> None:
    raise Boom("no luck")


# One function of each kind. `end` is called in the middle of the work, and may raise.


def plain(end: Callable[[], object]) -> object:
    return end()


async def coroutine(end: Callable[[], object]) -> object:
    await asyncio.sleep(0)
    return end()


def generator(end: Callable[[], object]) -> Iterator[object]:
    yield 1
    return end()


async def async_generator(end: Callable[[], object]) -> AsyncIterator[object]:
    yield 1
    await asyncio.sleep(0)
    end()


def run(function: Callable[..., Any], *args: Any) -> Any:
    """Call the function and see it through to its end."""
    made = function(*args)
    if inspect.iscoroutine(made):
        return asyncio.run(made)
    if inspect.isgenerator(made):
        return [*made]
    if inspect.isasyncgen(made):

        async def consume() -> list[Any]:
            return [item async for item in made]

        return asyncio.run(consume())
    return made


KINDS = [plain, coroutine, generator, async_generator]
WORDS = [task, agent, action, deployment]
FORMS: dict[str, Callable[[Any, Any], Any]] = {
    "bare": lambda word, function: word(function),
    "called": lambda word, function: word()(function),
    "named": lambda word, function: word("name", attributes={"a": 1})(function),
}
kinds = pytest.mark.parametrize("function", KINDS, ids=lambda f: f.__name__)


@kinds
@pytest.mark.parametrize("word", WORDS, ids=lambda w: w.__name__)
@pytest.mark.parametrize("form", FORMS)
def test_a_return_is_completed(recorded: Any, function: Any, word: Any, form: str) -> None:
    """What returns gives its value, ends its span once, and leaves the status unset."""
    decorated = FORMS[form](word, function)
    assert run(decorated, lambda: 7) == run(function, lambda: 7)
    span = recorded.span
    assert span.name == ("name" if form == "named" else function.__name__)
    assert span.status.status_code is StatusCode.UNSET
    assert names.STATUS not in span.attributes
    assert names.ERROR_TYPE not in span.attributes
    assert span.end_time >= span.start_time


@kinds
@pytest.mark.parametrize("word", WORDS, ids=lambda w: w.__name__)
def test_an_exception_is_an_error(recorded: Any, function: Any, word: Any) -> None:
    """An exception passes through as the same object, and is an error with type, message and stack trace."""
    error = Boom("no luck")

    def end() -> None:
        raise error

    with pytest.raises(Boom) as caught:
        run(word(function), end)
    assert caught.value is error
    assert error.__context__ is None
    assert error.__cause__ is None
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-2:] == [function.__name__, "end"]
    span = recorded.span
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "Boom: no luck")
    assert span.attributes[names.ERROR_TYPE] == f"{__name__}.Boom"
    assert names.STATUS not in span.attributes
    (event,) = span.events
    assert event.name == "exception"
    assert event.attributes["exception.type"] == f"{__name__}.Boom"
    assert event.attributes["exception.message"] == "no luck"
    assert event.attributes["exception.stacktrace"].rstrip().endswith("Boom: no luck")
    assert "in end" in event.attributes["exception.stacktrace"]
    assert event.attributes["exception.escaped"] == "True"


@kinds
@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (asyncio.CancelledError, "asyncio.exceptions.CancelledError"),
        (KeyboardInterrupt, "KeyboardInterrupt"),
        (concurrent.futures.CancelledError, "concurrent.futures._base.CancelledError"),
    ],
)
def test_being_stopped_is_cancelled(recorded: Any, function: Any, kind: type[BaseException], shown: str) -> None:
    """Work that is stopped from outside is cancelled, not completed and not merely failed."""

    def end() -> None:
        raise kind

    with pytest.raises(kind):
        run(task(function), end)
    span = recorded.span
    assert span.attributes[names.STATUS] == "cancelled"
    assert span.attributes[names.ERROR_TYPE] == shown
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == f"cancelled: {kind.__name__}"
    assert span.events == ()


@kinds
@pytest.mark.parametrize(("code", "fails"), [(None, False), (0, False), (1, True), ("no such file", True)])
def test_exit_codes(recorded: Any, function: Any, code: Any, fails: bool) -> None:
    """`sys.exit(0)` is completed, any other code an error; both say SystemExit."""

    def end() -> None:
        raise SystemExit(code)

    with pytest.raises(SystemExit):
        run(task(function), end)
    assert recorded.span.attributes[names.ERROR_TYPE] == "SystemExit"
    assert recorded.span.status.status_code is (StatusCode.ERROR if fails else StatusCode.UNSET)


@pytest.mark.parametrize("step", range(1, 6))
def test_cancelled_at_any_await(recorded: Any, step: int) -> None:
    """A task cancelled at its k-th await ends as cancelled, with all that it had open, and nothing stays current."""

    @task
    async def work() -> None:
        for _ in range(2):
            await asyncio.sleep(0)
        async with action("inner"):
            for _ in range(4):
                await asyncio.sleep(0)

    async def main() -> None:
        running = asyncio.create_task(work())
        for _ in range(step):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not trace.get_current_span().get_span_context().is_valid

    asyncio.run(main())
    assert {span.attributes[names.STATUS] for span in recorded.spans} == {"cancelled"}
    assert len(recorded.spans) == (2 if step > 2 else 1)


@kinds
def test_looks_like_the_function(function: Any) -> None:
    """`inspect` tells the same of the decorated function as of the plain one."""
    decorated = task("other name")(function)
    for question in (
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        inspect.isfunction,
        inspect.isroutine,
        inspect.signature,
        inspect.getsource,
        inspect.getdoc,
        callable,
    ):
        assert question(decorated) == question(function), question
    assert decorated.__wrapped__ is function
    assert (decorated.__name__, decorated.__qualname__) == (function.__name__, function.__qualname__)
    assert decorated.__module__ == function.__module__
    assert decorated.__annotations__ == function.__annotations__
    assert isinstance(decorated, types.FunctionType)


@kinds
def test_makes_real_objects(recorded: Any, function: Any) -> None:
    """What a call gives is of the built-in type and bears the function's name."""
    made, plain_made = task(function)(int), function(int)
    assert type(made) is type(plain_made)
    if not isinstance(made, int):
        assert made.__qualname__ == plain_made.__qualname__
        for each in (made, plain_made):
            if inspect.iscoroutine(each):
                asyncio.run(each)


@kinds
def test_wrong_arguments_fail_at_the_call(recorded: Any, function: Any) -> None:
    """Wrong arguments raise TypeError when the function is called, as undecorated, not at the first step."""
    with pytest.raises(TypeError, match="positional argument"):
        task(function)(1, 2, 3)


class AsyncTool:
    async def __call__(self, *args: object) -> tuple[object, ...]:
        return args


pickled_plain = task("pickled_plain")(plain)


@task
def top_level_plain() -> int:
    return 1


@task
async def top_level_coroutine() -> int:
    return 1


@task
def top_level_generator() -> Iterator[int]:
    yield 1


class Worker:
    """Methods of all sorts, decorated in either order."""

    def __init__(self, name: str = "w") -> None:
        self.name = name

    @task
    def method(self, x: int) -> tuple[str, int]:
        return self.name, x

    @task
    async def a_method(self, x: int) -> tuple[str, int]:
        return self.name, x

    @task
    def g_method(self, x: int) -> Iterator[tuple[str, int]]:
        yield self.name, x

    @task
    async def ag_method(self, x: int) -> AsyncIterator[tuple[str, int]]:
        yield self.name, x

    @classmethod
    @task
    def class_inside(cls, x: int) -> tuple[str, int]:
        return cls.__name__, x

    @task
    @classmethod
    def class_outside(cls, x: int) -> tuple[str, int]:
        return cls.__name__, x

    @classmethod
    @task
    async def a_class_inside(cls, x: int) -> tuple[str, int]:
        return cls.__name__, x

    @task
    @classmethod
    async def a_class_outside(cls, x: int) -> tuple[str, int]:
        return cls.__name__, x

    @staticmethod
    @task
    def static_inside(x: int) -> tuple[str, int]:
        return "static", x

    @task
    @staticmethod
    def static_outside(x: int) -> tuple[str, int]:
        return "static", x

    @staticmethod
    @task
    async def a_static_inside(x: int) -> tuple[str, int]:
        return "static", x

    @task
    @staticmethod
    async def a_static_outside(x: int) -> tuple[str, int]:
        return "static", x

    @property
    @task
    def prop(self) -> str:
        return self.name

    @task
    def __call__(self, x: int) -> tuple[str, int]:
        return self.name, x


METHODS = {
    "method": "w",
    "a_method": "w",
    "g_method": "w",
    "ag_method": "w",
    "class_inside": "Worker",
    "class_outside": "Worker",
    "a_class_inside": "Worker",
    "a_class_outside": "Worker",
    "static_inside": "static",
    "static_outside": "static",
    "a_static_inside": "static",
    "a_static_outside": "static",
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("by_keyword", [False, True])
def test_methods(recorded: Any, method: str, by_keyword: bool) -> None:
    """Methods, class methods and static methods work in either order of decorators, without self in the input."""
    bound = getattr(Worker(), method)
    result = run(functools.partial(bound, x=3) if by_keyword else functools.partial(bound, 3))
    assert result in ((METHODS[method], 3), [(METHODS[method], 3)])
    assert recorded.span.name == f"Worker.{method}"
    assert recorded.span.attributes[names.INPUT_VALUE] == '{"x":3}'


def test_methods_called_through_the_class(recorded: Any) -> None:
    """`Class.method(instance, x)` and properties work, and self stays out of the input."""
    assert Worker.method(Worker("v"), 1) == ("v", 1)
    assert asyncio.run(Worker.a_method(Worker("v"), 1)) == ("v", 1)
    assert Worker.class_outside(1) == Worker.class_inside(1) == ("Worker", 1)
    assert Worker("v").prop == "v"
    assert Worker("v")(2) == ("v", 2)
    assert [span.attributes.get(names.INPUT_VALUE) for span in recorded.spans] == [
        *['{"x":1}'] * 4,
        None,
        '{"x":2}',
    ]


@pytest.mark.parametrize("function", [top_level_plain, top_level_coroutine, top_level_generator])
def test_functions_are_pickled_and_copied_by_name(function: Any) -> None:
    """Decorated functions go through pickle and copy as functions do: the same object comes out."""
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.copy(function) is function
    assert copy.deepcopy([function]) == [function]


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (functools.partial(divmod, 7), 3),
        (functools.partial(AsyncTool(), 7), 3),
        (AsyncTool(), 3),
        (len, "text"),
        ("text".count, "t"),
    ],
    ids=["partial", "async partial", "async object", "builtin", "bound builtin"],
)
def test_what_has_no_name_of_its_own_is_pickled(recorded: Any, function: Any, argument: Any) -> None:
    """As it is undecorated, and recorded where it comes out."""
    result = pickle.loads(pickle.dumps(task("named")(function)))(argument)
    if inspect.iscoroutine(result):
        asyncio.run(result)
    assert recorded.span.name == "named"


def test_bound_methods_are_pickled(recorded: Any) -> None:
    """A bound method goes to another process with its object."""
    assert pickle.loads(pickle.dumps(Worker("z").method))(1) == ("z", 1)
    assert asyncio.run(pickle.loads(pickle.dumps(Worker("z").a_method))(1)) == ("z", 1)


def test_callables_that_are_no_functions(recorded: Any) -> None:
    """Partials, cached functions and callable objects work, keep their own methods, and are named sensibly."""

    @functools.lru_cache
    def cached(x: int) -> int:
        return x

    class Tool:
        def __call__(self, x: int) -> int:
            return x

    class AsyncTool:
        async def __call__(self, x: int) -> int:
            return x

    decorated = task(cached)
    assert [decorated(1), decorated(1)] == [1, 1]
    assert decorated.cache_info().hits == 1
    decorated.cache_clear()
    assert task(functools.partial(plain, lambda: 5))() == 5
    assert asyncio.run(task(functools.partial(coroutine, lambda: 5))()) == 5
    assert task(Tool())(3) == 3
    assert asyncio.run(task(AsyncTool())(3)) == 3
    assert task(len)([1]) == 1
    assert task(Worker().method)(2) == ("w", 2)
    assert [span.name for span in recorded.spans] == [
        "cached",
        "cached",
        "plain",
        "coroutine",
        "Tool",
        "AsyncTool",
        "len",
        "Worker.method",  # its own decorator
        "Worker.method",
    ]


@pytest.mark.parametrize("what", [Worker, 5, None], ids=repr)
def test_only_functions_can_be_decorated(what: Any) -> None:
    """A class would stop being one, so it is refused when it is decorated, and told what can be."""
    instead = "; decorate its methods" if what is Worker else ""
    with pytest.raises(TypeError, match=f"records calls of functions, not .*{instead}$"):
        task("name")(what)


class Bound:
    """Binds in a way of its own, and is told its name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.is_named = name in {"undecorated", "decorated"}

    def __get__(self, instance: object, owner: type) -> Any:
        return functools.partial(self, "bound", self.is_named)

    def __call__(self, *args: object) -> tuple[object, ...]:
        return args


@pytest.mark.filterwarnings("ignore:functools.partial will be a method descriptor")  # Python 3.13
@pytest.mark.parametrize(
    "make",
    [lambda: functools.partial(divmod, 7), lambda: functools.partial(AsyncTool(), 7), AsyncTool, Bound],
    ids=["partial", "async partial", "async object", "own binding"],
)
def test_in_a_class_a_callable_is_bound_as_undecorated(recorded: Any, make: Any) -> None:
    """What is no function becomes no method, and one with a `__get__` of its own is asked."""

    class Owner:
        undecorated = make()
        decorated = task(make())

    for owner in (Owner(), Owner):
        expected, found = owner.undecorated(3), owner.decorated(3)  # type: ignore[attr-defined]
        if inspect.iscoroutine(expected):
            expected, found = asyncio.run(expected), asyncio.run(found)
        assert found == expected
    assert len(recorded.spans) == 2


@pytest.mark.parametrize(
    "kind", [property, functools.cached_property, functools.singledispatchmethod, functools.partialmethod]
)
def test_a_property_is_no_name(kind: Any) -> None:
    """Above @property and its like a decorator would make a block of it, and the attribute would be gone."""
    for decorate in (task, task("name")):
        with pytest.raises(TypeError, match="put it below that decorator"):
            decorate(kind(len))


@pytest.mark.parametrize("way", ["closed", "cancelled", "never awaited"])
@pytest.mark.filterwarnings("always::RuntimeWarning")
def test_python_warns_of_a_coroutine_as_of_one_undecorated(recorded: Any, way: str) -> None:
    """Of one that nobody awaited, once; of none that was closed, or cancelled before its first step."""

    async def work() -> None:
        raise AssertionError

    async def cancel(function: Callable[[], Any]) -> None:
        task = asyncio.create_task(function())
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def texts(function: Callable[[], Any]) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            if way == "cancelled":
                asyncio.run(cancel(function))
            else:
                started = function()
                if way == "closed":
                    started.close()
                del started
            gc.collect()
        return [str(warning.message) for warning in caught]

    assert texts(task(work)) == texts(work)
    assert len(texts(work)) == (way == "never awaited")
    assert recorded.spans == []


def test_attributes_of_functions_stay(recorded: Any) -> None:
    """What other decorators put on a function is still there, for every kind of function."""
    for function in KINDS:

        @functools.wraps(function)
        def marked(*args: Any) -> Any:
            return None

        marked.mark = [1]  # type: ignore[attr-defined]
        assert task(marked).mark == [1]

    async def other() -> None: ...

    other.mark = [2]  # type: ignore[attr-defined]
    assert task(other).mark == [2]


def test_one_decorator_for_many_functions(recorded: Any) -> None:
    """One decorator object can decorate many functions, and each keeps its own name."""
    nightly = task(queue="nightly")
    first, second = nightly(top_level_plain.__wrapped__), nightly(plain)
    first()
    second(lambda: 1)
    assert [span.name for span in recorded.spans] == ["top_level_plain", "plain"]
    assert {span.attributes[names.TASK_QUEUE] for span in recorded.spans} == {"nightly"}


def test_recursion_and_parallel_calls(recorded: Any) -> None:
    """Each call is a span of its own, inside the call that made it."""

    @task
    def down(n: int) -> int:
        return down(n - 1) + 1 if n else 0

    assert down(3) == 3
    assert len({span.context.span_id for span in recorded.spans}) == 4
    inner, *_, outermost = recorded.spans
    assert outermost.parent is None
    assert inner.parent is not None


def test_endless_recursion(recorded: Any, complaints_expected: Any) -> None:
    """A function that recurses without end raises what it raises undecorated, and the context comes back."""

    @task
    def forever() -> None:
        forever()

    with pytest.raises(RecursionError):
        forever()
    assert not trace.get_current_span().get_span_context().is_valid


@kinds
def test_current_is_the_block_inside(recorded: Any, function: Any) -> None:
    """`current()` inside is the block of this call, and outside it is the one that does nothing."""
    seen: list[tuple[str, str]] = []

    def end() -> None:
        seen.append((current().name, current().span_id))
        current().set("inside", True)

    run(action("own")(function), end)
    span = recorded.span
    assert seen == [("own", format(span.context.span_id, "016x"))]
    assert span.attributes["inside"] is True
    assert current().span_id == "0" * 16


def test_a_span_of_others_in_between(recorded: Any) -> None:
    """Spans of other tracers and ours nest in each other."""

    @task
    def outer() -> None:
        with recorded.tracer.start_as_current_span("theirs"), action("mine"):
            pass

    outer()
    assert (
        recorded.named("theirs").parent.span_id
        == recorded.named("test_a_span_of_others_in_between.outer".rpartition(".")[2]).context.span_id
    )
    assert recorded.named("mine").parent.span_id == recorded.named("theirs").context.span_id


class Broken:
    """An SDK in which everything fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("broken SDK")


@kinds
def test_a_broken_sdk_does_not_hurt(
    monkeypatch: pytest.MonkeyPatch, complaints_expected: pytest.LogCaptureFixture, function: Any
) -> None:
    """When starting spans fails, functions work as if they were not decorated, and one line says so."""
    monkeypatch.setattr(trace, "get_tracer_provider", Broken)
    for _ in range(3):
        assert run(task(function), lambda: 7) == run(function, lambda: 7)
        with pytest.raises(Boom):
            run(task(function), boom)
    assert [record.name for record in complaints_expected.records] == ["instrumentation"]


def test_a_broken_processor_does_not_hurt(recorded: Any, complaints_expected: pytest.LogCaptureFixture) -> None:
    """A span processor that raises when a span ends costs the span, not the program."""
    from opentelemetry.sdk.trace import SpanProcessor

    class Bad(SpanProcessor):
        def on_end(self, span: Any) -> None:
            raise RuntimeError("bad processor")

    trace.get_tracer_provider().add_span_processor(Bad())  # type: ignore[attr-defined]
    assert task(plain)(lambda: 7) == 7
    assert "end of a span failed" in complaints_expected.text
