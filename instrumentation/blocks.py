"""The block object: one piece of work from its start to its end, and what can be said about it meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import INVALID_SPAN, Span, StatusCode, format_span_id, format_trace_id

from . import attributes as names
from . import outcome, scope, signals
from .capture import settings
from .encoding import clean_attributes, clean_text, json_text, name_text, named_value
from .guard import LeftOut, guarded, report
from .outcome import result_word
from .recipe import Recipe, any_number, whole_number
from .signal_handlers import is_interruption

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

F = TypeVar("F", bound=Callable[..., Any])

_MESSAGE_LIMIT = 4_096
# The SDK keeps 128 attributes and drops the oldest; from here on ours are written again at the end.
_MANY_ATTRIBUTES = 64

_entering = threading.RLock()  # a signal handler or a destructor may enter a block too


def _renew_lock() -> None:
    global _entering
    _entering = threading.RLock()  # another thread may have held it at the fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Block:
    """A task, agent, action or deployment: a decorator, and a `with` or `async with` block.

    `with task("import") as t:` gives the open block. All methods may be called at any time with any value:
    they never raise, and do nothing before the start, after the end, or when nobody records (no SDK, not
    sampled).
    """

    span: Span = INVALID_SPAN
    """The OpenTelemetry span; an invalid one before the start."""
    outer: Context | None = None
    context: Context | None = None
    handed_down: Mapping[str, Any] = {}
    _token: Token[Context] | None = None
    _taken = False
    _again: list[Block] | None = None
    _sets = 0
    has_output = False
    _state: str | None = None
    _result: str | None = None

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    # What can be said about the work.

    @property
    def name(self) -> str:
        """The name as given, or the function's; also the span's name."""
        return self._recipe.name

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; zeros before the start and without an SDK."""
        return format_trace_id(self.span.get_span_context().trace_id)

    @property
    def span_id(self) -> str:
        """16 hexadecimal digits; zeros before the start and without an SDK."""
        return format_span_id(self.span.get_span_context().span_id)

    @guarded(None)
    def set(self, key: str, value: object) -> None:
        """Set an attribute. Lists of one primitive type stay lists, other complex values become JSON text."""
        if not self.span.is_recording():
            return
        key = name_text(key)
        cleaned = named_value(key, value)
        if key and cleaned is not None:
            self._sets += 1
            self.span.set_attribute(key, cleaned)
            if key in names.HANDED_DOWN:
                self.handed_down = {**self.handed_down, key: cleaned}

    @guarded(None)
    def set_attributes(self, attributes: Mapping[str, object]) -> None:
        """Set several attributes, as `set` does."""
        if self.span.is_recording():
            for key, value in clean_attributes(attributes).items():
                self.set(key, value)

    @guarded(None)
    def input(self, value: object) -> None:
        """Record what goes in, unless inputs are switched off for the process."""
        if self.span.is_recording() and (settings().inputs or self._recipe.capture_input):
            self.span.set_attribute(names.INPUT_VALUE, json_text(value))

    @guarded(None)
    def output(self, value: object) -> None:
        """Record what comes out, in place of the function's result, unless outputs are switched off."""
        if self.span.is_recording() and (settings().outputs or self._recipe.capture_output):
            self.has_output = True
            self.span.set_attribute(names.OUTPUT_VALUE, json_text(value))

    @guarded(None)
    def usage(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cache_read_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        cost: float | None = None,
    ) -> None:
        """Record what a model call used: tokens, and cost in US dollars. A second call replaces the first."""
        if not self.span.is_recording():
            return
        said: list[tuple[str, str, Callable[[object], float | None], object]] = [
            ("input_tokens", names.INPUT_TOKENS, whole_number, input_tokens),
            ("output_tokens", names.OUTPUT_TOKENS, whole_number, output_tokens),
            ("cache_read_tokens", names.CACHE_READ_TOKENS, whole_number, cache_read_tokens),
            ("cache_write_tokens", names.CACHE_WRITE_TOKENS, whole_number, cache_write_tokens),
            ("reasoning_tokens", names.REASONING_TOKENS, whole_number, reasoning_tokens),
            ("cost", names.COST, any_number, cost),
        ]
        left_out = []
        for name, key, number_of, given in said:
            if given is None:
                continue
            if (number := number_of(given)) is None:
                left_out.append(f"{name}=<{type(given).__name__:.64}>")
            else:
                self.span.set_attribute(key, number)
        if left_out:
            raise LeftOut(f"{', '.join(left_out)}; allowed are whole numbers from 0 on, for cost any finite number")

    @guarded(None)
    def result(self, result: str) -> None:
        """Say how it went: `success`, `failure`, `error`, `timeout`, `cancellation` or `skip`.

        For a deployment this is `cicd.pipeline.result`. A failure, error or timeout is an error of the block.
        Another word is stored as it is, and told in the log once.
        """
        if not self.span.is_recording():
            return
        self._result = result_word("result", result)
        if self._result in outcome.FAILURES:
            self.fail(self._result)
        elif self._result == "cancellation":
            self.cancel()

    @guarded(None)
    def build(self, outcome: str) -> None:
        """Say how the build of a deployment went, in the words of `result`."""
        self.set(names.BUILD, result_word("build", outcome))

    @guarded(None)
    def tests(self, outcome: str) -> None:
        """Say how the tests of a deployment went, in the words of `result`."""
        self.set(names.TESTS, result_word("tests", outcome))

    @guarded(None)
    def fail(self, reason: BaseException | str) -> None:
        """Mark the block as failed though nothing is raised; an exception is recorded with its stack trace."""
        if self.span.is_recording():
            self._state = "failed"
            if isinstance(reason, BaseException):
                self._state = "error"
                outcome.record_error(self.span, reason, escaped=False)
            else:
                text = clean_text(reason, _MESSAGE_LIMIT) if type(reason) is str else name_text(reason)
                self.span.set_status(StatusCode.ERROR, text)

    @guarded(None)
    def cancel(self, reason: str | None = None) -> None:
        """Mark the block as cancelled though no exception leaves it."""
        if self.span.is_recording():
            self._state = outcome.CANCELLED
            outcome.record_cancellation(self.span, "" if reason is None else name_text(reason), None)

    @guarded("")
    def suspend(self) -> str:
        """End the block for now; gives a token with which `resume` goes on with it, in this process or another.

        The row's status is `suspended`. Empty if the block belongs to no trace: before the start, without an SDK.
        """
        from .suspension import write

        token = write(self, self._recipe)
        if self.span.is_recording():
            self._state = outcome.SUSPENDED
            self.span.set_attribute(names.STATUS, outcome.SUSPENDED)
            self.end(None)
        return token

    @guarded(None)
    def event(self, name: str, /, attributes: Mapping[str, object] | None = None, **more: object) -> None:
        """Send a log record that belongs to this block; it is visible at once, before the block ends.

        Attributes are given as a mapping, as to `event()`, or by name.
        """
        if self.context is not None:
            from .events import send

            send(
                name,
                self,
                category=self._recipe.category,
                event_type=self._recipe.event_type,
                attributes={**clean_attributes(attributes), **more},
            )

    # As a decorator and as a block.

    def __call__(self, function: F) -> F:
        """Record each call of the function as a block, named after the function unless a name was given."""
        from .functions import record

        return record(self._recipe, function)

    def __enter__(self) -> Block:
        with _entering:
            taken, self._taken = self._taken, True
        if taken or self.outer is not None:
            # Entered again, here or in another thread, or still current where it was entered before.
            block = Block(self._recipe)
            self._again = [*(self._again or ()), block]
            block._taken = True
        else:
            block = self
            block._forget()
        block.enter()
        return block

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        block = self
        if self._again:
            block = self._innermost(self._again)
            if block is not self:
                self._again = [other for other in self._again if other is not block]
        block.exit(error)
        block._taken = False

    async def __aenter__(self) -> Block:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _innermost(self, again: list[Block]) -> Block:
        """Of the blocks entered from this object, the one that is innermost here."""
        innermost = scope.block_of(get_current())
        while innermost is not None:
            if innermost is self or innermost in again:
                return innermost
            innermost = scope.block_of(innermost.outer) if innermost.outer is not None else None
        return again[-1]

    def _forget(self) -> None:
        self.span, self.context = INVALID_SPAN, None
        self._sets, self.has_output, self._state, self._result = 0, False, None, None

    # The life of a block; used by the wrappers of functions and generators, too.

    def start(self) -> None:
        """Start the span as a child of what is current, without making it current."""
        try:
            recipe = self._recipe
            outer = around = get_current()
            links = None
            if recipe.origin is not None:
                around, links = recipe.origin.context(outer), recipe.origin.links
            prepared = recipe.prepared()
            attributes = prepared.attributes
            parent = scope.block_of(around)
            if parent is None or not parent.handed_down:
                self.handed_down = prepared.handed_down
            else:
                inherited: dict[str, Any] = dict(parent.handed_down)
                if prepared.own_agent:
                    inherited = {key: value for key, value in inherited.items() if not key.startswith("gen_ai.agent.")}
                attributes = {**inherited, **attributes}
                self.handed_down = {**inherited, **prepared.handed_down} if prepared.handed_down else inherited
            self.span = signals.tracer().start_span(recipe.name, around, recipe.span_kind, attributes, links)
            self.context = scope.inside(outer, self.span, self)
            self.outer = outer
        except Exception as error:
            if is_interruption(error):
                raise
            report("start of a block", error)

    def enter(self) -> None:
        """Start, and be current."""
        self.start()
        if self.context is not None:
            self._token = attach(self.context)

    def exit(self, error: BaseException | None) -> None:
        """Give back the context and end."""
        token, outer = self._token, self.outer
        self._token = None
        try:
            if token is not None and outer is not None and scope.leave(self, token, outer):
                # A task started in here keeps this block as long as it lives, but not our ancestors as well.
                self.outer = None
        except Exception as failure:
            if is_interruption(failure):
                raise
            report("end of a block", failure)
        finally:
            self.end(error)

    def end(self, error: BaseException | None) -> None:
        """Write how it ended, and end the span. A second end does nothing."""
        span = self.span
        if not span.is_recording():
            return
        try:
            if error is not None:
                self._record_end(error)
            if self._recipe.category == "deployment" and self._state != outcome.SUSPENDED:
                span.set_attribute(names.PIPELINE_RESULT, self._pipeline_result())
            if self._sets >= _MANY_ATTRIBUTES:
                span.set_attributes({**self.handed_down, **self._recipe.prepared().attributes})
        except Exception as failure:
            if is_interruption(failure):
                raise
            report("end of a block", failure)
        finally:
            self._end_span()

    def _end_span(self) -> None:
        try:
            self.span.end()
        except Exception as failure:
            if is_interruption(failure):
                raise
            report("end of a span", failure)

    def _record_end(self, error: BaseException) -> None:
        if outcome.is_success(error):
            self.span.set_attribute(names.ERROR_TYPE, outcome.type_name(error))
        elif outcome.is_cancellation(error):
            self._state = outcome.CANCELLED
            outcome.record_cancellation(self.span, type(error).__name__, outcome.type_name(error))
        else:
            self._state = "error"
            outcome.record_error(self.span, error, escaped=True)

    def _pipeline_result(self) -> str:
        if self._result is not None:
            return self._result
        return {"failed": "failure", "error": "error", outcome.CANCELLED: "cancellation"}.get(
            self._state or "", "success"
        )

    @guarded(None)
    def record_output(self, value: object) -> None:
        """Record a function's result, unless the function said itself what its output is."""
        if value is None or self.has_output or not self.span.is_recording():
            return
        if self._recipe.captures_output():
            self.span.set_attribute(names.OUTPUT_VALUE, json_text(value))


def current() -> Block:
    """The innermost block that is open here.

    When none is open, a block that was never started: its methods do nothing, its ids are zeros.
    """
    block = scope.block_of(get_current())
    return _NONE if block is None else block


_NONE = Block(
    Recipe(
        "none", category="system", event_type="", named=(), known={}, attributes=None, span_kind=None,
        capture_input=None, capture_output=None,
    )
)  # fmt: skip
