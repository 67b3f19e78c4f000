"""What is published: the wheel, installed into a venv of its own and used from another folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from harness.delays import apart_from_delays

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with sdist and wheel of this checkout, built as for a release: the wheel out of the sdist."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert 0 == done.returncode, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    """The wheel."""
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a venv that holds the wheel and, to be quick, borrows its dependencies.

    A line in a .pth adds the site-packages of the tests, not what their own .pth files add: the checkout.
    """
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    return programs


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, env=environment)
    done.stderr = apart_from_delays(done.stderr)
    return done


def test_the_wheel_holds_packages_types_and_sql(wheel):
    """Both packages, their type markers and every SQL file are in it, and nothing else."""
    names = zipfile.ZipFile(wheel).namelist()

    assert {"otel_pg_exporter/py.typed", "instrumentation/py.typed"} <= set(names)
    (alone,) = [name for name in names if name.startswith("otel_pg_exporter/auto_instrumentation/bootstrap/")]
    assert alone.endswith("/sitecustomize.py")
    sql = {f"otel_pg_exporter/{path.relative_to(ROOT)}" for path in (ROOT / "sql").rglob("*.sql")}
    assert sql == {name for name in names if name.endswith(".sql")}
    tops = {name.split("/")[0] for name in names}
    assert {"otel_pg_exporter", "instrumentation"} == {top for top in tops if not top.endswith(".dist-info")}


def test_the_sdist_holds_what_its_tests_and_pages_need(built):
    """The pages that README.md names, the Makefile, what tests read; and nothing that was made here."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    pages = set(re.findall(r"\]\(([\w./-]+\.md)", (ROOT / "README.md").read_text("utf-8")))
    assert {*pages, "Makefile", "CONTRIBUTING.md", "CHANGELOG.md", "compose.yaml", "tests/conftest.py"} <= names
    assert not [name for name in names if name.startswith((".venv", ".git/", "dist/", ".postgres"))]


def test_the_wheel_works_from_another_folder(installed, tmp_path, dsn):
    """Migrations are found and a span is stored by what is installed, not by the checkout."""
    program = (
        "import instrumentation, otel_pg_exporter.sql_files as f; from otel_pg_exporter import configure\n"
        f"t = configure(dsn={dsn!r}, schema='wheel')\n"
        "with instrumentation.task('from the wheel'): pass\n"
        "print(t.force_flush(), t.query.counts()['task_events'], len(f.migrations()), f._root())\n"
        "print(instrumentation.__file__)"
    )

    done = run(installed / "python", "-c", program, cwd=tmp_path)

    assert "" == done.stderr
    (packages,) = installed.parent.glob("lib/python*/site-packages")
    steps = len(list((ROOT / "sql" / "migrations").glob("*.up.sql")))
    assert [
        f"True 1 {steps} {packages / 'otel_pg_exporter' / 'sql'}",
        str(packages / "instrumentation" / "__init__.py"),
    ] == done.stdout.splitlines()


def test_it_works_out_of_an_archive(wheel, tmp_path, dsn):
    """As in a zipapp: prices and SQL are read from where the modules come."""
    program = (
        f"import sys; sys.path.insert(0, {str(wheel)!r}); import instrumentation, otel_pg_exporter as found\n"
        f"telemetry = found.configure(dsn={dsn!r})\n"
        "with instrumentation.action('m', kind='llm', model='gpt-5') as call: call.usage(input_tokens=1_000_000)\n"
        "telemetry.force_flush(); (event,) = telemetry.query.events(); print(found.__file__, event.details['cost'])"
    )
    done = run(sys.executable, "-c", program, cwd=tmp_path)

    assert (f"{wheel}/otel_pg_exporter/__init__.py 1.25\n", "") == (done.stdout, done.stderr)


def test_the_exporters_are_found_by_name(installed, tmp_path):
    """OpenTelemetry finds `postgres` among its traces and logs exporters, and makes them without arguments."""
    program = (
        "from importlib.metadata import entry_points\n"
        "for group in ('opentelemetry_traces_exporter', 'opentelemetry_logs_exporter'):\n"
        "    (found,) = entry_points(group=group, name='postgres')\n"
        "    print(found.load()().__class__.__name__)"
    )

    done = run(installed / "python", "-c", program, cwd=tmp_path)

    assert ["PostgresSpanExporter", "PostgresLogRecordExporter"] == done.stdout.split(), done.stderr


def test_the_command_is_installed(installed, tmp_path):
    """`otel-pg` is a program of the venv, and knows its version."""
    done = run(installed / "otel-pg", "--version", cwd=tmp_path)

    assert f"otel-pg {version('otel-pg-exporter')}\n" == done.stdout, done.stderr


def test_the_demo_runs_without_the_checkout(installed, tmp_path, dsn):
    """`otel-pg demo` needs nothing but what is installed."""
    done = run(installed / "otel-pg", "--dsn", dsn, "demo", "--yes", cwd=tmp_path)

    assert "" == done.stderr
    assert done.stdout.splitlines()[1].startswith("plan a trip ")


def test_an_editable_install_reads_the_checkout(tmp_path):
    """Installed with pip -e, from any folder, packages and sql/ are those of the checkout."""
    program = (
        "import instrumentation, otel_pg_exporter.sql_files as f\n"
        "print(f._root(), len(f.migrations()) > 0, instrumentation.__file__)"
    )

    done = run(sys.executable, "-c", program, cwd=tmp_path)

    assert f"{ROOT / 'sql'} True {ROOT / 'instrumentation' / '__init__.py'}" == done.stdout.strip(), done.stderr
