"""Log lines: JSON for machines, text for people. Lengths, ids and hashes stand in them, never what clients send.

What a library says when it raises may quote a prompt or a file's name, so of an exception the line has its types and
places, and its words only where a setting asks for them. Every record, also of other libraries, comes through here.
"""

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import orjson
import structlog

from service.middleware import REQUEST
from service.settings import Settings

Line: TypeAlias = MutableMapping[str, Any]
FIELDS = (  # what `extra` may carry: a name that is not here is dropped
    *("request_id", "principal", "method", "route", "status", "took_ms", "request_bytes"),
    *("stream_id", "model", "model_version", "prompt_tokens", "completion_tokens", "finish_reason", "code"),
    *("queue_ms", "prefill_ms", "decode_ms"),
)
FIRST = ("timestamp", "level", "logger", "event", "request_id", "principal")
NOBODY = "-"
OURS = ("headwater", "service", "streaming", "uploads")
SERVER = "uvicorn"  # tells where it listens; at debug, and others sooner, libraries log what clients send
TELL_CLIENTS = ("python_multipart",)  # what it warns of is the client's fault, and the client is told
QUOTING = ("asyncio", "py.warnings")  # after their first line they quote exceptions and code
_log = logging.getLogger("headwater.failures")


def configure_logging(settings: Settings) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(settings))
    logging.basicConfig(handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    set_log_level(settings.log_level)
    for name in TELL_CLIENTS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    sys.excepthook = log_uncaught
    threading.excepthook = lambda failed: log_uncaught(failed.exc_type, failed.exc_value, failed.exc_traceback)


def set_log_level(level: str) -> None:
    wanted = logging.getLevelNamesMapping()[level.upper()]
    for name in OURS:
        logging.getLogger(name).setLevel(wanted)
    logging.getLogger(SERVER).setLevel(max(wanted, logging.INFO))
    logging.getLogger().setLevel(max(wanted, logging.WARNING))


def formatter(settings: Settings) -> logging.Formatter:
    is_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    by_processors = processing_formatter(settings, is_json=is_json)
    return PlainLines(by_processors) if is_json else by_processors


def processing_formatter(settings: Settings, *, is_json: bool) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(FIELDS),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            add_request,
            drop_quotes,
            ExceptionTeller(with_words=settings.log_exception_text),
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, as_json if is_json else as_text],
    )


class PlainLines(logging.Formatter):
    """A record without an exception, as one is written for every request, is made into the same line in half the
    time; all others go through the processors."""

    def __init__(self, by_processors: logging.Formatter) -> None:
        super().__init__()
        self._by_processors = by_processors

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info or record.stack_info or record.name in QUOTING:
            return self._by_processors.format(record)
        line: Line = {
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line.update((name, record.__dict__[name]) for name in FIELDS if name in record.__dict__)
        return as_json(None, "", add_request(None, "", line))


def add_request(_: Any, __: str, line: Line) -> Line:
    """The request that the code runs for, and who sent it; of a thread of ours there is none."""
    state = REQUEST.get()
    line.setdefault("request_id", state.get("request_id", NOBODY))
    line.setdefault("principal", state.get("owner", NOBODY))
    return line


def drop_quotes(_: Any, __: str, line: Line) -> Line:
    if line["logger"] in QUOTING:
        line["event"] = str(line["event"]).partition("\n")[0]
    return line


class ExceptionTeller:
    """Puts `exception` into a line: a list, the newest first, then what it came from."""

    def __init__(self, *, with_words: bool) -> None:
        self._with_words = with_words

    def __call__(self, _: Any, __: str, line: Line) -> Line:
        found = line.pop("exc_info", None)
        if isinstance(found, tuple) and found[1] is not None:
            line["exception"] = list(self._told(found[1]))
        return line

    def _told(self, error: BaseException | None) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        seen: set[int] = set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            frames = traceback.extract_tb(error.__traceback__)
            one: dict[str, Any] = {
                "type": f"{type(error).__module__}.{type(error).__qualname__}",
                "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            }
            told.append({**one, "text": str(error)} if self._with_words else one)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return told


def as_json(_: Any, __: str, line: Line) -> str:
    ordered = {name: line[name] for name in FIRST if name in line}
    return orjson.dumps({**ordered, **line}, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def as_text(_: Any, __: str, line: Line) -> str:
    told = "".join(in_lines(one) for one in line.get("exception", ()))
    head = f"{line['timestamp']} {line['level'].upper()} {line['logger']} [{line['request_id']}] {line['event']}"
    return printable(head) + told


def in_lines(one: dict[str, Any]) -> str:
    words = f": {one['text']}" if "text" in one else ""
    places = "".join(f"\n  {printable(place)}" for place in one["at"])
    return f"\nTraceback of {printable(one['type'] + words)}{places}"


def printable(text: str) -> str:
    """A control character in a log can move a terminal's cursor, or look like a line of its own."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def log_uncaught(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit | asyncio.CancelledError):
        return
    told = (kind, error or kind(), trace)
    _log.critical("a thread ended with what nobody expected", exc_info=told)
