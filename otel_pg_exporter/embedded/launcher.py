"""Runs a program as another user than ours, or as a daemon that holds a lock; a script, never imported.

PostgreSQL refuses root, and initdb a user without a passwd entry. "namespace" shows our user to it as
another one and changes nothing else. Where that is refused (Docker's seccomp filter), "setuid" becomes
the other user and keeps one capability, CAP_DAC_OVERRIDE, to pass 0700 folders such as /root.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import sys

REFUSED = 77
_CLONE_NEWUSER = 0x10000000
_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 8, 47, 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


def enter_namespace(guest: int) -> None:
    """Appear as the user and group `guest`; ends with REFUSED where that is not allowed."""
    own_user, own_group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.unshare(_CLONE_NEWUSER):
            raise OSError(ctypes.get_errno(), "unshare")
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{guest} {own_user} 1"),
            ("gid_map", f"{guest} {own_group} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    except OSError:
        sys.exit(REFUSED)


def become(guest: int) -> None:
    """Be the user and group `guest`, who may still read and write every file."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(guest)
    os.setuid(guest)
    bit = 1 << _CAP_DAC_OVERRIDE
    libc.capset((ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)(bit, bit, bit))
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def become_daemon(lock_path: str, stale: list[str]) -> None:
    """Go on in the background with the lock, which children inherit; `stale` files are removed."""
    lock = os.open(lock_path, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit()  # the launcher of a process that was killed came first: its server will do
    for path in filter(os.path.lexists, stale):
        os.unlink(path)
    os.set_inheritable(lock, True)
    if os.fork():
        os._exit(0)


if __name__ == "__main__":
    plan = json.loads(sys.argv[1])
    if plan["mode"] == "namespace":
        enter_namespace(plan["guest"])
    elif plan["mode"] == "setuid":
        become(plan["guest"])
    if plan["lock"]:
        become_daemon(plan["lock"], plan["stale"])
    os.execv(plan["command"][0], plan["command"])
