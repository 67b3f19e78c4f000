"""docs/cli.md: its commands run, its table is that of the command, its Python is run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from otel_pg_exporter.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
COMMAND = re.compile(r"^otel-pg (.*?)(?:\s+# .*)?$", re.MULTILINE)


def examples():
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        yield from COMMAND.findall(block)


def test_every_example_runs(otel_pg, tmp_path, monkeypatch):
    """In the order in which they stand there, each with exit code 0."""
    monkeypatch.chdir(tmp_path)
    commands = list(examples())
    assert 15 < len(commands)
    for command in commands:
        words, _, file = command.partition(" < ")
        arguments = [*shlex.split(words), *(["--yes"] if words == "demo" else [])]
        otel_pg(*arguments, stdin=Path(file).read_bytes() if file else None)
    assert {"events.jsonl", "agents.csv", "all.parquet"} == {path.name for path in tmp_path.iterdir()}


def test_the_table_of_commands_is_complete():
    """Each command with the first sentence of its help."""
    rows = re.findall(r"^\| `(\S+)` \| (.*) \|$", PAGE, re.MULTILINE)
    told = {name: " ".join((command.help or "").split("\n\n")[0].split()) for name, command in main.commands.items()}

    assert sorted(told.items()) == rows


def test_the_python_on_the_page_runs(demo, dsn, monkeypatch, capsys):
    """Against what the demo stores."""
    monkeypatch.setenv("OTEL_EXPORTER_POSTGRES_DSN", dsn)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    exec(compile(code, "docs/cli.md", "exec"), {})

    assert re.fullmatch(r"plan a trip 9 1 0\.\d+\nguide 1 0\.\d+\n", capsys.readouterr().out)
