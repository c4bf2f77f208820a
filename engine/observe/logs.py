"""Events as log lines: JSON on standard error, one line an event; in a terminal, the same for people's eyes.

No message content gets here (I15). An event's reason may name the value that decided, or what a peer said: of the first
only the place is logged, the second is left out. The store has both, and `wardline show` prints them.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TextIO, cast

from engine import events
from engine.escape import visible
from engine.ids import format_id
from engine.observe.bus import KINDS

RANKS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
FAULTS = {"failed", "fault"}  # states of engine and channels that are errors
ABOUT_CONTENT = (events.Filtered, events.Rejected, events.Parked)
FRAMES = 8  # of a traceback: the innermost
LONGEST = 500  # characters of one field
LONGEST_PLACE = 100

SILENT = ("twisted.internet.defer", "twisted.logger._global")
"""What Twisted says there without a failure is a headline before one, or about who logs."""

_QUOTED = re.compile(r"""["'“‘«](?:.*["'”’»]|.*$)""", re.DOTALL)
_FILE = re.compile(r"\(([\w./ -]+:\d+(?::\d+)?)\)$")  # where our texts end: `(mappings/dft-to-charge.yaml:12:15)`
_SNAKE = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Logs:
    """Listens to a `Bus` and writes what is at least `level`: `debug`, `info`, `warning` or `error`.

    `pretty` is for people; when not given, it is on where `stream` is a terminal.
    """

    def __init__(self, level: str = "info", stream: TextIO | None = None, pretty: bool | None = None) -> None:
        self._rank = RANKS[level]
        self._stream = stream or sys.stderr
        self._log = _logger(self._stream, self._stream.isatty() if pretty is None else pretty)
        self.handlers: Mapping[type, Callable[[Any], None]] = {
            kind: self for kind in KINDS if RANKS[_highest_level(kind)] >= self._rank
        }

    def __call__(self, event: events.Event) -> None:
        level = level_of(event)
        if RANKS[level] >= self._rank:
            self.write(level, event_name(type(event)), **fields_of(event))

    def write(self, level: str, name: str, **fields: object) -> None:
        """One line. Texts are made safe here: control characters are written out and length is bounded."""
        safe = {key: visible(value, LONGEST) if isinstance(value, str) else value for key, value in fields.items()}
        getattr(self._log, level)(visible(name, LONGEST), **safe)

    def failure(self, name: str, kind: type[BaseException], trace: TracebackType | None, **fields: object) -> None:
        """An exception nobody handled: its type and where, never its text, which may quote a message."""
        self.write("error", name, error=kind.__name__, where=_places(trace), **fields)

    # ── whatever else speaks in this process ───────────────────────────────────────────────────────────────────────

    def take_over(self) -> Callable[[], None]:
        """From now on, what Twisted, the logging module and unhandled exceptions have to say becomes log lines too.

        Unhandled errors in Deferreds are among them. Returns what gives everything back.
        """
        from twisted.logger import ILogObserver, globalLogBeginner, globalLogPublisher

        handler, observer = _Handler(self), cast(ILogObserver, self._from_twisted)
        root = logging.getLogger()
        before = sys.excepthook, threading.excepthook, sys.unraisablehook, root.level
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
        root.addHandler(handler)
        root.setLevel(logging.WARNING)
        sys.excepthook = lambda kind, _, trace: self.failure("exception", kind, trace)
        threading.excepthook = lambda told: self.failure("exception", told.exc_type, told.exc_traceback)
        sys.unraisablehook = lambda told: self.failure("exception", told.exc_type, told.exc_traceback)

        def give_back() -> None:
            globalLogPublisher.removeObserver(observer)
            root.removeHandler(handler)
            sys.excepthook, threading.excepthook, sys.unraisablehook, level = before
            root.setLevel(level)

        return give_back

    def _from_twisted(self, event: Any) -> None:
        from twisted.logger import formatEvent

        source = event.get("log_namespace", "twisted")
        failure = event.get("log_failure")
        if failure is not None:
            where = [f"{name}:{line} {function}" for function, name, line, *_ in failure.frames[-FRAMES:]]
            self.write("error", "exception", error=failure.type.__name__, where=where, source=source)
            return
        if source in SILENT:
            return
        level = {"warn": "warning", "error": "error", "critical": "error"}.get(event["log_level"].name, "debug")
        if RANKS[level] >= self._rank:
            self.write(level, "told", text=withheld(formatEvent(event)), source=source)


def level_of(event: events.Event) -> str:
    if isinstance(event, (events.EngineChanged, events.ChannelChanged)) and event.state in FAULTS:
        return "error"
    if isinstance(event, events.DestinationChanged) and event.state == "running":
        return "info"
    if isinstance(event, events.DeliveryEnded) and event.state != "delivered":
        return "warning"  # it waits for a person, or was given up
    return events.LEVELS.get(type(event), "debug")


def event_name(kind: type) -> str:
    """`KeyReuse` → `key_reuse`."""
    return _SNAKE.sub("_", kind.__name__).lower()


def fields_of(event: events.Event) -> dict[str, object]:
    """An event's fields as they are logged: ids as people type them, no values, no words of peers."""
    fields: dict[str, object] = dict(event._asdict())
    if "message_id" in fields:
        fields["message_id"] = format_id(event.message_id) if event.message_id else ""  # type: ignore[union-attr]
    if isinstance(event, events.DeliveryEnded) or (
        isinstance(event, events.Attempted) and event.outcome not in ("unreached", "misconfigured")
    ):
        del fields["reason"]  # what the peer answered
    elif isinstance(event, ABOUT_CONTENT):
        fields["place"] = place_of(str(fields.pop("reason")))
    elif (reason := fields.get("reason")) and not isinstance(event, events.EngineChanged):  # about files and the store
        fields["reason"] = withheld(str(reason))
    if isinstance(seconds := fields.get("seconds"), float):
        fields["seconds"] = round(seconds, 6)
    return {name: value for name, value in fields.items() if value != ""}


def withheld(text: str) -> str:
    """`text` without what it quotes: from the first quotation mark to the last, since the value may hold some itself."""
    return _QUOTED.sub("'…'", text)


def place_of(reason: str) -> str:
    """What is safe to log of a reason that is about content: where, not what.

    `charge FT1-13.1: … (mappings/dft-to-charge.yaml:12:15)` gives `charge FT1-13.1 (mappings/dft-to-charge.yaml:12:15)`.
    """
    head, colon, _ = reason.partition(": ")
    file = _FILE.search(reason)
    return " ".join([*([withheld(head)] if colon and len(head) < LONGEST_PLACE else []), *([f"({file[1]})"] if file else [])])


def _highest_level(kind: type) -> str:
    if kind in (events.EngineChanged, events.ChannelChanged):
        return "error"
    if kind is events.DeliveryEnded:
        return "warning"
    return events.LEVELS.get(kind, "debug")


def _places(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)[-FRAMES:]]


def _logger(stream: TextIO, pretty: bool) -> Any:
    import structlog

    if pretty:
        render: Any = structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=18, sort_keys=False)
    else:
        render = structlog.processors.JSONRenderer(serializer=_json)
    return structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if pretty else "iso", utc=not pretty),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    )


def _json(fields: dict[str, Any], **_: Any) -> str:
    import orjson

    first = {"timestamp": fields.pop("timestamp"), "level": fields.pop("level"), "event": fields.pop("event")}
    return orjson.dumps(first | fields, default=str).decode()


class _Handler(logging.Handler):
    """The logging module's warnings and errors: what asyncio, SQLAlchemy and other libraries say."""

    def __init__(self, logs: Logs) -> None:
        super().__init__(logging.WARNING)
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if record.exc_info and record.exc_info[0]:
                kind, _, trace = record.exc_info
                self._logs.failure("exception", kind, trace, source=record.name)
            else:
                level = "error" if record.levelno >= logging.ERROR else "warning"
                self._logs.write(level, "told", text=withheld(record.getMessage()), source=record.name)
        except Exception:
            self.handleError(record)
