"""Everything works through PgBouncer's transaction pooling: no session state is used."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from harness.cluster import Cluster
from opentelemetry.sdk.trace import TracerProvider

from otel_pg_exporter import AsyncEventQuery, EventStore, configure, doctor, migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import connecting
from otel_pg_exporter.embedded import launcher

pytestmark = pytest.mark.services

CLIENTS = 20
_GUEST = """
import os, runpy, sys
launcher = runpy.run_path(sys.argv[1])
if os.geteuid() == 0:
    launcher["enter_namespace"](65534)  # PgBouncer refuses root; it is shown another user, as PostgreSQL is
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("bounced") / "server", {"fsync": "off"}) as made:
        yield made


@pytest.fixture
def pooled(cluster: Cluster, tmp_path: Path) -> Iterator[str]:
    """An empty database behind a PgBouncer with two connections."""
    direct = psycopg.conninfo.conninfo_to_dict(cluster.database())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    ini = tmp_path / "pgbouncer.ini"
    ini.write_text(
        f"[databases]\n{direct['dbname']} = host={direct['host']} port={direct['port']} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = transaction\n"
        "default_pool_size = 2\nmax_client_conn = 100\nunix_socket_dir =\n",
        "utf-8",
    )
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program, "there is no pgbouncer: make test-services installs it"
    log = (tmp_path / "pgbouncer.log").open("wb")
    started = subprocess.Popen([sys.executable, "-c", _GUEST, launcher.__file__, program, str(ini)], stderr=log)
    dsn = f"host=127.0.0.1 port={port} user=postgres dbname={direct['dbname']}"
    give_up_at = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(dsn, prepare_threshold=None).close()
            break
        except psycopg.OperationalError:
            assert started.poll() is None, (tmp_path / "pgbouncer.log").read_text()
            assert time.monotonic() < give_up_at, (tmp_path / "pgbouncer.log").read_text()
            time.sleep(0.05)
    yield dsn
    started.terminate()
    started.wait(10)
    log.close()


def use_everything(dsn: str, folder: Path, number: int) -> None:
    """One client: migrations, exporter, queries, an event at once and one in a transaction, asyncio, health."""
    settings = Settings(dsn=dsn, spool_dir=str(folder / str(number)), health_monitoring=False)
    migrate.up(settings)
    telemetry = configure(
        settings, tracer_provider=TracerProvider(shutdown_on_exit=False), logger_provider=None,
    )  # fmt: skip
    tracer = telemetry.tracer_provider.get_tracer("client")
    for _ in range(50):
        tracer.start_span("work", attributes={"otel_pg.category": "task", "client": number}).end()
    assert telemetry.force_flush(), telemetry.last_error
    with EventStore(settings) as store:
        for _ in range(8):
            store.log_task_event(event_name="at once", wait=True)
        with psycopg.connect(dsn, prepare_threshold=None) as connection:
            store.log_task_event(event_name="with others", connection=connection)
        assert store.get_health_status().is_healthy, store.get_health_status().error
        for _ in range(8):  # more than psycopg's own threshold for prepared statements
            assert store.query_task_events(limit=5)

    async def ask() -> int:
        async with AsyncEventQuery(settings) as query:
            for _ in range(8):
                await query.task_events(limit=5)
            return (await query.statistics()).count

    assert asyncio.run(ask())
    telemetry.shutdown()
    # one that has waited too long for a connection goes to the spool first
    assert 50 == sum(telemetry.counts.get(fate, 0) for fate in ("stored", "replayed", "duplicate"))


def run_clients(dsn: str, folder: Path) -> list[BaseException]:
    errors: list[BaseException] = []

    def client(number: int) -> None:
        try:
            use_everything(dsn, folder, number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return errors


def test_twenty_clients_share_two_connections(pooled, tmp_path):
    """Migrations, exporter, queries, EventStore and asyncio, 20 times at once: no error, and every row once."""
    errors = run_clients(pooled, tmp_path)

    assert [] == errors
    with psycopg.connect(pooled, prepare_threshold=None) as connection:
        counted = "SELECT count(*), count(*) FILTER (WHERE event_name = 'work') FROM otel.task_events"
        assert (CLIENTS * 59, CLIENTS * 50) == connection.execute(counted).fetchone()
    assert doctor.examine(Settings(dsn=pooled, spool_dir=str(tmp_path / "0"))).totals["missing_batches"] == 0


def test_prepared_statements_do_not_survive_it(pooled, tmp_path, monkeypatch):
    """The counterpart: with the driver's own threshold the same clients meet errors."""
    options = connecting.options
    monkeypatch.setattr(
        "otel_pg_exporter.database.pools.options", lambda *given: {**options(*given), "prepare_threshold": 1}
    )

    assert run_clients(pooled, tmp_path)
