"""`otel-pg export`: what is stored, as files that other programs read."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

import click

from ..config import Settings
from ..routing import CATEGORIES
from .errors import plainly
from .options import AtLeastOne, filters, period, reading, which_trace
from .progress import counted

__all__ = ["export"]

_FORMS = {".csv": "csv", ".json": "otlp", ".jsonl": "otlp", ".parquet": "parquet"}
_DOCUMENT = 1000
"""Records in a document of OTLP/JSON."""


@click.command()
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; - or default: stdout.")
@click.option(
    "--format", "form", type=click.Choice(["otlp", "csv", "parquet"]), help="Default as the file's name says."
)
@filters("category", "status", "name", "service", "agent", "task", "session", "user", "trace", "text")
@period()
@click.option("--limit", type=AtLeastOne(), help="At most so many, the oldest.")
@click.pass_obj
@plainly
def export(
    settings: Settings,
    /,
    output: Path | None,
    form: str | None,
    category: str | None,
    trace: str | None,
    limit: int | None,
    **given: Any,
) -> None:
    """Write events, the oldest first: lines of OTLP/JSON, CSV or Parquet.

    The memory that it takes does not grow with their number. A file is there when it is complete, not before.
    """
    from ..reading.tabular import write_csv, write_parquet

    output = None if output == Path("-") else output
    form = form or _form_of(output)
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal: give --output a file")
    categories = [category] if category else [*CATEGORIES]
    asked: dict[str, Any] = {**given, "limit": limit}
    with reading(settings) as query, _written(output) as file:
        if trace is not None:
            asked["trace"] = which_trace(query, trace)
        if form == "otlp":
            size = min(_DOCUMENT, limit or _DOCUMENT)
            for document in _watched(query.otlp_documents(category, records=size, **asked), "documents"):
                file.write(json.dumps(document).encode() + b"\n")
            return
        events = _watched(query.stream(category, **asked), "events")
        if form == "parquet":
            try:
                write_parquet(events, file, categories)
            except ImportError as error:
                raise click.ClickException(str(error)) from None
        else:
            text = TextIOWrapper(file, encoding="utf-8", newline="")
            write_csv(events, text, categories)
            text.detach()  # else it would close what is not its own


def _form_of(output: Path | None) -> str:
    if output is None:
        return "otlp"
    if output.suffix.lower() not in _FORMS:
        raise click.UsageError(f"{output} is not allowed; allowed are names in {', '.join(_FORMS)}, or give --format")
    return _FORMS[output.suffix.lower()]


def _watched(items: Iterator[Any], what: str) -> Iterator[Any]:
    return items if sys.stdout.isatty() else counted(items, what)


@contextmanager
def _written(output: Path | None) -> Iterator[IO[bytes]]:
    """A file to write to, that takes its name when it is complete."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if output.exists() and not output.is_file():  # a pipe, or a device: there is no other that could take its name
        with output.open("wb") as file:
            yield file
        return
    target = output.resolve()
    partial = target.with_name(target.name + ".part")
    try:
        partial.unlink(missing_ok=True)  # of an export that was killed
        with partial.open("xb") as file:  # and nobody's link
            yield file
        os.replace(partial, target)
    except OSError as error:
        raise click.ClickException(f"{output}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):  # its folder is none
            partial.unlink()
