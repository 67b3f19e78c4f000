"""What the library says in the program's log hurts neither the program nor the work that it is about."""

from __future__ import annotations

import logging
import threading

import pytest

from otel_pg_exporter.host import diagnostics


class Broken(logging.Handler):
    """A handler that lets its exceptions out, as pytest's does, and others that people write."""

    def emit(self, record):
        raise ValueError("a handler")


@pytest.fixture
def broken(monkeypatch):
    monkeypatch.setattr(diagnostics, "_said", {})
    made = Broken()
    yield made
    for logger in (logging.getLogger(), diagnostics.logger):
        logger.removeHandler(made)


@pytest.mark.parametrize("logger", ["", "otel_pg_exporter"])
def test_a_handler_that_raises_stops_neither_us_nor_the_others(broken, heard, logger):
    """Whoever warns is in the middle of keeping records."""
    handlers = logging.getLogger(logger).handlers
    handlers.insert(len(handlers) if logger else 0, broken)

    diagnostics.warn("the database is away")

    assert ["the database is away"] == heard


def test_a_destructor_that_warns_in_the_middle_of_a_warning_hangs_nobody(heard):
    """It runs in the same thread, wherever that is."""

    class Dying(str):
        def __del__(self):
            diagnostics.warn("a destructor")

    def warn():
        with diagnostics._lock:
            diagnostics._said[Dying("a topic")] = (0.0, 0)
            diagnostics._said.clear()

    thread = threading.Thread(target=warn, daemon=True)
    thread.start()
    thread.join(30)

    assert not thread.is_alive()
    assert ["a destructor"] == heard
