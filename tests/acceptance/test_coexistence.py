"""Beside others in one process, and set up more than once: everything is stored once, and others lose nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg
import pytest
from harness.delays import apart_from_delays, bring_in
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ROOT = Path(__file__).parents[2]
OTHERS = ROOT / ".venv-coexistence" / "bin" / "python"
CONFIGURE = "from otel_pg_exporter import configure\n"
EMIT = (
    "from opentelemetry import _logs, trace\n"
    "with trace.get_tracer('app').start_as_current_span('span'):\n"
    "    _logs.get_logger('app').emit(event_name='log', body='x')\n"
)
COUNT = "print(t.force_flush(), sum(t.counts.get(fate, 0) for fate in ('stored', 'duplicate', 'spooled')))\n"


def python(
    program: str, *through: str, dsn: str, interpreter: Path = Path(sys.executable), **environment: str
) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, started plainly or by `otel-pg run` or `opentelemetry-instrument`."""
    command: list[str] = [str(interpreter), "-c", program]
    path = os.pathsep.join((str(interpreter.parent), os.environ["PATH"]))
    if through:
        if through[0] == "run":
            command = [str(interpreter), "-m", "otel_pg_exporter.run", "python", "-c", program]
        else:
            command = [str(interpreter.parent / "opentelemetry-instrument"), "python", "-c", program]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PATH": path, "OTEL_EXPORTER_POSTGRES_DSN": dsn, **environment},
    )  # fmt: skip
    done.stderr = apart_from_delays(done.stderr)
    return done


def stored(dsn: str) -> list[str]:
    """Names of all that is stored, sorted."""
    bring_in(dsn)
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT event_name FROM otel.events UNION ALL SELECT event_name FROM otel.task_events ORDER BY 1"
        ).fetchall()
    return [name for (name,) in rows]


@pytest.mark.parametrize(
    "program",
    [
        "configure(); configure()\n" + EMIT,
        "configure(batch_size=7); configure(batch_size=8)\n" + EMIT,
        "import os; dsn = os.environ['OTEL_EXPORTER_POSTGRES_DSN']\n"
        "configure(); configure(dsn=dsn + ' application_name=x')\n" + EMIT,
        "t = configure()\n"
        "configure(tracer_provider=t.tracer_provider, logger_provider=t.logger_provider)\n" + EMIT,
    ],
    ids=["alike", "other settings", "another spelling", "own providers"],
)  # fmt: skip
def test_configuring_twice_stores_once(dsn, program):
    """The first call for a database's tables holds; one that has no effect says so in one line."""
    done = python(CONFIGURE + program, dsn=dsn)

    assert 0 == done.returncode
    assert ["log", "span"] == stored(dsn)
    said = "these settings have no effect any more: batch_size=8." if "=8" in program else ""
    assert said in done.stderr
    assert bool(said) == bool(done.stderr)


@pytest.mark.parametrize("through", ["run", "distro", "stock"])
def test_a_program_that_configures_itself_is_stored_once(dsn, through):
    """Started from outside, configure() in the program adds nothing; its flush and its counts are of what there is."""
    environment = {
        "run": {},
        "distro": {"OTEL_PYTHON_DISTRO": "otel_pg"},
        "stock": {"OTEL_TRACES_EXPORTER": "postgres", "OTEL_LOGS_EXPORTER": "postgres"},
    }[through]

    done = python(
        CONFIGURE + "t = configure()\n" + EMIT + COUNT, through, dsn=dsn,
        **environment,
    )  # fmt: skip

    assert "True 2\n" == done.stdout, done.stderr
    assert ["log", "span"] == stored(dsn)


def test_two_databases_are_two(dsn, empty_dsn):
    """What is asked to go to two databases goes to both, which one line names."""
    done = python(CONFIGURE + f"configure(); configure(dsn={empty_dsn!r})\n" + EMIT, dsn=dsn)

    (line,) = done.stderr.splitlines()
    assert (0, True) == (done.returncode, f"stored in otel.* of {dsn} and in otel.* of {empty_dsn}." in line)
    assert ["log", "span"] == stored(dsn) == stored(empty_dsn)


OWN = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
own, memory = TracerProvider(), InMemorySpanExporter()
own.add_span_processor(SimpleSpanProcessor(memory))
{before}
trace.set_tracer_provider(own)
{after}
assert trace.get_tracer_provider() is own
"""


OWN_EXPORTERS = """
from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otel_pg_exporter import PostgresLogRecordExporter, PostgresSpanExporter, configure
{configure}
spans, logs = TracerProvider(), LoggerProvider()
spans.add_span_processor(BatchSpanProcessor(PostgresSpanExporter()))
logs.add_log_record_processor(BatchLogRecordProcessor(PostgresLogRecordExporter()))
trace.set_tracer_provider(spans); _logs.set_logger_provider(logs)
"""


@pytest.mark.parametrize("through", [(), ("run",)], ids=["configure", "run"])
def test_a_provider_that_brings_our_exporters_is_stored_once(dsn, through):
    """Set after ours it is not given a second one for the same tables; a flush waits for it, and its records count."""
    program = OWN_EXPORTERS.format(configure="" if through else "configure()")

    done = python(program + EMIT + "t = configure()\n" + COUNT, *through, dsn=dsn)

    assert ("True 2\n", "") == (done.stdout, done.stderr)
    assert ["log", "span"] == stored(dsn)


@pytest.mark.parametrize("order", ["before", "after", "run", "run and configure"])
def test_a_programs_own_provider_stays_in_force(dsn, order):
    """Set before ours or after it, the program's provider is the global one, and both get each span once."""
    own = OWN.format(
        before=CONFIGURE + "configure()" if order == "after" else "",
        after=CONFIGURE + "configure()" if order in {"before", "run and configure"} else "",
    )

    done = python(
        own + EMIT + "print([span.name for span in memory.get_finished_spans()])",
        *(["run"] if order.startswith("run") else []), dsn=dsn,
    )  # fmt: skip

    assert ("['span']\n", "") == (done.stdout, done.stderr)
    assert ["log", "span"] == stored(dsn)


class Collector(BaseHTTPRequestHandler):
    """An OTLP collector that keeps the names of spans."""

    names: list[str]

    def do_POST(self) -> None:
        """One export."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.names.extend(span.name for scope in resource.scope_spans for span in scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[str]]]:
    """Its address, and the names of the spans that it got."""
    Collector.names = []
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", Collector.names
        server.shutdown()


OTLP = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
"""


@pytest.mark.parametrize("through", ["configure", "run", "by name"])
def test_an_otlp_exporter_gets_every_span_too(dsn, collector, through):
    """Set up by the program or named by the environment, it exports what it did without us."""
    address, received = collector
    named = {"OTEL_TRACES_EXPORTER": "otlp,postgres", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    program = ("" if through == "by name" else OTLP) + (CONFIGURE + "configure()\n" if through == "configure" else "")

    done = python(
        program + EMIT, *([] if through == "configure" else ["run"]), dsn=dsn,
        OTEL_EXPORTER_OTLP_ENDPOINT=address, **(named if through == "by name" else {}),
    )  # fmt: skip

    assert (0, "") == (done.returncode, done.stderr)
    assert ["span"] == received
    assert ["log", "span"] == stored(dsn)


LOGFIRE = "import logfire\nlogfire.configure(send_to_logfire=False, console=False, inspect_arguments=False)\n"
TRACELOOP = """
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from traceloop.sdk import Traceloop
memory = InMemorySpanExporter()
Traceloop.init(app_name="x", exporter=memory, disable_batch=True, instruments=set(), telemetry_enabled=False)
"""


@pytest.mark.coexistence
@pytest.mark.parametrize(
    "order", ["{other}{ours}", "{ours}{other}", "{ours}{other}{ours}", "run {other}", "run {other}{ours}"]
)
@pytest.mark.parametrize("other", ["logfire", "traceloop"])
def test_logfire_and_traceloop_go_on_beside_us(dsn, other, order):
    """In whatever order they are set up, what is recorded through them and beside them is stored once."""
    ours = CONFIGURE + "configure()\n"
    set_up = order.removeprefix("run ").format(other={"logfire": LOGFIRE, "traceloop": TRACELOOP}[other], ours=ours)
    use = {
        "logfire": "with logfire.span('theirs'): pass\n",
        "traceloop": "from traceloop.sdk.decorators import workflow\nworkflow(name='theirs')(lambda: None)()\n"
        "assert {'theirs.workflow', 'span'} == {span.name for span in memory.get_finished_spans()}\n",
    }[other]

    done = python(
        set_up + EMIT + use, *(["run"] if order.startswith("run") else []), dsn=dsn, interpreter=OTHERS,
        TRACELOOP_TELEMETRY="false",
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    theirs = {"logfire": "theirs", "traceloop": "theirs.workflow"}[other]
    # a log record without a name is a line of logging, which has an instrumentor in that venv
    assert sorted(["log", "span", theirs]) == [name for name in stored(dsn) if name]
