"""Resources and instrumentation scopes: who produced a record. Each is stored once, under a hash of itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from . import values
from .binary_copy import NULL, label, uuid
from .scrubbing import Scrubber

__all__ = ["NO_SCOPE", "Origin", "Source", "SourceCache", "service_field"]

_ID_BYTES = 16
NO_SCOPE = bytes(_ID_BYTES)
"""Id for records without a scope."""


@dataclass(frozen=True)
class Source:
    """One row of `resources`, `scopes` or `contents`."""

    table: str
    id: bytes
    """First 16 bytes of the SHA-256 of the content; of contents, then the day."""
    row: Mapping[str, Any]
    """Column → value, JSON as text."""

    @property
    def size(self) -> int:
        """Characters of a text that is shared, or of the ids in a list; 0 of what is small."""
        return len(self.row.get("body", "")) + 2 * _ID_BYTES * len(self.parts)

    @property
    def parts(self) -> Sequence[str]:
        """Of a list of contents, the ids that it consists of, as hex digits."""
        parts: Sequence[str] = self.row.get("parts", ())
        return parts

    def is_in(self, row: bytes) -> bool:
        """An encoded row may refer to it."""
        identity = self.id[:_ID_BYTES]
        return identity in row or identity.hex().encode() in row


@dataclass(frozen=True, slots=True)
class Origin:
    """A resource and a scope, as the rows of events refer to them."""

    fields: bytes
    """The columns resource_id, scope_id and service_name."""
    sources: tuple[Source, ...]


def service_field(sources: Sequence[Source]) -> bytes:
    """The column service_name of rows that refer to these, a resource and perhaps a scope."""
    service = sources[0].row["service_name"]
    return NULL if service is None else label(service)


class SourceCache:
    """Turns the SDK's resource and scope objects into sources, each pair of objects once."""

    def __init__(self, scrubber: Scrubber | None = None, max_size: int = 1024) -> None:
        self._scrubber = scrubber or Scrubber(is_on=False)
        self._known: dict[tuple[int, int], tuple[Any, Any, Origin]] = {}
        self._max_size = max_size

    def origin(self, resource: Any, scope: Any) -> Origin:
        """The origin for an SDK Resource and an InstrumentationScope or None."""
        # by identity: hashing a Resource serialises it; the references kept here keep the ids from reuse
        known = self._known.get((id(resource), id(scope)))
        if known is not None:
            return known[2]
        if len(self._known) >= self._max_size:
            self._known.clear()
        origin = _origin(resource, scope, self._scrubber)
        self._known[id(resource), id(scope)] = (resource, scope, origin)
        return origin


def _origin(resource: Any, scope: Any, scrubber: Scrubber) -> Origin:
    attributes = dict(scrubber.attributes(resource.attributes))
    row = _row(attributes, schema_url=resource.schema_url or "")
    name = attributes.get("service.name")
    row["service_name"] = None if name is None else values.clean_text(name, "service_name", [])
    sources = [Source("resources", _digest(row), row)]
    if scope is not None:
        scope_row = _row(
            dict(scrubber.attributes(scope.attributes) or {}),
            name=scrubber.part("scope", scope.name),
            version=scope.version,
            schema_url=scope.schema_url,
        )
        sources.append(Source("scopes", _digest(scope_row), scope_row))
    ids = uuid(sources[0].id) + uuid(NO_SCOPE if scope is None else sources[1].id)
    return Origin(ids + service_field(sources), tuple(sources))


def _row(attributes: Mapping[str, Any], **texts: Any) -> dict[str, Any]:
    fixups: values.Fixups = []
    encoded, order = values.dump_attributes(attributes, "attributes", fixups)
    row = {name: None if text is None else values.clean_text(text, name, fixups) for name, text in texts.items()}
    row |= {"attributes": encoded.decode(), "attribute_order": order}
    row["fixups"] = orjson.dumps(fixups).decode() if fixups else None
    return row


def _digest(row: Mapping[str, Any]) -> bytes:
    content = "\0".join(f"{name}={row[name]}" for name in sorted(row))
    return hashlib.sha256(content.encode()).digest()[:16]
