"""Servers that are too old are refused, before anything is asked of them."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_pg_exporter import EventStore, PostgresSpanExporter, migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.database.connecting import connect
from otel_pg_exporter.errors import UnsupportedServer
from otel_pg_exporter.writing.delivery import Delivery


class Greeter:
    """Greets as a server of some version does, and then has nothing more to say."""

    def __init__(self, version: str) -> None:
        self.asked = b""
        self._version = version
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.settings = Settings(
            dsn=f"host=127.0.0.1 port={self._listener.getsockname()[1]} user=u dbname=d sslmode=disable",
            spool_max_bytes=0,
            health_monitoring=False,
        )
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.recv(int.from_bytes(client.recv(4), "big"))
                client.sendall(b"R" + struct.pack(">II", 8, 0))
                for name, value in (("server_version", self._version), ("server_encoding", "UTF8")):
                    text = f"{name}\0{value}\0".encode()
                    client.sendall(b"S" + struct.pack(">I", len(text) + 4) + text)
                client.sendall(b"K" + struct.pack(">III", 12, 1, 1) + b"Z" + struct.pack(">I", 5) + b"I")
                while asked := client.recv(4096):
                    self.asked += asked


@pytest.fixture
def greeter(request: pytest.FixtureRequest) -> Iterator[Greeter]:
    greeter = Greeter(request.param)
    yield greeter
    greeter.close()


@pytest.mark.parametrize("greeter", ["11.22", "9.6.24"], indirect=True)
@pytest.mark.parametrize("use", [migrate.up, migrate.status, lambda settings: EventStore(settings).initialize()])
def test_a_server_older_than_12_is_refused(greeter, use):
    """One error says which it is and which is needed; it was asked for nothing but to end the connection."""
    major = greeter._version.split(".")[0]

    with pytest.raises(UnsupportedServer, match=rf"is PostgreSQL {major} .*needed are PostgreSQL 12 or newer and UTF8"):
        use(greeter.settings)

    assert b"" == greeter.asked.strip(b"X\0\x04")  # Terminate


@pytest.mark.parametrize("greeter", ["12.0", "18.4", "19beta1"], indirect=True)
def test_a_server_that_is_new_enough_is_not_refused(greeter):
    """The same greeting with a version that will do gives a connection."""
    connect(greeter.settings.conninfo, greeter.settings).close()


@pytest.mark.parametrize("greeter", ["11.22"], indirect=True)
def test_an_exporter_counts_what_an_old_server_cannot_take(greeter):
    """The program goes on, and the cause has a name."""
    delivery = Delivery(Database(greeter.settings))
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(PostgresSpanExporter(delivery=delivery)))

    provider.get_tracer("x").start_span("s").end()
    provider.shutdown()
    delivery.close(5)

    assert {"unsupported_server": 1} == delivery.failures
