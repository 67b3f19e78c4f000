"""Whether events can be stored and read, and if not, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

__all__ = ["Health"]


@dataclass(frozen=True)
class Health:
    """The answer of `EventQuery.health()` and `EventStore.get_health_status()`."""

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
    bytes: int | None = None
    """What all tables take with their indexes; this and the next are None without a limit to it."""
    max_bytes: int | None = None
    """The limit: `EVENT_MAX_BYTES`."""
    dropped: int | None = None
    """Records that exporters gave up, as far as they could tell the ledger."""
    last_batch_at: datetime | None = None
    """When a batch was last stored, by the ledger, UTC."""
    unmatched: Mapping[str, list[str]] = field(default_factory=dict)
    """Service → patterns of functions to be recorded that have matched none since its last start."""
    pool: Mapping[str, int] = field(default_factory=dict)
    """Connections for queries: open, idle, most, waiting."""
    cache: Mapping[str, int] = field(default_factory=dict)
    """Queries of this process by cache: hits, misses, failed. Empty without `cache_url`."""
    queue_depth: int | None = None
    """Records of this process that wait in memory; this and what follows are None without a pipeline."""
    spool_depth: int | None = None
    """Records that this process has still to store from the spool; asked by `otel-pg health`, those of all
    programs that wait on this machine for this database."""
    spool_refused: int | None = None
    """Records in the spool that PostgreSQL refused; known to `otel-pg health` alone."""
    exported: int | None = None
    """Records that this process stored."""
    failed: Mapping[str, int] = field(default_factory=dict)
    """Records that this process gave up, by cause: unreachable, access_denied, encoding, queue_full …"""
    last_success_at: datetime | None = None
    """When this process last stored something, UTC."""
    checked_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    """UTC"""

    def to_dict(self) -> dict[str, Any]:
        """Every field by its name; times as ISO 8601."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }
