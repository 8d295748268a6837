"""SIGTERM on a real process: nothing new, everything that runs to its end, and out with 0."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.parsers import parse, text_of
from tests.raw import Exchange, exchange, fetch, stream_path
from tests.server import RunningServer, ServerProcess, server_process

STREAMS = 50
FIVE_SECONDS = " ".join(f"w{number}" for number in range(40)) + " [[echo tps=8]]"
ENDLESS = "word [[echo repeat=100000 tps=20]]"
TOO_LONG_S = 60.0
GRACE_S = 120.0


async def exit_code(server: ServerProcess, within_s: float) -> int:
    return await asyncio.to_thread(server.process.wait, within_s)


@asynccontextmanager
async def open_streams(server: ServerProcess, prompt: str, count: int) -> AsyncIterator[list[Exchange]]:
    async with AsyncExitStack() as stack:
        paths = [stream_path(f"{number} {prompt}") for number in range(count)]
        yield [await stack.enter_async_context(exchange(server.port, "GET", path)) for path in paths]


async def draining(server: ServerProcess) -> None:
    server.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(60):
        while (await fetch(server.port, "GET", "/readyz"))[0].status != 503:
            pass


async def test_sigterm_lets_50_streams_finish(tmp_path: Path) -> None:
    """Not ready at once, no new work, reconnects still served, 0 cut, exit 0."""
    settings = {"max_running": STREAMS, "shutdown_grace_s": 20}
    async with AsyncExitStack() as stack:
        server = stack.enter_context(server_process(tmp_path, **settings))
        streams = await stack.enter_async_context(open_streams(server, FIVE_SECONDS, STREAMS))
        await draining(server)
        answer, problem = await fetch(server.port, "GET", "/readyz")
        assert (json.loads(problem)["code"], "retry-after" in answer.headers) == ("draining", True)
        for method, path in (("GET", stream_path("new")), ("POST", "/predict/default?text=new")):
            answer, problem = await fetch(server.port, method, path)
            assert (answer.status, json.loads(problem)["code"]) == (503, "shutting_down")
            assert int(answer.headers["retry-after"]) >= 1
        assert (await fetch(server.port, "GET", "/livez"))[0].status == 200
        contents = await asyncio.gather(*(one.read_all() for one in streams))
        assert [parse(content)[-1].name for content in contents] == ["end"] * STREAMS
        assert all(len(text_of(parse(content)).split()) == 41 for content in contents)
        assert all(one.dechunker.is_complete for one in streams)
        assert await exit_code(server, TOO_LONG_S) == 0
    assert "Traceback" not in server.log.read_text()


async def test_what_is_too_long_fails_as_retryable_after_the_grace(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(server_process(tmp_path, shutdown_grace_s=0.5, max_running=1))
        running = await stack.enter_async_context(open_streams(server, ENDLESS, 2))
        predicting = asyncio.create_task(fetch(server.port, "POST", "/predict", None, {"text": ENDLESS}))
        async with asyncio.timeout(60):
            await running[0].read_until(b'{"text"')
        server.process.send_signal(signal.SIGTERM)
        for one in running:
            error = parse(await one.read_all())[-1]
            assert (error.name, error.json["error"]["code"]) == ("failed", "shutting_down")
            assert error.json["error"]["retryable"] is True
            assert one.dechunker.is_complete
        answer, problem = await predicting
        assert (answer.status, json.loads(problem)["code"]) == (503, "shutting_down")
        assert await exit_code(server, TOO_LONG_S) == 0
    assert "Traceback" not in server.log.read_text()


async def test_a_resume_works_while_draining(tmp_path: Path) -> None:
    with server_process(tmp_path, shutdown_grace_s=20) as server:
        async with exchange(server.port, "GET", stream_path(FIVE_SECONDS)) as first:
            event_id = parse(await first.read_until(b'{"text"') + b"\n\n")[0].last_event_id
            first.cut("rst")
        await draining(server)
        _, rest = await fetch(server.port, "GET", "/chat/stream", {"Last-Event-ID": event_id})
        assert parse(rest)[-1].name == "end"
        assert len(text_of(parse(rest)).split()) == 40
        assert await exit_code(server, TOO_LONG_S) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_does_not_wait_for_the_grace(tmp_path: Path, second: signal.Signals) -> None:
    with server_process(tmp_path, shutdown_grace_s=GRACE_S) as server:
        async with open_streams(server, ENDLESS, 5):
            await draining(server)
            server.process.send_signal(second)
            await exit_code(server, GRACE_S / 2)


async def test_an_idle_server_leaves_at_once(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        kept = await asyncio.open_connection("127.0.0.1", server.port)
        server.process.send_signal(signal.SIGINT)
        assert await exit_code(server, 2) == 0
        kept[1].transport.abort()
        await asyncio.sleep(0)


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson", "text/plain"])
async def test_http_1_0_gets_the_same_body_without_chunks(server: RunningServer, accept: str) -> None:
    _, live = await fetch(server.port, "GET", stream_path("one two three"))
    path = f"/chat/streams/{parse(live)[0].json['stream_id']}/events"
    _, expected = await fetch(server.port, "GET", path, {"Accept": accept})
    head, body = await http_1_0(server.port, f"GET {path} HTTP/1.0\r\nAccept: {accept}\r\n\r\n")
    assert "transfer-encoding" not in head
    assert "connection: close" in head
    assert body == expected


async def test_http_1_0_gets_a_stream_while_it_is_made(server: RunningServer) -> None:
    head, body = await http_1_0(server.port, f"GET {stream_path('one two three')} HTTP/1.0\r\n\r\n")
    assert "transfer-encoding" not in head
    assert text_of(parse(body)) == "one two three"


async def test_http_1_0_gets_json_errors_and_heads(server: RunningServer) -> None:
    asked = '{"text":"one"}'
    head, body = await http_1_0(
        server.port,
        f"POST /predict HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(asked)}\r\n\r\n{asked}",
    )
    assert f"content-length: {len(body)}" in head
    assert json.loads(body)["prediction"] == "one"
    head, body = await http_1_0(server.port, "GET /nope HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert json.loads(body)["status"] == 404
    head, body = await http_1_0(server.port, "HEAD /openapi.json HTTP/1.0\r\n\r\n")
    assert (head.startswith("http/1.1 200"), body) == (True, b"")


async def http_1_0(port: int, request: str) -> tuple[str, bytes]:
    """The head in lower case, and what comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    async with asyncio.timeout(TOO_LONG_S):
        whole = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = whole.partition(b"\r\n\r\n")
    return head.decode().lower(), body


async def test_a_reader_that_takes_nothing_does_not_keep_the_server(tmp_path: Path) -> None:
    with server_process(tmp_path, shutdown_grace_s=0.2, send_timeout_s=60) as server:
        path = stream_path("fifteen_letters [[echo repeat=100000 tps=0]]", max_tokens=30_000)
        async with exchange(server.port, "GET", path, receive_buffer=4096):
            server.process.send_signal(signal.SIGTERM)
            assert await exit_code(server, TOO_LONG_S) == 0
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("database_url", "mysql://user:hidden@host/name"),
        ("database_url", "postgresql://user:hidden@127.0.0.1:1/name"),
        ("data_dir", "/dev/null/data"),
    ],
)
def test_a_storage_that_cannot_be_opened_ends_with_a_line_and_no_traceback(
    tmp_path: Path, setting: str, value: str
) -> None:
    with (
        pytest.raises(AssertionError, match=r"ERROR uvicorn\.error \[-\] The storage cannot be opened: "),
        server_process(tmp_path, **{setting: value}),
    ):
        pass
    said = (tmp_path / "server.log").read_text()
    assert "Traceback" not in said
    assert "hidden" not in said


def test_a_list_of_models_that_cannot_be_read_ends_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text("nonsense")
    with (
        pytest.raises(AssertionError, match="is not TOML"),
        server_process(tmp_path, engine="torch", models="models.toml"),
    ):
        pass
    assert "Traceback" not in (tmp_path / "server.log").read_text()
