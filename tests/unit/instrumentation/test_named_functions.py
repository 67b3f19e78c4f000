"""Functions that patterns name: which they are, that they are recorded once, and that all can be undone."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instrumentation import instrument, uninstrument
from instrumentation.patches import report_unmatched, unmatched
from instrumentation.patterns import Pattern

JOBS = """
import functools
from os.path import join
from named_helpers import helper, decorate
from instrumentation import agent

def run(x):
    return x

alias = run

def _private():
    pass

async def wait(x):
    return x

def items():
    yield 1

async def later():
    yield 2

@functools.lru_cache
def cached(x):
    return x

@agent("mine")
def decorated():
    pass

@decorate
def wrapped():
    pass

class Worker:
    def __init__(self):
        pass

    def run(self, x):
        return x

    def _hidden(self):
        pass

    @classmethod
    def make(cls):
        return cls()

    @staticmethod
    def plain(x):
        return x

    @property
    def size(self):
        return 1

    class Inner:
        def work(self):
            pass

Other = Worker
number = 3
"""
HELPERS = """
def helper():
    pass

def decorate(function):
    def inner(*args):
        return function(*args)
    return inner
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package and two modules to be imported anew in each test."""
    (tmp_path / "named_jobs.py").write_text(JOBS)
    (tmp_path / "named_helpers.py").write_text(HELPERS)
    (tmp_path / "named_package").mkdir()
    (tmp_path / "named_package" / "__init__.py").touch()
    (tmp_path / "named_package" / "inner.py").write_text("def run():\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    uninstrument()
    for name in [name for name in sys.modules if name.startswith("named_")]:
        del sys.modules[name]


def names(recorded: Any) -> list[str]:
    return sorted(span.name for span in recorded.spans)


@pytest.mark.parametrize(
    ("text", "module", "path", "fits"),
    [
        ("a.b:run", "a.b", "run", True),
        ("a.b:run", "a.c", "run", False),
        ("a.b:run", "a.b", "Worker.run", False),
        ("a.b:*", "a.b", "run", True),
        ("a.b:*", "a.b", "_run", False),
        ("a.b:_*", "a.b", "_run", True),
        ("a.b:*", "a.b", "Worker.run", False),
        ("a.b:*.run", "a.b", "Worker.run", True),
        ("a.b:Worker.*", "a.b", "Worker.__init__", False),
        ("a.b:Worker.__init__", "a.b", "Worker.__init__", True),
        ("a.b:**", "a.b", "Worker.Inner.run", True),
        ("a.b:**", "a.b", "_Worker.run", False),
        ("a.*:run", "a.b", "run", True),
        ("a.*:run", "a", "run", False),
        ("a.*:run", "a.b.c", "run", False),
        ("a.*:run", "a._b", "run", False),
        ("a.**:run", "a", "run", True),
        ("a.**:run", "a.b.c", "run", True),
        ("a.**.c:run", "a.b.c", "run", True),
        ("a.b:import_[a-m]?", "a.b", "import_b1", True),
        ("a.b:Run", "a.b", "run", False),
    ],
)
def test_a_pattern_fits_part_by_part(text, module, path, fits):
    """Stars stay within a part, two stars do not, and an underscore must be written."""
    pattern = Pattern(text)

    assert fits == (pattern.fits_module(module) and pattern.fits_path(tuple(path.split("."))))


@pytest.mark.parametrize("text", ["", "a.b", "a.b:", ":run", "a..b:run", "a.b:run.", 7, " : "])
def test_what_is_no_pattern_is_refused(text):
    """The message names the value and what is allowed."""
    with pytest.raises(ValueError, match="is not allowed; allowed is module:function") as error:
        instrument(tasks=[text])

    assert repr(text) in str(error.value)


def test_a_text_is_no_list_of_patterns():
    """Its letters would be taken for patterns, and the first of them be refused."""
    with pytest.raises(ValueError, match=r"tasks='a\.b:run' is not allowed; allowed is a list of patterns"):
        instrument(tasks="a.b:run")


@pytest.mark.parametrize(
    ("text", "exists"),
    [
        ("named_jobs:run", True),
        ("named_package.inner:x", True),
        ("named_package.*:x", True),
        ("named_package.**:x", True),
        ("named_*:x", True),
        ("named_package.outer:x", False),
        ("named_package.inn:x", False),
        ("named_package.o*:x", False),
        ("named_jobs.deeper:x", False),
        ("nosuch.**:x", False),
    ],
)
def test_modules_are_looked_up_without_importing_them(text, exists):
    """Whether a pattern can ever fit is known from the files on sys.path."""
    assert exists == Pattern(text).has_module()
    assert not [name for name in sys.modules if name.startswith("named_")]


def test_functions_are_recorded_when_their_module_is_imported(recorded):
    """Sync, async, generators, cached, methods, class and static methods; private and foreign ones are not."""
    instrument(tasks=["named_jobs:*", "named_jobs:*.*", "named_jobs:Worker.Inner.*"])
    import named_jobs as jobs

    assert 1 == jobs.run(1)
    assert 1 == asyncio.run(jobs.wait(1))
    assert [1] == [*jobs.items()]
    assert [2] == asyncio.run(_all(jobs.later()))
    assert 5 == jobs.cached(5)
    worker = jobs.Worker.make()
    assert (2, 3, 1) == (worker.run(2), jobs.Worker.plain(3), worker.size)
    jobs.Worker.Inner().work()
    jobs._private()
    worker._hidden()
    jobs.helper()
    jobs.join("a", "b")

    assert sorted([
        "run", "wait", "items", "later", "cached", "Worker.make", "Worker.run", "Worker.plain", "Worker.Inner.work"
    ]) == names(recorded)  # fmt: skip


async def _all(iterator):
    return [item async for item in iterator]


def test_a_recorded_function_is_as_it_was(recorded):
    """Its name, signature, kind and pickle are those of the function; two names of one stay one."""
    instrument(tasks=["named_jobs:**"])
    import named_jobs as jobs

    assert jobs.alias is jobs.run
    assert jobs.Other is jobs.Worker
    assert "(x)" == str(inspect.signature(jobs.run))
    assert inspect.iscoroutinefunction(jobs.run.__wrapped__) is False
    assert pickle.loads(pickle.dumps(jobs.run)) is jobs.run
    assert "(x)" == str(inspect.signature(jobs.Worker.plain))
    jobs.cached.cache_clear()
    assert 0 == jobs.cached.cache_info().currsize


def test_what_stands_for_another_object_is_not_asked(tmp_path, recorded):
    """Flask's request raises where there is none, Celery's task would be made; what lies beside them is recorded."""
    (tmp_path / "named_views.py").write_text(
        "class Local:\n"
        "    @property\n"
        "    def __dict__(self):\n"
        "        raise RuntimeError('working outside of request context')\n"
        "class Lazy:\n"
        "    def __getattribute__(self, name):\n"
        "        raise RuntimeError('not yet')\n"
        "class Meta(type):\n"
        "    def __getattr__(cls, name):\n"
        "        raise RuntimeError(name)\n"
        "class Odd(metaclass=Meta):\n"
        "    pass\n"
        "request, lazy, odd = Local(), Lazy(), Odd\n"
        "def view():\n    return 1\n"
    )
    instrument(tasks=["named_views:**"])

    assert 1 == importlib.import_module("named_views").view()
    assert ["view"] == names(recorded)


def test_kinds_are_those_of_the_decorators(recorded):
    """Each list makes its own kind of span; what several name is the first of them, and none is in vain."""
    instrument(
        tasks=["named_jobs:run"], agents=["named_jobs:Worker.run", "named_jobs:run"],
        actions=["named_jobs:wait"], deployments=["named_jobs:cached"],
    )  # fmt: skip
    import named_jobs as jobs

    jobs.run(1)
    jobs.Worker().run(1)
    asyncio.run(jobs.wait(1))
    jobs.cached(1)

    kinds = {span.name: span.attributes["otel_pg.category"] for span in recorded.spans}
    assert {"run": "task", "Worker.run": "agent", "wait": "agent", "cached": "deployment"} == kinds
    assert [] == unmatched()


def test_what_is_decorated_is_not_recorded_twice(recorded):
    """A decorator in the code goes before; naming it is not in vain."""
    instrument(tasks=["named_jobs:decorated"])
    import named_jobs as jobs

    jobs.decorated()

    assert ["mine"] == names(recorded)
    assert [] == unmatched()


def test_naming_twice_records_once(recorded):
    """The same pattern, another that names the same, and a call after the import."""
    instrument(tasks=["named_jobs:run"])
    import named_jobs as jobs

    instrument(tasks=["named_jobs:run"])
    instrument(tasks=["named_jobs:r*"])
    jobs.run(1)

    assert ["run"] == names(recorded)


def test_a_plain_name_finds_what_a_decorator_hides(recorded):
    """A function whose decorator does not keep names is recorded if it is named letter by letter."""
    instrument(tasks=["named_jobs:wrapped"])
    import named_jobs as jobs

    jobs.wrapped()

    assert ["wrapped"] == names(recorded)


def test_a_plain_name_counts_beside_a_pattern_that_fits_as_well(recorded):
    """What the pattern may not record, of another kind too, the name that is written out does, or says why not."""
    instrument(tasks=["named_jobs:**"], actions=["named_jobs:wrapped", "named_jobs:Worker.size"])
    import named_jobs as jobs

    jobs.wrapped()

    ((name, category),) = [(span.name, span.attributes["otel_pg.category"]) for span in recorded.spans]
    assert ("wrapped", "agent") == (name, category)
    (size,) = unmatched()
    assert "Worker.size in named_jobs is a property, not a function" == size.problem


def test_modules_that_are_imported_already_are_patched(recorded):
    """So are the names under which other modules hold the functions; undone, all are as before."""
    import named_helpers
    import named_jobs

    before, method = named_helpers.helper, vars(named_jobs.Worker)["make"]
    instrument(tasks=["named_helpers:helper", "named_jobs:Worker.make"])
    named_jobs.helper()
    named_jobs.Worker.make()
    assert ["Worker.make", "helper"] == names(recorded)

    uninstrument()
    assert before is named_helpers.helper is named_jobs.helper
    assert method is vars(named_jobs.Worker)["make"]
    named_jobs.helper()
    assert 2 == len(names(recorded))


def test_uninstrument_reaches_what_was_imported_later(recorded):
    """A function that was taken from its module after it was patched goes back too, and the hooks are gone."""
    instrument(tasks=["named_helpers:helper", "named_package.inner:run"])
    import named_jobs

    uninstrument()
    importlib.import_module("named_package.inner").run()
    named_jobs.helper()

    assert [] == names(recorded)


def test_what_is_named_in_vain_is_said(caplog, complaints_expected):
    """Each with its reason; a module that is there and not imported is none."""
    instrument(
        tasks=[
            "named_jobs:nosuch",
            "named_jobs:number",
            "named_jobs:Worker",
            "named_jobs:helper",
            "named_package.inner:nosuch",
            "nix:run",
        ]
    )
    importlib.import_module("named_jobs")
    with caplog.at_level(logging.WARNING, "instrumentation"):
        report_unmatched()

    assert [
        "capture: nothing is recorded for tasks named_jobs:nosuch: module named_jobs has no such function",
        "capture: nothing is recorded for tasks named_jobs:number: number in named_jobs is a int, not a function",
        "capture: nothing is recorded for tasks named_jobs:Worker: Worker in named_jobs is a class: name its methods,"
        " as in named_jobs:Worker.*",
        "capture: nothing is recorded for tasks named_jobs:helper: helper in named_jobs comes from named_helpers:"
        " name it there",
        "capture: nothing is recorded for tasks nix:run: there is no such module",
    ] == caplog.messages


def test_a_class_that_takes_no_methods_is_left_alone(tmp_path, recorded, complaints_expected):
    """What cannot be replaced is reported, and the import goes on."""
    (tmp_path / "named_closed.py").write_text(
        "class Meta(type):\n    def __setattr__(cls, name, value):\n        raise TypeError('closed')\n"
        "class Closed(metaclass=Meta):\n    def run(self):\n        return 1\n"
    )
    instrument(tasks=["named_closed:Closed.run"])

    assert 1 == importlib.import_module("named_closed").Closed().run()
    assert [] == names(recorded)
    (wish,) = unmatched()
    assert "Closed.run cannot be replaced: TypeError" == wish.problem
