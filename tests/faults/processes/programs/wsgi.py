"""A WSGI application that records each request."""

import os

import oracle

from otel_pg_exporter import configure

oracle.break_forks()
telemetry = configure(dsn=os.environ["DSN"], durability=os.environ["DURABILITY"], batch_timeout_millis=60_000)
oracle.both()  # as the module is loaded: with --preload this is queued in the master when it forks
oracle.break_forks()


def application(environ, start_response):
    oracle.both()
    oracle.tell("pid", str(os.getpid()))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
