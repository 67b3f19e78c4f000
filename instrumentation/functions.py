"""Functions whose calls are recorded: sync, async, generator and async-generator functions, and methods."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from types import CodeType, CoroutineType, FunctionType, GetSetDescriptorType, MethodType
from typing import Any, TypeVar, cast

from .arguments import Inputs
from .blocks import Block
from .generators import iterated, iterated_async
from .recipe import Recipe

F = TypeVar("F", bound=Callable[..., Any])


def record(recipe: Recipe, function: F) -> F:
    """The function, recorded. Keeps name, signature, kind, pickling and `__wrapped__`.

    Raises TypeError for a class or what cannot be called: a mistake in the program, found on import.
    """
    if isinstance(function, (staticmethod, classmethod)):
        return cast("F", type(function)(record(recipe, function.__func__)))
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"this decorator records calls of functions, not {function!r:.100}{_advice(function)}")
    code = _code_of(function)
    flags = code.co_flags if code is not None else 0
    recipe = recipe.for_function(function)
    if flags & (inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE) or inspect.iscoroutinefunction(function):
        return cast("F", _Later(function, _awaiting, recipe))
    if flags & inspect.CO_ASYNC_GENERATOR:
        return cast("F", _Later(function, iterated_async, recipe))
    if flags & inspect.CO_GENERATOR:
        return cast("F", _Later(function, iterated, recipe))
    if isinstance(function, FunctionType):
        return cast("F", _recorded_call(function, recipe))
    return cast("F", _Object(function, recipe))


def is_recorded(function: Any) -> bool:
    """Whether calls are recorded already: by a decorator, or one below another that keeps attributes.

    What stands for another object is not asked: Flask's `request` is not there yet, Celery's task would be made.
    """
    holder = next((vars(base)["__dict__"] for base in type(function).__mro__ if "__dict__" in vars(base)), None)
    return isinstance(holder, GetSetDescriptorType) and "_instrumentation" in holder.__get__(function)


def _advice(what: object) -> str:
    if isinstance(what, type):
        return "; decorate its methods"
    return "; put it below that decorator" if hasattr(what, "__get__") else ""


def _code_of(function: Any) -> CodeType | None:
    """The code that a call runs, looking through partials, methods and callable objects."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, MethodType):
            function = function.__func__
        elif isinstance(function, FunctionType):
            return function.__code__
        else:
            function = type(function).__dict__.get("__call__")
            if not isinstance(function, FunctionType):
                return None


def _recorded_call(function: Callable[..., Any], recipe: Recipe) -> Callable[..., Any]:
    inputs = Inputs(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        block = Block(recipe)
        block.enter()
        try:
            recording = block.span.is_recording()
            if recording and recipe.captures_input():
                inputs.record(block, args, kwargs)
            result = function(*args, **kwargs)
            if recording:
                block.record_output(result)
        except BaseException as error:
            block.exit(error)
            raise
        block.exit(None)
        return result

    call.__dict__["_instrumentation"] = recipe
    return call


class _Unstarted(list[Awaitable[Any]]):
    """Holds work until it begins. Python warns of a coroutine that is never awaited, but of none that is closed, or
    cancelled before its first step: the one that would have been awaited there is closed, too.
    """

    def __del__(self) -> None:
        if self and type(self[0]) is CoroutineType:
            self[0].close()


def _awaiting(
    recipe: Recipe, work: Awaitable[Any], inputs: Inputs, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    return _awaited(recipe, _Unstarted((work,)), inputs, args, kwargs)


async def _awaited(
    recipe: Recipe, unstarted: _Unstarted, inputs: Inputs, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    block = Block(recipe)
    block.enter()
    try:
        recording = block.span.is_recording()
        if recording and recipe.captures_input():
            inputs.record(block, args, kwargs)
        result = await unstarted.pop()
        if recording:
            block.record_output(result)
    except BaseException as error:
        block.exit(error)
        raise
    block.exit(None)
    return result


class _Proxy:
    """What looks to `inspect`, frameworks and pickle like the callable that it wraps, attributes included."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(cast("Callable[..., Any]", self), function, updated=())

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bound as what is wrapped would be: as a method, not at all as a partial is, or as its own `__get__` says."""
        function = self.__wrapped__
        if type(function) is FunctionType:
            return self if instance is None else MethodType(cast("Callable[..., Any]", self), instance)
        bound = function.__get__(instance, owner) if hasattr(type(function), "__get__") else function
        if type(bound) is MethodType and bound.__func__ is function:
            return MethodType(cast("Callable[..., Any]", self), bound.__self__)
        if bound is function:
            return self
        return record(self._instrumentation[0], bound) if callable(bound) else bound

    def __set_name__(self, owner: type, name: str) -> None:
        if hasattr(type(self.__wrapped__), "__set_name__"):
            self.__wrapped__.__set_name__(owner, name)

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":  # not there yet: do not look for it in itself
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    # As a property it answers isinstance(); type() still tells the truth.
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self.__wrapped__)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        function = self.__wrapped__
        if type(function) is FunctionType or _named(self) is self:
            return cast("str", self.__qualname__)  # by name, as functions are
        return record, (self._instrumentation[0], function)


def _named(function: Any) -> Any:
    """What bears the function's name in its module."""
    found: Any = sys.modules.get(getattr(function, "__module__", ""))
    for part in getattr(function, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return found


class _Later(_Proxy):
    """A recorded function whose work begins after the call: async, generator and async-generator functions.

    Not itself such a function, because that would report wrong arguments only at the first step.
    """

    def __init__(self, function: Callable[..., Any], run: Callable[..., Any], recipe: Recipe) -> None:
        super().__init__(function)
        self._instrumentation = (recipe, function, run, Inputs(function))

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        recipe, function, run, inputs = self._instrumentation
        work = function(*args, **kwargs)
        running = run(recipe, work, inputs, args, kwargs)
        running.__name__ = getattr(work, "__name__", running.__name__)
        running.__qualname__ = getattr(work, "__qualname__", running.__qualname__)
        return running


class _Object(_Proxy):
    """A recorded callable that is no function, such as what `functools.lru_cache` makes: keeps its methods."""

    def __init__(self, function: Callable[..., Any], recipe: Recipe) -> None:
        super().__init__(function)
        self._instrumentation = (recipe, _recorded_call(function, recipe))

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._instrumentation[1](*args, **kwargs)
