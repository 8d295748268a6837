"""What a line of the log looks like, and what never stands in one."""

import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from service.generation_log import GenerationLog
from service.middleware import REQUEST
from service.telemetry import FIELDS, formatter, processing_formatter
from streaming.events import Delta, Failed, Finished, Started, Timings, Usage
from tests.server import echo_settings

SECRET = "canary-4f1e"


def record(message: str, *arguments: object, name: str = "headwater.test", error: bool = False) -> logging.LogRecord:
    caught = sys.exc_info() if error else None
    return logging.LogRecord(name, logging.ERROR, "", 0, message, arguments, caught)


def as_json(one: logging.LogRecord, **settings: object) -> dict[str, object]:
    line = formatter(echo_settings(log_format="json", **settings)).format(one)
    assert "\n" not in line
    told: dict[str, object] = json.loads(line)
    return told


def as_text(one: logging.LogRecord) -> str:
    return formatter(echo_settings(log_format="text")).format(one)


@pytest.fixture
def asked() -> Iterator[None]:
    before = REQUEST.set({"request_id": "r1", "owner": "key-7", "query": SECRET})
    yield
    REQUEST.reset(before)


def test_a_line_is_json_with_its_request_and_its_principal(asked: None) -> None:
    told = as_json(record("%d files", 3))
    assert {name: told[name] for name in ("level", "logger", "event", "request_id", "principal")} == {
        "level": "error",
        "logger": "headwater.test",
        "event": "3 files",
        "request_id": "r1",
        "principal": "key-7",
    }
    assert str(told["timestamp"]).endswith("Z")


@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING, logging.CRITICAL])
@pytest.mark.parametrize("extra", [{}, {"status": 200, "route": "/predict", "request_id": "r9", "odd": SECRET}])
@pytest.mark.parametrize("message", ["%d files", "50 %% of é\n\x1b[2J %d"])
def test_a_plain_line_is_what_the_processors_make(
    asked: None, level: int, extra: dict[str, object], message: str
) -> None:
    one = logging.LogRecord("headwater.access", level, "", 0, message, (3,), None)
    one.__dict__.update(extra)
    told = as_json(one)
    wanted = json.loads(processing_formatter(echo_settings(), is_json=True).format(one))
    assert list(told) == list(wanted)
    assert {**told, "timestamp": ""} == {**wanted, "timestamp": ""}
    assert datetime.fromisoformat(str(told["timestamp"])).utcoffset() == timedelta(0)


def test_without_a_request_it_says_so() -> None:
    told = as_json(record("it starts"))
    assert (told["request_id"], told["principal"]) == ("-", "-")


def test_only_fields_that_are_known_to_be_harmless_are_taken() -> None:
    one = record("x")
    one.__dict__.update({"prompt": SECRET, "color_message": SECRET, "route": "/predict"})
    told = as_json(one)
    assert told["route"] == "/predict"
    assert SECRET not in json.dumps(told)
    assert not {"prompt", "filename", "text", "query"} & set(FIELDS)


def raised() -> logging.LogRecord:
    try:
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            raise RuntimeError(f"because of {SECRET}") from error
    except RuntimeError:
        return record("it failed", error=True)


def test_of_an_exception_it_tells_types_and_places_but_no_words() -> None:
    told = as_json(raised())
    assert SECRET not in json.dumps(told)
    kinds = [one["type"] for one in told["exception"]]  # type: ignore[attr-defined]
    assert kinds == ["builtins.RuntimeError", "builtins.ValueError"]
    assert "test_telemetry.py" in str(told["exception"])
    assert SECRET not in as_text(raised())
    assert "Traceback" in as_text(raised())


def test_the_words_are_there_for_who_asks_for_them() -> None:
    assert SECRET in json.dumps(as_json(raised(), log_exception_text=True))


def test_what_asyncio_quotes_is_cut() -> None:
    quoted = f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{SECRET}')>"
    assert as_json(record(quoted, name="asyncio"))["event"] == "Task exception was never retrieved"


def test_control_characters_cannot_forge_a_line_or_move_a_terminal() -> None:
    line = as_text(record("a\x1b[2J\r\nb\u2028c\x00"))
    assert line.isprintable()
    assert "a\\x1b[2J\\r\\nb\\u2028c\\x00" in line
    raw = formatter(echo_settings(log_format="json")).format(record("a\x1b[2J\r\nb\x00"))
    assert raw.isprintable()


def test_an_answer_leaves_one_line_with_lengths(asked: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    observer = GenerationLog()
    for event in (
        Started("s1", "default", "v1", 12, 1, 2),
        Delta(SECRET),
        Finished("stop", Usage(12, 3), Timings(1, 2, 3, 4)),
    ):
        observer.appended(event)
    (one,) = caplog.records
    told = as_json(one)
    assert (told["request_id"], told["principal"], told["stream_id"]) == ("r1", "key-7", "s1")
    assert (told["prompt_tokens"], told["completion_tokens"], told["finish_reason"]) == (12, 3, "stop")
    assert SECRET not in json.dumps(told)


def test_a_failed_answer_has_its_code(caplog: pytest.LogCaptureFixture) -> None:
    GenerationLog().appended(Failed("step_failed", "It failed.", retryable=False))
    assert as_json(caplog.records[0])["code"] == "step_failed"
