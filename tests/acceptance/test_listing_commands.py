"""`otel-pg ls`, `show`, `errors`, `top`, `deploys`, `demo` and `completion` as they are typed."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_pg_exporter import EventStore, PostgresLogRecordExporter
from otel_pg_exporter.reading.waterfall import columns_of

PROGRAM = str(Path(sys.executable).with_name("otel-pg"))
HOSTILE = "a\x1b[31mb\x9b31mc\u202ed\ne"
"""An escape, its form among the C1 controls, an override of the direction, and a line's end."""


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_traces_are_listed_with_their_totals_newest_first(otel_pg, demo):
    """The root's name and outcome; spans, errors, tokens and cost of all of it."""
    trip, deployment = lines(otel_pg("ls", "--json"))

    assert (demo, "plan a trip", "task", "completed") == tuple(
        trip[name] for name in ("trace_id", "event_name", "category", "status")
    )
    assert (9, 1, 2402, 212) == tuple(trip[name] for name in ("spans", "errors", "input_tokens", "output_tokens"))
    assert trip["cost"] > 0
    assert "deployment" == deployment["category"]
    table = otel_pg("ls").stdout.splitlines()
    assert table[0].split() == "started status duration spans errors tokens cost name service trace".split()
    assert table[1].endswith(f"plan a trip   otel-pg-demo  {demo}")
    assert 3 == len(table)


def test_a_log_record_without_a_name_shows_what_it_says(dsn, otel_pg):
    """Those of Python's logging have a body alone: their lines would be blank."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(PostgresLogRecordExporter(dsn)))
    provider.get_logger("shop").emit(body="the till is jammed", severity_number=SeverityNumber.ERROR)
    provider.shutdown()

    for command in (["ls", "--events"], ["errors"], ["tail"]):
        assert "the till is jammed" in otel_pg(*command).stdout


def test_filters_and_limits_select_what_is_listed(otel_pg, demo):
    """Those of the library, since and until, a number of rows, or all of them."""
    assert ["plan a trip"] == [trace["event_name"] for trace in lines(otel_pg("ls", "--category", "task", "--json"))]
    assert 1 == len(lines(otel_pg("ls", "--limit", "1", "--json")))
    assert 10 == len(lines(otel_pg("ls", "--events", "--all", "--json")))
    assert 2 == len(lines(otel_pg("ls", "--since", "1h", "--json")))
    assert [] == lines(otel_pg("ls", "--until", "1h", "--json"))
    tomorrow = f"{datetime.now(timezone.utc) + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    assert [] == lines(otel_pg("ls", "--since", tomorrow, "--json"))
    assert 2 == len(lines(otel_pg("ls", "--until", tomorrow, "--json")))
    assert "" == otel_pg("ls", "--service", "another").stdout


def test_a_list_that_would_be_empty_for_its_options_is_wrong_usage(otel_pg):
    """A status that no event has, and times between which nothing can be."""
    assert "'started', 'completed', 'error', 'cancelled'" in otel_pg("ls", "--status", "foo", code=2).stderr
    assert "nothing is between them" in otel_pg("ls", "--since", "2h", "--until", "3h", code=2).stderr
    assert "nothing is between them" in otel_pg("top", "--until", "2d", code=2).stderr  # its --since is 1d
    assert "" == otel_pg("ls", "--status", "suspended", "--since", "3h", "--until", "2h").stdout


@pytest.mark.parametrize("command", ["ls", "errors", "ps", "stats --since 0s", "deploys", "top"])
def test_a_person_is_told_that_nothing_was_found(otel_pg, dsn, command):
    """On a terminal, on stderr; not a program, which gets nothing on either."""
    quiet = otel_pg(*command.split())
    assert ("", "") == (quiet.stdout, quiet.stderr)

    assert "nothing found\r\n" == on_terminal(dsn, *command.split())
    assert "nothing" not in on_terminal(dsn, *command.split(), "--json")


def test_lists_go_on_past_a_page(otel_pg, dsn):
    """More rows than are asked for at once, each once, newest first."""
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        for number in range(1205):
            store.log_system_event(event_name=f"event {number}")
        assert store.force_flush()

    names = [event["event_name"] for event in lines(otel_pg("ls", "--events", "--all", "--json"))]

    assert [f"event {number}" for number in reversed(range(1205))] == names
    assert 1101 == len(otel_pg("ls", "--events", "--limit", "1100").stdout.splitlines())


def test_a_root_is_what_has_no_stored_parent(otel_pg, record_spans):
    """Of a trace over two processes the caller's span; the callee's alone if the caller's is not stored."""
    trace_id = 0xABCDEF

    def callee(tracer):
        remote = SpanContext(trace_id, 7, is_remote=True, trace_flags=TraceFlags(1))
        with tracer.start_as_current_span("callee", set_span_in_context(NonRecordingSpan(remote))):
            pass

    record_spans(callee)
    assert ["callee"] == [trace["event_name"] for trace in lines(otel_pg("ls", "--json"))]

    def both(tracer):
        with tracer.start_as_current_span("caller") as span:
            context = span.get_span_context()
        remote = SpanContext(context.trace_id, context.span_id, is_remote=True, trace_flags=TraceFlags(1))
        with tracer.start_as_current_span("called", set_span_in_context(NonRecordingSpan(remote))):
            pass

    record_spans(both)
    assert {"callee", "caller"} == {trace["event_name"] for trace in lines(otel_pg("ls", "--json"))}


def test_the_beginning_of_an_id_is_enough(otel_pg, record_spans):
    """If it tells the trace from others; the word last is the newest; what is wrong is one line."""
    ids = []

    def several(tracer):
        for name in ("one", "two"):
            with tracer.start_as_current_span(name) as span:
                ids.append(f"{span.get_span_context().trace_id:032x}")

    record_spans(several)
    shared = next(ids[0][:n] for n in range(33) if ids[0][: n + 1] != ids[1][: n + 1])

    assert otel_pg("show", ids[0]).stdout == otel_pg("show", ids[0][: len(shared) + 1]).stdout
    assert f"trace {ids[1]}\n" in otel_pg("show", "last").stdout
    if shared:
        assert (
            f"'{shared}' is the beginning of more than one, {min(ids)} and {max(ids)}"
            in otel_pg("show", shared, code=1).stderr
        )
    other = "0123456789abcdef"[(int(ids[0][0], 16) + 1) % 16]
    if other != ids[1][0]:
        assert f"Error: trace {other}: nothing is stored\n" == otel_pg("show", other, code=1).stderr
    assert "allowed are 32 hex digits, the first of them, or last" in otel_pg("show", "xyz", code=2).stderr


def test_ids_with_a_common_beginning_are_told_apart(otel_pg, record_spans):
    """Also where the range holds log records outside of any trace, whose id is zero."""

    def make(tracer):
        for number in (0x00AA << 112, 0x00AB << 112, 0x00AC << 112):
            parent = SpanContext(number + 5, 9, is_remote=True, trace_flags=TraceFlags(1))
            with tracer.start_as_current_span(f"{number:x}"[:2], set_span_in_context(NonRecordingSpan(parent))):
                pass

    record_spans(make)

    assert "\nab " in otel_pg("show", "00ab").stdout
    assert "more than one" in otel_pg("show", "00", code=1).stderr
    assert "more than one" in otel_pg("show", "0", code=1).stderr


def test_bars_say_when_each_span_ran(otel_pg, demo):
    """Each line has a bar in the window of the trace: the root's is full, that of the last call ends it."""
    plain, barred = otel_pg("show", demo).stdout.splitlines(), otel_pg("show", demo, "--bars").stdout.splitlines()

    bars = [re.search(r"s  ([ ━]{30})  ", line)[1] for line in barred[1:]]
    assert "━" * 30 == bars[0]
    assert bars[-1].endswith("━") and bars[-1].startswith(" ")  # noqa: PT018
    assert not any("━" in line for line in plain)
    assert [line[:70] for line in plain] == [line[:70] for line in barred]


@pytest.fixture
def large(record_spans, dsn) -> str:
    """A trace of 30,000 spans under one agent, and a chain of 3,000 below its first."""

    def make(tracer):
        with tracer.start_as_current_span("root") as root, tracer.start_as_current_span("leaf"):
            pass
        return f"{root.get_span_context().trace_id:032x}"

    trace_id = record_spans(make)
    with psycopg.connect(dsn) as connection:
        every = [column.name for column in connection.execute("SELECT * FROM otel.events LIMIT 0").description]
        columns = [n for n in every if n not in {"span_id", "parent_span_id", "batch_index", "event_name"}]
        copied = ", ".join(f'"{name}"' for name in columns)
        insert = (
            f"INSERT INTO otel.events ({copied}, span_id, parent_span_id, batch_index, event_name)"
            f" SELECT {copied}, number, %s, number, %s FROM otel.events, generate_series(%s::int, %s) AS number"
            " WHERE event_name = 'leaf' AND batch_index < 2"
        )
        (parent,) = connection.execute("SELECT span_id FROM otel.events WHERE event_name = 'root'").fetchone()
        connection.execute(insert, (parent, "page", 1000, 30_999))
        insert = insert.replace("number, %s, number", "number, number - 1 + %s * 0, number")
        connection.execute(insert, (parent, "deep", 31_000, 33_999))
    return trace_id


def test_thirty_thousand_spans_are_folded(otel_pg, large):
    """Siblings alike are a line, a chain ends where lines do."""
    folded = otel_pg("show", large).stdout.splitlines()

    assert 1002 == len(folded)
    assert any("├─ page ×30,000 (avg)" in line or "└─ page ×30,000 (avg)" in line for line in folded)
    assert re.search(r"… 2,0\d\d lines more", folded[-1])
    assert max(map(len, folded)) < 200


def test_errors_and_deployments_are_listed(otel_pg, demo):
    """What failed and why; where which commit went, and how it ended."""
    (error,) = lines(otel_pg("errors", "--json"))
    assert ("execute_tool book", "TimeoutError") == (error["event_name"], error["error_type"])
    assert "TimeoutError  the booking service did not answer  otel-pg-demo" in otel_pg("errors").stdout
    assert "" == otel_pg("errors", "--error-type", "ValueError").stdout

    (deployed,) = lines(otel_pg("deploys", "--environment", "staging", "--json"))
    assert ("main", "4f2a91c", "success") == tuple(deployed[name] for name in ("branch", "commit_sha", "result"))
    assert re.search(r"staging +completed +success .* deploy guide +main +4f2a91c", otel_pg("deploys").stdout)
    assert "" == otel_pg("deploys", "--environment", "production").stdout


def test_top_counts_agents_tools_and_models(otel_pg, demo):
    """Runs of agents with all that they used, calls of tools and models; ordered by what is asked for."""
    found = {(row["kind"], row["name"]): row for row in lines(otel_pg("top", "--json"))}

    assert {("agent", "guide"), ("tool", "search"), ("tool", "book"), ("model", "gpt-5")} == found.keys()
    assert (1, 2402, 212) == tuple(found["agent", "guide"][name] for name in ("count", "input_tokens", "output_tokens"))
    assert (2, 1) == (found["tool", "book"]["count"], found["tool", "book"]["errors"])
    assert found["model", "gpt-5"]["p95"] >= found["model", "gpt-5"]["p50"] > 0
    assert found["model", "gpt-5"]["cost"] == found["agent", "guide"]["cost"] > 0
    by = {order: [row["name"] for row in lines(otel_pg("top", "tools", "--by", order, "--json"))]
          for order in ("count", "errors", "p95", "tokens", "cost")}  # fmt: skip
    assert ["search", "book"] == by["count"]
    assert ["book", "search"] == by["errors"]
    assert re.search(r"agent +guide +1 +\d", otel_pg("top", "agents").stdout)
    assert "" == otel_pg("top", "--service", "another").stdout


def test_a_duration_is_shown_alike_everywhere(otel_pg, dsn):
    """In the unit that suits it, also where a millisecond is long."""
    with EventStore(dsn=dsn, health_monitoring=False) as store:
        store.log_agent_event(
            event_name="quick", agent_id="a", action="invoke", duration_seconds=0.000_015_7, wait=True
        )

    for command in ("ls --events", "tail", "top agents", "stats"):
        assert "15.7 µs" in otel_pg(*command.split()).stdout, command


def test_nothing_in_the_data_steers_the_terminal(otel_pg, record_spans):
    """Names, services, messages and ids in every command that prints them."""

    def make(tracer):
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": HOSTILE,
            "gen_ai.agent.name": HOSTILE,
        }
        with tracer.start_as_current_span(HOSTILE, attributes=attributes) as span:
            span.record_exception(type("X\x1b[2J", (Exception,), {})(HOSTILE))
            from opentelemetry.trace import Status, StatusCode

            span.set_status(Status(StatusCode.ERROR, HOSTILE))
        with tracer.start_as_current_span(HOSTILE, attributes={"deployment.id": HOSTILE, "vcs.ref.head.name": HOSTILE}):
            pass

    record_spans(make, HOSTILE)

    for command in ("ls", "ls --events", "show last --bars", "errors", "deploys", "top", "stats", "tail", "export"):
        shown = otel_pg(*command.split()).stdout
        assert shown
        for character in "\x1b\x9b\u202e\x07":
            assert character not in shown, command
    assert otel_pg("ls").stdout.count("\n") == 3


def on_terminal(dsn, *command, **environment):
    """What a terminal of 90 columns is shown."""
    parent, child = pty.openpty()
    own = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}}
    settings = {**own, "TERM": "xterm", "COLUMNS": "90", **environment}
    process = subprocess.Popen([PROGRAM, "--dsn", dsn, *command], stdout=child, stdin=child, stderr=child, env=settings)
    os.close(child)
    text = b""
    try:
        while chunk := os.read(parent, 65536):
            text += chunk
    except OSError:  # Linux says so at the end of a pty
        pass
    os.close(parent)
    assert 0 == process.wait(60)
    return text.decode()


def widest(text):
    """Columns of the longest line, colours aside."""
    return max(columns_of(re.sub(r"\x1b\[\d+m", "", line).rstrip()) for line in text.splitlines())


def test_colours_are_for_terminals_that_want_them(demo, dsn):
    """A pipe has none, nor a terminal with NO_COLOR or TERM=dumb; a terminal has them, bars, and lines that fit."""
    coloured = on_terminal(dsn, "show", demo)
    assert "\x1b[31m" in coloured
    assert "━" in coloured
    assert widest(coloured) <= 90
    assert "\x1b[" not in on_terminal(dsn, "show", demo, NO_COLOR="1")
    assert re.search(f"{demo[:12]}\\s", on_terminal(dsn, "ls", TERM="dumb"))


@pytest.mark.parametrize("command", ["ls", "ls --events", "errors", "deploys", "stats"])
def test_lists_fit_a_terminal(otel_pg, demo, dsn, command):
    """Ids and names are cut, then what tells least is left out; a pipe gets all of it."""
    shown = on_terminal(dsn, *command.split(), COLUMNS="80", TERM="dumb")
    whole = otel_pg(*command.split()).stdout

    assert widest(shown) <= 80 < widest(whole)
    assert len(shown.splitlines()) == len(whole.splitlines())
    assert {*shown.split("\n")[0].split()} < {*whole.split("\n")[0].split()}
    assert "guide" in shown or demo[:12] in shown
    assert widest(on_terminal(dsn, *command.split(), COLUMNS="200")) == widest(whole)


def test_the_demo_runs_from_the_package_alone(otel_pg, dsn):
    """It asks before it writes to a PostgreSQL of the user's own, and shows what it stored."""
    refused = otel_pg("demo", stdin=b"n\n", code=1)
    assert "Store a few events of service otel-pg-demo in" in refused.stderr
    assert [] == lines(otel_pg("ls", "--json"))

    done = otel_pg("demo", "--yes")

    trace = lines(otel_pg("ls", "--category", "task", "--json"))[0]["trace_id"]
    assert done.stdout.startswith(f"trace {trace}\nplan a trip ")
    assert "book                          tool " in done.stdout
    assert f"otel-pg show {trace[:12]} --bars" in done.stdout


COMPLETE = """
eval "$("$PROGRAM" completion bash)"
COMP_WORDS=(otel-pg export --format ""); COMP_CWORD=3
_otel_pg_completion otel-pg; echo "${COMPREPLY[@]}"
COMPREPLY=(); COMP_WORDS=(otel-pg dep); COMP_CWORD=1
_otel_pg_completion otel-pg; echo "${COMPREPLY[@]}"
"""


def test_a_shell_completes_commands_options_and_values(tmp_path):
    """bash runs what is printed; zsh and fish get click's script, whose question is answered."""
    (tmp_path / "otel-pg").symlink_to(PROGRAM)
    settings = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PROGRAM": PROGRAM}
    bash = subprocess.run(["bash", "-c", COMPLETE], capture_output=True, text=True, env=settings, check=True)
    assert ["otlp csv parquet", "deploys"] == bash.stdout.splitlines(), bash.stderr

    for shell, asked in (("zsh", {"COMP_WORDS": "otel-pg mig", "COMP_CWORD": "1"}),
                         ("fish", {"COMP_WORDS": "otel-pg mig", "COMP_CWORD": "mig"})):  # fmt: skip
        script = subprocess.run([PROGRAM, "completion", shell], capture_output=True, text=True, check=True).stdout
        assert f"_OTEL_PG_COMPLETE={shell}_complete" in script
        answered = subprocess.run(
            [PROGRAM], capture_output=True, text=True, check=True,
            env={**settings, **asked, "_OTEL_PG_COMPLETE": f"{shell}_complete"},
        )  # fmt: skip
        assert "migrate" in answered.stdout
        if found := shutil.which(shell):
            checked = subprocess.run([found, "-n"], input=script, capture_output=True, text=True, check=False)
            assert 0 == checked.returncode, checked.stderr


def test_a_reader_that_leaves_and_ctrl_c_end_it_quietly(demo, dsn):
    """A closed pipe is no traceback; an interrupted question is exit code 130 without a word."""
    command = f"{PROGRAM} --dsn '{dsn}' ls --events --all | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=True)
    assert 1 == len(done.stdout.splitlines())
    assert "" == done.stderr

    program = (
        "import os, signal, sys; from otel_pg_exporter import query; from otel_pg_exporter.cli import main\n"
        "query.EventQuery.traces = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT)\n"
        f"main(['--dsn', {dsn!r}, 'ls'])"
    )
    stopped = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (130, "", "") == (stopped.returncode, stopped.stdout, stopped.stderr)
