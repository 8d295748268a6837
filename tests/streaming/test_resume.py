"""Reconnecting: the rest of the same answer to the byte, or a word about why not."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming.resume import GAP_ID
from tests.parsers import EventStream, SseEvent, parse, text_of
from tests.raw import Cut, exchange, fetch, stream_path
from tests.server import RunningServer, echo_settings, server_process, serving, wait_until

STREAMS = 200
CUTS = 5
CUT_WITHIN_BYTES = 350  # of content after each connect: five of them are less than the shortest answer
CUT_KINDS: tuple[Cut, ...] = ("rst", "fin", "half")
WORDS = [
    "The ",
    "sea ",
    "🌊🌊🌊🌊 ",
    "war ",
    "日本語の文章 ",
    "ruhig\n",
    "👩‍👩‍👧‍👦",
    "é ",
    "\u2028 ",
    "x\r\ny ",
    '"quoted" ',
    "\\ ",
]


@pytest.fixture(scope="module")
def roomy() -> Iterator[RunningServer]:
    """Room for all streams at once, slow enough to be cut while they are being made."""
    with serving(echo_settings(echo={"tokens_per_second": 50}, max_running=250)) as running:
        yield running


def some_text(chooser: random.Random) -> str:
    words: list[str] = []
    while len("".join(words).encode()) < CUTS * CUT_WITHIN_BYTES + 200:
        words.append(chooser.choice(WORDS))
    return "".join(words) + "."


class CutReader:
    """Reads one answer over several connections, like a browser: only whole events count."""

    def __init__(self) -> None:
        self.events: list[SseEvent] = []
        self.last_event_id = ""

    async def read(self, port: int, path: str, cut: Cut | None, after_bytes: int = 0) -> bool:
        """One connection, cut after so much content; True if that was before the end of the answer."""
        headers = {"Last-Event-ID": self.last_event_id} if self.last_event_id else {}
        async with exchange(port, "GET", path, headers) as one:
            assert one.status == 200
            parser, seen = EventStream(), 0
            while (content := await one.read_some(64 if cut else 65536)) is not None:
                if cut and seen + len(content) >= after_bytes and (self.last_event_id or parser.last_event_id):
                    self._keep(parser.feed(content[: max(after_bytes - seen, 0)]))
                    one.cut(cut)
                    return True
                seen += len(content)
                self._keep(parser.feed(content))
        return False

    def _keep(self, events: list[SseEvent]) -> None:
        self.events += events
        if events:
            self.last_event_id = events[-1].last_event_id

    def assert_exact(self, text: str) -> None:
        assert text_of(self.events) == text
        names = [event.name for event in self.events if event.name != "message"]
        assert names == ["start", "end"]
        positions = [int(event.last_event_id.partition(".")[2]) for event in self.events]
        assert positions == sorted(set(positions))
        assert len({event.last_event_id.partition(".")[0] for event in self.events}) == 1


async def read_with_cuts(port: int, text: str, chooser: random.Random, cuts: int) -> tuple[CutReader, int]:
    reader, path, done = CutReader(), stream_path(text), 0
    for _ in range(cuts):
        done += await reader.read(port, path, chooser.choice(CUT_KINDS), chooser.randint(1, CUT_WITHIN_BYTES))
    await reader.read(port, path, None)
    return reader, done


async def test_1000_of_1000_cuts_continue_exactly(roomy: RunningServer) -> None:
    """200 streams, each cut 5 times at random bytes by reset, close and half-close."""
    chooser = random.Random(2)
    texts = [some_text(chooser) for _ in range(STREAMS)]
    before = roomy.engine.load.running
    reads = [read_with_cuts(roomy.port, text, random.Random(number), CUTS) for number, text in enumerate(texts)]
    results = await asyncio.gather(*reads)
    assert sum(done for _, done in results) == STREAMS * CUTS
    for (reader, _), text in zip(results, texts, strict=True):
        reader.assert_exact(text)
    assert len({reader.events[0].json["stream_id"] for reader, _ in results}) == STREAMS
    wait_until(lambda: roomy.engine.load.running == before, 2, "nothing is generated twice")


async def test_two_viewers_that_are_cut_read_the_same(roomy: RunningServer) -> None:
    chooser = random.Random(3)
    texts = [some_text(chooser) for _ in range(20)]

    async def two(text: str, number: int) -> None:
        first = CutReader()
        await first.read(roomy.port, stream_path(text), "rst", CUT_WITHIN_BYTES)
        second, choose = CutReader(), random.Random(number)
        second.events, second.last_event_id = list(first.events), first.last_event_id

        async def go_on(reader: CutReader) -> None:
            for _ in range(CUTS - 1):
                await reader.read(roomy.port, stream_path(text), choose.choice(CUT_KINDS), choose.randint(1, 300))
            await reader.read(roomy.port, stream_path(text), None)
            reader.assert_exact(text)

        await asyncio.gather(go_on(first), go_on(second))

    await asyncio.gather(*(two(text, number) for number, text in enumerate(texts)))


async def finished_stream(server: RunningServer) -> tuple[str, int]:
    """The id of a finished stream and its last position."""
    _, content = await fetch(server.port, "GET", stream_path("one two three [[echo tps=0]]"))
    stream_id, _, position = parse(content)[-1].last_event_id.partition(".")
    return stream_id, int(position)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_every_position_of_a_finished_answer_gives_its_rest(server: RunningServer, method: str) -> None:
    _, content = await fetch(server.port, "GET", stream_path("one two three four five", min_tokens=1))
    events = parse(content)
    payload = {"prompt": "another"} if method == "POST" else None
    path = stream_path("another") if method == "GET" else "/chat/stream"
    for index, event in enumerate(events):
        answer, rest = await fetch(server.port, method, path, {"Last-Event-ID": event.last_event_id}, payload)
        if index == len(events) - 1:
            assert (answer.status, rest) == (204, b"")
        else:
            assert text_of(parse(rest)) == text_of(events[index + 1 :])
            assert parse(rest)[-1] == events[-1]


async def test_everything_sent_is_204_on_every_route_and_in_every_format(server: RunningServer) -> None:
    stream_id, last = await finished_stream(server)
    for path in (stream_path("x"), "/chat/stream", f"/chat/streams/{stream_id}/events"):
        for accept in ("text/event-stream", "application/x-ndjson", "text/plain"):
            headers = {"Last-Event-ID": f"{stream_id}.{last}", "Accept": accept}
            answer, content = await fetch(server.port, "GET", path, headers)
            assert (answer.status, content) == (204, b"")


def bad_ids(known: str, last: int) -> dict[str, tuple[str, str]]:
    """Case -> the id and the reason that is given."""
    return {
        "unknown": ("s" + "0" * 32 + ".3", "unknown"),
        "future": (f"{known}.{last + 1}", "future"),
        "far future": (f"{known}.{10**30}", "future"),
        "farther": (f"{known}.{10**300}", "unknown"),
        "negative": (f"{known}.-1", "unknown"),
        "no position": (known, "unknown"),
        "empty position": (f"{known}.", "unknown"),
        "leading zero": (f"{known}.01", "unknown"),
        "plus": (f"{known}.+1", "unknown"),
        "fraction": (f"{known}.1.5", "unknown"),
        "other digits": (f"{known}.\u00b2", "unknown"),
        "spaces inside": (f"{known} .1", "unknown"),
        "upper case": (f"{known.upper()}.1", "unknown"),
        "garbage": ("%00%0d%0adata: x", "unknown"),
        "html": ("<script>alert(1)</script>", "unknown"),
        "8 KiB": ("s" * 8192, "unknown"),
        "8 KiB of digits": (f"{known}." + "9" * 8192, "unknown"),
        "another gap": ("gap.1", "unknown"),
    }


@pytest.mark.parametrize("case", list(bad_ids("", 0)))
async def test_an_id_that_cannot_be_resumed_is_a_gap(server: RunningServer, case: str) -> None:
    known, last = await finished_stream(server)
    sent, reason = bad_ids(known, last)[case]
    streams = server.call(lambda: server.streams.live)
    for path in (stream_path("x"), "/chat/stream", f"/chat/streams/{known}/events"):
        answer, content = await fetch(server.port, "GET", path, {"Last-Event-ID": sent})
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        events = parse(content)
        assert [(event.name, event.last_event_id, event.json["reason"]) for event in events] == [
            ("gap", GAP_ID, reason)
        ]
        assert sent not in content.decode()
    assert server.call(lambda: server.streams.live) <= streams  # those of earlier tests may have ended meanwhile
    answer, content = await fetch(server.port, "GET", stream_path("x"), {"Last-Event-ID": GAP_ID})
    assert (answer.status, content) == (204, b"")


@pytest.mark.parametrize("raw", ["a\x00b", "a\rb"])
async def test_control_characters_in_the_id_are_refused_by_the_server(server: RunningServer, raw: str) -> None:
    async with exchange(server.port, "GET", stream_path("x"), {"Last-Event-ID": raw}) as one:
        assert one.status == 400


async def test_a_gap_in_ndjson_is_one_line_and_in_text_a_404(server: RunningServer) -> None:
    headers = {"Last-Event-ID": "s" + "0" * 32 + ".1"}
    _, line = await fetch(server.port, "GET", "/chat/stream", {**headers, "Accept": "application/x-ndjson"})
    assert line.startswith(b'{"id":"gap.0","event":"gap","data":{"reason":"unknown","message":"')
    assert line.count(b"\n") == 1
    answer, problem = await fetch(server.port, "GET", "/chat/stream", {**headers, "Accept": "text/plain"})
    assert answer.status == 404
    assert b'"code":"unknown_stream"' in problem


async def test_an_empty_last_event_id_is_none(server: RunningServer) -> None:
    _, content = await fetch(server.port, "GET", stream_path("fresh"), {"Last-Event-ID": ""})
    assert text_of(parse(content)) == "fresh"


async def test_the_id_of_another_stream_is_a_gap_on_the_events_route(server: RunningServer) -> None:
    (first, _), (second, _) = await finished_stream(server), await finished_stream(server)
    for stream_id in (second, "s" + "0" * 32):
        headers = {"Last-Event-ID": f"{first}.1"}
        _, content = await fetch(server.port, "GET", f"/chat/streams/{stream_id}/events", headers)
        assert [(event.name, event.json["reason"]) for event in parse(content)] == [("gap", "unknown")]


async def test_text_goes_on_after_the_id(server: RunningServer) -> None:
    _, content = await fetch(server.port, "GET", stream_path("one two three four"))
    second = [event for event in parse(content) if event.name == "message"][1].last_event_id
    _, rest = await fetch(server.port, "GET", "/chat/stream", {"Last-Event-ID": second, "Accept": "text/plain"})
    assert ("one two three four").endswith(rest.decode())
    assert rest.decode() == "one two three four"[len("".join(e.json["text"] for e in parse(content)[1:3])) :]


async def test_after_a_restart_the_answer_is_a_gap(tmp_path: Path) -> None:
    with server_process(tmp_path) as first:
        _, content = await fetch(first.port, "GET", stream_path("one two three"))
    event_id = parse(content)[1].last_event_id
    with server_process(tmp_path) as second:
        _, content = await fetch(second.port, "GET", stream_path("one two three"), {"Last-Event-ID": event_id})
    assert [(event.name, event.json["reason"]) for event in parse(content)] == [("gap", "unknown")]


async def test_an_evicted_answer_is_a_gap() -> None:
    with serving(echo_settings(finished_log_ttl_s=0)) as running:
        _, content = await fetch(running.port, "GET", stream_path("one two [[echo tps=0]]"))
        event_id = parse(content)[1].last_event_id
        wait_until(lambda: running.streams.finished_bytes == 0 and not running.streams.live, 5, "it is forgotten")
        _, content = await fetch(running.port, "GET", stream_path("one two"), {"Last-Event-ID": event_id})
        assert [(event.name, event.json["reason"]) for event in parse(content)] == [("gap", "unknown")]
