"""The thread that hands events on: in order, and with an end."""

from __future__ import annotations

import threading
import time

from otel_pg_exporter.host import courier as courier_module
from otel_pg_exporter.host.courier import Courier


def as_it_is(item):
    return item


def test_items_are_prepared_and_delivered_in_order():
    """By one thread; after the end nothing is taken."""
    done = []
    courier = Courier(str, done.append, 100)

    assert all(courier.put(number) for number in range(50))
    assert courier.drain(10)
    assert [str(number) for number in range(50)] == done
    assert [] == courier.end(10)
    assert not courier.put("late")


def test_what_cannot_be_delivered_does_not_stop_the_next():
    """An exception in it costs its own item only; one in the preparation costs none."""
    done = []
    courier = Courier(lambda number: 1 / number, lambda number: done.append(1 / number), 100)
    for number in (0, 2, float("inf"), 4):
        courier.put(number)

    assert courier.drain(10)
    assert [] == courier.end(10)
    assert [2, 4] == done, "1 / 0 failed in both steps, 1 / inf is 0 and failed in the second"


def test_a_preparation_that_hangs_holds_up_nobody():
    """The end comes in time and gives back what is left, the hanging one too, which is not delivered twice."""
    goes_on, begun = threading.Event(), threading.Event()
    done = []

    def prepare(number):
        begun.set()
        goes_on.wait()
        return number

    courier = Courier(prepare, done.append, 2)
    courier.put(1)
    begun.wait()
    assert [True, False] == [courier.put(number) for number in (2, 3)]
    assert not courier.drain(0.01)
    assert [1, 2] == courier.end(0.05)

    goes_on.set()
    courier._thread.join()
    assert [] == done


def test_an_end_waits_for_the_item_that_is_just_being_delivered(monkeypatch):
    """It is neither given back nor still on its way afterwards."""
    monkeypatch.setattr(courier_module, "_HANDING_SECONDS", 60.0)  # for a machine that stalls
    begun, done = threading.Event(), []

    def deliver(number):
        begun.set()
        time.sleep(0.05)
        done.append(number)

    courier = Courier(as_it_is, deliver, 100)
    courier.put(1)
    begun.wait()

    assert [] == courier.end(0)
    assert [1] == done


def test_an_end_waits_for_what_can_be_done_in_time():
    """What was put in before is delivered."""
    done = []
    courier = Courier(as_it_is, done.append, 100)
    for number in range(20):
        courier.put(number)

    assert [] == courier.end(10)
    assert list(range(20)) == done


def test_without_a_thread_nothing_is_taken(monkeypatch):
    """At the end of the interpreter none can be started: the giver keeps the item."""
    monkeypatch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("ending")))
    courier = Courier(as_it_is, print, 100)

    assert not courier.put(1)
    assert [] == courier.end(10)


def test_a_pause_is_cut_short_by_the_end():
    """It says whether there is another try."""
    courier = Courier(as_it_is, print, 2)

    assert courier.pause(0.0)
    courier.end(10)
    assert not courier.pause(3600)
