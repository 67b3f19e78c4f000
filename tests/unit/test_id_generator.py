"""Ids of traces and spans: in the order of time, and of random numbers that are nobody else's."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from otel_pg_exporter import TimeOrderedIdGenerator, id_generator
from otel_pg_exporter.errors import ConfigurationError

FORKS = """
import ctypes, os, sys
from otel_pg_exporter import TimeOrderedIdGenerator

fork, make = eval(sys.argv[1]), getattr(TimeOrderedIdGenerator(), f"generate_{sys.argv[2]}_id")
for _ in range(3):
    if not (child := fork()):
        os.write(1, f"{make():032x}\\n".encode())
        os._exit(0)
    os.waitpid(child, 0)
os.write(1, f"{make():032x}\\n".encode())
"""


@pytest.fixture
def seeded():
    """Seeds the program's random numbers; they are as before afterwards."""
    state = random.getstate()
    yield lambda: random.seed(42)
    random.setstate(state)


@pytest.mark.parametrize(
    ("now", "beginning"),
    [(1480615200.9, "58406520"), (0.5, "00000000"), (-1.0, "ffffffff"), (2.0**32 + 5, "00000005")],
    ids=["X-Ray's example", "1970", "before 1970", "after 2106"],
)
def test_a_trace_id_begins_with_the_second(monkeypatch, now, beginning):
    """32 bits of it, as AWS X-Ray's documentation shows; whatever the clock says, an id has 128 bits."""
    monkeypatch.setattr(id_generator, "time", lambda: now)
    ids = [f"{TimeOrderedIdGenerator().generate_trace_id():032x}" for _ in range(50)]

    assert {beginning} == {each[:8] for each in ids}
    assert {32} == {len(each) for each in ids}
    assert 50 == len({each[16:] for each in ids})


def test_later_traces_have_larger_ids(monkeypatch):
    """What an index of trace ids needs to keep a day together."""
    generator, clock = TimeOrderedIdGenerator(), iter(range(1_700_000_000, 1_700_090_000, 1_000))
    monkeypatch.setattr(id_generator, "time", clock.__next__)
    ids = [generator.generate_trace_id() for _ in range(90)]

    assert sorted(ids) == ids


def test_all_but_the_time_is_random():
    """Each of the lower 96 bits, and of a span id's 64, is set in about half."""
    generator = TimeOrderedIdGenerator()
    for make, bits in ((generator.generate_trace_id, 96), (generator.generate_span_id, 64)):
        made = [make() for _ in range(2_000)]
        counts = [sum(each >> bit & 1 for each in made) for bit in range(bits)]

        assert 2_000 == len(set(made))
        assert 800 < min(counts)
        assert max(counts) < 1_200


def test_no_span_id_is_zero():
    """That is the id of no span."""
    generator = TimeOrderedIdGenerator()
    bits = iter([0, 0, 7])
    generator._random_bits = lambda _: next(bits)

    assert 7 == generator.generate_span_id()


@pytest.mark.parametrize("generator", [TimeOrderedIdGenerator, RandomIdGenerator], ids=["ours", "the SDK's"])
def test_a_program_that_seeds_its_random_numbers_gets_new_ids(seeded, generator):
    """Runs of a program that is seeded do not share traces; with the SDK's ids they do (issue 4376 there)."""
    made = []
    for _ in range(2):  # as two runs would
        ids = generator()
        seeded()
        made.append((f"{ids.generate_trace_id():032x}"[8:], ids.generate_span_id()))

    assert (made[0] != made[1]) is (generator is TimeOrderedIdGenerator)


@pytest.mark.parametrize("generator", [TimeOrderedIdGenerator, RandomIdGenerator], ids=["ours", "the SDK's"])
def test_recording_leaves_the_programs_random_numbers_alone(seeded, generator):
    """A simulation draws the same numbers, recorded or not; not with the SDK's ids."""
    seeded()
    expected = random.random()
    seeded()
    TracerProvider(id_generator=generator(), shutdown_on_exit=False).get_tracer("x").start_span("recorded").end()

    assert (expected == random.random()) is (generator is TimeOrderedIdGenerator)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("fork", ["os.fork", "ctypes.PyDLL(None).fork"], ids=["by Python", "by a server in C"])
@pytest.mark.parametrize("kind", ["trace", "span"])
def test_forked_children_have_ids_of_their_own(fork, kind):
    """Also where nobody told Python that it was forked."""
    done = subprocess.run([sys.executable, "-c", FORKS, fork, kind], capture_output=True, text=True, check=True)
    made = done.stdout.split()

    assert 4 == len(made) == len({each[8:] for each in made})


def test_the_environment_names_another(monkeypatch):
    """By OpenTelemetry's variable, as the SDK's own set-up reads it."""
    monkeypatch.delenv("OTEL_PYTHON_ID_GENERATOR", raising=False)
    assert TimeOrderedIdGenerator is type(id_generator.id_generator())
    for name, kind in {
        "": TimeOrderedIdGenerator,
        "otel_pg": TimeOrderedIdGenerator,
        "random": RandomIdGenerator,
    }.items():
        monkeypatch.setenv("OTEL_PYTHON_ID_GENERATOR", name)
        assert kind is type(id_generator.id_generator())


def test_a_name_that_nobody_has_is_an_error(monkeypatch):
    """It says what there is."""
    monkeypatch.setenv("OTEL_PYTHON_ID_GENERATOR", "nosuch")

    with pytest.raises(
        ConfigurationError, match=r"^OTEL_PYTHON_ID_GENERATOR='nosuch' is not allowed; .*otel_pg.*random"
    ):
        id_generator.id_generator()


def test_the_random_flag_is_set():
    """W3C Trace Context, level 2: the last 56 bits are random; older SDKs do not know the flag."""
    span = TracerProvider(id_generator=TimeOrderedIdGenerator(), shutdown_on_exit=False).get_tracer("x").start_span("x")
    usual = TracerProvider(shutdown_on_exit=False).get_tracer("x").start_span("x")

    assert usual.get_span_context().trace_flags == span.get_span_context().trace_flags
