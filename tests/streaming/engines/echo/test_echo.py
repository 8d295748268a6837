"""What only the echo engine has: its tokens, its directives, and many streams on one thread."""

import asyncio
import threading
import time

import pytest

from streaming.engines.echo import EchoEngine, EchoSpeed
from streaming.engines.echo.script import TOKEN_BYTES, read_script, split, to_ids, to_text
from streaming.engines.echo.voice import Voice
from streaming.events import Finished
from streaming.generation import Generation, new_stream_id
from streaming.logs.memory import MemoryLog, Waker

TEXTS = [
    "a b",
    "  a\n\n b \t",
    "🌊" * 30,
    "日本語の長い文章を一つの語として",
    "x" * 100,
    " ",
    "\u2028 \u0085x",
    "é" * 16,
]


@pytest.mark.parametrize("text", TEXTS)
def test_no_byte_is_lost_by_the_tokenizer(text: str) -> None:
    assert to_text(to_ids(text)) == text
    assert all(1 <= len(token) <= TOKEN_BYTES for token in split(text))


@pytest.mark.parametrize("text", TEXTS)
def test_whole_characters_come_out_of_torn_tokens(text: str) -> None:
    voice = Voice(())
    said = [voice.say(token) for token in split(text)]
    assert "".join(said) + voice.rest() == text


def test_a_directive_is_read_and_not_said() -> None:
    script = read_script("one [[echo repeat=2 tps=5 prefill_ms=7 fail_at=1 nonfinite_at=2 hang_at=3]]two")
    assert b"".join(script.tokens) == b"one two"
    assert (script.repeat, script.tps, script.prefill_ms) == (2, 5, 7)
    assert (script.fail_at, script.nonfinite_at, script.hang_at, script.length) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    "text",
    ["[[echo unknown=1]]", "[[echo tps]]", "[[echo tps=-1]]", "[[echo tps=1", "[[ echo tps=1]]", "[[echo tps=x]]"],
)
def test_what_is_no_directive_is_plain_text(text: str) -> None:
    assert b"".join(read_script(text).tokens) == text.encode()


def test_directives_are_bounded() -> None:
    script = read_script("x [[echo repeat=999999999 prefill_ms=999999999]]")
    assert script.repeat <= 100_000
    assert script.prefill_ms <= 600_000


async def test_1000_streams_run_on_one_thread_at_their_speed() -> None:
    """1,000 streams of 20 tokens at 10 a second take two seconds, not more than four on a busy machine."""
    threads = threading.active_count()
    engine = EchoEngine(EchoSpeed(10.0, max_running=1000))
    assert threading.active_count() == threads + 1
    waker = Waker(asyncio.get_running_loop())
    logs = [MemoryLog(waker) for _ in range(1000)]
    ids = to_ids("word " * 20)
    started = time.monotonic()
    for log in logs:
        engine.submit(Generation(new_stream_id(), "me", "default", "v1", ids, 20, 1, 1), log)
    for log in logs:
        while not log.is_closed:
            await log.read(log.last_position)
        end = (await log.read(log.last_position - 1))[-1].event
        assert isinstance(end, Finished)
        assert end.usage.completion_tokens == 20
    assert time.monotonic() - started >= 1.8
    engine.close(0)
