"""How spans get to a store with a server: OTLP over HTTP, by OpenTelemetry's batch processor."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from realistic import RESOURCE

from .measure import QUEUE


def provider(endpoint: str, headers: dict[str, str] | None = None) -> TracerProvider:
    """With the SDK's batches of 512."""
    made = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=endpoint, headers=headers, timeout=600)
    made.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUE))
    return made


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(url: str, server: subprocess.Popen[bytes], seconds: float = 600) -> None:
    """Return when the server answers."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert server.poll() is None, f"the server ended with {server.returncode}"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    server.kill()
    raise TimeoutError(f"nothing answers at {url}")
