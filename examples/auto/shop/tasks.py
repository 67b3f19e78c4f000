"""The shop's background work. Its queue is a folder, so that the example needs no broker."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from celery import Celery

from .stock import reserve

_queue = Path(os.environ.get("SHOP_QUEUE", Path(tempfile.gettempdir()) / "shop-queue"))
_queue.mkdir(exist_ok=True)

app = Celery("shop", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": str(_queue),
    "data_folder_out": str(_queue),
    "control_folder": str(_queue / "control"),
}


@app.task
def send_invoice(number: int) -> str:
    """Reserve what was ordered and bill it."""
    return f"invoice for {number}, {reserve(number)} left"
