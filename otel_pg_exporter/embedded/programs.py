"""PostgreSQL's programs, run as a user that they accept."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ..errors import EmbeddedServerError
from .locks import open_private

if sys.platform != "win32":
    import pwd

_OLDEST_MAJOR = 12
_LAUNCHER = Path(__file__).with_name("launcher.py")
_LAUNCHER_REFUSED = 77
"""Its exit status where user namespaces are not allowed."""


class Programs:
    """PostgreSQL's programs, run as a user that they accept, with their output in the log."""

    def __init__(self, bin_dir: Path, log_file: Path, cluster: Path) -> None:
        self._bin_dir, self._log_file = bin_dir, log_file
        self._log_start = log_file.stat().st_size if log_file.exists() else 0
        self._guest = 65534 if _has_name(65534) else 1
        self._mode = self._choose_mode(cluster.stat().st_uid if cluster.exists() else None)

    def _choose_mode(self, owner: int | None) -> str:
        user = os.geteuid()
        if owner not in (None, user) and (user, owner) != (0, self._guest):
            raise EmbeddedServerError(
                f"{self._log_file.parent} holds the data of user {owner}, and this process is user {user}"
            )
        if user and _has_name(user):
            return "plain"
        if sys.platform != "linux":
            raise EmbeddedServerError("PostgreSQL refuses to run as root: run this as an ordinary user")
        if owner in (None, user):
            trial = _execute(self._command("namespace", "postgres", "--version"))
            if trial.returncode != _LAUNCHER_REFUSED:
                return "namespace"
        return "plain" if user else "setuid"

    def _command(
        self, mode: str, program: str, *arguments: str, lock: Path | None = None, stale: Sequence[Path] = ()
    ) -> list[str]:
        command = [str(self._bin_dir / program), *arguments]
        if mode == "plain" and lock is None:
            return command
        plan = {"mode": mode, "guest": self._guest, "lock": lock, "stale": stale, "command": command}
        # uWSGI and the like name themselves as the executable.
        python = sys.executable if "python" in Path(sys.executable or "").name else shutil.which("python3")
        return [python or "python3", "-I", "-S", str(_LAUNCHER), json.dumps(plan, default=str)]

    def major(self) -> int:
        """The first number of the version."""
        answer = _execute(self._command(self._mode, "postgres", "--version"))
        version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
        if version is None or int(version[1]) < _OLDEST_MAJOR:
            raise EmbeddedServerError(
                f"{self._bin_dir} is not PostgreSQL {_OLDEST_MAJOR} or newer: {answer.stdout}{answer.stderr}"
            )
        return int(version[1])

    def run(self, program: str, *arguments: str, lock: Path | None = None, stale: Sequence[Path] = ()) -> None:
        """Run to the end, or with a `lock` as a daemon that holds it; `stale` files go once it is taken.

        Raises EmbeddedServerError with what was logged.
        """
        command = self._command(self._mode, program, *arguments, lock=lock, stale=stale)
        with open(self._log_file, "ab", opener=open_private) as log:
            if _execute(command, log).returncode:
                raise EmbeddedServerError(f"{program} failed, see {self._log_file}:\n{self.log_tail()}")

    def own(self, folder: Path) -> None:
        """Give one of our folders to the user that the programs become."""
        if self._mode == "setuid" and folder.stat().st_uid != self._guest:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self._guest, self._guest, follow_symlinks=False)

    def log_tail(self) -> str:
        """What was logged since this object was made, its last 2000 bytes."""
        with open(self._log_file, "rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - 2000))
            return log.read().decode(errors="replace").strip() or "(nothing was logged)"


def _execute(command: list[str], log: IO[bytes] | int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        text=True,
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        cwd="/",
        start_new_session=True,  # no Ctrl-C of our terminal
        check=False,
    )


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True
