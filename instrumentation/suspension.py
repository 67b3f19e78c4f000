"""Work that pauses and goes on elsewhere: a block becomes a short text, and a block again.

    with task("refund", task_id="42") as work:
        token = work.suspend()      # keep it with the question to the person who must approve
    ...
    with resume(token):             # in another process, days later: the same trace
        pay()

A token holds where in the trace the work was left, and what the block was called: name, category, event type, and
the ids of task, agent, session and user. It holds neither arguments nor results nor attributes of the user's. It is
checked for damage, not signed: as with a traceparent header, who can hand a program a token can put spans into a trace.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState

from . import attributes as names
from . import scope
from .blocks import Block
from .guard import lenient, warn
from .recipe import Recipe

_TOKEN = re.compile(r"([0-9]{1,4})\.([A-Za-z0-9_-]{1,65536})\.([0-9a-f]{16})")
_PLACE = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_VERSION = "1"


class BadTokenError(ValueError):
    """The text is no token of `suspend`; the message says why, without the text."""


class Origin(NamedTuple):
    """Where the work was left."""

    place: SpanContext

    def context(self, outer: Context) -> Context:
        """What a block that goes on there starts in: of the blocks around it here it knows nothing."""
        values = {key: value for key, value in outer.items() if key != scope.BLOCK_KEY}
        return Context({**values, scope.SPAN_KEY: NonRecordingSpan(self.place)})

    @property
    def links(self) -> list[Link]:
        """To the span that was suspended."""
        return [Link(self.place)]


def write(block: Block, recipe: Recipe) -> str:
    """The token of a block; empty if it belongs to no trace."""
    place = block.span.get_span_context()
    if not place.is_valid:
        return ""
    content = {
        "place": f"{place.trace_id:032x}-{place.span_id:016x}-{int(place.trace_flags) & 0xFF:02x}",
        "state": place.trace_state.to_header(),
        "name": recipe.name,
        "category": recipe.category,
        "event_type": recipe.prepared().attributes[names.EVENT_TYPE],
        "kind": recipe.span_kind.value,
        "known": {**block.handed_down, **recipe.said()},
    }
    body = base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode().rstrip("=")
    return f"{_VERSION}.{body}.{_digest(body)}"


def read(token: object) -> dict[str, Any]:
    """What a token says, as arguments of `Recipe`.

    Raises:
        BadTokenError: it is none, or of a later version.
    """
    match = _TOKEN.fullmatch(token.strip()) if isinstance(token, str) else None
    if match is None:
        raise BadTokenError("the text is no token that suspend() gave")
    version, body, digest = match.groups()
    if digest != _digest(body):
        raise BadTokenError("the token is damaged: a part is missing or was changed")
    if version != _VERSION:
        raise BadTokenError(f"the token is of version {version}; this program knows version {_VERSION}")
    try:
        content = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        trace_id, span_id, flags = _PLACE.fullmatch(content["place"]).groups()  # type: ignore[union-attr]
        state = TraceState.from_header([content["state"]])
        place = SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)), state)
        known = {key: value for key, value in content["known"].items() if isinstance(value, str | int)}
        texts = {key: content[key] for key in ("name", "category", "event_type")}
        if not place.is_valid or not all(isinstance(text, str) for text in texts.values()):
            raise ValueError
        return {**texts, "known": known, "span_kind": SpanKind(content["kind"]), "origin": Origin(place)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error):
        raise BadTokenError("the token says something else than suspend() writes") from None


@lenient
def resume(
    token: str | None = None,
    *,
    attributes: Mapping[str, object] | None = None,
    capture_input: bool | None = None,
    capture_output: bool | None = None,
) -> Block:
    """Go on with a suspended block, in any process: `with resume(token) as work:`, `@resume(token)`.

    What is recorded is a block of the same name and kind with the same ids, in the same trace, as a child of the
    suspended one and with a link to it. It is sampled if that one was. A token may be resumed more than once,
    after a crash for instance: each is a child of its own.

    Never raises: with a text that is no token it is a block of its own where it stands, with the reason in its
    attribute `otel_pg.resume.error` and in the log. The empty token, from a program that recorded nothing, is a
    block of its own without that.
    """
    found: dict[str, Any] = {
        "name": None, "category": "task", "event_type": "task_execution", "known": {}, "span_kind": None,
    }  # fmt: skip
    try:
        if token != "":
            found |= read(token)
    except Exception as error:
        reason = str(error) if isinstance(error, BadTokenError) else type(error).__name__
        warn("resume(): %s; what follows is recorded without what came before", reason)
        found["known"] = {names.RESUME_ERROR: reason}
    return Block(
        Recipe(named=(), attributes=attributes, capture_input=capture_input, capture_output=capture_output, **found)
    )


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]
