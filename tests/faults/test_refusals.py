"""What needs a person: a right, a table, a password. Nothing is lost, one line names the fix, and the repair is enough.

Each situation begins under a running program and is repaired under it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from harness.cluster import Cluster
from harness.patience import wait_for_tables
from opentelemetry.sdk.trace import TracerProvider
from psycopg.conninfo import make_conninfo

from otel_pg_exporter import configure, doctor, grants, migrate
from otel_pg_exporter.cli import main
from otel_pg_exporter.config import Settings
from otel_pg_exporter.database import writer
from otel_pg_exporter.errors import DataRefused
from otel_pg_exporter.sql_files import VIEWS
from otel_pg_exporter.writing.sink import Sink

RECOVERY_SECONDS = 30
MAY_PASS = ("too many connections", "read-only")
"""What is tried again for as long as the patience of a batch lasts."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server that asks for passwords and has no line for one role."""
    folder = tmp_path_factory.mktemp("guarded")
    fast = {"fsync": "off", "full_page_writes": "off"}
    with Cluster(folder / "server", fast) as made:
        with psycopg.connect(made.conninfo, autocommit=True) as connection:
            (path,) = connection.execute("SHOW hba_file").fetchone()
            lines = "local all postgres trust\nlocal all unlisted_role trust\nlocal all all scram-sha-256\n"
            Path(path).write_text(lines, "utf-8")
            connection.execute("SELECT pg_reload_conf()")
        yield made


@dataclass
class Program:
    """A program that stores spans as a role of its own, in a database of its own."""

    cluster: Cluster
    folder: Path
    admin: str
    dsn: str
    role: str
    telemetry: Any = None
    ended: set[int] = field(default_factory=set)

    def run(self, statements: str, *, as_admin_of: str | None = None) -> None:
        with psycopg.connect(as_admin_of or self.admin, autocommit=True) as connection:
            for statement in statements.replace("$role", f'"{self.role}"').split(";"):
                connection.execute(statement.encode())

    def work(self, count: int = 20) -> None:
        tracer = self.telemetry.tracer_provider.get_tracer("program")
        for _ in range(count):
            span = tracer.start_span("work", attributes={"otel_pg.category": "task"})
            span.end()
            self.ended.add(span.get_span_context().span_id)

    def stored(self) -> list[int]:
        with psycopg.connect(self.admin) as connection:
            rows = connection.execute("SELECT span_id FROM otel.task_events WHERE event_name = 'work'").fetchall()
        return [span_id & (1 << 64) - 1 for (span_id,) in rows]

    def otel_pg(self, *arguments: str) -> Any:
        """A command, as the program's role."""
        environment = {"EVENT_SPOOL_DIR": str(self.folder), "EVENT_AUTO_MIGRATE": "false"}
        return CliRunner().invoke(main, ["--dsn", self.dsn, *arguments], env=environment)


@pytest.fixture
def program(cluster: Cluster, tmp_path: Path) -> Iterator[Program]:
    """Its role may insert, and nothing else; the tables belong to somebody else."""
    admin = cluster.database()
    role = f"writer_{uuid.uuid4().hex[:8]}"
    migrate.up(Settings(dsn=admin))
    made = Program(cluster, tmp_path, admin, make_conninfo(admin, user=role, password="right"), role)
    made.run("CREATE ROLE $role LOGIN PASSWORD 'right'")
    grants.grant(Settings(dsn=admin), writers=[role])
    # no column that a view shows can be given another type, and some situations do that
    made.run("DROP VIEW " + ", ".join(f"otel.{view}" for view in VIEWS))
    done = CliRunner().invoke(main, ["--dsn", admin, "partitions", "create", "--days", "1"])
    assert "partitions are there for today and 1 days more\n" == done.output
    made.telemetry = configure(
        dsn=made.dsn, spool_dir=str(tmp_path), auto_migrate=False, batch_timeout_millis=50,
        runs=False,  # of which there would be another line, if the machine has one take a second
        tracer_provider=TracerProvider(shutdown_on_exit=False),
    )  # fmt: skip
    yield made
    made.telemetry.shutdown()


@dataclass(frozen=True)
class Situation:
    begin: str
    repair: str
    names: str
    """What the line in the log must say."""


SITUATIONS = {
    "revoked grant": Situation(
        "REVOKE INSERT ON otel.task_events FROM $role", "GRANT INSERT ON otel.task_events TO $role",
        'GRANT INSERT ON "otel"."task_events" TO "{role}"',
    ),
    "revoked schema": Situation(
        "REVOKE USAGE ON SCHEMA otel FROM $role", "GRANT USAGE ON SCHEMA otel TO $role",
        'GRANT USAGE ON SCHEMA "otel" TO "{role}"',
    ),
    "missing table": Situation(
        "ALTER TABLE otel.task_events RENAME TO away", "ALTER TABLE otel.away RENAME TO task_events",
        'table "otel"."task_events" is missing. Make it again, empty, by: otel-pg migrate show | psql',
    ),
    "dropped column": Situation(
        "ALTER TABLE otel.task_events DROP COLUMN queue", "ALTER TABLE otel.task_events ADD COLUMN queue text",
        'ALTER TABLE "otel"."task_events" ADD COLUMN "queue" text',
    ),
    "narrowed type": Situation(
        "ALTER TABLE otel.task_events ALTER COLUMN duration_ns TYPE integer",
        "ALTER TABLE otel.task_events ALTER COLUMN duration_ns TYPE bigint",
        'ALTER TABLE "otel"."task_events" ALTER COLUMN "duration_ns" TYPE bigint',
    ),
    "type of another kind": Situation(
        "ALTER TABLE otel.task_events ALTER COLUMN span_id TYPE text",
        "ALTER TABLE otel.task_events ALTER COLUMN span_id TYPE bigint USING span_id::bigint",
        'ALTER TABLE "otel"."task_events" ALTER COLUMN "span_id" TYPE bigint',
    ),
    "column that rows do not fill": Situation(
        "ALTER TABLE otel.task_events ADD COLUMN tenant text; UPDATE otel.task_events SET tenant = '';"
        "ALTER TABLE otel.task_events ALTER COLUMN tenant SET NOT NULL",
        "ALTER TABLE otel.task_events ALTER COLUMN tenant DROP NOT NULL",
        'ALTER TABLE "otel"."task_events" ALTER COLUMN "tenant" DROP NOT NULL',
    ),
    "wrong password": Situation(
        "ALTER ROLE $role PASSWORD 'other'", "ALTER ROLE $role PASSWORD 'right'", "Set POSTGRES_PASSWORD",
    ),
    "role that may not log in": Situation(
        "ALTER ROLE $role NOLOGIN", "ALTER ROLE $role LOGIN", 'ALTER ROLE "{role}" LOGIN',
    ),
    "revoked connect": Situation(
        "REVOKE CONNECT ON DATABASE $db FROM public", "GRANT CONNECT ON DATABASE $db TO public",
        'GRANT CONNECT ON DATABASE "{db}" TO "{role}"',
    ),
    "wrong database": Situation(
        "ALTER DATABASE $db ALLOW_CONNECTIONS false;"
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '$db';"
        "ALTER DATABASE $db RENAME TO $db_away; ALTER DATABASE $db_away ALLOW_CONNECTIONS true",
        "ALTER DATABASE $db_away RENAME TO $db",
        "Set POSTGRES_DATABASE",
    ),
    "too many connections": Situation(
        "ALTER ROLE $role CONNECTION LIMIT 0", "ALTER ROLE $role CONNECTION LIMIT -1", "raise max_connections",
    ),
    "read-only": Situation(
        "ALTER DATABASE $db SET default_transaction_read_only = on",
        "ALTER DATABASE $db RESET default_transaction_read_only", "takes no writes",
    ),
}  # fmt: skip


def wait_until(is_so: Any, seconds: float = RECOVERY_SECONDS) -> float:
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() - begun < seconds, "it did not become so in time"
        time.sleep(0.05)
    return time.monotonic() - begun


def fill(text: str, program: Program) -> str:
    name = psycopg.conninfo.conninfo_to_dict(program.admin)["dbname"]
    return text.replace("$db", f"{name}").replace("{db}", name).replace("{role}", program.role)


def cut(program: Program) -> None:
    program.run(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{program.role}'",
        as_admin_of=program.cluster.conninfo,
    )


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_a_person_must_repair_costs_nothing(program, heard, name, monkeypatch):
    """Spans wait on disk, one line names the fix, health says the same, and after the repair all are stored."""
    if name not in MAY_PASS:
        wait_for_tables(monkeypatch.setattr)
    situation = SITUATIONS[name]
    program.work()
    assert program.telemetry.force_flush(), program.telemetry.last_error

    program.run(fill(situation.begin, program), as_admin_of=elsewhere(program, situation))
    cut(program)
    program.work()
    wait_until(lambda: program.telemetry.counts.get("spooled", 0) >= 1)
    program.work()
    health = program.telemetry.query.health()
    command = program.otel_pg("health", "--json")
    found = doctor.examine(program.telemetry.settings)

    expected = fill(situation.names, program)
    (line,) = heard
    assert expected in line
    assert not health.is_healthy
    assert expected in health.error
    assert (1, health.error) == (command.exit_code, json.loads(command.output)["error"])
    assert expected in " ".join(map(str, found.obstacles))
    assert program.telemetry.counts.get("dead", 0) == 0

    program.run(fill(situation.repair, program), as_admin_of=elsewhere(program, situation))
    seconds = wait_until(lambda: len(program.stored()) >= len(program.ended))
    program.work()

    assert program.telemetry.force_flush()
    stored = program.stored()
    print(f"{name}: stored {seconds:.1f} s after the repair")
    assert program.ended == set(stored)
    assert len(stored) == len(program.ended)
    assert (0, 0) == tuple(program.telemetry.counts.get(fate, 0) for fate in ("dropped", "dead"))


def elsewhere(program: Program, situation: Situation) -> str | None:
    """A database cannot be renamed from within."""
    return program.cluster.conninfo if "DATABASE" in situation.begin else None


def test_a_missing_right_that_is_taken_for_a_bad_row_is_noticed(program, monkeypatch):
    """The counterpart: a build that sets rows aside for want of a right does not pass the test above."""
    translate = writer.translate
    monkeypatch.setattr(
        writer, "translate", lambda *given: DataRefused(str(translate(*given)), sqlstate="42501"),
    )  # fmt: skip
    program.run("REVOKE INSERT ON otel.task_events FROM $role")
    program.work()

    program.telemetry.force_flush(10_000)

    assert 20 == program.telemetry.counts["dead"]


def test_a_column_of_another_type_that_is_taken_for_bad_rows_is_noticed(program, monkeypatch):
    """The counterpart: a build that does not look at the tables sets every row aside."""
    monkeypatch.setattr(Sink, "_look_at_tables", lambda *given: None)
    program.run("ALTER TABLE otel.task_events ALTER COLUMN duration_ns TYPE integer")
    program.work()

    program.telemetry.force_flush(10_000)

    assert 20 == program.telemetry.counts["dead"]


def test_a_repair_between_a_refusal_and_the_look_makes_no_row_a_bad_one(program, monkeypatch):
    """The table is sound when it is looked at: that says nothing of the refusal before, so the batch is sent again."""
    look = Sink._look_at_tables

    def repair_then_look(self, error):
        program.run("ALTER TABLE otel.task_events ALTER COLUMN duration_ns TYPE bigint")
        look(self, error)

    monkeypatch.setattr(Sink, "_look_at_tables", repair_then_look)
    program.run("ALTER TABLE otel.task_events ALTER COLUMN duration_ns TYPE integer")
    program.work()

    program.telemetry.force_flush(10_000)

    assert (20, 0) == (len(program.stored()), program.telemetry.counts.get("dead", 0))
