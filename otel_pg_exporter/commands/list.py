"""`otel-pg ls`, `errors` and `deploys`: what was stored, the newest first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from ..config import Settings
from ..reading.waterfall import duration_text
from .errors import plainly
from .options import as_json, filters, limited, period, reading
from .tables import Column, columns, print_lines

if TYPE_CHECKING:
    from ..reading.events import Event
    from ..reading.summaries import TraceSummary

__all__ = ["deploys", "errors", "ls"]

_AT_ONCE = 1000
_TRACES = columns("started status duration> spans>4 errors> tokens>2 cost>3 name… service…1 trace#")
_EVENTS = columns("time category2 status duration> name… service…1 trace#")
_ERRORS = columns("time category2 name… error… message… service…1 trace#")
_DEPLOYS = columns("time environment status result1 duration>2 name… branch…3 commit4 trace#")

T_co = TypeVar("T_co", covariant=True)
Row = tuple[str, Sequence[object]]


class _Page(Protocol[T_co]):
    next_cursor: str | None

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[T_co]: ...


def _lists(*names: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command that lists what these filters, and those of all lists, leave."""

    def decorate(command: Callable[..., None]) -> click.Command:
        for option in (plainly, click.pass_obj, as_json, limited(20), period(), filters(*names)):
            command = option(command)
        return click.command()(command)

    return decorate


@_lists("category", "status", "name", "service", "agent", "task", "session", "user", "text")
@click.option("--events", "is_events", is_flag=True, help="Every event, instead of traces by their roots.")
def ls(
    settings: Settings, /, category: str | None, is_events: bool, limit: int | None, as_json: bool, **given: Any
) -> None:
    """List traces or events, the newest first."""
    with reading(settings) as query:
        if is_events:
            events = _pages(lambda **page: query.events(category, **given, **page), limit)
            _print(_EVENTS, events, _of_event, as_json)
        else:
            traces = _pages(lambda **page: query.traces(category, **given, **page), limit)
            _print(_TRACES, traces, _of_trace, as_json)


@_lists("category", "name", "error_type", "service", "agent", "task", "session", "user", "text")
def errors(settings: Settings, /, category: str | None, limit: int | None, as_json: bool, **given: Any) -> None:
    """List what ended in an error, the newest first."""
    with reading(settings) as query:
        found = _pages(lambda **page: query.events(category, status="error", **given, **page), limit)
        _print(_ERRORS, found, _of_error, as_json)


@_lists("environment", "branch", "commit", "pull_request", "status", "result", "service")
def deploys(settings: Settings, /, limit: int | None, as_json: bool, **given: Any) -> None:
    """List deployments, the newest first."""
    with reading(settings) as query:
        found = _pages(lambda **page: query.deployment_events(**given, **page), limit)
        _print(_DEPLOYS, found, _of_deployment, as_json)


def _pages(ask: Callable[..., _Page[T_co]], limit: int | None) -> Iterator[_Page[T_co]]:
    """Pages until there are no more, or so many rows were given."""
    cursor, left = None, limit
    while left is None or left > 0:
        page = ask(limit=min(left or _AT_ONCE, _AT_ONCE), cursor=cursor)
        yield page
        cursor = page.next_cursor
        if cursor is None:
            return
        left = left and left - len(page)


def _print(among: Sequence[Column], pages: Iterator[_Page[Any]], row: Callable[[Any], Row], as_json: bool) -> None:
    if as_json:
        for page in pages:
            for item in page:
                click.echo(json.dumps(item.to_dict()))
    else:
        print_lines(among, ([row(item) for item in page] for page in pages))


def _of_trace(trace: TraceSummary) -> Row:
    root, tokens = trace.root, trace.input_tokens + trace.output_tokens
    cost = "" if trace.cost is None else f"${trace.cost:.4f}"
    numbers = (duration_text(root.duration_ns), trace.spans, trace.errors or "", tokens or "", cost)
    names = (root.event_name, root.service_name or "", trace.trace_id)
    return root.status, (_time(root), root.status, *numbers, *names)


def _of_event(event: Event) -> Row:
    names = (event.title, event.service_name or "", event.trace_id or "")
    return event.status, (_time(event), event.category, event.status, duration_text(event.duration_ns), *names)


def _of_error(event: Event) -> Row:
    said = (event.error_type or "", " ".join(str(event.error_message or "").split()))
    names = (event.service_name or "", event.trace_id or "")
    return "error", (_time(event), event.category, event.title, *said, *names)


def _of_deployment(event: Event) -> Row:
    details = {name: value or "" for name, value in event.details.items()}
    outcome = (details["environment"], event.status, details["result"], duration_text(event.duration_ns))
    origin = (event.event_name, details["branch"], details["commit_sha"][:12], event.trace_id or "")
    return event.status, (_time(event), *outcome, *origin)


def _time(event: Event) -> str:
    return f"{event.time:%Y-%m-%d %H:%M:%S}"
