"""`otel-pg run`: start a program so that it is recorded, without a change in it.

    otel-pg run python app.py
    otel-pg run --service-name shop gunicorn shop:app
    python -m otel_pg_exporter.run -m shop.worker

The program takes the place of this process. It is told by the environment, so its children are recorded too.
"""

from __future__ import annotations

import os
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import MutableMapping
from pathlib import Path
from typing import NoReturn

from .auto_instrumentation.environment import DISTRO, NAME
from .auto_instrumentation.named_functions import FILE, KINDS, capture_file
from .config import Settings
from .errors import ConfigurationError

__all__ = ["BOOTSTRAP", "main"]

BOOTSTRAP = Path(__file__).with_name("auto_instrumentation") / "bootstrap"
"""The folder that is put first on PYTHONPATH."""
_NOT_FOUND, _NOT_STARTED, _WRONG_USE = 127, 126, 2
_VARIABLES = {
    "dsn": "OTEL_EXPORTER_POSTGRES_DSN",
    "schema": "EVENT_SCHEMA",
    "table_prefix": "EVENT_TABLE_PREFIX",
    "durability": "EVENT_DURABILITY",
    "service_name": "OTEL_SERVICE_NAME",
    "disable": "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    **KINDS,
}
"""Option → the variable that it sets."""
_SETTINGS = ("dsn", "schema", "table_prefix", "durability")


def main(arguments: list[str] | None = None, name: str = "python -m otel_pg_exporter.run") -> NoReturn:
    """Start the program. Ends with 127 if it is not found, 126 if it cannot be started, 2 if an option is wrong."""
    options, command = _split(sys.argv[1:] if arguments is None else arguments)
    given = {option: value for option, value in vars(_parser(name).parse_args(options)).items() if value is not None}
    if empty := [option for option in ("dsn", "schema") if given.get(option) == ""]:
        _leave(name, _WRONG_USE, f"--{empty[0]} is empty; leave it out if the environment says it")
    try:
        Settings.from_env({}, **{option: given[option] for option in _SETTINGS if option in given})
    except ConfigurationError as error:
        _leave(name, _WRONG_USE, str(error))
    if not command:
        _leave(name, _WRONG_USE, "which program? Name it, as in: otel-pg run python app.py")
    environment = {**os.environ, **{_VARIABLES[option]: value for option, value in given.items()}}
    _prepare(environment)
    _become(name, command, environment)


def _parser(name: str) -> ArgumentParser:
    parser = ArgumentParser(
        prog=name,
        usage=f"{name} [options] program [arguments ...]",
        description="Start a program so that it is recorded."
        " `script.py`, `-m module` and `-c code` run with this Python.",
        allow_abbrev=False,
    )
    parser.add_argument("--dsn", help="Where the database is; seen by who lists processes, so best without a password.")
    parser.add_argument("--schema", help="Schema of the tables.")
    parser.add_argument("--table-prefix", help="Prefix of the tables.")
    parser.add_argument("--durability", help="What survives: memory, process or power.")
    parser.add_argument("--service-name", help="Name of the service in every row.")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", metavar="PATTERNS", help=f"Functions to record as {kind}: shop.jobs:*,…")
    parser.add_argument("--disable", metavar="NAMES", help="Instrumentors that are not started; * for all of them.")
    return parser


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Our options, and the command after them."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-") and arguments[at] not in ("-m", "-c"):
        if arguments[at] == "--":
            return arguments[:at], arguments[at + 1 :]
        has_value = arguments[at].lstrip("-").replace("-", "_") in _VARIABLES
        at += 2 if has_value else 1
    return arguments[:at], arguments[at:]


def _prepare(environment: MutableMapping[str, str]) -> None:
    """Have every Python that sees this environment find our sitecustomize first."""
    first, before = str(BOOTSTRAP), environment.get("PYTHONPATH")
    # an empty entry, as in ":/lib", is the working folder; an empty PYTHONPATH is none
    others = [folder for folder in before.split(os.pathsep) if folder != first] if before else []
    environment["PYTHONPATH"] = os.pathsep.join([first, *others])
    environment[DISTRO] = environment.get(DISTRO) or NAME
    try:
        if (file := capture_file(environment)) is not None:
            environment[FILE] = str(file)
    except Exception:
        pass  # the program's start says so


def _become(name: str, command: list[str], environment: MutableMapping[str, str]) -> NoReturn:
    if command[0] in ("-m", "-c") or (command[0].endswith(".py") and not shutil.which(command[0])):
        command = [sys.executable, *command]
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        if os.path.exists(command[0]):
            _leave(name, _NOT_STARTED, f"{command[0]} is no program that may be started")
        _leave(name, _NOT_FOUND, f"program {command[0]!r} was not found in PATH")
    sys.stdout.flush()
    try:
        os.execve(program, command, environment)
    except OSError as error:
        _leave(name, _NOT_STARTED, f"{program} cannot be started: {error.strerror}")


def _leave(name: str, code: int, message: str) -> NoReturn:
    print(f"{name}: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
