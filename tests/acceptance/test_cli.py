"""`otel-pg` as it is typed: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from otel_pg_exporter import EventQuery, EventStore, configure
from otel_pg_exporter.embedded import EmbeddedServer

HOSTILE = "[/b] [red]agent\x1b[31m\x07 " + "x" * 90
"""Rich's markup, what steers a terminal, and longer than a line."""


def otel_pg(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "otel_pg_exporter.cli", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    """Exit code 1, and one line on stderr that says all this."""
    assert 1 == done.returncode, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    for part in said:
        assert part in line


@pytest.fixture
def role(empty_dsn: str) -> Iterator[str]:
    """A role that may log in to the empty database, and nothing else."""
    name = f"beggar_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    yield name
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def stored(dsn: str) -> tuple[str, str]:
    """A database with one agent event of a hostile name, and the id of its trace."""
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.trace import TracerProvider

    spans, logs = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    telemetry = configure(dsn=dsn, tracer_provider=spans, logger_provider=logs)
    attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.id": HOSTILE}
    with spans.get_tracer("test").start_as_current_span(HOSTILE, attributes=attributes) as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
    assert telemetry.force_flush()
    telemetry.shutdown()
    return dsn, trace_id


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[str]:
    """A folder for an embedded server, which is stopped at the end."""
    folder = tmp_path / "data"
    yield str(folder)
    server = EmbeddedServer(folder)
    if server.is_running():
        server.keep(False)
        with server:
            pass


def test_the_embedded_server_is_started_asked_and_stopped(data_dir):
    """db start leaves it running, url says where, psql sees the tables by their short names, stop stops it."""
    here = {"EVENT_DATA_DIR": data_dir}

    refused(otel_pg("db", "url", **here), data_dir, "Run: otel-pg db start")
    started = otel_pg("db", "start", **here)
    assert 0 == started.returncode, started.stderr
    assert started.stdout == otel_pg("db", "url", **here).stdout
    with psycopg.connect(started.stdout.strip()) as connection:
        assert (1,) == connection.execute("SELECT 1").fetchone()

    assert 0 == otel_pg("migrate", "up", **here).returncode
    path = otel_pg("db", "psql", "-Atc", "SHOW search_path", **here)
    assert ("otel,public\n", 0) == (path.stdout, path.returncode)
    assert "0\n" == otel_pg("db", "psql", "--", "-Atc", "SELECT count(*) FROM agent_events", **here).stdout
    assert "SELECT 1" in otel_pg("db", "psql", "-e", stdin="SELECT 1;\n", **here).stdout
    wrong = otel_pg("db", "psql", "-v", "ON_ERROR_STOP=1", stdin="no sql;\n", **here)
    assert 3 == wrong.returncode  # psql's own

    assert "stopped\n" == otel_pg("db", "stop", **here).stdout
    assert not EmbeddedServer(data_dir).is_running()
    assert "it was not running\n" == otel_pg("db", "stop", **here).stdout


def test_options_of_the_users_own_reach_psql(data_dir):
    """What PGOPTIONS says already stays said."""
    done = otel_pg("db", "psql", "-Atc", "SHOW work_mem", EVENT_DATA_DIR=data_dir, PGOPTIONS="-c work_mem=7MB")

    assert "7MB\n" == done.stdout, done.stderr
    assert not EmbeddedServer(data_dir).is_running()


def test_stop_holds_also_for_a_server_that_crashed(data_dir):
    """After db start, a crash and db stop, the next program does not leave the server running."""
    here = {"EVENT_DATA_DIR": data_dir}
    assert 0 == otel_pg("db", "start", **here).returncode
    os.kill(int((Path(data_dir) / "cluster" / "postmaster.pid").read_text("utf-8").split()[0]), signal.SIGKILL)

    otel_pg("db", "stop", **here)
    assert 0 == otel_pg("migrate", "up", **here).returncode

    assert not EmbeddedServer(data_dir).is_running()


def test_stop_says_when_another_program_uses_the_server(data_dir):
    """A server in use goes on, and ends with its last user."""
    with EmbeddedServer(data_dir) as server:
        done = otel_pg("db", "stop", EVENT_DATA_DIR=data_dir)
        assert (0, True) == (done.returncode, server.is_running())
        assert "still used by another program" in done.stdout
    assert not EmbeddedServer(data_dir).is_running()


def test_db_is_refused_for_a_server_of_the_users_own(empty_dsn):
    """Another's server is neither started nor stopped."""
    for command in ("start", "stop", "url", "psql"):
        refused(otel_pg("--dsn", empty_dsn, "db", command), "db is for the embedded server")


def test_down_asks_first(dsn):
    """Without --yes nothing is dropped before somebody has said y."""
    for answer in ("n\n", ""):
        done = otel_pg("--dsn", dsn, "migrate", "down", stdin=answer)
        assert 1 == done.returncode
        assert "Drop tables otel.*" in done.stderr
    with EventQuery(dsn=dsn, auto_migrate=False) as query:
        assert 0 == query.counts()["events"]

    assert "took back 0001 initial" in otel_pg("--dsn", dsn, "migrate", "down", stdin="y\n").stdout
    assert "nothing to do\n" == otel_pg("--dsn", dsn, "migrate", "down", "--yes").stdout


def test_up_twice_and_up_to_a_version(empty_dsn):
    """--to limits what is applied; a second up has nothing to do."""
    assert "nothing to do\n" == otel_pg("--dsn", empty_dsn, "migrate", "up", "--to", "0").stdout
    assert "applied 0001 initial" in otel_pg("--dsn", empty_dsn, "migrate", "up").stdout
    assert "nothing to do\n" == otel_pg("--dsn", empty_dsn, "migrate", "up").stdout


def test_schema_and_prefix_are_those_of_the_options(empty_dsn):
    """The global options win over the environment, for migrations and for the SQL that is shown."""
    options = ("--schema", "mine", "--table-prefix", "p_")

    done = otel_pg("--dsn", empty_dsn, *options, "migrate", "up", EVENT_SCHEMA="other")

    assert 0 == done.returncode, done.stderr
    with psycopg.connect(empty_dsn) as connection:
        assert ("mine.p_events",) == connection.execute("SELECT 'mine.p_events'::regclass::text").fetchone()
    assert '"mine"."p_events"' in otel_pg(*options, "migrate", "show").stdout
    assert "not applied" not in otel_pg("--dsn", empty_dsn, *options, "migrate", "status").stdout
    assert "not applied" in otel_pg("--dsn", empty_dsn, "migrate", "status").stdout
    assert "took back 0001" in otel_pg("--dsn", empty_dsn, *options, "migrate", "down", "--yes").stdout
    assert "not applied" in otel_pg("--dsn", empty_dsn, *options, "migrate", "status").stdout


def test_what_migrate_show_prints_runs(empty_dsn):
    """A person without otel-pg on the server can run the SQL by hand."""
    script = otel_pg("migrate", "show").stdout
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("CREATE SCHEMA otel")
        connection.execute(script.encode())
        assert (0,) == connection.execute("SELECT count(*) FROM otel.events").fetchone()


def test_a_trace_is_shown_as_the_library_prints_it(stored):
    """show prints str(trace), and --json what to_otlp_json() gives."""
    dsn, trace_id = stored
    with EventQuery(dsn=dsn) as query:
        trace = query.trace(trace_id)

    shown = otel_pg("--dsn", dsn, "show", trace_id)

    assert (f"{trace}\n", "", 0) == (shown.stdout, shown.stderr, shown.returncode)
    assert trace.to_otlp_json() == json.loads(otel_pg("--dsn", dsn, "show", trace_id, "--json").stdout)
    refused(otel_pg("--dsn", dsn, "show", "ab" * 16), "ab" * 16, "nothing is stored")


def test_statistics_show_names_as_they_are(stored):
    """Markup is text, nothing steers the terminal, and a pipe cuts no name short."""
    dsn, _ = stored

    done = otel_pg("--dsn", dsn, "stats", FORCE_COLOR="", NO_COLOR="1")

    assert ("", 0) == (done.stderr, done.returncode)
    assert "[/b] [red]agent\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER} " + "x" * 90 in done.stdout
    assert "\x1b" not in done.stdout
    assert 1 == json.loads(otel_pg("--dsn", dsn, "stats", "--json").stdout)["count"]
    assert 1 == json.loads(otel_pg("--dsn", dsn, "stats", "--json", "--since", "1h").stdout)["count"]


def test_health_of_a_database_with_and_without_tables(dsn, empty_dsn):
    """Exit code 0 if events can be stored; with EVENT_AUTO_MIGRATE off tables must be there."""
    for where in (dsn, empty_dsn):
        done = otel_pg("--dsn", where, "health")
        assert ("", 0) == (done.stderr, done.returncode)
        assert "is_healthy           True" in done.stdout
    refused(otel_pg("--dsn", empty_dsn, "health", EVENT_AUTO_MIGRATE="false"), "Run: otel-pg migrate up")
    refused(otel_pg("--dsn", empty_dsn, "stats", EVENT_AUTO_MIGRATE="false"), "Run: otel-pg migrate up")


COMMANDS = (["health"], ["migrate", "up"], ["migrate", "down", "--yes"], ["migrate", "status"], ["stats"],
            ["show", "ab" * 16])  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_server_that_is_not_there_is_one_line(command):
    """Each command that connects says where it could not, and hides the password."""
    done = otel_pg("--dsn", "postgresql://u:s3cret@127.0.0.1:9/app", *command)

    refused(done, "cannot reach", "127.0.0.1:9/app")
    assert "s3cret" not in done.stdout + done.stderr


def test_health_as_json_holds_what_can_be_known_from_outside(dsn):
    """Server, latency, pool and ledger; the counts of another process's memory are null."""
    with EventStore(dsn=dsn) as store:
        store.log_task_event(event_name="x", wait=True)

    done = otel_pg("--dsn", dsn, "health", "--json")

    found = json.loads(done.stdout)
    assert ("", 0) == (done.stderr, done.returncode)
    assert (True, 1, 0, None, None) == tuple(
        found[name] for name in ("is_healthy", "stored", "dropped", "queue_depth", "exported")
    )
    assert found["latency_ms"] > 0
    assert found["pool"]["open"] == 1
    assert found["last_batch_at"] <= found["checked_at"]


def test_health_as_json_holds_the_error():
    """A program reads one JSON object from stdout, also of a server that is not there."""
    done = otel_pg("--dsn", "host=127.0.0.1 port=9", "health", "--json")

    assert ("", 1) == (done.stderr, done.returncode)
    found = json.loads(done.stdout)
    assert "cannot reach" in found["error"]
    assert (None, None) == (found["migrations_applied"], found["migrations_pending"])  # not known, which is not 0
    plain = otel_pg("--dsn", "host=127.0.0.1 port=9", "health").stdout
    assert re.search("^migrations_applied +-\nmigrations_pending +-\n", plain, re.MULTILINE)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"dbname": "no_such_database"}, 'database "no_such_database" does not exist. Set POSTGRES_DATABASE'),
        ({"user": "no_such_role"}, 'role "no_such_role" does not exist. Check user, password, database'),
    ],
)
def test_a_wrong_database_or_role_is_named(empty_dsn, parameters, said):
    """The line says what does not exist, and what to set or to check."""
    done = otel_pg("--dsn", make_conninfo(empty_dsn, **parameters), "migrate", "up")

    refused(done, said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dsn", "nonsense"], "postgresql://user:password@host:port/database"),
        (["--schema", "Robert'); --"], "^(?!pg_)[a-z_][a-z0-9_]{0,30}$"),
        (["--table-prefix", "9lives"], "^[a-z_][a-z0-9_]{0,30}$"),
    ],
)
def test_a_wrong_option_says_what_is_allowed(arguments, said):
    """A value that cannot be right is refused before anything connects."""
    done = otel_pg(*arguments, "health")

    assert 2 == done.returncode
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert arguments[1] in last
    assert said in last


def test_a_wrong_variable_is_named():
    """The line names the variable of the environment that holds the value; an option beside it is not at fault."""
    for options in ([], ["--schema", "mine"]):
        refused(otel_pg(*options, "health", EVENT_POOL_MAX="many"), "EVENT_POOL_MAX='many'", "2 to 50")


def test_a_role_without_rights_is_told_what_to_grant(empty_dsn, role):
    """Creating needs CREATE, reading needs USAGE: each refusal says so and leaves nothing behind."""
    beggar = make_conninfo(empty_dsn, user=role)

    refused(otel_pg("--dsn", beggar, "migrate", "up"), "permission denied", "GRANT CREATE ON DATABASE")
    with psycopg.connect(empty_dsn) as connection:
        assert connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'otel'").fetchone() is None

    assert 0 == otel_pg("--dsn", empty_dsn, "migrate", "up").returncode
    for command in (["stats"], ["show", "ab" * 16], ["health"], ["migrate", "status"], ["migrate", "down", "--yes"]):
        refused(otel_pg("--dsn", beggar, *command), "permission denied for schema otel", "GRANT USAGE ON SCHEMA")


def test_a_role_with_the_rights_that_were_named_can_go_on(empty_dsn, role):
    """Granting what the line asks for is enough."""
    database = conninfo_to_dict(empty_dsn)["dbname"]
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(str(database)), sql.Identifier(role))
        )

    assert "applied 0001" in otel_pg("--dsn", make_conninfo(empty_dsn, user=role), "migrate", "up").stdout


def test_tables_of_a_newer_version_say_upgrade(dsn):
    """An old otel-pg does not touch tables that it does not know."""
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO otel.schema_migrations (version, name) VALUES (9999, 'future')")

    for command in COMMANDS:
        refused(otel_pg("--dsn", dsn, *command), "9999", "pip install -U otel-pg-exporter")


def test_a_database_that_is_not_utf8_is_refused(server_dsn):
    """The encoding that was found and the one that is needed are in the line."""
    name = f"latin_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        locale = "LC_COLLATE 'C' LC_CTYPE 'C'" + (
            " LOCALE_PROVIDER libc" if connection.info.server_version >= 15e4 else ""
        )
        connection.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' {locale} TEMPLATE template0")
        try:
            done = otel_pg("--dsn", make_conninfo(server_dsn, dbname=name), "migrate", "up")
        finally:
            connection.execute(f"DROP DATABASE {name}")

    refused(done, "LATIN1", "needed are PostgreSQL 12 or newer and UTF8")


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["show"],
        ["show", "zz"],
        ["ls", "--status", "eror"],
        ["ls", "--text", ""],
        ["ls", "--since", "2h", "--until", "3h"],
        ["top", "--until", "2d"],
        ["stats", "--since", "yesterday"],
        ["stats", "--since", "99999999999999d"],
        ["stats", "--since", "9" * 5000 + "d"],
        ["migrate", "up", "--to", "-1"],
        ["migrate", "up", "--to", "99"],
        ["migrate", "down", "--to", "99", "--yes"],
        ["migrate", "grant"],
        ["ls", "--all", "--limit", "3"],
        ["spool", "replay", "--timeout", "-1"],
        ["--dsn", "", "ls"],
        ["--schema", "", "migrate", "down", "--yes"],
        ["migrate", "down", "--to", "x", "--yes"],
        ["--no-such-option"],
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_wrong_usage_is_exit_code_two(arguments):
    """Usage errors are click's: a usage line, what is wrong, and exit code 2."""
    done = otel_pg(*arguments)

    assert 2 == done.returncode
    assert done.stderr.startswith("Usage: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("group", [[], ["db"], ["indexes"], ["migrate"], ["partitions"], ["spool"]], ids=" ".join)
def test_help_says_what_each_command_does_in_a_whole_sentence(group):
    """However narrow the terminal: a sentence goes on in the next line."""
    listed = otel_pg(*group, "--help", COLUMNS="60").stdout.partition("Commands:")[2]

    assert len(listed.splitlines()) > 2
    assert "..." not in listed


@pytest.mark.parametrize("limit", ["0", "-3", "ten", "1.5", "9" * 5000])
def test_a_limit_that_is_none_is_named(limit):
    """With what is allowed, in words."""
    done = otel_pg("ls", "--limit", limit)

    assert 2 == done.returncode
    assert f"{limit[:30]}" in done.stderr.splitlines()[-1]
    assert "allowed is a whole number of 1 or more" in done.stderr.splitlines()[-1]
    assert "9223372036854775807" not in otel_pg("ls", "--help").stdout


@pytest.mark.parametrize("command", ["ls", "export", "doctor", "run true"])
def test_a_closed_stdout_is_nowhere(dsn, command):
    """What is printed is lost, as in /dev/null; nothing else happens."""
    line = f"exec {shlex.quote(sys.executable)} -m otel_pg_exporter.cli --dsn {shlex.quote(dsn)} {command} >&-"
    done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, text=True, timeout=120, check=False)

    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("command", ["ls", "export", "export --format csv"])
def test_a_closed_stderr_is_nowhere(dsn, command):
    """As a scheduler may start it: there is no terminal to tell of progress, or that nothing was found."""
    line = f"exec {shlex.quote(sys.executable)} -m otel_pg_exporter.cli --dsn {shlex.quote(dsn)} {command} 2>&-"

    assert 0 == subprocess.run(["sh", "-c", line], capture_output=True, timeout=120, check=False).returncode


@pytest.mark.parametrize("absent", ["click", "rich"])
def test_without_its_extra_it_says_what_to_install(absent):
    """One line with the command for pip, and exit code 1."""
    program = (
        f"import sys; sys.modules[{absent!r}] = None; sys.argv = ['otel-pg', 'health']\n"
        "from otel_pg_exporter.cli import main; main()"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    refused(done, "pip install 'otel-pg-exporter[cli]'")
