"""A PostgreSQL server of our own, for when nobody named one.

    with EmbeddedServer() as server:
        psycopg.connect(server.conninfo)

Real PostgreSQL binaries, run as a daemon on a Unix socket that only this user can reach. Any number of
processes share the server of one data folder; the last to close it stops it. A killed process leaves
the server running: the next to use the folder joins it, and stops it when last.

What lies in the data folder, and who may be signalled:

    cluster/      PostgreSQL's files; made as init-*/ and renamed, so that half a cluster is never used
    run/          the socket, mode 0700
    server.log    what the server says
    boot.lock     held while starting and stopping
    users.lock    shared by every user of the server; the kernel drops a killed one's share
    server.lock   inherited by every process of the server: free means that none of them lives
    keep          present: the last user leaves the server running

A process id in a file proves nothing: it may be a zombie's or another program's. Only a process whose
command line carries the device and inode of the cluster is ever signalled.
Linux, and macOS without tests; Windows is refused, as it has no socket that is closed to other users.
"""

from __future__ import annotations

from .binaries import find_binaries
from .server import EmbeddedServer, default_data_dir

__all__ = ["EmbeddedServer", "default_data_dir", "find_binaries"]
