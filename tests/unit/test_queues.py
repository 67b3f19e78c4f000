"""Records that wait in memory: how many, and how much they hold."""

import sys
import threading
import time
import tracemalloc
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otel_pg_exporter.processors import queues
from otel_pg_exporter.processors.fitting import BATCH_BYTES, Fit, weight

MIB = 1 << 20


class Slow:
    """An exporter that is busy until it is let go, and keeps the size of each batch."""

    is_hanging = is_encoding = False

    def __init__(self):
        self.may_go = threading.Event()
        self.batches, self.given_up, self.causes = [], 0, set()

    def export(self, batch):
        self.may_go.wait(30)
        self.batches.append([len(record.attributes.get("input", "")) for record in batch])

    def give_up(self, count, reason, cause="shut_down"):
        self.given_up += count
        self.causes.add(cause)

    def shutdown(self, timeout_millis):
        pass


@pytest.fixture
def slow():
    exporter = Slow()
    yield exporter
    exporter.may_go.set()


def queue_before(exporter, max_bytes=8 * MIB, capacity=10_000, batch=512):
    return queues.SpanQueue(
        exporter, max_export_batch_size=batch, schedule_delay_millis=50, max_queue_size=capacity,
        max_queue_bytes=max_bytes,
    )  # fmt: skip


def record(queue, sizes):
    """End a span for each size of its input, in bytes; the memory that was taken at most."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(queue)
    tracer = provider.get_tracer("test")
    tracemalloc.start()
    try:
        for number, size in enumerate(sizes):
            tracer.start_span("call", attributes={"input": f"{number:<{size}}"}).end()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_large_records_fill_a_queue_before_many_do(slow):
    """A queue for 10,000 records and 8 MiB, with 2,000 records of 100 kB: the oldest go, each is counted."""
    queue = queue_before(slow)

    most = record(queue, [100_000] * 2000)

    assert most < 5 * 8 * MIB, "those that are exported just now are held too"
    assert queue.depth <= 8 * MIB / 100_000
    slow.may_go.set()
    assert queue.force_flush()
    assert sum(map(len, slow.batches)) + slow.given_up == 2000
    assert ({"queue_full"}, 0) == (slow.causes, queue.untold)
    queue.shutdown()


def test_without_the_limit_it_would_hold_them_all(slow, monkeypatch):
    """The counterpart: nobody looks at what the records hold."""
    monkeypatch.setattr(Fit, "look", lambda self, record: None)

    most = record(queue_before(slow), [100_000] * 2000)

    assert most > 100 * MIB


def test_small_records_are_limited_by_their_number_alone(slow):
    """A queue for 1,000 records takes 1,000 of them, and those being exported."""
    queue = queue_before(slow, max_bytes=64 * MIB, capacity=1000, batch=1000)

    record(queue, [10] * 3000)

    assert queue.depth == 1000
    slow.may_go.set()
    assert queue.force_flush()
    assert sum(map(len, slow.batches)) + slow.given_up == 3000
    queue.shutdown()


def test_large_records_go_in_batches_of_so_many_bytes():
    """What is encoded and sent as a whole is about 16 MiB, not 512 times a megabyte."""
    exporter = Slow()
    queue = queue_before(exporter, max_bytes=256 * MIB)
    exporter.may_go.set()

    record(queue, [MIB] * 60)

    assert queue.force_flush()
    queue.shutdown()
    assert sum(map(len, exporter.batches)) == 60
    assert max(map(sum, exporter.batches)) <= BATCH_BYTES


def test_one_record_larger_than_everything_is_still_taken(slow):
    """The limit is for those that wait; a single one always may."""
    queue = queue_before(slow, max_bytes=MIB)

    record(queue, [4 * MIB])

    slow.may_go.set()
    assert queue.force_flush()
    assert slow.batches == [[4 * MIB]]
    queue.shutdown()


def test_after_large_records_small_ones_are_many_again():
    """What was large half a minute ago says nothing about now."""
    fit = Fit(MIB, most=1000, batch=100)
    large = SimpleNamespace(attributes={"input": "x" * MIB}, events=())
    small = SimpleNamespace(attributes={"input": "x"}, events=())
    fit.look(large)
    assert (fit.most, fit.batch) == (1, 1)

    for _ in range(200):
        fit.look(small)

    assert fit.most > 200
    assert fit.batch == 100


def test_a_record_that_cannot_be_weighed_is_queued_all_the_same(slow):
    """A body of somebody's own kind, that raises when it is looked into, hurts nobody, however it comes."""

    class Hostile(dict):
        def values(self):
            raise RuntimeError("changed meanwhile")

    fit = Fit(MIB, most=1000, batch=100)
    fit.look(SimpleNamespace(log_record=SimpleNamespace(attributes=None, body=Hostile())))
    fit.look(None)
    fit.look(SimpleNamespace(log_record=SimpleNamespace(attributes={"numbers": range(1 << 60)}, body=bytearray(MIB))))

    assert (fit.most, fit.batch) == (1, 1), "the last one was weighed, and is larger than all that may wait"


def test_a_weight_counts_what_is_inside():
    """Texts of attributes, of lists in them, of events, and of a body; a body that holds itself ends too."""
    event = SimpleNamespace(attributes={"stack": "x" * 1000})
    span = SimpleNamespace(attributes={"a": "x" * 1000, "b": ("y" * 1000, "z" * 1000), "n": 5}, events=(event,))
    body = {"prompt": ["x" * 1000]}
    body["self"] = body
    log = SimpleNamespace(log_record=SimpleNamespace(attributes=None, body=body))

    assert weight(span) - weight(SimpleNamespace(attributes={}, events=())) == 4 * sys.getsizeof("x" * 1000)
    assert weight(log) >= 1000


@pytest.mark.parametrize("is_broken", [False, True])
def test_an_end_without_any_time_left_hands_on_what_waits(slow, monkeypatch, is_broken):
    """A busy machine may have taken all of it: the exporter knows a way that takes none. A build that counts to the
    end of its time gives them up."""
    if is_broken:
        monkeypatch.setattr(queues, "_LEAST_SECONDS", 0.0)
    queue = queues.SpanQueue(
        slow, max_export_batch_size=2, schedule_delay_millis=60_000, max_queue_size=10, max_queue_bytes=MIB
    )
    slow.may_go.set()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(queue)
    with queue._queue._starting:  # no thread of its own takes part
        provider.get_tracer("test").start_span("call").end()

        queue.shutdown(0)

    assert (([], 1) if is_broken else ([[0]], 0)) == (slow.batches, slow.given_up)


def test_an_end_that_takes_all_its_time_and_more_is_over_soon(slow, monkeypatch):
    """What is left then is counted."""
    monkeypatch.setattr(queues, "_LEAST_SECONDS", 0.05)
    queue = queues.SpanQueue(
        slow, max_export_batch_size=1, schedule_delay_millis=60_000, max_queue_size=100, max_queue_bytes=MIB
    )
    exported = []
    slow.export = lambda batch: exported.append(batch) or time.sleep(0.02)
    with queue._queue._starting:  # no thread of its own takes part
        record(queue, [0] * 100)

        queue.shutdown(0)

    assert slow.given_up > 0
    assert 100 == slow.given_up + len(exported)


class Held:
    """A lock that somebody else keeps, and how long each attempt waited for it, s."""

    def __init__(self):
        self.waits = []

    def acquire(self, timeout):
        self.waits.append(timeout)
        return False


def test_an_export_that_hangs_is_waited_for_once_at_the_end(slow):
    """Not before each of the batches behind it: encoding them takes the time that is left."""
    queue = queue_before(slow, batch=1)
    slow.may_go.set()
    slow.is_hanging = True
    queue._queue._exporting = held = Held()
    with queue._queue._starting:  # no thread of its own takes part
        record(queue, [0] * 20)

        queue.shutdown(60_000)

    assert 20 == len(slow.batches) == len(held.waits)
    assert sum(held.waits) < 5 * held.waits[0]


def test_a_flush_without_time_left_does_not_answer_for_what_another_thread_exports(slow, monkeypatch):
    """Which may have taken out all that is left just when the time was over."""
    queue = queues.SpanQueue(
        slow, max_export_batch_size=1, schedule_delay_millis=60_000, max_queue_size=100, max_queue_bytes=MIB
    )
    other, has_begun = threading.Thread(target=queue._queue._export_batches, args=(1,)), threading.Event()

    def export(batch):
        if other.ident is None:
            other.start()  # it waits for its turn
            time.sleep(0.05)
        else:
            has_begun.set()
            slow.may_go.wait(30)

    def late():
        assert other.ident is None or has_begun.wait(30)
        return time.monotonic()

    slow.export = export
    monkeypatch.setattr(queues, "monotonic", late)
    with queue._queue._starting:  # no thread of its own takes part
        record(queue, [0, 0])

        assert not queue.force_flush(10)
    slow.may_go.set()
    other.join(30)
    assert queue.force_flush()


def test_a_flush_is_over_in_time_whatever_the_export_does(slow):
    """Whoever asks a provider to flush for a tenth of a second does not wait for a silent server."""
    queue = queue_before(slow)
    record(queue, [1])
    begun = time.monotonic()

    assert not queue.force_flush(100)

    assert time.monotonic() - begun < 10  # the export takes 30 s
    slow.may_go.set()
    assert queue.force_flush()
    queue.shutdown()
    assert [[1]] == slow.batches


def test_a_record_that_comes_in_the_middle_of_the_end_is_exported_or_counted(slow, monkeypatch):
    """It has just found the queue open when another thread closes it."""
    slow.may_go.set()
    queue = queue_before(slow)
    monkeypatch.setattr(queue._queue._fit, "look", lambda record: queue.shutdown(10_000))

    record(queue, [1])

    assert (0, 1) == (queue.depth, queue.late + sum(map(len, slow.batches)))
