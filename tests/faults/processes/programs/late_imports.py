"""Prints what is imported after the set-up, by whatever the exporter does. Argument: durability."""

import os
import sys

import oracle
from psycopg.conninfo import make_conninfo

from otel_pg_exporter import EventIntegration, configure

telemetry = configure(dsn=os.environ["DSN"], durability=sys.argv[1])
events = EventIntegration()
if oracle.broken("imports"):
    del sys.modules["encodings.idna"]
before = set(sys.modules)
oracle.both()
telemetry.force_flush()
events.emit("task:completed", {"task_id": "1"})  # whose start is looked for
events.force_flush()
telemetry.query.counts()
telemetry.query.health()
away = configure(dsn=make_conninfo(os.environ["DSN"], port=9), durability=sys.argv[1])
oracle.both()
away.shutdown(2_000)
events.close()
telemetry.shutdown()
print(sorted(set(sys.modules) - before))
