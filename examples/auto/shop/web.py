"""The shop's web side."""

from __future__ import annotations

from flask import Flask

from .tasks import send_invoice

app = Flask(__name__)


@app.post("/orders/<int:number>")
def order(number: int) -> tuple[str, int]:
    """Order one of an article."""
    send_invoice.delay(number)
    return "ordered\n", 202
