"""The package as others see it: what it imports, how fast, how it is typed, and what it does without an SDK."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import instrumentation
from instrumentation import attributes

ROOT = Path(__file__).parents[3]
PACKAGE = Path(instrumentation.__file__).parent
# What a user can do before any SDK is there.
EVERYTHING = """
import asyncio
from instrumentation import action, agent, current, deployment, event, propagate, task

@task
def plain(x):
    current().set("a", 1)
    event("e", body={"a": 1})
    return x

@agent(model="m")
async def coroutine(x):
    async with action("a") as block:
        block.usage(input_tokens=1)
    return x

@action
def items():
    yield 1

@action
async def a_items():
    yield 1

async def main():
    return await coroutine(2), [item async for item in a_items()]

assert plain(1) == 1
assert asyncio.run(main()) == (2, [1])
assert list(items()) == [1]
with deployment("d") as block:
    block.result("success")
    assert block.trace_id == "0" * 32
assert propagate(plain)(3) == 3
try:
    with task("t"):
        raise ValueError("v")
except ValueError:
    pass
"""


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_without_an_sdk() -> None:
    """Without an SDK everything works as undecorated, nothing is logged, and neither SDK nor storage is imported."""
    forbidden = "('opentelemetry.sdk', 'psycopg', 'otel_pg_exporter')"
    python(
        EVERYTHING
        + f"import sys\nfound = [m for m in sys.modules if m.startswith({forbidden})]\nassert not found, found"
    )


def test_a_provider_set_late() -> None:
    """Functions that were decorated and called before the SDK was set up are recorded after it was."""
    python(
        EVERYTHING
        + """
from opentelemetry import trace, _logs
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
plain(1)
assert [span.name for span in spans.get_finished_spans()] == ["plain"]
"""
    )


def test_not_sampled() -> None:
    """When a trace is not sampled, arguments and results are not looked at."""
    python(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
        from instrumentation import task
        trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF))
        class Seen:
            def __repr__(self):
                raise SystemExit("looked at")
        task(lambda x: x)(Seen())
        """
    )


def seconds(statement: str, before: str = "") -> float:
    """CPU time of a statement, after another one, in a fresh interpreter; the least of several."""
    return min(
        float(python(f"{before}\nimport time; t = time.process_time()\n{statement}\nprint(time.process_time() - t)"))
        for _ in range(7)
    )


def test_import_time() -> None:
    """`import instrumentation` takes at most 60 ms, and its names 45 ms more than OpenTelemetry's API."""
    assert seconds("import instrumentation") < 0.060
    assert seconds("from instrumentation import task, event", "import opentelemetry.trace, opentelemetry._logs") < 0.045


def test_import_loads_little() -> None:
    """`import instrumentation` alone loads not even the OpenTelemetry API."""
    assert python("import sys, instrumentation; print('opentelemetry' in sys.modules)") == "False\n"


def test_public_names() -> None:
    """Every public name exists, is no module, and has a docstring; what does not exist is an AttributeError."""
    for name in instrumentation.__all__:
        found = getattr(instrumentation, name)
        assert found.__doc__
        assert not (PACKAGE / f"{name}.py").exists()
        assert name in dir(instrumentation)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = instrumentation.nonsense  # type: ignore[attr-defined]


def test_attribute_names_are_documented() -> None:
    """Each attribute name is there once and has a line that says what it means."""
    source = (PACKAGE / "attributes.py").read_text()
    values = [value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str)]
    assert len(values) == len(set(values))
    for name in vars(attributes):
        if name.isupper():
            after = source.split(f"\n{name}: Final = ", 1)[1].split("\n", 1)[1]
            assert after.startswith('"""'), name


TYPES = """
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any
from uuid import UUID
from typing_extensions import assert_type
from instrumentation import Block, action, agent, current, deployment, event, propagate, task

@task
def bare(a: int, *, b: str) -> float: ...
@task("name", attempt=1)
def named(a: int, *, b: str) -> float: ...
@agent
async def coroutine(a: int) -> str: ...
@action(kind="llm")
def generator(a: int) -> Iterator[str]: ...
@deployment()
async def async_generator(a: int) -> AsyncIterator[str]:
    yield ""

class Agent:
    @agent
    def method(self, a: int) -> str: ...
    @task()
    @classmethod
    def outside(cls, a: int) -> str: ...
    @staticmethod
    @task
    def static(a: int) -> str: ...

assert_type(bare(1, b=""), float)
assert_type(named(1, b=""), float)
made = assert_type(coroutine(1), Coroutine[Any, Any, str])
assert_type(generator(1), Iterator[str])
assert_type(async_generator(1), AsyncIterator[str])
assert_type(Agent().method(1), str)
assert_type(Agent.outside(1), str)
assert_type(Agent.static(1), str)
assert_type(current(), Block)
assert_type(event("e"), None)
assert_type(event("e", task_id=42, user_id=UUID(int=1)), None)
assert_type(task(task_id=42, user_id=UUID(int=1), session_id="s"), Block)
assert_type(agent("a", agent_id=UUID(int=1)), Block)
assert_type(propagate(bare)(1, b=""), float)
with task("t") as block:
    assert_type(block, Block)
async def main() -> None:
    async with action("t") as block:
        assert_type(block, Block)
"""
WRONG = """
task("t", task_id=1.5)
bare("1", b="")
named(1)
task("t", attempt="one")
task("t", unknown=1)
current().usage(tokens=1)
"""


def test_types(tmp_path: Path) -> None:
    """mypy --strict keeps the types of decorated functions, and reports each wrong use."""
    pytest.importorskip("mypy")
    (tmp_path / "right.py").write_text(TYPES.replace(": ...", ": raise NotImplementedError"))
    (tmp_path / "wrong.py").write_text(TYPES.replace(": ...", ": raise NotImplementedError") + WRONG)

    def check(name: str) -> str:
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(tmp_path / name)]
        environment = {"MYPYPATH": str(ROOT), "PATH": "", "MYPY_CACHE_DIR": str(tmp_path / "cache")}
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
        return done.stdout + done.stderr

    assert "Success" in check("right.py"), check("right.py")
    wrong = check("wrong.py")
    first = len(TYPES.splitlines()) + 2
    for line in range(first, first + 6):
        assert f"wrong.py:{line}: error" in wrong, wrong
