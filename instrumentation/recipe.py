"""What is known of a block before it starts: its kind, name and attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from . import attributes as names
from .capture import CaptureSettings, is_on, settings
from .encoding import AttributeValue, clean_attributes, name_text, named_value
from .guard import tell

if TYPE_CHECKING:
    from typing import TypeAlias
    from uuid import UUID

    from .suspension import Origin

    Id: TypeAlias = str | int | UUID
    """Stored as its text."""

_AGENT_KEYS = (names.AGENT_NAME, names.AGENT_ID)


class Prepared:
    """The attributes of a recipe, cleaned by the settings of `made_for`."""

    def __init__(self, made_for: CaptureSettings, attributes: dict[str, Any]) -> None:
        self.made_for = made_for
        self.attributes = attributes
        self.handed_down: dict[str, Any] = {key: attributes[key] for key in names.HANDED_DOWN if key in attributes}
        # An inner agent is somebody else: it must not keep the id of the outer one.
        self.own_agent = names.AGENT_NAME in attributes


class Recipe:
    """One `task(...)`, `agent(...)`, `action(...)` or `deployment(...)` as written, for any number of blocks.

    `named` are the attributes that take the block's name; `known` the others, None for what was not given.
    `origin` is where the work was left, if it is resumed.
    """

    def __init__(
        self,
        name: object,
        *,
        category: str,
        event_type: str,
        named: tuple[str, ...],
        known: dict[str, object],
        attributes: Mapping[str, object] | None,
        span_kind: SpanKind | None,
        capture_input: bool | None,
        capture_output: bool | None,
        origin: Origin | None = None,
    ) -> None:
        self.name = category if name is None else name_text(name) or category
        self.is_named = name is not None
        self.category = category
        self.event_type = event_type
        self.span_kind = span_kind if isinstance(span_kind, SpanKind) else SpanKind.INTERNAL
        self.capture_input = None if capture_input is None else is_on("capture_input", capture_input)
        self.capture_output = None if capture_output is None else is_on("capture_output", capture_output)
        self.origin = origin
        self._named = named
        self._known = known
        self._given = attributes
        self._prepared: Prepared | None = None

    def for_function(self, function: Callable[..., Any]) -> Recipe:
        """The same with the function's name, unless it has a name already."""
        if self.is_named:
            return self
        made: Recipe = object.__new__(Recipe)
        made.__dict__.update(self.__dict__)
        made.name = function_name(function)
        made.is_named = True
        made._prepared = None
        return made

    def prepared(self) -> Prepared:
        """The attributes, cleaned once for as long as the capture settings stay the same."""
        prepared = self._prepared
        if prepared is None or prepared.made_for is not settings():
            prepared = self._prepared = Prepared(settings(), self._attributes())
        return prepared

    def said(self) -> dict[str, AttributeValue]:
        """The attributes that make it what it is, without the user's own."""
        attributes = self.prepared().attributes
        return {key: attributes[key] for key in (*self._named, *self._known) if key in attributes}

    def captures_input(self) -> bool:
        """Whether arguments are recorded: as the block says, else as the settings say."""
        return settings().inputs if self.capture_input is None else self.capture_input

    def captures_output(self) -> bool:
        """Whether results are recorded: as the block says, else as the settings say."""
        return settings().outputs if self.capture_output is None else self.capture_output

    def _attributes(self) -> dict[str, AttributeValue]:
        # The user's own first: the SDK drops the oldest ones when there are too many.
        attributes = clean_attributes(self._given)
        attributes[names.CATEGORY] = self.category
        attributes[names.EVENT_TYPE] = name_text(self.event_type)
        for key in self._named:
            attributes[key] = self.name
        for key, given in self._known.items():
            if given is None:
                continue
            value = whole_number(given) if key == names.TASK_ATTEMPT else name_text(given)
            if value is None:
                tell(f"attempt=<{type(given).__name__:.64}> is left out; allowed is a whole number from 0 on")
            else:
                attributes[key] = value
        return attributes


def whole_number(given: object) -> int | None:
    """The number, or None when it is none from 0 on that fits 64 bits and has no fraction."""
    value = named_value("", given)
    if isinstance(value, float) and not value.is_integer():
        return None
    try:
        number = int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < 1 << 63 else None


def any_number(given: object) -> float | None:
    """The number, or None when it is none, or not finite."""
    value = named_value("", given)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def function_name(function: Callable[..., Any]) -> str:
    """`fetch`, `Agent.run`: the qualified name without the functions around it."""
    while hasattr(function, "func") and not hasattr(function, "__qualname__"):
        function = function.func  # functools.partial
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    return name_text(name if isinstance(name, str) else type(function).__name__).rpartition("<locals>.")[2]
