"""Traces are erased while programs store others that say the same: none of those lacks a text afterwards.

Three writers say the same, and send each text once as far as they know; what they have stored is erased a moment later,
so that again and again a text is erased that a writer counts on, or is about to refer to.
A trace that lacks its text is left, and looked at again: other writers may send it at any time.
"""

from __future__ import annotations

import random
import threading
import time
import uuid

import psycopg
import pytest
from harness import broken
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from otel_pg_exporter import migrate
from otel_pg_exporter.exporter import PostgresSpanExporter
from otel_pg_exporter.upkeep.erasure import erase

WRITERS, BATCHES, KEPT = 3, 300, 2
"""Batches of each writer; the counterparts get twenty times as many to go wrong."""
ENOUGH = 10
"""Texts that have to be erased meanwhile, which on a busy machine takes more batches."""


def text_of(number):
    return random.Random(number).randbytes(2500).hex()


def one_of_few(number, chosen):
    """Texts that come again and again, which a writer has sent long before."""
    return text_of(chosen.randrange(40))


def one_after_the_other(number, chosen):
    """Texts that nobody says any more after a moment, so that nobody sends them anew."""
    return text_of(number // 6)


class Program(threading.Thread):
    """Stores traces of one span."""

    def __init__(self, dsn, seed, text, batches):
        super().__init__()
        self.stored, self.has_to_stop, self._text, self._batches = [], False, text, batches
        self._dsn, self._chosen = dsn, random.Random(seed)

    def run(self):
        exporter = PostgresSpanExporter(self._dsn, spool_max_bytes=0)
        for number in range(1, 100 * self._batches):  # on a busy machine few erasures end meanwhile
            if self.has_to_stop:
                break
            trace_id, now = self._chosen.getrandbits(128), time.time_ns()
            exporter.export([
                ReadableSpan(
                    "n", SpanContext(trace_id, number, False, TraceFlags(1)), resource=Resource({}), start_time=now,
                    attributes={"otel_pg.category": "task", "input.value": self._text(number, self._chosen)},
                    end_time=now,
                )
            ])  # fmt: skip
            self.stored.append(uuid.UUID(int=trace_id))
        exporter.shutdown()
        assert len(self.stored) == exporter.counts["stored"]


def lacking(dsn):
    """Traces that are there without their text."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT trace_id FROM otel.task_events AS t JOIN otel.tasks USING (trace_id, span_id)"
            " WHERE t.input_contents IS NOT NULL AND tasks.input IS NULL"
        )
        return {trace_id for (trace_id,) in found}


def left_without_a_text(dsn, seed, text, batches):
    """Traces that stay so, for which all is ended, and how many texts were erased."""
    migrate.up(dsn=dsn)
    programs = [Program(dsn, f"{seed} {number}", text, batches) for number in range(WRITERS)]
    for program in programs:
        program.start()
    texts, seen, looks = 0, dict.fromkeys(programs, 0), [set(), set(), set()]
    while any(program.is_alive() for program in programs):
        gone = set()
        for program in programs:
            end = max(seen[program], len(program.stored) - KEPT)
            gone.update(program.stored[seen[program] : end])
            seen[program] = end
        looks = [*looks[1:], lacking(dsn)]
        if set.intersection(*looks):  # who has just stored one may be about to send its text, but not for so long
            break
        if gone := gone - looks[-1]:
            done = erase(dsn=dsn, trace_id=[*gone], pause=lambda seconds: time.sleep(0.01), attempts=500)
            assert 0 == done.left
            texts += done.texts
        if texts >= ENOUGH and all(len(program.stored) >= batches for program in programs):
            break
    for program in programs:
        program.has_to_stop = True
        program.join()
    return set.intersection(*looks) | lacking(dsn), texts


@pytest.fixture(autouse=True)
def _slowly(monkeypatch):
    """An erasure takes some time between its last look and what it does, as on a busy machine."""
    broken.reword(
        monkeypatch.setattr, "batches_since",
        lambda text: text.replace("SELECT ", "SELECT (SELECT pg_sleep(0.02))::text AS slept, ", 1),
    )  # fmt: skip


@pytest.mark.parametrize("text", [one_of_few, one_after_the_other])
def test_no_trace_lacks_a_text_that_another_trace_had_too(dsn, seed, text):
    """However often it was erased with that one."""
    without, texts = left_without_a_text(dsn, seed, text, BATCHES)

    assert texts >= ENOUGH
    assert set() == without


@pytest.mark.parametrize(
    ("build", "text"), [("deaf_to_erasures", one_of_few), ("erase_beside_writers", one_after_the_other)]
)
def test_a_build_that_erases_as_if_nobody_wrote_leaves_traces_without(dsn, monkeypatch, seed, build, text):
    """The counterparts: in one those who store do not hear of it, the other does not wait for them."""
    broken.BUILDS[build](monkeypatch.setattr)

    assert left_without_a_text(dsn, seed, text, 20 * BATCHES)[0]
