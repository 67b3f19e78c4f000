"""The exporters: what the SDK's batch processors call with spans and log records.

The SDK ignores what `export` returns, never tries again and never times out, so `Delivery` does. The
exporters count what was lost, and say so once a minute in a log that reaches no OpenTelemetry handler.
Nothing is raised into the program.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from time import monotonic
from typing import Any

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from .config import Settings
from .database import Database
from .encoding.batches import encode_batch
from .encoding.plain_rows import SpanEncoder
from .encoding.rows import Row, RowEncoder
from .encoding.scrubbing import Redact
from .encoding.treatment import Treatment, switch_or_callback
from .errors import ConfigurationError, EventStoreError
from .host import forks
from .host.diagnostics import say
from .redaction import Redactor
from .routing import Rule
from .writing.delivery import Delivery

__all__ = ["PostgresLogRecordExporter", "PostgresSpanExporter"]


_LATE_SECONDS = 0.5
"""At the end of a program, after its time: for what a busy machine has not come to, not for a `redact` that is slow."""
_TOO_LATE = "the program ended before they were encoded"


class _Pipeline:
    """Encodes and delivers what either exporter is given."""

    def __init__(
        self,
        signal: str,
        encoder: Callable[[Treatment, bool], Callable[[Any, bytes, int], Row]],
        delivery: Delivery | None,
        treatment: Treatment | None,
        rules: Sequence[Rule] | None,
        redact: Redact | bool | None,
        dsn: str | None,
        options: dict[str, Any],
    ) -> None:
        self._signal = signal
        self._is_owned = delivery is None
        self._misconfigured = None
        is_on, callback = switch_or_callback(redact)
        try:
            self._delivery = delivery or Delivery(Database(Settings.from_env(dsn=dsn, redact=is_on, **options)))
        except ConfigurationError as error:
            # an exception here would end the whole set-up of a program that is instrumented from outside
            self._misconfigured = str(error)
            self._delivery = Delivery(Database(Settings(spool_max_bytes=0)))
            # the same line for both signals, so that it is said once
            say(logging.ERROR, f"records will not be stored: {error}")
        treatment = treatment or Treatment.of(self._delivery.database.settings, callback)
        self._treatment = treatment if rules is None else replace(treatment, rules=rules)
        self._encoder = encoder
        self._encode = encoder(self._treatment, True)
        self.is_closed = False
        self._start_anew()
        forks.in_child(self._start_anew)

    def _start_anew(self) -> None:
        self.counts: Counter[str] = Counter()
        self.last_error: str | None = None
        self._lock = threading.Lock()
        self._encoding = threading.Lock()
        """Held while records become rows, which calls the program's `redact`; not while a batch is delivered."""
        self._under_way = self._in_hands = 0
        self._producer_id = uuid.uuid4()
        self._sequence = 0

    def export(self, records: Sequence[Any]) -> bool:
        """Store or spool records; False if they had to be given up."""
        if not records:
            return True
        forks.notice()
        try:
            return self._export(records)
        except Exception as error:  # the host program must not learn of it
            self.give_up(len(records), f"{type(error).__name__}: {error}")
            return False

    def give_up(self, count: int, reason: str, cause: str = "internal", fate: str = "dropped") -> None:
        """Count records that are lost before they are a batch."""
        self._delivery.drop(self._producer_id, self._signal, count, reason, cause)
        self._lose(count, reason, fate)

    @property
    def is_hanging(self) -> bool:
        """A batch is on its way, and in the hands of the delivery: it knows what to do with it at the end."""
        return self._under_way > 0 and self._delivery.is_hanging

    @property
    def is_encoding(self) -> bool:
        """Records are just becoming rows: others would wait for them."""
        return self._encoding.locked()

    @property
    def _seconds_left(self) -> float:
        return self._delivery.ends_at + _LATE_SECONDS - monotonic()

    def _is_over(self) -> bool:
        return self._seconds_left < 0

    def end_within(self, seconds: float) -> None:
        """From now on the time for everything that is still to be exported is limited."""
        self._delivery.end_within(seconds)

    def close(self, seconds: float) -> None:
        """Close the connection; an export that still hangs after the time is left to itself."""
        if self.is_closed:
            return
        self.is_closed = True
        if hanging := self._let_go():
            self.give_up(hanging, _TOO_LATE, "shut_down")
        if self._is_owned:
            self._delivery.close(seconds)
            self._delivery.database.close()

    @property
    def database(self) -> Database:
        """Where records go."""
        return self._delivery.database

    @property
    def treatment(self) -> Treatment:
        """How records become rows."""
        return self._treatment

    def _export(self, records: Sequence[Any]) -> bool:
        if self.is_closed:
            self.give_up(len(records), "the exporter was shut down", "shut_down")
            return False
        if self._misconfigured:
            self.give_up(len(records), self._misconfigured, "misconfigured")
            return False
        if not self._encoding.acquire(timeout=-1 if self._seconds_left == inf else max(0.0, self._seconds_left)):
            self.give_up(len(records), _TOO_LATE, "shut_down")
            return False
        try:
            self._in_hands = len(records)
            self._sequence += 1
            batch = encode_batch(
                records, self._encode, producer_id=self._producer_id, sequence=self._sequence, signal=self._signal,
                is_over=self._is_over if self._treatment.scrubber.asks_program else None,
            )  # fmt: skip
        except BaseException as error:
            if not isinstance(error, Exception):  # Ctrl-C in a thread of the program's, or an exit in its `redact`
                self.give_up(len(records), f"{type(error).__name__} while they were encoded")
            raise
        finally:
            was_given_up = not self._let_go()
            self._encoding.release()
        if was_given_up:
            return False
        if batch.unread:
            self.give_up(batch.unread, _TOO_LATE, "shut_down")
        for rejected in batch.rejected:
            reason = Redactor().text(rejected.reason)  # it may quote the value
            self.give_up(1, f"it cannot be encoded: {reason}", "encoding", "rejected")
        if not len(batch):
            return False
        self._count_under_way(1)
        try:
            fate = self._delivery.deliver(batch, self._delivery.database.settings.export_timeout_millis / 1000)
        except EventStoreError as error:
            self._lose(len(batch), str(error))
            return False
        finally:
            self._count_under_way(-1)
            if batch.was_mended:
                self._encode = self._encoder(self._treatment, False)
        self._count(fate, len(batch))
        self.last_error = self._delivery.last_error
        return True

    def _let_go(self) -> int:
        """How many records are becoming rows; whoever asks first decides what becomes of them."""
        with self._lock:
            count, self._in_hands = self._in_hands, 0
        return count

    def _count_under_way(self, more: int) -> None:
        with self._lock:
            self._under_way += more

    def _count(self, fate: str, count: int) -> None:
        with self._lock:
            self.counts[fate] += count

    def _lose(self, count: int, reason: str, fate: str = "dropped") -> None:
        self._count(fate, count)
        self.last_error = reason
        lost = f"{self._signal} records were lost, {self.counts[fate]:,} so far: {reason}"
        say(logging.WARNING, lost, topic=f"{self._signal} {fate}")


def _of_spans(treatment: Treatment, presumes: bool) -> Callable[[Any, bytes, int], Row]:
    return SpanEncoder(treatment, presumes=presumes).span


def _of_logs(treatment: Treatment, _: bool) -> Callable[[Any, bytes, int], Row]:
    return RowEncoder(treatment).log


class _Exporter:
    """What both exporters have beside `export`."""

    _signal: str
    _encoder: Callable[[Treatment, bool], Callable[[Any, bytes, int], Row]]

    def __init__(
        self,
        dsn: str | None = None,
        *,
        delivery: Delivery | None = None,
        treatment: Treatment | None = None,
        rules: Sequence[Rule] | None = None,
        redact: Redact | bool | None = None,
        **options: Any,
    ) -> None:
        self._pipeline = _Pipeline(self._signal, self._encoder, delivery, treatment, rules, redact, dsn, options)

    @property
    def counts(self) -> dict[str, int]:
        """Records by fate: stored, duplicate (sent again, stored before), spooled, rejected, dropped."""
        return dict(self._pipeline.counts)

    @property
    def last_error(self) -> str | None:
        """Why the last export failed; None if it did not."""
        return self._pipeline.last_error

    @property
    def database(self) -> Database:
        """The database that it stores in."""
        return self._pipeline.database

    @property
    def treatment(self) -> Treatment:
        """How records become rows."""
        return self._pipeline.treatment

    @property
    def is_shut_down(self) -> bool:
        """It stores nothing any more."""
        return self._pipeline.is_closed

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """True: nothing is kept back between exports."""
        return True

    @property
    def is_hanging(self) -> bool:
        """PostgreSQL has been waited for so long that the end of a program need not wait for it too."""
        return self._pipeline.is_hanging

    @property
    def is_encoding(self) -> bool:
        """It is making rows of records: another export would only wait for that."""
        return self._pipeline.is_encoding

    def end_within(self, seconds: float) -> None:
        """Limit the time for everything that is still to be exported."""
        self._pipeline.end_within(seconds)

    def give_up(self, count: int, reason: str, cause: str = "shut_down") -> None:
        """Count what can no more be exported."""
        self._pipeline.give_up(count, reason, cause)

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Close the connection. Later exports are counted as dropped."""
        self._pipeline.close(timeout_millis / 1000)


class PostgresSpanExporter(_Exporter, SpanExporter):
    """Stores spans in PostgreSQL. Put it behind the SDK's BatchSpanProcessor.

    Making one neither connects nor raises: a wrong setting is logged, and counted with each export.

    Args:
        dsn: where the database is; default as in `Settings`.
        delivery: share this one instead; it stays the caller's to close.
        treatment: how records become rows; default what the settings say.
        rules: routing rules, in order of precedence, instead of those of the settings.
        redact: is given the key of each text and the text, and returns what may be stored; or False, as
            `EVENT_REDACT=false`: secrets are not looked for.
        options: any other field of `Settings`.
    """

    _signal, _encoder = "span", staticmethod(_of_spans)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Store spans in one transaction; FAILURE if they had to be given up."""
        return SpanExportResult.SUCCESS if self._pipeline.export(spans) else SpanExportResult.FAILURE


class PostgresLogRecordExporter(_Exporter, LogRecordExporter):
    """Stores log records in PostgreSQL. Put it behind the SDK's BatchLogRecordProcessor.

    Takes the same arguments as `PostgresSpanExporter`.
    """

    _signal, _encoder = "log", staticmethod(_of_logs)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Store log records in one transaction; FAILURE if they had to be given up."""
        return LogRecordExportResult.SUCCESS if self._pipeline.export(batch) else LogRecordExportResult.FAILURE
