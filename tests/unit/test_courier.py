"""The thread that hands events on: in order, and with an end."""

from __future__ import annotations

import threading

from otel_pg_exporter.courier import Courier


def test_items_are_delivered_in_order_and_then_it_finishes():
    """By one thread; the end comes once, after the last."""
    done = []
    courier = Courier(done.append, lambda: done.append("end"), 100)

    assert all(courier.put(number) for number in range(50))
    assert courier.drain(10)
    assert list(range(50)) == done
    assert 0 == courier.end(10)
    assert [*range(50), "end"] == done
    assert not courier.put("late")


def test_what_cannot_be_delivered_does_not_stop_the_next():
    """An exception costs its own item only."""
    done = []
    courier = Courier(lambda number: done.append(1 / number), lambda: None, 100)
    for number in (0, 2):
        courier.put(number)

    assert 0 == courier.end(10)
    assert [0.5] == done


def test_a_delivery_that_hangs_holds_up_nobody():
    """The end comes in time and says what is left; a full queue takes no more."""
    goes_on, begun = threading.Event(), threading.Event()
    done = []

    def deliver(number):
        begun.set()
        goes_on.wait()
        done.append(number)

    courier = Courier(deliver, lambda: None, 2)
    courier.put(1)
    begun.wait()
    assert [True, True, False] == [courier.put(number) for number in (2, 3, 4)]
    assert not courier.drain(0.01)
    assert 3 == courier.end(0.05)

    goes_on.set()
    courier._thread.join()
    assert [1] == done, "what was given up is not delivered later"


def test_a_pause_is_cut_short_by_the_end():
    """It says whether there is another try."""
    courier = Courier(lambda item: None, lambda: None, 2)

    assert courier.pause(0.0)
    courier.end(10)
    assert not courier.pause(3600)
