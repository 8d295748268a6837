"""The streaming routes as a client sees them: formats, viewers, tickets, state, cancel, overload."""

import asyncio
import json
from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from streaming.logs.memory import READ_MAX_ENTRIES
from tests.parsers import EventStream, parse, text_of
from tests.raw import exchange, fetch, stream_path
from tests.server import RunningServer, echo_settings, serving, wait_until

SLOW = "one two three four five six seven eight [[echo tps=20]]"
HANGING = "one two three [[echo hang_at=2]]"


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def test_a_stream_is_what_the_wire_page_says(client: httpx.Client) -> None:
    answer = client.get("/chat/stream", params={"prompt": "one two three", "seed": 123})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.content.startswith(b"retry: 1500\nid: s")
    first, *deltas, last = parse(answer.content)
    assert first.name == "start"
    assert set(first.json) == {"stream_id", "model", "model_version", "prompt_tokens", "seed", "created"}
    assert (first.json["seed"], first.json["prompt_tokens"]) == (123, 3)
    assert first.last_event_id == first.json["stream_id"] + ".0"
    assert all(event.name == "message" and set(event.json) == {"text"} for event in deltas)
    assert last.name == "end"
    assert set(last.json) == {"finish_reason", "usage", "timings"}
    assert last.json["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    assert set(last.json["timings"]) == {"queue_ms", "prefill_ms", "decode_ms", "tokens_per_second"}


@pytest.mark.parametrize(
    "send",
    [
        {"json": {"prompt": "one two"}},
        {"json": {"messages": [{"role": "user", "content": "one two"}]}},
        {"json": {"messages": [{"role": "system", "content": "be"}, {"role": "user", "content": "one two"}]}},
        {"json": {"system": "be", "prompt": "one two"}},
        {"params": {"prompt": "one two"}},
        {"params": {"prompt": "one two", "system": "be", "max_tokens": 5}},
    ],
)
def test_post_takes_messages_a_prompt_or_a_query(client: httpx.Client, send: dict[str, object]) -> None:
    answer = client.post("/chat/stream", **send)  # type: ignore[arg-type]
    assert answer.status_code == 200
    assert text_of(parse(answer.content)) == "one two"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "text/event-stream; charset=utf-8"),
        ("*/*", "text/event-stream; charset=utf-8"),
        ("text/event-stream", "text/event-stream; charset=utf-8"),
        ("text/*", "text/event-stream; charset=utf-8"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/event-stream; charset=utf-8"),
        ("TEXT/PLAIN", "text/plain; charset=utf-8"),
        ("text/plain, text/event-stream;q=0.5", "text/plain; charset=utf-8"),
        ("text/plain;q=0.5, text/event-stream", "text/event-stream; charset=utf-8"),
        ("text/event-stream;q=0, */*", "application/x-ndjson"),
        ("application/x-ndjson", "application/x-ndjson"),
    ],
)
def test_accept_chooses_the_format(client: httpx.Client, accept: str | None, media_type: str) -> None:
    headers = {"Accept": accept} if accept else {}
    request = client.build_request("GET", "/chat/stream", params={"prompt": "one"}, headers=headers)
    if accept is None:
        del request.headers["accept"]
    assert client.send(request).headers["content-type"] == media_type


@pytest.mark.parametrize("accept", ["application/json", "image/png", "text/event-stream;q=0", "nonsense"])
def test_a_format_that_is_not_offered_is_406(client: httpx.Client, accept: str) -> None:
    answer = client.get("/chat/stream", params={"prompt": "one"}, headers={"Accept": accept})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


def test_ndjson_is_one_event_a_line(client: httpx.Client) -> None:
    answer = client.get(
        "/chat/stream", params={"prompt": "one two\u2028three"}, headers={"Accept": "application/x-ndjson"}
    )
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [set(line) for line in lines] == [{"id", "event", "data"}] * len(lines)
    assert [line["event"] for line in lines if line["event"] != "message"] == ["start", "end"]
    assert "".join(line["data"]["text"] for line in lines if line["event"] == "message") == "one two\u2028three"
    assert lines[0]["id"].endswith(".0")


async def test_a_failure_is_said_where_it_can_be_and_aborts_where_it_cannot(server: RunningServer) -> None:
    path = stream_path("one two three four [[echo fail_at=2]]")
    answer, content = await fetch(server.port, "GET", path)
    assert answer.dechunker.is_complete
    last = parse(content)[-1]
    assert last.name == "failed"
    assert set(last.json["error"]) == {"code", "message", "retryable"}
    assert last.json["error"]["code"] == "step_failed"
    plain, content = await fetch(server.port, "GET", path, {"Accept": "text/plain"})
    assert content == b"one two"
    assert not plain.dechunker.is_complete
    lines, content = await fetch(server.port, "GET", path, {"Accept": "application/x-ndjson"})
    assert b'"event":"failed"' in content.splitlines()[-1]
    assert not lines.dechunker.is_complete


async def test_a_cancelled_answer_is_cut_as_text_and_ends_politely_otherwise(server: RunningServer) -> None:
    async with exchange(server.port, "GET", stream_path(HANGING), {"Accept": "text/plain"}) as plain:
        assert await plain.read_until(b"two") == b"one two"
        live = server.call(lambda: list(server.streams._live))
        async with exchange(server.port, "GET", f"/chat/streams/{live[-1]}/events") as events:
            deleted, _ = await fetch(server.port, "DELETE", f"/chat/streams/{live[-1]}")
            assert deleted.status == 204
            assert parse(await events.read_all())[-1].json["finish_reason"] == "cancelled"
            assert events.dechunker.is_complete
        assert await plain.read_all() == b""
        assert not plain.dechunker.is_complete


async def test_a_heartbeat_is_one_line_and_no_event() -> None:
    with serving(echo_settings(heartbeat_s=0.05)) as running:
        async with exchange(running.port, "GET", stream_path(HANGING)) as one:
            content = await one.read_until(b": ping\n: ping\n: ping\n")
            parser = EventStream()
            assert text_of(parser.feed(content)) == "one two"
            assert parser.comments >= 3
            assert parser.retry_ms == 1500
            assert b": ping\n\n" not in content


async def test_queue_and_progress_are_events() -> None:
    with serving(echo_settings(max_running=1, max_waiting=2)) as running:
        async with exchange(running.port, "GET", stream_path(HANGING, grace_s=0)) as first:
            await first.read_until(b'{"text"')
            async with exchange(running.port, "GET", stream_path("four five [[echo prefill_ms=100]]")) as second:
                content = await second.read_until(b"event: queue")
                first.cut("rst")
                content += await second.read_all()
        events = parse(content)
        assert [event.json for event in events if event.name == "queue"] == [{"position": 1, "eta_ms": None}]
        progress = [event.json for event in events if event.name == "progress"]
        assert progress
        assert all(set(one) == {"phase", "done", "total"} and one["phase"] == "prefill" for one in progress)


async def test_overload_is_503_with_retry_after_and_leaves_nothing() -> None:
    with serving(echo_settings(max_running=1, max_waiting=1)) as running:
        async with (
            exchange(running.port, "GET", stream_path(HANGING)),
            exchange(running.port, "GET", stream_path("waits")),
        ):
            for method, path, body in [
                ("GET", stream_path("x"), None),
                ("POST", "/chat/stream", {"prompt": "x"}),
                ("POST", "/chat/streams", {"prompt": "x"}),
                ("POST", "/predict", {"text": "x"}),
            ]:
                answer, problem = await fetch(running.port, method, path, None, body)
                assert (answer.status, json.loads(problem)["code"]) == (503, "overloaded")
                assert int(answer.headers["retry-after"]) >= 1
            assert running.call(lambda: running.streams.live) == 2


async def test_two_viewers_read_the_same_answer(server: RunningServer) -> None:
    async with exchange(server.port, "GET", stream_path(SLOW)) as first:
        head = await first.read_until(b'{"text"')
        stream_id = parse(head)[0].json["stream_id"] if parse(head) else ""
        async with exchange(server.port, "GET", f"/chat/streams/{stream_id}/events") as second:
            whole = [head + await first.read_all(), await second.read_all()]
    assert text_of(parse(whole[0])) == text_of(parse(whole[1])) == SLOW.partition(" [[")[0] + " "
    assert parse(whole[0])[-1] == parse(whole[1])[-1]


def test_a_late_reader_gets_few_frames_with_everything(client: httpx.Client) -> None:
    prompt = " ".join(str(number) for number in range(2000))
    body = {"prompt": "[[echo tps=0]]" + prompt, "max_tokens": 5000}
    stream_id = client.post("/chat/streams", json=body).json()["stream_id"]
    wait_until(lambda: client.get(f"/chat/streams/{stream_id}").json()["state"] == "finished", 10, "it is done")
    events = parse(client.get(f"/chat/streams/{stream_id}/events").content)
    assert text_of(events) == prompt
    assert len(events) <= 2000 // READ_MAX_ENTRIES + 3  # with its start, its end, and the rest of a read
    assert events[-2].last_event_id == f"{stream_id}.2000"


def test_the_state_of_a_stream(client: httpx.Client) -> None:
    made = client.post("/chat/streams", json={"prompt": HANGING}).json()
    url = f"/chat/streams/{made['stream_id']}"
    wait_until(lambda: client.get(url).json()["position"] == 2, 5, "it hangs")
    state = client.get(url).json()
    assert {key: state[key] for key in ("stream_id", "state", "model", "model_version", "position")} == {
        "stream_id": made["stream_id"],
        "state": "running",
        "model": "default",
        "model_version": "echo-1",
        "position": 2,
    }
    assert client.delete(url).status_code == 204
    wait_until(lambda: client.get(url).json()["state"] == "cancelled", 1, "it is cancelled")
    assert client.delete(url).status_code == 204
    assert client.get(url).json()["finish_reason"] == "cancelled"
    assert client.get(url).json()["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("prompt", ["one [[echo hang_at=0]]", "one [[echo prefill_ms=60000]]"])
def test_who_is_admitted_is_running_before_the_first_token(client: httpx.Client, prompt: str) -> None:
    url = client.post("/chat/streams", json={"prompt": prompt}).headers["location"]
    wait_until(lambda: client.get(url).json()["state"] == "running", 5, "it is running")
    client.delete(url)


def test_who_waits_is_queued_until_it_is_admitted() -> None:
    with serving(echo_settings(max_running=1)) as running, httpx.Client(base_url=running.url) as client:
        hanging = {"prompt": "one [[echo hang_at=0]]"}
        first, second = (client.post("/chat/streams", json=hanging).headers["location"] for _ in range(2))
        assert client.get(second).json()["state"] == "queued"
        client.delete(first)
        wait_until(lambda: client.get(second).json()["state"] == "running", 5, "the second is running")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("one", "finished"), ("one two [[echo fail_at=1]]", "failed")],
)
def test_the_state_after_the_end(client: httpx.Client, prompt: str, expected: str) -> None:
    url = client.post("/chat/streams", json={"prompt": prompt}).headers["location"]
    wait_until(lambda: client.get(url).json()["state"] == expected, 5, expected)
    assert (client.get(url).json()["error"] is None) == (expected == "finished")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("stream_id", ["s" + "0" * 32, "x", "..", "%00", "s" * 4000])
def test_an_unknown_stream_is_404(client: httpx.Client, method: str, stream_id: str) -> None:
    answer = client.request(method, f"/chat/streams/{stream_id}")
    assert answer.status_code in (404, 405)
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_unknown_stream_has_no_events(client: httpx.Client) -> None:
    answer = client.get("/chat/streams/" + "s" + "0" * 32 + "/events")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_stream")


def has_load(server: RunningServer, load: tuple[int, int]) -> bool:
    return (server.engine.load.running, server.engine.load.waiting) == load


async def test_cancel_in_the_queue_and_during_prefill() -> None:
    with serving(echo_settings(max_running=1)) as running:
        for prompt in ("x [[echo prefill_ms=60000]]", "y"):
            await fetch(running.port, "POST", "/chat/streams", None, {"prompt": prompt})
        waiting, prefilling = running.engine.load.waiting, running.engine.load.running
        assert (waiting, prefilling) == (1, 1)
        first, second = running.call(lambda: list(running.streams._live))
        for stream_id, left in ((second, (1, 0)), (first, (0, 0))):
            await fetch(running.port, "DELETE", f"/chat/streams/{stream_id}")
            wait_until(partial(has_load, running, left), 1, "the place is free")


class TestTickets:
    def test_a_ticket_opens_its_stream(self, client: httpx.Client) -> None:
        answer = client.post("/chat/streams", json={"prompt": "one two"})
        made = answer.json()
        assert answer.status_code == 201
        assert set(made) == {"stream_id", "url", "expires_at"}
        assert answer.headers["location"] == f"/chat/streams/{made['stream_id']}"
        assert text_of(parse(client.get(made["url"]).content)) == "one two"
        ticket = made["url"].partition("ticket=")[2]
        assert text_of(parse(client.get("/chat/stream", params={"ticket": ticket}).content)) == "one two"

    def test_a_wrong_ticket_is_401(self, client: httpx.Client) -> None:
        made = client.post("/chat/streams", json={"prompt": "one two"}).json()
        other = client.post("/chat/streams", json={"prompt": "three"}).json()
        ticket = other["url"].partition("ticket=")[2]
        secret = ticket.partition("~")[2]
        plain = client.get("/chat/stream", params={"prompt": "no ticket"})
        untitled = parse(plain.content)[0].json["stream_id"]
        for wrong in ("", "x", secret, f"{made['stream_id']}~{secret}", f"{untitled}~", ticket + "x", "~", "é~ü"):
            answer = client.get("/chat/stream", params={"ticket": wrong})
            assert (answer.status_code, answer.json()["code"]) == (401, "invalid_ticket"), wrong
            assert "www-authenticate" in answer.headers
        answer = client.get(f"/chat/streams/{made['stream_id']}/events", params={"ticket": ticket})
        assert answer.status_code == 401

    def test_an_expired_ticket_opens_nothing_but_goes_on(self) -> None:
        with serving(echo_settings(ticket_ttl_s=0.3)) as running, httpx.Client(base_url=running.url) as client:
            made = client.post("/chat/streams", json={"prompt": "one two three [[echo tps=0]]"}).json()
            first, second, *_ = parse(client.get(made["url"]).content)
            wait_until(lambda: client.get(made["url"]).status_code == 401, 5, "the ticket expires")
            rest = client.get(made["url"], headers={"Last-Event-ID": first.last_event_id})
            assert rest.status_code == 200
            assert second.last_event_id in rest.text
            gap = client.get(made["url"], headers={"Last-Event-ID": "s" + "0" * 32 + ".0"})
            assert parse(gap.content)[0].name == "gap"
            wrong = client.get(made["url"] + "x", headers={"Last-Event-ID": first.last_event_id})
            assert parse(wrong.content)[0].json["reason"] == "unknown"

    def test_a_page_that_was_loaded_anew_names_the_last_event_in_the_url(self, client: httpx.Client) -> None:
        """`EventSource` cannot send the header with its first request."""
        made = client.post("/chat/streams", json={"prompt": "one two three"}).json()
        first, second, *others = parse(client.get(made["url"]).content)
        url = f"{made['url']}&last_event_id={first.last_event_id}"
        rest = parse(client.get(url).content)
        assert "start" not in [event.name for event in rest]
        assert text_of(rest) == "one two three"
        later = parse(client.get(url, headers={"Last-Event-ID": second.last_event_id}).content)
        assert text_of([second, *later]) == "one two three", "the header is newer"
        assert client.get(f"{made['url']}&last_event_id={others[-1].last_event_id}").status_code == 204

    def test_a_stream_that_nobody_opens_ends_with_its_ticket(self) -> None:
        settings = echo_settings(ticket_ttl_s=0.4, first_reader_grace_s=0.1)
        with serving(settings) as running, httpx.Client(base_url=running.url) as client:
            client.post("/chat/streams", json={"prompt": HANGING})
            assert running.engine.load.running == 1
            wait_until(lambda: running.engine.load.running == 0, 1.5, "it is cancelled")

    @pytest.mark.parametrize(
        ("method", "path"), [("GET", "/chat/stream?prompt=x&ticket=y"), ("POST", "/chat/stream?ticket=y&prompt=x")]
    )
    def test_a_prompt_and_a_ticket_is_too_much(self, client: httpx.Client, method: str, path: str) -> None:
        assert client.request(method, path).status_code == 422


async def test_a_reader_that_takes_nothing_is_cut_and_harms_nobody() -> None:
    """A megabyte for a reader that never reads; another one beside it gets its answer on time."""
    settings = echo_settings(send_timeout_s=0.5, max_prompt_chars=100, echo={"tokens_per_second": 100})
    with serving(settings) as running:
        flood = stream_path("fifteen_letters [[echo repeat=100000 tps=0]]", max_tokens=60_000, grace_s=0)
        async with exchange(running.port, "GET", flood, receive_buffer=4096):
            _, content = await fetch(running.port, "GET", stream_path("one two three"))
            assert text_of(parse(content)) == "one two three"
            wait_until(lambda: running.streams.readers == 0, 10, "the stuck reader is gone")
            wait_until(lambda: not running.uvicorn.server_state.connections, 2, "its connection is gone")


async def test_the_last_bytes_that_nobody_takes_do_not_keep_a_connection() -> None:
    """The answer is complete and in the buffers; uvicorn alone would keep the connection for ever."""
    with serving(echo_settings(send_timeout_s=0.5)) as running:
        path = stream_path("fifteen_letters [[echo repeat=100000 tps=0]]", max_tokens=4_500)
        async with exchange(running.port, "GET", path, receive_buffer=4096) as stuck:
            stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket has it
            wait_until(lambda: running.engine.load.running == 0 == running.streams.readers, 10, "all is sent")
            wait_until(lambda: not running.uvicorn.server_state.connections, 3, "the connection is gone")


async def test_a_slow_reader_gets_everything_merged() -> None:
    settings = echo_settings(max_running=4)
    with serving(settings) as running:
        path = stream_path("fifteen_letters [[echo repeat=100000 tps=0]]", max_tokens=20_000)
        async with exchange(running.port, "GET", path, receive_buffer=4096) as slow:
            content = await slow.read_until(b'{"text"')
            wait_until(lambda: running.engine.load.running == 0, 30, "it is made")
            content += await slow.read_all()
    events = parse(content)
    whole = text_of(events)
    assert whole == ("fifteen_letters " * 20_000)[: len(whole)]
    assert events[-1].json["usage"]["completion_tokens"] == 20_000
    assert max(len(event.data) for event in events) < 20_000


async def test_100_streams_run_at_once(server: RunningServer) -> None:
    answers = await asyncio.gather(*(fetch(server.port, "GET", stream_path(f"stream {n}")) for n in range(100)))
    assert [text_of(parse(content)) for _, content in answers] == [f"stream {n}" for n in range(100)]
