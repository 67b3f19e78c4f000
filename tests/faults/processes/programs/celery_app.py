"""An application of Celery with a broker of files, and a task that records."""

import os
import time

import oracle

from otel_pg_exporter import configure


def set_up() -> None:
    configure(dsn=os.environ["DSN"], durability=os.environ["DURABILITY"], batch_timeout_millis=60_000)


oracle.break_exits()
if os.environ["WHEN"] == "before":
    set_up()
    oracle.both()

from celery import Celery, signals  # noqa: E402

folder = os.environ["BROKER"]
app = Celery("faults", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": folder, "data_folder_out": folder, "control_folder": os.path.join(folder, "control"),
        "polling_interval": 0.05,
    },
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
)  # fmt: skip

if os.environ["WHEN"] == "after":
    set_up()
    oracle.both()
elif os.environ["WHEN"] == "in the child":
    signals.worker_process_init.connect(lambda **_: set_up(), weak=False)


@app.task(name="record")
def record() -> None:
    oracle.both()
    oracle.tell("task", f"{os.getpid()} {time.time()}")
