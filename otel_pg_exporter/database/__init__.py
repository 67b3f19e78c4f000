"""The only package that talks to the driver.

Queries and migrations borrow an ordinary connection: `Database`, `AsyncDatabase`. An exporter owns a
`Writer`, that stores a batch in as few waits as the protocol allows. A `Listener` waits for notifications.
`write_in` and `write_in_async` use a connection that is the program's own.
"""

from .asynchronous import AsyncDatabase
from .blocking import Database, Session, opened
from .borrowed import write_in, write_in_async
from .connecting import Record, limits
from .listener import Listener
from .writer import Copy, Writer

__all__ = [
    "AsyncDatabase", "Copy", "Database", "Listener", "Record", "Session", "Writer", "limits", "opened", "write_in",
    "write_in_async",
]  # fmt: skip
