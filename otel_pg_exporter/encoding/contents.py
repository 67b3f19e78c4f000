"""Long texts that rows only refer to are put back into the rows that were read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timezone
from typing import Any
from uuid import UUID

from .columns import CONTENTS

__all__ = ["put_back", "referred"]


def referred(rows: Iterable[Mapping[str, Any]]) -> dict[str, Collection[Any]]:
    """The contents that rows refer to: their `ids`, and the `days` on which they are; nothing if there are none."""
    ids: set[UUID] = set()
    days = set()
    for row in rows:
        found = [*_of_columns(row), *_of_attributes(row).values()]
        if found:
            ids.update(*found)
            days.add(row["time"].astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0))
    return {"ids": list(ids), "days": sorted(days)} if ids else {}


def put_back(rows: Iterable[dict[str, Any]], bodies: Mapping[UUID, str]) -> None:
    """Make rows whole, in place. What a text lacks of its contents leaves it out, as NULL."""
    for row in rows:
        for column in CONTENTS:
            if ids := row.get(f"{column}_contents"):
                row[column] = _joined(ids, bodies)
        if found := _of_attributes(row):
            row["attributes"] = {**row["attributes"], **{key: _joined(ids, bodies) for key, ids in found.items()}}


def _of_columns(row: Mapping[str, Any]) -> list[Sequence[UUID]]:
    # rows in the spool may be of a version that did not share
    return [ids for column in CONTENTS if (ids := row.get(f"{column}_contents"))]


def _of_attributes(row: Mapping[str, Any]) -> dict[str, list[UUID]]:
    return {key: [*map(UUID, ids)] for key, ids in (row.get("attribute_contents") or {}).items()}


def _joined(ids: Sequence[UUID], bodies: Mapping[UUID, str]) -> str | None:
    found = [*map(bodies.get, ids)]
    return None if None in found else "".join(found)  # type: ignore[arg-type]
