"""Framing: what was said comes out of every reader as it was said."""

import random

import httpx
import pytest

from streaming.events import Delta, Failed, Started
from streaming.log import Entry
from streaming.sse import SseEncoder
from tests.parsers import PARSERS, parse
from tests.server import RunningServer

STRINGS = 20_000
STRINGS_A_PROMPT = 100
SEPARATOR = " |#| "
# What breaks readers of lines, of fields, of UTF-8 and of JSON.
PIECES = [
    *"\n\r\t :\"\\{}[]'&<>%+",
    "\r\n", "\n\n", "\n\ndata: x\n\n", "data:", "event: end\n", "id: 1\n", ": ping", "retry: 1",
    "\u0085", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x7f", "\ufeff", "\ufffd", "\uffff",
    "é", "ß", "日本語", "العربية", "क्षि",
    "🌊", "👩‍👩‍👧‍👦", "🇩🇪", "🧑🏽‍🚒", "e\u0301", "\u200b", "\u00a0", "word", " word", "0", "null", "", "   ",
    "\U0010ffff",
]  # fmt: skip


def some_strings(seed: int, count: int) -> list[str]:
    chooser = random.Random(seed)
    return ["".join(chooser.choices(PIECES, k=chooser.randint(0, 12))) for _ in range(count)]


def test_the_bytes_of_a_stream() -> None:
    """A golden copy of docs/wire.md."""
    encoder = SseEncoder()
    stream_id = "s" + "7" * 32
    started = Started(stream_id, "default", "v1", 12, 123, 1_700_000_000)
    assert encoder.encode(stream_id, Entry(0, started)) == (
        b"retry: 1500\nid: %b.0\nevent: start\n"
        b'data: {"stream_id":"%b","model":"default","model_version":"v1","prompt_tokens":12,"seed":123,'
        b'"created":1700000000}\n\n' % (stream_id.encode(), stream_id.encode())
    )
    assert encoder.encode(stream_id, Entry(9, Delta(" The\n\u2028"))) == (
        b'id: %b.9\ndata: {"text":" The\\n\\u2028"}\n\n' % stream_id.encode()
    )
    assert encoder.encode(stream_id, Entry(10, Failed("step_failed", "It failed.", retryable=False))) == (
        b'id: %b.10\nevent: failed\ndata: {"error":{"code":"step_failed","message":"It failed.","retryable":false}}\n\n'
        % stream_id.encode()
    )
    assert encoder.heartbeat == b": ping\n"
    assert (
        SseEncoder()
        .gap("unknown")
        .startswith(b'retry: 1500\nid: gap.0\nevent: gap\ndata: {"reason":"unknown","message":"')
    )


def test_a_resumed_answer_has_retry_in_its_first_event_only() -> None:
    encoder = SseEncoder()
    frames = [encoder.encode("s" + "1" * 32, Entry(place, Delta("a"))) for place in (7, 8)]
    assert frames[0].startswith(b"retry: 1500\nid: ")
    assert b"retry" not in frames[1]
    assert len(parse(frames[0])) == 1


def test_20000_strings_come_whole_through_server_and_parsers(server: RunningServer) -> None:
    """Each read by three parsers, and as text and NDJSON every tenth time."""
    strings = some_strings(seed=5, count=STRINGS)
    wrong = 0
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for start in range(0, STRINGS, STRINGS_A_PROMPT):
            part = strings[start : start + STRINGS_A_PROMPT]
            body = {"prompt": "[[echo tps=0]]" + SEPARATOR.join(part) + SEPARATOR, "max_tokens": 100_000}
            content = client.post("/chat/stream", json=body).content
            for parser in PARSERS.values():
                wrong += parser(content).split(SEPARATOR) != [*part, ""]
            if start % 1000 == 0:
                plain = client.post("/chat/stream", json=body, headers={"Accept": "text/plain"})
                wrong += plain.content.decode().split(SEPARATOR) != [*part, ""]
    assert wrong == 0


@pytest.mark.parametrize("text", ["🌊" * 40, "日本語" * 20, "a" * 100, " \n\n ", "\u2028\u2029\u0085", "x\r\ny\rz\n"])
def test_a_token_that_ends_in_a_character_does_not_tear_it(server: RunningServer, text: str) -> None:
    prompt = text + "." if not text.strip() else text
    content = httpx.get(f"{server.url}/chat/stream", params={"prompt": prompt}, timeout=30).content
    events = [event for event in parse(content) if event.name == "message"]
    assert [parser(content) for parser in PARSERS.values()] == [prompt] * 3
    assert all(event.json["text"] for event in events)
    assert "\ufffd" not in content.decode()
