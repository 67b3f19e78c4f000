"""Programs that know nothing of us, started by `opentelemetry-instrument` and by `otel-pg run`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from harness.delays import apart_from_delays, bring_in

PROGRAMS = Path(sys.executable).parent
STOCK = {"OTEL_TRACES_EXPORTER": "postgres", "OTEL_LOGS_EXPORTER": "postgres"}
OURS = {"OTEL_PYTHON_DISTRO": "otel_pg"}
APP = """
import sys
from opentelemetry import _logs, trace

def work(name):
    with trace.get_tracer("app").start_as_current_span(name):
        _logs.get_logger("app").emit(event_name=name + " logged", body="done")

if __name__ == "__main__":
    work(sys.argv[1] if len(sys.argv) > 1 else "work")
    sys.exit(7)
"""
TASKS = """
def load(day):
    return day
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a program in it."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "jobs.py").write_text(TASKS)
    return tmp_path


def start(*command: str | Path, cwd: Path, dsn: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """A command as typed in a shell whose venv is that of the tests."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=90, check=False,
        env=surroundings(dsn, **environment),
    )  # fmt: skip
    done.stderr = apart_from_delays(done.stderr)
    return done


def surroundings(dsn: str, **environment: str) -> dict[str, str]:
    path = os.pathsep.join((str(PROGRAMS), os.environ["PATH"]))
    return {**os.environ, "PATH": path, "OTEL_EXPORTER_POSTGRES_DSN": dsn, **environment}


def run(*command: str | Path, cwd: Path, dsn: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return start("otel-pg", "run", *command, cwd=cwd, dsn=dsn, **environment)


def stored(dsn: str, table: str = "events") -> list[str]:
    """Names of what is stored, sorted; without the library's own events."""
    bring_in(dsn)
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            f"SELECT event_name FROM otel.{table} WHERE event_type <> 'capture' ORDER BY 1"
        ).fetchall()
    return [name for (name,) in rows]


# opentelemetry-instrument


@pytest.mark.parametrize("environment", [STOCK, OURS], ids=["stock", "ours"])
def test_opentelemetry_instrument_finds_us(dsn, folder, environment):
    """By the stock distro's variables alone, or by the name of our distro, spans and log records are stored."""
    done = start("opentelemetry-instrument", "python", "app.py", cwd=folder, dsn=dsn, **environment)

    assert 7 == done.returncode, done.stderr
    assert ["work", "work logged"] == stored(dsn)


def test_our_distro_says_nothing(dsn, folder):
    """A start that goes well leaves no line, and the program's output as it is."""
    done = start("opentelemetry-instrument", "python", "app.py", cwd=folder, dsn=dsn, **OURS)

    assert ("", "") == (done.stdout, done.stderr)


def test_our_distro_sets_what_is_not_set(dsn, folder):
    """Metrics go nowhere, spans keep many attributes, a batch fits its queue; what is set stays."""
    shown = "import os; print([os.environ.get(n) for n in ({})])"
    names = (
        "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
    )  # fmt: skip

    done = start(
        "opentelemetry-instrument", "python", "-c", shown.format(", ".join(map(repr, names))), cwd=folder, dsn=dsn,
        OTEL_TRACES_EXPORTER="console,postgres", OTEL_BSP_MAX_QUEUE_SIZE="100", **OURS,
    )  # fmt: skip

    assert "['console,postgres', 'none', '1024', '100', None]\n" == done.stdout, done.stderr


def test_our_distro_uses_our_own_queue(dsn, folder):
    """A burst of 20,000 spans, ten times what the SDK's own queue holds, is stored whole."""
    burst = (
        "from opentelemetry import trace\ntracer = trace.get_tracer('burst')\n"
        "for number in range(20_000):\n    tracer.start_span('burst').end()\n"
    )

    done = start("opentelemetry-instrument", "python", "-c", burst, cwd=folder, dsn=dsn, **OURS)

    assert "" == done.stderr
    assert 20_000 == len(stored(dsn))


@pytest.mark.parametrize(
    ("variable", "kept"), [("OTEL_TRACES_EXPORTER", "work logged"), ("OTEL_LOGS_EXPORTER", "work")]
)
def test_a_signal_that_is_not_wanted_is_not_stored(dsn, folder, variable, kept):
    """With our distro, one of the two exporters set to none leaves the other."""
    done = run("python", "app.py", cwd=folder, dsn=dsn, **{variable: "none"})

    assert (7, "") == (done.returncode, done.stderr)
    assert [kept] == stored(dsn)


def test_another_exporter_goes_on_beside_ours(dsn, folder):
    """Those that the environment names beside `postgres` get every span too."""
    done = run("python", "app.py", cwd=folder, dsn=dsn, OTEL_TRACES_EXPORTER="console,postgres")

    assert ["work", "work logged"] == stored(dsn)
    assert "work" == json.loads(done.stdout)["name"]


def test_a_configuration_file_names_our_exporter(dsn, folder):
    """`postgres:` with keywords in OTEL_CONFIG_FILE stores, in the schema that the file says, by either distro."""
    (folder / "otel.yaml").write_text(f"""
file_format: "1.0"
tracer_provider:
  processors:
    - batch:
        exporter:
          postgres:
            dsn: "{dsn}"
            schema: from_file
logger_provider:
  processors:
    - batch:
        exporter:
          postgres:
            dsn: "{dsn}"
            schema: from_file
""")
    for environment in ({}, OURS):
        done = start(
            "opentelemetry-instrument", "python", "app.py", cwd=folder, OTEL_CONFIG_FILE="otel.yaml", **environment
        )
        assert 7 == done.returncode, done.stderr

    bring_in(dsn, schema="from_file")
    with psycopg.connect(dsn) as connection:
        names = connection.execute("SELECT event_name FROM from_file.events ORDER BY 1").fetchall()
    assert [("work",), ("work",), ("work logged",), ("work logged",)] == names


@pytest.mark.parametrize("way", ["run", "distro", "configure", "stock"])
def test_a_disabled_sdk_is_nothing_at_all(folder, way):
    """OTEL_SDK_DISABLED=true: no connection, no thread of ours, no file, and not even the driver's pool."""
    look = (
        "import os, sys, threading\n"
        + ("from otel_pg_exporter import configure; configure()\n" if way == "configure" else "")
        + "from opentelemetry import trace; trace.get_tracer('x').start_span('no').end()\n"
        "mine = [t.name for t in threading.enumerate() if not t.name.startswith(('MainThread', 'OtelBatch'))]\n"
        "print(mine, [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')"
        " if os.path.exists(f'/proc/self/fd/{fd}')])\n"
        + ("" if way == "stock" else "assert threading.active_count() == 1, threading.enumerate()\n")
    )
    (folder / "look.py").write_text(look)
    command = {
        "run": ["otel-pg", "run", "python", "look.py"],
        "distro": ["opentelemetry-instrument", "python", "look.py"],
        "configure": ["python", "look.py"],
        "stock": ["opentelemetry-instrument", "python", "look.py"],
    }[way]
    homes = {name: str(folder / "home") for name in ("HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "EVENT_DATA_DIR")}
    environment = {"stock": STOCK, "distro": OURS}.get(way, {})

    done = start(
        *command, cwd=folder, OTEL_SDK_DISABLED="true", EVENT_SPOOL_DIR=str(folder / "spool"),
        **homes, **environment,
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    assert done.stdout.startswith("[]")
    assert "socket" not in done.stdout
    assert not [path.name for path in folder.iterdir() if path.name in {"home", "spool"}]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OTEL_EXPORTER_POSTGRES_DSN": "mysql://u:secret@h/d"}, "is not recorded: ConfigurationError: OTEL_EXPORTER_"),
        ({"EVENT_SCHEMA": "x;y"}, "is not recorded: ConfigurationError: EVENT_SCHEMA='x;y' is not allowed"),
        ({"OTEL_PYTHON_ID_GENERATOR": "x"}, "is not recorded: ConfigurationError: OTEL_PYTHON_ID_GENERATOR='x' is not"),
        ({"OTEL_TRACES_EXPORTER": "postgres,nosuch"}, "other exporters are not set up: RuntimeError: Requested"),
        ({"OTEL_CONFIG_FILE": "nosuch.yaml"}, "this program is not recorded: "),
        ({"OTEL_PYTHON_DISTRO": "nosuch"}, "OTEL_PYTHON_DISTRO='nosuch' is not installed: otel_pg is used; installed"),
        ({"OTEL_PYTHON_CONFIGURATOR": "nosuch"}, "OTEL_PYTHON_CONFIGURATOR='nosuch' is not installed: otel_pg is used"),
        ({"EVENT_CAPTURE_TASKS": "nonsense"}, "named functions are not recorded: ConfigurationError: pattern 'nons"),
        ({"EVENT_CAPTURE_FILE": "nosuch.toml"}, "named functions are not recorded: ConfigurationError: nosuch.toml"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_failure_at_the_start_is_one_line(dsn, folder, environment, said):
    """Whatever is wrong, the program runs with its output and exit code, and the log has one line."""
    done = run("python", "app.py", cwd=folder, dsn=dsn, **environment) if "OTEL_EXPORTER_POSTGRES_DSN" not in (
        environment
    ) else run("python", "app.py", cwd=folder, **environment)  # fmt: skip

    assert (7, "") == (done.returncode, done.stdout)
    (line,) = done.stderr.splitlines()
    assert said in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("environment", "traces"),
    [({}, 2), ({"OTEL_TRACES_EXPORTER": "console,postgres"}, 2), ({"OTEL_PYTHON_ID_GENERATOR": "random"}, 1)],
    ids=["ours", "beside another exporter", "the SDK's ids"],
)
def test_runs_of_a_program_that_seeds_its_random_numbers_are_apart(dsn, folder, environment, traces):
    """Each is a trace of its own; with OpenTelemetry's own ids they are one."""
    (folder / "learn.py").write_text("import random, app\nrandom.seed(42)\napp.work('learn')")
    for _ in range(2):
        assert 0 == run("python", "learn.py", cwd=folder, dsn=dsn, **environment).returncode

    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT DISTINCT trace_id FROM otel.events WHERE event_name = 'learn'").fetchall()
    assert traces == len(found)


@pytest.mark.parametrize("variable", ["OTEL_PYTHON_DISTRO", "OTEL_PYTHON_CONFIGURATOR"])
def test_a_start_that_is_not_installed_is_replaced_by_ours(dsn, folder, variable):
    """A name that is misspelt: the program is recorded all the same."""
    run("python", "app.py", cwd=folder, dsn=dsn, **{variable: "otel_pq"})

    assert ["work", "work logged"] == stored(dsn)


def test_an_exporter_that_is_still_there_after_a_failure_stores(dsn, folder):
    """That another exporter is unknown does not keep ours from storing."""
    run("python", "app.py", cwd=folder, dsn=dsn, OTEL_TRACES_EXPORTER="nosuch,postgres")

    assert ["work", "work logged"] == stored(dsn)


# otel-pg run


@pytest.mark.parametrize(
    "command",
    [
        ["python", "app.py", "named"],
        ["app.py", "named"],
        ["python", "-m", "app", "named"],
        ["-m", "app", "named"],
        ["python", "-c", "import app; app.work('named'); raise SystemExit(7)"],
        ["-c", "import app; app.work('named'); raise SystemExit(7)"],
        ["--", "python", "app.py", "named"],
        ["sh", "-c", "python app.py named"],
    ],
    ids=lambda command: " ".join(command)[:20],
)
def test_run_starts_programs_as_they_are_typed(dsn, folder, command):
    """Scripts, -m, -c, and a shell that starts them; the exit code is the program's."""
    done = run(*command, cwd=folder, dsn=dsn)

    assert (7, "", "") == (done.returncode, done.stdout, done.stderr)
    assert ["named", "named logged"] == stored(dsn)


def test_run_is_a_module_too(dsn, folder):
    """`python -m otel_pg_exporter.run` does the same, and needs no extra."""
    done = start("python", "-m", "otel_pg_exporter.run", "python", "app.py", cwd=folder, dsn=dsn)

    assert (7, "") == (done.returncode, done.stderr)
    assert ["work", "work logged"] == stored(dsn)


def test_runs_options_become_the_programs_environment(dsn, folder):
    """Schema, service name and the rest are what the rows say; options of otel-pg itself count too."""
    done = start(
        "otel-pg", "--dsn", dsn, "run", "--schema=mine", "--service-name", "shop", "--tasks", "shop.jobs:*",
        "python", "-c", "from shop.jobs import load; load(1)", cwd=folder,
    )  # fmt: skip

    assert (0, "") == (done.returncode, done.stderr)
    bring_in(dsn, schema="mine")
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT service_name, task_name FROM mine.task_events").fetchall()
    assert [("shop", "load")] == rows


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["nosuch"], 127, "otel-pg run: program 'nosuch' was not found in PATH"),
        (["./pyproject.toml"], 126, "otel-pg run: ./pyproject.toml is no program that may be started"),
        (["./broken"], 126, "otel-pg run: ./broken cannot be started: "),
        (["--schema", "x;y", "python"], 2, "otel-pg run: schema='x;y' is not allowed"),
        ([], 2, "otel-pg run: which program? Name it, as in: otel-pg run python app.py"),
    ],
)
def test_what_cannot_be_started_is_said_in_one_line(folder, command, code, said):
    """127 for an unknown program, 126 for one that cannot be started, 2 for a wrong option."""
    (folder / "pyproject.toml").touch()
    (folder / "broken").write_text("no program")
    (folder / "broken").chmod(0o755)

    done = run(*command, cwd=folder)

    assert code == done.returncode
    (line,) = done.stderr.splitlines()
    assert line.startswith(said)


def test_children_are_recorded_and_no_process_starts_twice(dsn, folder):
    """A child process, its own child and a spawned worker store their spans once each; the path stays for them."""
    (folder / "family.py").write_text(
        "import multiprocessing, os, subprocess, sys\nimport app\n"
        "if __name__ == '__main__':\n"
        "    app.work('parent')\n"
        "    inner = \"import app; app.work('grandchild')\"\n"
        '    outer = f\'import subprocess, sys, app; app.work("child");'
        ' subprocess.run([sys.executable, "-c", {inner!r}], check=True)\'\n'
        "    subprocess.run([sys.executable, '-c', outer], check=True)\n"
        "    worker = multiprocessing.get_context('spawn').Process(target=app.work, args=('spawned',))\n"
        "    worker.start(); worker.join(); assert worker.exitcode == 0\n"
    )

    done = run("python", "family.py", cwd=folder, dsn=dsn, OTEL_LOGS_EXPORTER="none")

    assert (0, "") == (done.returncode, done.stderr)
    assert ["child", "grandchild", "parent", "spawned"] == stored(dsn)


@pytest.mark.parametrize("path", [":/lib", "/lib:", ":", ""])
def test_an_empty_entry_of_the_path_stays_the_working_folder(dsn, folder, path):
    """As in PYTHONPATH=$PYTHONPATH:/lib where it was not set; in a child, too. An empty PYTHONPATH has none."""
    (folder / "bin").mkdir()
    (folder / "bin" / "main.py").write_text(
        "import subprocess, sys\nprint([place for place in sys.path if 'bootstrap' not in place], flush=True)\n"
        "if len(sys.argv) == 1: subprocess.run([sys.executable, __file__, 'child'], check=True)\n"
    )

    plain = start("python", "bin/main.py", cwd=folder, PYTHONPATH=path)
    done = run("python", "bin/main.py", cwd=folder, dsn=dsn, PYTHONPATH=path)

    assert (0, plain.stdout, plain.stderr) == (done.returncode, done.stdout, done.stderr)
    assert (f"'{folder}'" in done.stdout) is bool(path)


def test_the_start_itself_starts_no_recorded_process(dsn, folder):
    """While a process is set up, PYTHONPATH is without our folder: what the set-up starts does not set up itself."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(
        "import os, subprocess, sys\n"
        "show = 'import sys; print(\"otel_pg_exporter.auto_instrumentation.autostart\" in sys.modules)'\n"
        "if os.environ.pop('ONCE', None):\n"
        "    done = subprocess.run([sys.executable, '-c', show], capture_output=True, text=True, check=True)\n"
        "    print(done.stdout.strip())\n"
    )
    show = "import os, sys; print(os.environ['PYTHONPATH'], [p for p in sys.path if 'bootstrap' in p])"

    done = run("python", "-c", show, cwd=folder, dsn=dsn, ONCE="1", PYTHONPATH=str(folder / "site"))

    bootstrap = Path(__file__).parents[2] / "otel_pg_exporter" / "auto_instrumentation" / "bootstrap"
    assert ["False", f"{bootstrap}{os.pathsep}{folder / 'site'} []"] == done.stdout.splitlines(), done.stderr


def test_a_sitecustomize_that_is_hidden_runs(dsn, folder):
    """The one that Python would have run is run, and is what `import sitecustomize` gives."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text("import builtins\nbuiltins.found = __file__\n")

    done = run(
        "python", "-c", "import sitecustomize; print(found, sitecustomize.__file__); import app; app.work('s')",
        cwd=folder, dsn=dsn, PYTHONPATH=str(folder / "site"),
    )  # fmt: skip

    assert 2 * [str(folder / "site" / "sitecustomize.py")] == done.stdout.split(), done.stderr
    assert ["s", "s logged"] == stored(dsn)


@pytest.mark.parametrize(
    ("place", "failure"),
    [
        ("hidden", "raise SystemExit(3)"),
        ("hidden", "1 / 0"),
        ("ours", "raise SystemExit(3)"),
        ("ours", "import nosuch"),
        ("instrumentor", "raise SystemExit(3)"),
        ("instrumentor", "1 / 0"),
        ("instrumentor", "import nosuch"),
        ("hook", "raise BaseException('b')"),
        ("hook", "1 / 0"),
    ],
)
def test_nothing_at_the_start_stops_the_program(dsn, folder, place, failure):
    """Whatever a start raises, in the hidden sitecustomize, in us, in an instrumentor or a hook, the program runs."""
    planted = folder / "planted"
    planted.mkdir()
    if place == "hidden":
        (planted / "sitecustomize.py").write_text(failure)
    elif place == "ours":
        (planted / "otel_pg_exporter").mkdir()
        (planted / "otel_pg_exporter" / "__init__.py").write_text(failure)
    else:
        group = {"instrumentor": "opentelemetry_instrumentor", "hook": "opentelemetry_pre_instrument"}[place]
        (planted / "planted_module.py").write_text(
            f"def start(*a, **k):\n    {failure}\nclass Start:\n    def __init__(self):\n        start()\n"
        )
        (planted / "planted-1.dist-info").mkdir()
        (planted / "planted-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1\n")
        (planted / "planted-1.dist-info" / "entry_points.txt").write_text(
            f"[{group}]\nplanted = planted_module:start\n"
        )

    done = start(
        "python", "-I", PROGRAMS / "otel-pg", "run", "python", "app.py", cwd=folder, dsn=dsn, PYTHONPATH=str(planted)
    )

    assert (7, "") == (done.returncode, done.stdout), done.stderr
    is_plain_absence = place == "instrumentor" and "nosuch" in failure  # the library is not there: no failure
    assert (0 if is_plain_absence else 1) == len(done.stderr.splitlines()), done.stderr
    if place != "ours":
        assert ["work", "work logged"] == stored(dsn)


def test_an_isolated_python_is_not_recorded(dsn, folder):
    """`python -I` ignores PYTHONPATH: the program runs as if alone, as the page says."""
    done = run("python", "-I", "-c", "print('ran')", cwd=folder, dsn=dsn)

    assert (0, "ran\n", "") == (done.returncode, done.stdout, done.stderr)


def test_a_venv_without_us_is_said_once(folder):
    """A Python that cannot import us runs the program; the first process says so, its children do not."""
    venv.create(folder / "other", symlinks=True)
    program = "import subprocess, sys; print('ran', flush=True)"
    child = f"{program}; subprocess.run([sys.executable, '-c', {program!r}])"

    done = run(folder / "other" / "bin" / "python", "-c", child, cwd=folder)

    assert (0, "ran\nran\n") == (done.returncode, done.stdout)
    assert [
        "otel-pg: the start failed, the program goes on: ModuleNotFoundError: No module named 'otel_pg_exporter'"
    ] == (done.stderr.splitlines())


def without(folder: Path, *modules: str) -> str:
    """A PYTHONPATH on which these modules are not to be found."""
    (folder / "block").mkdir()
    (folder / "block" / "sitecustomize.py").write_text(
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {modules!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
    )
    return str(folder / "block")


def test_without_opentelemetry_instrumentation_there_are_no_instrumentors(dsn, folder):
    """The rest is the same: spans, log records and named functions are stored."""
    done = run(
        "--tasks", "shop.jobs:load", "python", "-c", "import app, shop.jobs; app.work('a'); shop.jobs.load(1)",
        cwd=folder, dsn=dsn, PYTHONPATH=without(folder, "opentelemetry.instrumentation"),
    )  # fmt: skip

    assert (0, "") == (done.returncode, done.stderr)
    assert ["a", "a logged"] == stored(dsn)
    assert ["load"] == stored(dsn, "task_events")


@pytest.mark.parametrize("modules", [["wrapt"], ["tomli", "tomllib"]])
def test_what_named_functions_need_is_said(dsn, folder, modules):
    """One line says what to install; the program is recorded, without the functions."""
    (folder / "pyproject.toml").write_text('[tool.otel_pg.capture]\ntasks = ["shop.jobs:load"]\n')

    path = without(folder, "opentelemetry.instrumentation", *modules)

    done = run("python", "-c", "import app; app.work('a')", cwd=folder, dsn=dsn, PYTHONPATH=path)

    cure = f"this needs {modules[0]}, which is not installed. Run: pip install 'otel-pg-exporter[auto]'"
    assert (0, f"named functions are not recorded: ImportError: {cure}\n") == (done.returncode, done.stderr)
    assert ["a", "a logged"] == stored(dsn)


@pytest.mark.parametrize("disabled", ["", "flask"])
def test_instrumentors_are_started(dsn, folder, disabled):
    """Flask's requests are recorded without a word in the program, unless its instrumentor is disabled."""
    (folder / "web.py").write_text(
        "from flask import Flask\napp = Flask('web')\n@app.get('/hello')\ndef hello(): return 'hi'\n"
        "assert b'hi' == app.test_client().get('/hello').data\n"
    )

    done = run("--disable", disabled, "python", "web.py", cwd=folder, dsn=dsn) if disabled else run(
        "python", "web.py", cwd=folder, dsn=dsn)  # fmt: skip

    assert (0, "") == (done.returncode, done.stderr)
    assert ([] if disabled else ["GET /hello"]) == stored(dsn)


def add_instrumentor(folder: Path, name: str, program: str) -> None:
    """One that is installed wherever the folder is on the path."""
    (folder / "instrumentor.py").write_text(program)
    (folder / "instrumentor-1.dist-info").mkdir()
    (folder / "instrumentor-1.dist-info" / "METADATA").write_text("Name: instrumentor\nVersion: 1\n")
    (folder / "instrumentor-1.dist-info" / "entry_points.txt").write_text(
        f"[opentelemetry_instrumentor]\n{name} = instrumentor:Instrumentor\n"
    )


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("shop.newer", "instrumentor shop is not used: ModuleNotFoundError: No module named 'shop.newer'\n"),
        ("nosuch", ""),
        ("nosuch.part", ""),
        ("shared.nosuch", ""),
    ],
)
def test_an_instrumentor_whose_library_is_of_another_version_is_told(dsn, folder, missing, said):
    """A library that is not there is no failure; a part that one does not have is."""
    (folder / "shared").mkdir()  # by several packages, as google is
    add_instrumentor(folder, "shop", f"import {missing}")

    done = run("python", "-c", "import app; app.work('a')", cwd=folder, dsn=dsn, PYTHONPATH=str(folder))

    assert (0, said) == (done.returncode, done.stderr)
    assert ["a", "a logged"] == stored(dsn)


LOGGING = """
import logging
from opentelemetry import _logs

class Handler(logging.Handler):
    __module__ = "opentelemetry.instrumentation.logging.handler"
    def emit(self, record):
        _logs.get_logger("logging").emit(event_name=record.getMessage())

class Instrumentor:
    def instrument(self, **options):
        logging.getLogger().addHandler(Handler())
"""
SAYS = """
import logging
logging.getLogger("shop").warning("the last resort")
logging.warning("the first use")
logging.getLogger("shop").error("then formatted")
aside = logging.getLogger("aside")
aside.propagate = False
aside.addHandler(logging.NullHandler())
aside.error("goes nowhere")
logging.raiseExceptions = False
logging.warning("%d", "no number")
logging.getLogger().handlers.clear()
logging.getLogger("shop").error("cleared")
"""


def test_what_a_program_says_is_stored_and_printed_as_without_us(dsn, folder):
    """A handler that an instrumentor puts at the root keeps neither Python's last resort nor basicConfig back, and
    raises nothing into the program, where Python's handlers would not.
    """
    add_instrumentor(folder, "logging", LOGGING)
    (folder / "says.py").write_text(SAYS)

    plain = start("python", "says.py", cwd=folder)
    done = run("python", "says.py", cwd=folder, dsn=dsn, PYTHONPATH=str(folder))

    lost = "WARNING:otel_pg_exporter:a record of the log 'root' is not stored: TypeError when it was made a text\n"
    assert 1 == done.stderr.count(lost)
    assert (0, plain.stdout, plain.stderr) == (done.returncode, done.stdout, done.stderr.replace(lost, ""))
    assert ["cleared", "the first use", "the last resort", "then formatted"] == stored(dsn)


def test_the_handler_of_the_sdk_is_called_from_beside_the_root_too(dsn, folder):
    """The older way, that OpenTelemetry's examples show: without us a record with a wrong argument ends the program."""
    (folder / "says.py").write_text(SAYS)
    switch = {"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true"}

    plain = start("python", "says.py", cwd=folder)
    done = run("python", "says.py", cwd=folder, dsn=dsn, **switch)

    assert (0, plain.stdout) == (done.returncode, done.stdout), done.stderr
    assert plain.stderr.splitlines() == [line for line in done.stderr.splitlines() if "is not stored" not in line]
    bring_in(dsn)
    with psycopg.connect(dsn) as connection:
        said = connection.execute("SELECT body FROM otel.events WHERE record = 'log' AND event_type = 'log'").fetchall()
    assert {"cleared", "the first use", "the last resort", "then formatted"} == {body for (body,) in said}


@pytest.fixture
def gunicorn(dsn: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """gunicorn with two workers, started by otel-pg run."""
    (folder / "web.py").write_text(
        "import os\nfrom shop.jobs import load\n"
        "def app(environ, respond):\n    load('x')\n    respond('200 OK', [])\n    return [str(os.getpid()).encode()]\n"
    )
    command = [
        "otel-pg",
        "run",
        "--tasks",
        "shop.jobs:load",
        "gunicorn",
        "--no-control-socket",
        "-w",
        "2",
        "-b",
        "unix:web.sock",
        "web:app",
    ]
    with subprocess.Popen(command, cwd=folder, env=surroundings(dsn), stderr=subprocess.DEVNULL) as server:
        yield server
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)


def test_gunicorn_and_its_workers_are_recorded(dsn, folder, gunicorn):
    """A console script that forks workers: what each of them does is stored once."""

    def get() -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(folder / "web.sock"))
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(4096)

    deadline = time.monotonic() + 60
    while True:
        try:
            get()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    for _ in range(19):
        get()
    gunicorn.send_signal(signal.SIGTERM)
    gunicorn.wait(60)

    assert 20 * ["load"] == stored(dsn, "task_events")


PATCHED = """
from gevent import monkey; monkey.patch_all()
import gevent, logging
from opentelemetry import _logs, trace
from otel_pg_exporter import configure

telemetry, ticks = configure(), 0
with trace.get_tracer("app").start_as_current_span("work"):
    pass
_logs.get_logger("app").emit(event_name="logged", body="done")
while telemetry.progress["spool_depth"] < 2:
    gevent.sleep(0.01)
    ticks += 1
print(ticks)
"""


@pytest.mark.parametrize("durability", ["memory", "process"])
def test_greenlets_go_on_while_postgresql_is_silent(folder, durability):
    """gevent's `patch_all()` comes when we are there already: what waits for PostgreSQL waits as gevent does."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"host=127.0.0.1 port={silent.getsockname()[1]}"
        done = run(
            "--durability", durability, "python", "-c", PATCHED, cwd=folder, dsn=dsn,
            EVENT_SPOOL_DIR=str(folder / "spool"),
        )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    assert int(done.stdout) > 25  # of some 300 in the three seconds that a batch tries; else one or two


POOLED = """
from gevent import monkey; monkey.patch_all()
import gevent
from opentelemetry import trace
from otel_pg_exporter import configure

telemetry, tracer = configure(), trace.get_tracer("app")
gevent.get_hub().threadpool.apply(lambda: tracer.start_span("in the pool").end())
tracer.start_span("beside it").end()
with gevent.Timeout(60):
    while telemetry.counts.get("stored", 0) < 2:
        gevent.sleep(0.01)
"""


@pytest.mark.parametrize("durability", ["memory", "process"])
def test_a_first_span_in_the_thread_pool_of_gevent_holds_nothing_up(dsn, folder, durability):
    """A thread that begins there would be a greenlet that nobody runs."""
    done = start("python", "-c", POOLED, cwd=folder, dsn=dsn, EVENT_DURABILITY=durability)

    assert 0 == done.returncode, done.stderr
    assert ["beside it", "in the pool"] == stored(dsn)


# functions by name


def test_functions_are_named_in_pyproject(dsn, folder):
    """The nearest pyproject.toml that has the table counts, also for a child that runs elsewhere."""
    (folder / "pyproject.toml").write_text('[tool.otel_pg.capture]\ntasks = ["shop.jobs:*"]\nagents = ["bots:*.run"]\n')
    (folder / "bots.py").write_text("class Bot:\n    def run(self, x):\n        return x\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "pyproject.toml").write_text('[project]\nname = "inner"\n')
    (folder / "main.py").write_text(
        "import subprocess, sys\nimport bots, shop.jobs\nbots.Bot().run(1)\nshop.jobs.load(2)\n"
        "if len(sys.argv) > 1: subprocess.run([sys.executable, __file__], cwd='/', check=True)\n"
    )

    done = run("python", folder / "main.py", "child", cwd=folder / "sub", dsn=dsn)

    assert (0, "") == (done.returncode, done.stderr)
    assert (["load", "load"], ["Bot.run", "Bot.run"]) == (stored(dsn, "task_events"), stored(dsn, "agent_events"))


def test_a_table_of_another_name_is_said(dsn, folder):
    """A slip in the name of the table would have nothing recorded in silence."""
    (folder / "pyproject.toml").write_text('[tool.otel_pg.captures]\ntasks = ["shop.jobs:*"]\n')

    done = run("python", "app.py", cwd=folder, dsn=dsn)

    said = "tool.otel_pg.captures is not known; known are capture, routing"
    assert f"named functions are not recorded: ConfigurationError: {folder}/pyproject.toml: {said}\n" == done.stderr


def test_a_program_whose_working_folder_is_gone(dsn, folder):
    """It runs, and functions are recorded that the environment names."""
    (folder / "gone").mkdir()
    program = f"import sys; sys.path.insert(0, {str(folder)!r}); import shop.jobs; print(shop.jobs.load(1))"

    done = start(
        "sh", "-c", f'cd gone; rmdir ../gone; otel-pg run --tasks "shop.jobs:*" python -c "{program}"',
        cwd=folder, dsn=dsn,
    )  # fmt: skip

    assert (0, "1\n", "") == (done.returncode, done.stdout, done.stderr)
    assert ["load"] == stored(dsn, "task_events")


def test_functions_are_named_under_opentelemetry_instrument_too(dsn, folder):
    """The variables count wherever our distro is used, and win over the file."""
    (folder / "pyproject.toml").write_text('[tool.otel_pg.capture]\ntasks = ["nosuch:*"]\n')

    done = start(
        "opentelemetry-instrument", "python", "-c", "import shop.jobs; shop.jobs.load(1)", cwd=folder, dsn=dsn,
        EVENT_CAPTURE_TASKS="shop.jobs:load", **OURS,
    )  # fmt: skip

    assert (0, "") == (done.returncode, done.stderr)
    assert ["load"] == stored(dsn, "task_events")


def health(dsn: str, cwd: Path) -> str:
    bring_in(dsn)
    done = start("otel-pg", "health", cwd=cwd, dsn=dsn)
    assert 0 == done.returncode, done.stderr
    return "\n".join(line for line in done.stdout.splitlines() if line.startswith("unmatched"))


def test_health_reports_a_pattern_that_matches_nothing(dsn, folder):
    """After one line in the log, health says it, from anywhere, until a later start finds them all."""
    use = "import shop.jobs; shop.jobs.load(1)"

    done = run(
        "--service-name", "shop", "--tasks", "shop.jobs:load,shop.jobs:lod,nosuch.*:run",
        "python", "-c", use, cwd=folder, dsn=dsn,
    )  # fmt: skip

    assert [
        "capture: nothing is recorded for tasks shop.jobs:lod: module shop.jobs has no such function",
        "capture: nothing is recorded for tasks nosuch.*:run: there is no such module",
    ] == done.stderr.splitlines()
    found = health(dsn, Path("/"))
    assert "tasks shop.jobs:lod (service shop)" in found
    assert "tasks nosuch.*:run (service shop)" in found
    assert "shop.jobs:load " not in found

    run("--service-name", "shop", "--tasks", "shop.jobs:load", "python", "-c", use, cwd=folder, dsn=dsn)
    assert "" == health(dsn, Path("/"))


def test_a_pattern_that_matches_in_a_child_is_no_miss(dsn, folder):
    """The parent imports nothing, its child does: health reports nothing."""
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import shop.jobs'], check=True)"

    run("--tasks", "shop.jobs:load", "python", "-c", child, cwd=folder, dsn=dsn)

    assert "" == health(dsn, folder)


def test_the_program_itself_cannot_be_named(dsn, folder):
    """Functions of the script are __main__'s: the log says what to do."""
    for named in ("app:work", "__main__:work"):
        done = run("--tasks", named, "python", "app.py", cwd=folder, dsn=dsn)

        assert 7 == done.returncode
        (line,) = done.stderr.splitlines()
        assert f"{named}: that is the program itself, run as __main__" in line


def test_a_module_of_the_same_name_is_left_to_the_program(dsn, folder):
    """Where the program has an `instrumentation` of its own, naming functions is off, and its own is imported."""
    (folder / "instrumentation.py").write_text("mine = 'mine'\n")
    (folder / "uses.py").write_text("from instrumentation import mine\nimport app\napp.work(mine)\n")

    done = run("--tasks", "shop.jobs:*", "python", "uses.py", cwd=folder, dsn=dsn)

    assert 0 == done.returncode
    (line,) = done.stderr.splitlines()
    assert "the program has an 'instrumentation' of its own" in line
    assert ["mine", "mine logged"] == stored(dsn)
