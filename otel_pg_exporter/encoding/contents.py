"""Long texts that rows only refer to are put back into the rows that were read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timezone
from typing import Any
from uuid import UUID

from .columns import CONTENTS

__all__ = ["by_id", "put_back", "referred"]


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


def by_id(contents: Iterable[Mapping[str, Any]]) -> dict[UUID, Any]:
    """What rows of `contents` stand for: a text, or the ids of a list."""
    return {row["content_id"]: row["body"] if row["parts"] is None else row["parts"] for row in contents}


def put_back(rows: Iterable[dict[str, Any]], known: Mapping[UUID, Any]) -> None:
    """Make rows whole, in place, by contents `by_id`. What a text lacks of these leaves it out, as NULL."""
    for row in rows:
        for column in CONTENTS:
            if ids := row.get(f"{column}_contents"):
                row[column] = _joined(ids, known)
        if found := _of_attributes(row):
            row["attributes"] = {**row["attributes"], **{key: _joined(ids, known) for key, ids in found.items()}}


def _of_columns(row: Mapping[str, Any]) -> list[Sequence[UUID]]:
    # rows in the spool may be of a version that did not share
    return [ids for column in CONTENTS if (ids := row.get(f"{column}_contents"))]


def _of_attributes(row: Mapping[str, Any]) -> dict[str, list[UUID]]:
    return {key: [*map(UUID, ids)] for key, ids in (row.get("attribute_contents") or {}).items()}


def _joined(ids: Iterable[UUID], known: Mapping[UUID, Any]) -> str | None:
    texts = []
    for identity in ids:
        found = known.get(identity)
        text = _joined(found, known) if isinstance(found, list) else found
        if text is None:
            return None
        texts.append(text)
    return "".join(texts)
