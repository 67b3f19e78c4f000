"""configure(): in programs of their own, because OpenTelemetry's providers are set once in a process."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest
from harness.patience import PATIENT

from otel_pg_exporter import EventQuery, configure
from otel_pg_exporter.config import hide_password

SET_UP = "from opentelemetry import trace; from otel_pg_exporter import configure\n"


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", PATIENT + program], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def stored(dsn, table="events"):
    with psycopg.connect(dsn) as connection:
        return {name for (name,) in connection.execute(f"SELECT event_name FROM otel.{table}")}


def test_a_program_that_just_ends_has_stored_its_spans(dsn):
    """Without a flush or a shutdown in it, a program loses nothing at its end."""
    done = run(
        SET_UP + "configure(); trace.get_tracer('x').start_span('last words').end()", OTEL_EXPORTER_POSTGRES_DSN=dsn
    )

    assert ("", 0) == (done.stderr, done.returncode)
    assert {"last words"} == stored(dsn)


def test_a_provider_that_is_there_is_kept(dsn):
    """Our processor joins the program's own provider; its other exporter goes on."""
    done = run(
        SET_UP + "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor\n"
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter\n"
        "own, memory = TracerProvider(), InMemorySpanExporter()\n"
        "own.add_span_processor(SimpleSpanProcessor(memory)); trace.set_tracer_provider(own)\n"
        "ids = own.id_generator; assert configure().tracer_provider is own; assert own.id_generator is ids\n"
        "trace.get_tracer('x').start_span('both').end()\n"
        "print([span.name for span in memory.get_finished_spans()])",
        OTEL_EXPORTER_POSTGRES_DSN=dsn,
    )

    assert ("['both']\n", "") == (done.stdout, done.stderr)
    assert {"both"} == stored(dsn)


def test_a_provider_that_we_make_has_ids_in_the_order_of_time(dsn):
    """They begin with the second."""
    done = run(
        SET_UP + "import time; configure()\n"
        "before = int(time.time())\n"
        "span = trace.get_tracer('x').start_span('timed')\n"
        "print(before <= span.get_span_context().trace_id >> 96 <= int(time.time()))",
        OTEL_EXPORTER_POSTGRES_DSN=dsn,
    )

    assert ("True\n", "") == (done.stdout, done.stderr)


def test_configuring_twice_stores_once(dsn):
    """A second call with the same settings gives the first one's set-up."""
    done = run(
        SET_UP + "assert configure() is configure(); trace.get_tracer('x').start_span('once').end()\n"
        "print(configure().force_flush(), configure().query.counts()['events'])",
        OTEL_EXPORTER_POSTGRES_DSN=dsn,
    )

    assert ("True 1\n", "") == (done.stdout, done.stderr)


AGAIN = """
import os
def record(name):
    trace.get_tracer("x").start_span(name).end()

first = configure(); record("first"); first.shutdown()
record("between")
second = configure(); record("second")
if os.fork() == 0:
    record("in a child")
else:
    os.wait()
    print(second.force_flush(), sum(second.progress["failed"].values()), len({first, second}))
"""


@pytest.mark.parametrize("durability", ["memory", "process"])
def test_configuring_after_a_shutdown_stores_once(dsn, tmp_path, durability):
    """Of what the second takes the first keeps nothing for the next process, that would store it again."""
    surroundings = {
        "OTEL_EXPORTER_POSTGRES_DSN": dsn, "EVENT_DURABILITY": durability, "EVENT_SPOOL_DIR": str(tmp_path / "spool"),
        "PYTHONWARNINGS": "ignore::DeprecationWarning",  # Python 3.12 warns of a fork beside threads
    }  # fmt: skip
    done = run(SET_UP + AGAIN, **surroundings)
    run(SET_UP + "configure().force_flush(); trace.get_tracer('x').start_span('next').end()", **surroundings)

    assert ("True 0 2\n", "") == (done.stdout, done.stderr)
    with psycopg.connect(dsn) as connection:
        names = [name for (name,) in connection.execute("SELECT event_name FROM otel.events ORDER BY 1")]
    between = ["between"] if durability == "process" else []
    assert [*between, "first", "in a child", "next", "second"] == names


INSIDE = """
from instrumentation import agent, task
from otel_pg_exporter.processors.queues import processors_of
configure().shutdown()
configure()
assert 1 == [type(one).__name__ for one in processors_of(trace.get_tracer_provider())].count('InheritanceProcessor')
library = trace.get_tracer('a library')
with task('answer', task_id='t-1', user_id='ann'), agent('researcher', session_id='s-1'):
    with library.start_as_current_span('chat gpt-5', attributes={
        'gen_ai.operation.name': 'chat', 'gen_ai.request.model': 'gpt-5',
        'gen_ai.usage.input_tokens': 70, 'gen_ai.usage.output_tokens': 7,
    }):
        library.start_span('GET', attributes={'http.request.method': 'GET'}).end()
    library.start_span('invoke_agent', attributes={'gen_ai.operation.name': 'invoke_agent'}).end()
    library.start_span('chat by id', attributes={'gen_ai.operation.name': 'chat', 'gen_ai.agent.id': 'a-9'}).end()
    with agent('helper'):
        library.start_span('chat mini', attributes={'gen_ai.operation.name': 'chat', 'session.id': 's-2'}).end()
library.start_span('outside', attributes={'gen_ai.operation.name': 'chat'}).end()
"""


def test_what_other_libraries_record_in_a_block_is_of_its_agent_and_session(dsn):
    """With its tokens. An agent's own run, and what names another agent, keep their names."""
    done = run(SET_UP + INSIDE, OTEL_EXPORTER_POSTGRES_DSN=dsn)

    assert ("", 0) == (done.stderr, done.returncode)
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT event_name, agent_name, agent_id, session_id, user_id, task_id FROM otel.agent_events"
            " WHERE event_name NOT IN ('researcher', 'helper') ORDER BY 1"
        ).fetchall()
        (request,) = connection.execute("SELECT agent_id, session_id FROM otel.events").fetchall()
    assert [
        ("chat by id", None, "a-9", "s-1", "ann", "t-1"),
        ("chat gpt-5", "researcher", "researcher", "s-1", "ann", "t-1"),
        ("chat mini", "helper", "helper", "s-2", "ann", "t-1"),
        ("invoke_agent", "invoke_agent", "invoke_agent", "s-1", "ann", "t-1"),
        ("outside", None, None, None, None, None),
    ] == found
    assert ("researcher", "s-1") == request
    with EventQuery(dsn=dsn) as query:
        usage = {one.name: one.input_tokens for one in query.usage("agents")}
    assert {"researcher": 70, "helper": 0, "invoke_agent": 0, "a-9": 0} == usage


REDACT = "def redact(key, text): return text.replace('Ada', '[name]')\n"


@pytest.mark.parametrize("where", ["host=127.0.0.1 port=1 password='\\udce9'", "host=127.0.0.1 port=x"])
def test_configuring_where_no_server_can_be_does_not_keep_it_from_being_done_again(dsn, tmp_path, where):
    """Which tables these are is asked by the next call: no error of the driver's comes of it."""
    program = f"""
configure(dsn="{where} dbname=x", spool_dir={str(tmp_path)!r}).shutdown()
configure(dsn="{where} dbname=y", spool_dir={str(tmp_path)!r})
telemetry = configure(dsn={dsn!r})
trace.get_tracer("t").start_span("x").end()
assert telemetry.force_flush()
"""
    done = run(SET_UP + program)

    assert 0 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    assert {"x"} == stored(dsn)


def test_the_redact_of_a_later_call_is_asked(dsn):
    """As in a program that is recorded from outside; where another one is asked already, a line says that it holds."""
    done = run(
        SET_UP + REDACT + "configure(); t = configure(redact=redact); configure(redact=redact)\n"
        "trace.get_tracer('x').start_span('Ada').end(); print(t.force_flush())\n"
        "configure(redact=lambda key, text: text)",
        OTEL_EXPORTER_POSTGRES_DSN=dsn,
    )

    assert "True\n" == done.stdout
    assert ["[name]"] == [*stored(dsn)]
    assert [
        "the same tables were set up before, by configure() or from outside, with another redact: that one holds"
    ] == done.stderr.splitlines()


def test_what_a_call_asks_of_an_exporter_that_is_there(dsn):
    """Its redact is asked, and settings that come too late are told."""
    done = run(
        SET_UP + REDACT + "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import BatchSpanProcessor\n"
        "from otel_pg_exporter import PostgresSpanExporter\n"
        "provider = TracerProvider()\n"
        "provider.add_span_processor(BatchSpanProcessor(PostgresSpanExporter()))\n"
        "trace.set_tracer_provider(provider)\n"
        "t = configure(redact=redact, store_content=False)\n"
        "trace.get_tracer('x').start_span('Ada').end(); print(t.force_flush())",
        OTEL_EXPORTER_POSTGRES_DSN=dsn,
    )

    assert "True\n" == done.stdout
    assert ["[name]"] == [*stored(dsn)]
    assert [
        "the same tables were set up before, by configure() or from outside: these settings have no effect any more:"
        " store_content=False. Give them to the first call, or in the environment"
    ] == done.stderr.splitlines()


@pytest.mark.parametrize("who", ["provider", "configure()"])
def test_an_exporter_that_is_there_and_was_shut_down_stores_nothing_more(dsn, who):
    """`configure()` puts one of its own beside it."""
    done = run(
        SET_UP + "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import BatchSpanProcessor\n"
        "from otel_pg_exporter import PostgresSpanExporter\n"
        "provider = TracerProvider()\n"
        "provider.add_span_processor(BatchSpanProcessor(PostgresSpanExporter()))\n"
        "trace.set_tracer_provider(provider)\n"
        f"{who}.shutdown()\n"
        "t = configure()\n"
        "trace.get_tracer('x').start_span('later').end(); print(t.force_flush(), t.counts)",
        OTEL_EXPORTER_POSTGRES_DSN=dsn,
    )

    assert "True {'stored': 1}\n" == done.stdout
    assert ["later"] == [*stored(dsn)]


def test_a_resource_detector_that_configures(dsn, tmp_path):
    """It would run itself again, in a thread that waits for this one: it goes without, and one line says so."""
    (tmp_path / "detector.py").write_text(
        "from opentelemetry.sdk.resources import Resource, ResourceDetector\n"
        "from otel_pg_exporter import configure\n"
        "class Detector(ResourceDetector):\n"
        "    def detect(self):\n"
        "        configure()\n"
        "        return Resource({})\n"
    )
    (tmp_path / "detector-1.dist-info").mkdir()
    (tmp_path / "detector-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: detector\nVersion: 1\n")
    (tmp_path / "detector-1.dist-info" / "entry_points.txt").write_text(
        "[opentelemetry_resource_detector]\nmine = detector:Detector\n"
    )
    done = run(
        "import os, opentelemetry.sdk._logs\n"  # it detects a resource already when it is imported
        "os.environ['OTEL_EXPERIMENTAL_RESOURCE_DETECTORS'] = 'mine'\n" + SET_UP + "t = configure()\n"
        "trace.get_tracer('x').start_span('described').end(); print(t.force_flush())",
        OTEL_EXPORTER_POSTGRES_DSN=dsn,
        OTEL_SERVICE_NAME="shop",
        PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    )

    assert "True\n" == done.stdout
    assert {"described"} == stored(dsn)
    assert [
        "the resource detector detector.Detector sets up what it is to describe: the resource holds only what the"
        " environment says. Leave configure() to the program"
    ] == done.stderr.splitlines()


def test_configuring_for_other_tables_stores_in_both_and_says_so(dsn):
    """One line names both; none is said where the first was shut down, or another provider is given."""
    done = run(
        SET_UP + "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk._logs import LoggerProvider\n"
        "first = configure(); second = configure(table_prefix='my_')\n"
        "trace.get_tracer('x').start_span('both').end()\n"
        "print(first.force_flush(), second.force_flush(), [t.query.counts()['events'] for t in (first, second)])\n"
        "second.shutdown(); configure(schema='third')\n"
        "configure(schema='fourth', tracer_provider=TracerProvider(), logger_provider=LoggerProvider())",
        OTEL_EXPORTER_POSTGRES_DSN=dsn,
    )

    target = hide_password(dsn)
    assert "True True [1, 1]\n" == done.stdout
    assert [
        "configure() was called before for other tables: this program is stored in"
        f" otel.* of {target} and in otel.my_* of {target}."
        " If one of them is meant, shut down what the other call gave"
    ] == done.stderr.splitlines()


def test_a_flush_that_could_not_store_says_so():
    """With Postgres away force_flush is False at once, the program goes on and ends by itself."""
    done = run(
        SET_UP + "t = configure(export_timeout_millis=300); trace.get_tracer('x').start_span('lost').end()\n"
        "print(t.force_flush(), t.counts)",
        OTEL_EXPORTER_POSTGRES_DSN="host=127.0.0.1 port=9 user=x dbname=y",
    )

    assert (0, "False {'spooled': 1}\n") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("cannot reach")


def test_what_a_full_queue_pushes_out_is_counted_and_told(dsn):
    """In the counts and the health of the program, in its log, by a flush, and in the ledger."""
    done = run(
        SET_UP + "t = configure(queue_size=10, batch_size=10, batch_timeout_millis=60_000)\n"
        "with t._span_processor._queue._exporting:\n"
        "    for number in range(100): trace.get_tracer('x').start_span('many').end()\n"
        "    print(t.progress['failed'])\n"
        "print(t.force_flush(), t.counts, t.progress['failed'])\n"
        "print(t.force_flush(), t.query.health().dropped)",
        OTEL_EXPORTER_POSTGRES_DSN=dsn,
    )

    waiting, flushed, after = done.stdout.splitlines()
    assert "{'queue_full': 90}" == waiting
    assert "False {'dropped': 90, 'stored': 10} {'queue_full': 90}" == flushed
    assert "True 90" == after
    assert done.stderr.startswith("span records were lost, 90 so far: the queue was full")
    assert "EVENT_QUEUE_SIZE" in done.stderr


@pytest.mark.parametrize("signal", ["span", "log"])
def test_a_flush_without_the_time_to_export_says_so(dsn, signal):
    """While another thread exports, for longer than the flush may take: what waits behind it is not stored."""
    telemetry = configure(dsn=dsn, batch_timeout_millis=60_000)
    assert telemetry.force_flush()
    processor = {"span": telemetry._span_processor, "log": telemetry._log_processor}[signal]
    with processor._queue._exporting:
        telemetry.tracer_provider.get_tracer("t").start_span("waits").end()
        assert not telemetry.force_flush(50)

    assert telemetry.force_flush()
    telemetry.shutdown()
    with psycopg.connect(dsn) as connection:
        assert [("waits",)] == connection.execute("SELECT event_name FROM otel.events").fetchall()


def test_the_sdk_switched_off_stores_nothing(dsn):
    """OTEL_SDK_DISABLED keeps its meaning."""
    done = run(
        SET_UP + "configure(); trace.get_tracer('x').start_span('no').end()",
        OTEL_EXPORTER_POSTGRES_DSN=dsn, OTEL_SDK_DISABLED="true",
    )  # fmt: skip

    assert ("", 0) == (done.stderr, done.returncode)
    assert set() == stored(dsn)


@pytest.mark.parametrize("queue", ["100", "7"])
def test_a_queue_smaller_than_a_batch_is_no_error(dsn, queue):
    """The SDK's own variables hold, and a batch is never larger than the queue."""
    done = run(
        SET_UP + "configure(); trace.get_tracer('x').start_span('small').end()",
        OTEL_EXPORTER_POSTGRES_DSN=dsn, OTEL_BSP_MAX_QUEUE_SIZE=queue,
    )  # fmt: skip

    assert ("", 0) == (done.stderr, done.returncode)
    assert {"small"} == stored(dsn)


def test_the_settings_of_configure_are_in_force(dsn):
    """get_event_config() gives them, and an integration made without any takes them, with its providers."""
    done = run(
        SET_UP + "from otel_pg_exporter import EventIntegration, create_event_config, get_event_config\n"
        f"settings = create_event_config(database={{'dsn': {dsn!r}}}, batch={{'size': 7}})\n"
        "configure(settings); assert get_event_config() is settings\n"
        "with EventIntegration() as events:\n"
        "    assert events.settings is settings\n"
        "    events.emit('system:event', {})",
    )

    assert ("", 0) == (done.stderr, done.returncode)
    assert {"system:event"} == stored(dsn)


def test_a_query_made_without_settings_asks_where_configure_stores(dsn):
    """Not whatever the environment says, the embedded server if it says nothing; after the end it is that again."""
    done = run(
        SET_UP + "import asyncio\n"
        "from otel_pg_exporter import AsyncEventQuery, EventQuery\n"
        f"telemetry = configure(dsn={dsn!r}, schema='own')\n"
        "trace.get_tracer('x').start_span('once').end(); telemetry.force_flush()\n"
        "with EventQuery() as query: print(len(query.events(name='once')))\n"
        "async def main():\n"
        "    async with AsyncEventQuery() as query: print(len(await query.events(name='once')))\n"
        "asyncio.run(main())\n"
        "with EventQuery(schema='other') as query: print(query.health().schema, query.health().target)\n"
        "telemetry.shutdown()\n"
        "with EventQuery() as query: print(query.health().target)\n",
        OTEL_EXPORTER_POSTGRES_DSN="host=127.0.0.1 port=9",
    )

    assert "" == done.stderr
    assert ["1", "1", "other host=127.0.0.1 port=9", "host=127.0.0.1 port=9"] == done.stdout.splitlines()


@pytest.mark.parametrize(("spans", "least"), [(0, 45_000), (1, 25_000)])
def test_log_records_have_the_time_of_the_end_that_no_span_needs(dsn, monkeypatch, spans, least):
    """A store's program may have nothing else to bring away: it need not keep two fifths of its time for nothing."""
    telemetry = configure(dsn=dsn, batch_timeout_millis=60_000)
    given = []
    monkeypatch.setattr(telemetry._log_processor, "shutdown", given.append)
    for number in range(spans):
        telemetry.tracer_provider.get_tracer("test").start_span(f"{number}").end()

    telemetry.shutdown(50_000)

    assert least < given[0] <= {0: 50_000, 1: 30_000}[spans]
