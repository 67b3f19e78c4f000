"""Whether events can be stored and read, and if not, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

__all__ = ["Health"]


@dataclass(frozen=True)
class Health:
    """The answer of `EventQuery.health()`."""

    is_healthy: bool
    target: str
    """Where the database is, without secrets."""
    schema: str
    error: str | None = None
    """What is wrong and what to do about it."""
    server_version: str | None = None
    latency_ms: float | None = None
    """Of one round trip, milliseconds."""
    migrations_applied: int = 0
    migrations_pending: int = 0
    stored: int | None = None
    """Records that were ever stored, by the ledger."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """The same for each table of events."""
    dropped: int | None = None
    """Records that exporters gave up, as far as they could tell the ledger."""
    last_batch_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Every field by its name; times as ISO 8601."""
        plain = asdict(self)
        plain["last_batch_at"] = self.last_batch_at and self.last_batch_at.isoformat()
        return plain
