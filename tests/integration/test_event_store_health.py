"""Health of the event store in each state, and the monitor that finds the way back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path

import psycopg
import psycopg_pool
import pytest
from harness.cluster import Cluster
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from otel_pg_exporter import EventStore, migrate
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import AsyncDatabase, Database, opened
from otel_pg_exporter.embedded import EmbeddedServer
from otel_pg_exporter.errors import AccessDenied, DatabaseError, DatabaseUnavailable
from otel_pg_exporter.events.monitor import Monitor
from otel_pg_exporter.health import Health
from otel_pg_exporter.host import diagnostics

NOWHERE = "host=127.0.0.1 port=9 user=x dbname=y"


def wait_until(is_so: Callable[[], object]) -> None:
    """Returns when it is so; fails after a long time."""
    give_up_at = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < give_up_at, "it never became so"
        time.sleep(0.02)


def monitors() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "otel-pg-health"]


@pytest.fixture(autouse=True)
def _no_other_monitors():
    """Those of stores that were closed before may still end."""
    wait_until(lambda: not monitors())


def test_a_healthy_store_says_what_it_knows(dsn):
    """Version, latency, pool, queue, counts and the last success."""
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        before = store.get_health_status()
        store.log_task_event(event_name="x")
        store.force_flush()
        health = store.get_health_status()

    assert (None, 0) == (before.last_success_at, before.exported)
    assert (True, None, 0, 1, {}) == (
        health.is_healthy, health.error, health.queue_depth, health.exported, health.failed,
    )  # fmt: skip
    assert int(health.server_version.split(".")[0]) >= 12
    assert health.latency_ms > 0
    assert 1 <= health.pool["open"] <= health.pool["most"] == 4
    assert before.checked_at <= health.last_success_at <= health.checked_at
    assert health.to_dict()["last_success_at"] == health.last_success_at.isoformat()


def test_a_store_that_is_not_open_yet_can_be_asked(empty_dsn):
    """It answers, and makes no tables."""
    store = EventStore(dsn=empty_dsn)

    assert store.get_health_status().is_healthy
    assert not store.is_open
    with psycopg.connect(empty_dsn) as connection:
        assert (None,) == connection.execute("SELECT to_regclass('otel.events')").fetchone()


@pytest.fixture
def beggar(empty_dsn):
    """A role with no rights, by its connection string."""
    name = f"beggar_{conninfo_to_dict(empty_dsn)['dbname']}"
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(f'CREATE ROLE "{name}" LOGIN')
        yield make_conninfo(empty_dsn, user=name)
        connection.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


def test_a_role_that_cannot_make_the_tables_is_not_healthy(empty_dsn, beggar):
    """Nothing could be stored. It is told which right it lacks, the schema's or the database's, and is well with it."""
    role = conninfo_to_dict(beggar)["user"]
    without = EventStore(dsn=beggar).get_health_status()
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA otel; GRANT USAGE ON SCHEMA otel TO "{role}"')
    reading = EventStore(dsn=beggar).get_health_status()
    with EventStore(dsn=beggar, health_monitoring=False) as store, pytest.raises(AccessDenied) as denied:
        store.initialize()
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(f'GRANT USAGE, CREATE ON SCHEMA otel TO "{role}"')
    able = EventStore(dsn=beggar).get_health_status()
    with EventStore(dsn=beggar, health_monitoring=False) as store:
        store.initialize()

    assert (False, False, True) == (without.is_healthy, reading.is_healthy, able.is_healthy)
    assert (
        f'may not make schema "otel". GRANT CREATE ON DATABASE "{conninfo_to_dict(beggar)["dbname"]}"' in without.error
    )
    assert f'GRANT USAGE, CREATE ON SCHEMA "otel" TO "{role}"; or let its owner run: otel-pg' in reading.error
    assert str(denied.value).endswith(reading.error.partition(": ")[2])
    assert "permission denied for schema otel" in str(denied.value)
    assert able.server_version == without.server_version is not None


def test_tables_that_a_role_may_not_read_are_not_said_to_be_of_an_earlier_version(empty_dsn, beggar):
    """Their owner would find nothing to do: what is missing is a right."""
    role = conninfo_to_dict(beggar)["user"]
    migrate.up(dsn=empty_dsn)
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(f'GRANT USAGE ON SCHEMA otel TO "{role}"')

    with pytest.raises(AccessDenied, match=f'GRANT SELECT ON "otel"."schema_migrations" TO "{role}"$'):
        migrate.up(dsn=beggar)


def test_tables_of_an_earlier_version_are_well_for_their_owner_alone(empty_dsn, beggar):
    """Whoever owns them brings them to this version at the first use; another role is told who can."""
    role = conninfo_to_dict(beggar)["user"]
    migrate.up(dsn=empty_dsn, to=len(migrate.status(dsn=empty_dsn)) - 1)
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(f'GRANT USAGE, CREATE ON SCHEMA otel TO "{role}"')
        connection.execute(f'GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA otel TO "{role}"')
    theirs = EventStore(dsn=beggar).get_health_status()
    with EventStore(dsn=beggar, health_monitoring=False) as store, pytest.raises(AccessDenied) as denied:
        store.initialize()
    off = EventStore(dsn=empty_dsn, auto_migrate=False).get_health_status()
    owners = EventStore(dsn=empty_dsn).get_health_status()

    assert (False, False, True) == (theirs.is_healthy, off.is_healthy, owners.is_healthy)
    assert f'an earlier version, and role "{role}" does not own them. Let their owner run: otel-pg' in theirs.error
    assert str(denied.value).endswith(theirs.error.partition(": ")[2])
    assert "is not applied. Run: otel-pg migrate up" in off.error
    assert (1, None) == (owners.migrations_pending, owners.error)


def test_a_closed_store_is_not_healthy(dsn):
    """It says so, and raises nothing."""
    store = EventStore(dsn=dsn)
    store.initialize()
    store.close()

    health = store.get_health_status()

    assert (False, "the event store is closed") == (health.is_healthy, health.error)
    assert store.last_health is None


def test_a_server_that_is_not_there_is_named():
    """The error says where it should be."""
    health = EventStore(dsn=NOWHERE).get_health_status()

    assert not health.is_healthy
    assert "cannot reach host=127.0.0.1 port=9" in health.error


@pytest.fixture
def server(tmp_path):
    """A server of the test's own, that it may stop."""
    with EmbeddedServer(tmp_path / "data", options={"fsync": "off"}) as server:
        yield server


def test_a_wrong_password_is_named(server):
    """Neither the password that was given nor another is shown."""
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        connection.execute("SET password_encryption = 'scram-sha-256'")
        connection.execute("CREATE ROLE locked LOGIN SUPERUSER PASSWORD 'right'")
        access = Path(connection.execute("SHOW hba_file").fetchone()[0])
        access.write_text(f"local all locked scram-sha-256\n{access.read_text()}")
        connection.execute("SELECT pg_reload_conf()")
    right, wrong = (make_conninfo(server.conninfo, user="locked", password=word) for word in ("right", "wr0ng!"))
    wait_until(lambda: not EventStore(dsn=wrong).get_health_status().is_healthy)

    health = EventStore(dsn=wrong).get_health_status()

    assert "refused the connection" in health.error
    assert "wr0ng!" not in str(health.to_dict())
    with EventStore(dsn=wrong, health_monitoring=False) as store, pytest.raises(AccessDenied):
        store.initialize()
    assert EventStore(dsn=right).get_health_status().is_healthy


def test_a_server_that_is_away_is_told_soon(tmp_path, monkeypatch):
    """The pool goes on trying while it is refused, and waits for one that is silent: who asks for health cannot."""
    monkeypatch.setattr("otel_pg_exporter.query._HEALTH_SECONDS", 5.0)

    def asked() -> Health:
        answers: list[Health] = []
        thread = threading.Thread(target=lambda: answers.append(store.get_health_status()), daemon=True)
        thread.start()
        thread.join(50)
        assert answers, "no answer in 50 s"
        return answers[0]

    with (
        Cluster(tmp_path / "data") as cluster,
        EventStore(dsn=cluster.conninfo, connect_timeout_seconds=60, health_monitoring=False) as store,
    ):
        store.query_events()
        with cluster.silent():
            silent = asked()
        store.query_events()
        cluster.close()
        refused = asked()

    assert (False, False) == (silent.is_healthy, refused.is_healthy)
    assert "timeout" in silent.error
    assert "cannot reach" in refused.error


def test_what_could_not_be_stored_is_counted_by_cause(server):
    """A server that stopped, and a queue that is full."""
    conninfo = server.conninfo
    store = EventStore(dsn=conninfo, export_timeout_millis=100, queue_size=5, batch_timeout_millis=60_000,
                       health_monitoring=False, spool_max_bytes=0)  # fmt: skip
    store.initialize()
    server.close()
    for _ in range(3):
        store.log_task_event(event_name="x")
    waiting = store.get_health_status()
    assert not store.force_flush()
    lost = store.get_health_status()
    store.close()

    assert (False, 3, {}) == (waiting.is_healthy, waiting.queue_depth, waiting.failed)
    assert (0, {"unreachable": 3}) == (lost.queue_depth, lost.failed)


def test_a_connection_that_the_server_ends_is_told_by_an_error_alone(dsn, caplog):
    """The driver's pools say a second time that one is gone that was in use; those of the program's own go on to."""
    end = "SELECT pg_terminate_backend(pg_backend_pid())"

    async def ended() -> None:
        database = AsyncDatabase(Settings(dsn=dsn))
        with pytest.raises(DatabaseUnavailable):
            async with database.connection() as connection:
                await connection.execute(end)
        await database.close()

    with (
        closing(Database(Settings(dsn=dsn))) as database,
        pytest.raises(DatabaseUnavailable),
        database.connection() as connection,
    ):
        connection.execute(end)
    asyncio.run(ended())
    assert [] == [record.getMessage() for record in caplog.records if record.name.startswith("psycopg")]

    with (
        psycopg_pool.ConnectionPool(dsn, open=True) as pool,
        pytest.raises(psycopg.OperationalError),
        pool.connection() as connection,
    ):
        connection.execute(end)
    assert "psycopg.pool" in [record.name for record in caplog.records]


def test_the_drivers_pool_does_not_fill_the_log(server, caplog):
    """It would say at each attempt what whoever asks is told once; that of a pool of the program's own is left."""
    with EventStore(dsn=server.conninfo, health_monitoring=False) as store:
        assert store.get_health_status().is_healthy
        server.close()
        for _ in range(3):
            assert not store.get_health_status().is_healthy
    assert [] == [record.getMessage() for record in caplog.records if record.name == "psycopg.pool"]

    with psycopg_pool.ConnectionPool(NOWHERE, name="mine", open=False) as pool:
        wait_until(lambda: [record for record in caplog.records if record.name == "psycopg.pool"])
    assert pool.closed


def test_why_there_is_no_connection_in_time_is_told(dsn, monkeypatch):
    """All are in use, or the server has come back too late for who waited: then more of them would not help."""
    settings = Settings(dsn=dsn, pool_max_size=2, connect_timeout_seconds=2)
    with opened(settings) as database, database.connection():
        with database.connection(), pytest.raises(DatabaseUnavailable, match=r"no free connection .* EVENT_POOL_MAX"):
            database.connection().__enter__()

        def waited_in_vain(self, timeout=None):
            raise psycopg_pool.PoolTimeout

        monkeypatch.setattr(psycopg_pool.ConnectionPool, "connection", waited_in_vain)
        monkeypatch.setattr(psycopg_pool.ConnectionPool, "get_stats", lambda self: {"pool_size": 1})
        with pytest.raises(DatabaseUnavailable, match="was away until a moment ago"):
            database.connection().__enter__()


def test_the_same_is_told_to_asyncio(dsn, monkeypatch):
    """Errors of what is awaited are those of what blocks; a pool whose opening was cancelled is not kept."""
    settings = Settings(dsn=dsn, pool_max_size=2, connect_timeout_seconds=2)

    async def ask() -> None:
        database = AsyncDatabase(settings)
        opening = psycopg_pool.AsyncConnectionPool.open
        monkeypatch.setattr(psycopg_pool.AsyncConnectionPool, "open", lambda pool: asyncio.Event().wait())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(database.connection().__aenter__(), 1)
        monkeypatch.setattr(psycopg_pool.AsyncConnectionPool, "open", opening)
        async with database.connection(), database.connection():
            with pytest.raises(DatabaseUnavailable, match=r"no free connection .* EVENT_POOL_MAX"):
                await database.connection().__aenter__()
        await database.close()

    asyncio.run(ask())


def test_waiting_for_an_event_outlasts_a_restart_but_not_an_absence(server, monkeypatch):
    """Five connections may fail; the sixth is the last, long before the time limit."""
    failures = []

    def failed(error):
        failures.append(error)
        if len(failures) == 5:
            server.start()

    with EventStore(dsn=server.conninfo, export_timeout_millis=25_000, health_monitoring=False) as store:
        store.initialize()
        server.close()
        monkeypatch.setattr(store.direct._sink, "doubt", failed)
        store.log_task_event(event_name="restarted", wait=True)
        assert ["restarted"] == [event.event_name for event in store.query_task_events()]
        server.close()
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            store.log_task_event(event_name="absent", wait=True)
        took = time.monotonic() - began

    assert 11 == len(failures)
    assert took < 15


def test_records_that_a_full_queue_pushes_out_are_counted(dsn):
    """While a batch hangs, more events come than the queue holds."""
    with EventStore(
        dsn=dsn, queue_size=5, batch_size=1, health_monitoring=False, export_timeout_millis=25_000
    ) as store:
        store.log_task_event(event_name="first", wait=True)
        with psycopg.connect(dsn) as blocker:
            blocker.execute("LOCK TABLE otel.task_events IN ACCESS EXCLUSIVE MODE")
            store.log_task_event(event_name="hangs")
            wait_until(lambda: not store._open.telemetry.progress["queue_depth"])
            for number in range(8):
                store.log_task_event(event_name=f"{number}")
            pushed_out = store._open.telemetry.progress["failed"]
        assert not store.force_flush(), "of what was logged some is lost"
        assert store.force_flush()
        names = [event.event_name for event in store.query_task_events(order_direction="asc")]

    assert {"queue_full": 3} == pushed_out
    assert ["first", "hangs", "3", "4", "5", "6", "7"] == names


def test_what_a_full_spool_gives_up_is_counted(tmp_path):
    """Every event either waits or is counted."""
    with EventStore(dsn=NOWHERE, spool_dir=str(tmp_path), spool_max_bytes=300_000, batch_size=5,
                    health_monitoring=False) as store:  # fmt: skip
        for _ in range(100):
            store.log_task_event(event_name="x", data={"k": "x" * 10_000})
        wait_until(lambda: not store._open.telemetry.progress["queue_depth"])
        store.force_flush()
        health = store.get_health_status()

    assert health.failed["spool_full"] > 0
    assert 100 == health.failed["spool_full"] + health.spool_depth


def test_the_monitor_finds_the_way_back(server, monkeypatch):
    """Down is noticed and up again too, without a call from the program; then events are stored."""
    said: list[str] = []
    monkeypatch.setattr("otel_pg_exporter.events.monitor.say", lambda level, message: said.append(message))
    conninfo = server.conninfo
    store = EventStore(dsn=conninfo, health_interval_seconds=1)
    store.initialize()
    wait_until(lambda: store.last_health and store.last_health.is_healthy)
    (thread,) = monitors()

    server.close()
    wait_until(lambda: not store.last_health.is_healthy)
    with pytest.raises(DatabaseError):
        store.query_task_events()
    assert conninfo == server.start()
    wait_until(lambda: store.last_health.is_healthy)
    store.log_task_event(event_name="after", wait=True)

    assert ["after"] == [event.event_name for event in store.query_task_events()]
    assert thread.daemon
    assert "is not healthy" in said[0]
    assert "healthy again" in said[-1]
    store.close()
    assert [] == monitors()


def test_connections_that_broke_while_idle_disturb_nobody(dsn):
    """A query after the server ended all sessions gets a connection that works."""
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        store.log_task_event(event_name="x", wait=True)
        for _ in range(3):
            assert 1 == len(store.query_task_events())
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
                    [conninfo_to_dict(dsn)["dbname"], connection.info.backend_pid],
                )


def test_many_connections_that_broke_while_idle_disturb_nobody_either(dsn):
    """The driver finds out about one after the other, with pauses that grow: all are replaced with the first."""
    settings = Settings(dsn=dsn, pool_max_size=8, connect_timeout_seconds=5)

    def end_all() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
                [conninfo_to_dict(dsn)["dbname"], connection.info.backend_pid],
            )

    async def asynchronous() -> None:
        database = AsyncDatabase(settings)
        async with AsyncExitStack() as lent:
            for _ in range(8):
                await lent.enter_async_context(database.connection())
        end_all()
        async with database.connection() as connection:
            await connection.execute("SELECT 1")
        await database.close()

    with closing(Database(settings)) as database:
        with ExitStack() as lent:
            for _ in range(8):
                lent.enter_context(database.connection())
        end_all()
        assert [{"one": 1}] == database.fetch("SELECT 1 AS one")
    asyncio.run(asynchronous())


def test_without_monitoring_there_is_no_thread(dsn):
    """The setting switches it off."""
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        assert ([], None) == (monitors(), store.last_health)
    with EventStore(dsn=dsn):
        assert 1 == len(monitors())


def test_a_monitor_ends_though_a_look_hangs(monkeypatch):
    """stop() leaves it to itself, and it says nothing more."""
    monkeypatch.setattr(diagnostics, "_said", {})
    monkeypatch.setattr("otel_pg_exporter.events.monitor._JOIN_SECONDS", 0.1)
    go_on, begun = threading.Event(), threading.Event()

    def hang() -> Health:
        begun.set()
        go_on.wait()
        return Health(is_healthy=False, target="x", schema="y", error="late")

    monitor = Monitor(hang, 1)
    monitor.start()
    begun.wait()
    monitor.stop()
    assert monitor.is_running
    go_on.set()
    wait_until(lambda: not monitor.is_running)
    assert not any("late" in topic for topic in diagnostics._said)


def test_a_look_that_hangs_takes_its_time_from_the_end(dsn, monkeypatch):
    """What close() waits for it is missing from the time for what is queued: it takes no longer than promised."""
    monkeypatch.setattr("otel_pg_exporter.events.monitor._JOIN_SECONDS", 0.4)
    go_on, begun, given = threading.Event(), threading.Event(), []

    def hang(_) -> Health:
        begun.set()
        go_on.wait()
        return Health(is_healthy=True, target="x", schema="y")

    monkeypatch.setattr("otel_pg_exporter.store._Open.health", hang)
    monkeypatch.setattr("otel_pg_exporter.providers.Telemetry.shutdown", lambda _, millis: given.append(millis))
    store = EventStore(dsn=dsn)
    store.__enter__()
    begun.wait()

    store.close(5_000)

    go_on.set()
    assert given[0] <= 4_600
