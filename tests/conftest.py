"""What the tests share: one real PostgreSQL for a run, and a database of its own for each test."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from otel_pg_exporter import migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.embedded import EmbeddedServer, find_binaries
from otel_pg_exporter.host import diagnostics

with suppress(ImportError):  # there is none where frameworks are run
    import hypothesis

    # how long an example takes, or is thought of, is the machine's affair
    hypothesis.settings.register_profile(
        "any machine", hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("any machine")

_CONFIGURING = ("OTEL_", "EVENT_", "POSTGRES_", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE", "PGSSL")


def pytest_report_header() -> str:
    """Which PostgreSQL it is."""
    if given := os.environ.get("TEST_DSN"):
        with psycopg.connect(given) as connection:
            return f"server: PostgreSQL {connection.info.parameter_status('server_version')} of TEST_DSN"
    programs = find_binaries()
    answer = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True)
    return f"server: {answer.stdout.strip()} in {programs}"


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """A shell's background job ignores SIGINT, and so would every program that a test starts and ends by it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the developer's shell has set must not steer a test, and no test writes to the developer's folders."""
    for name in [name for name in os.environ if name.startswith(_CONFIGURING)]:
        del os.environ[name]
    os.environ["EVENT_SPOOL_DIR"] = str(tmp_path_factory.mktemp("spool"))


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the host's log got to hear."""
    monkeypatch.setattr(diagnostics, "_said", {})
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    listener = Listener()
    logging.getLogger().addHandler(listener)
    yield lines
    logging.getLogger().removeHandler(listener)


@pytest.fixture(scope="session")
def server_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for this run, from `TEST_DSN`, or started here from the programs in `PGBIN`. A run without one fails."""
    if given := os.environ.get("TEST_DSN"):
        yield given
        return
    fast = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_connections": "200"}
    with EmbeddedServer(tmp_path_factory.mktemp("postgres") / "data", options=fast) as server:
        yield server.conninfo


@pytest.fixture(scope="session")
def template(server_dsn: str) -> str:
    """A database with the tables in it, to be copied."""
    name = f"template_{uuid.uuid4().hex}"
    _administer(server_dsn, f'CREATE DATABASE "{name}"')
    migrate.up(Settings(dsn=make_conninfo(server_dsn, dbname=name)))
    return name


@pytest.fixture
def dsn(server_dsn: str, template: str) -> Iterator[str]:
    """An own database with the tables in schema otel."""
    yield from _database(server_dsn, f'TEMPLATE "{template}"')


@pytest.fixture(scope="module")
def shared_dsn(server_dsn: str, template: str) -> Iterator[str]:
    """The same for all tests of a file, that leave it as it is."""
    yield from _database(server_dsn, f'TEMPLATE "{template}"')


@pytest.fixture
def empty_dsn(server_dsn: str) -> Iterator[str]:
    """An own database with nothing in it."""
    yield from _database(server_dsn, "")


def _database(server_dsn: str, options: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    _administer(server_dsn, f'CREATE DATABASE "{name}" {options}')
    yield make_conninfo(server_dsn, dbname=name)
    # WITH (FORCE), for any version
    _administer(
        server_dsn,
        f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false',
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        f'DROP DATABASE "{name}"',
    )


def _administer(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
