"""Batches on local disk because PostgreSQL could not take them."""

from __future__ import annotations

from .journal import Journal
from .store import Spool, Waiting

__all__ = ["Journal", "Spool", "Waiting"]
