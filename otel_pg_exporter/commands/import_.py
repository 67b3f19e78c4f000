"""`otel-pg import`: OTLP/JSON into the tables."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path

import click

from ..config import Settings
from .errors import plainly
from .progress import bar

__all__ = ["import_"]


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
@plainly
def import_(settings: Settings, files: tuple[Path, ...], as_json: bool) -> None:
    """Store spans and log records of OTLP/JSON files; - is stdin.

    A file is one document, or a document on each line, as export and the OpenTelemetry Collector write them. All of
    them are checked before the first is stored. What was imported before is not stored again.
    """
    with tempfile.TemporaryDirectory() as folder:
        stored, known = _import(settings, _readable_twice(files, Path(folder)))
    if as_json:
        click.echo(json.dumps({"stored": stored, "known": known}))
    else:
        click.echo(f"stored {stored:,}, imported before {known:,}")


def _import(settings: Settings, named: Mapping[str, Path]) -> tuple[int, int]:
    from ..database import Database
    from ..writing.importing import import_files

    database = Database(settings)
    try:
        size = sum(path.stat().st_size for path in named.values())
        with bar("importing", 2 * size) as advance:
            found = import_files(database, named, advance)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    finally:
        database.close()
    return found.stored, found.known


def _readable_twice(files: Iterable[Path], folder: Path) -> dict[str, Path]:
    """Name → a file, each once; stdin and pipes are copied into the folder."""
    named: dict[str, Path] = {}
    for path in dict.fromkeys(files):
        is_stdin = str(path) == "-"
        if is_stdin or path.is_fifo():
            copy = folder / str(len(named))
            with nullcontext(sys.stdin.buffer) if is_stdin else path.open("rb") as source, copy.open("wb") as file:
                shutil.copyfileobj(source, file)
            named["stdin" if is_stdin else str(path)] = copy
        else:
            named[str(path)] = path
    return named
