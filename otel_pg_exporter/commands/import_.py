"""`otel-pg import`: OTLP/JSON into the tables."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
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
        named = {str(path): _from_stdin(Path(folder)) if str(path) == "-" else path for path in files}
        if "-" in named:
            named["stdin"] = named.pop("-")
        stored, known = _import(settings, named)
    if as_json:
        click.echo(json.dumps({"stored": stored, "known": known}))
    else:
        click.echo(f"stored {stored:,}, imported before {known:,}")


def _import(settings: Settings, named: Mapping[str, Path]) -> tuple[int, int]:
    from ..database import Database
    from ..importing import import_files

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


def _from_stdin(folder: Path) -> Path:
    """Its content as a file, since it is read twice."""
    path = folder / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path
