"""A refusal is read by clients that go on sending, and costs little with those that do not."""

import json

import pytest

from tests.raw import connected, request_bytes
from tests.server import RunningServer

BLOCK = bytes(1_000_000)


async def test_a_client_that_sends_everything_first_reads_the_refusal(server: RunningServer) -> None:
    """As browsers do it: not a reset, which would overtake the answer."""
    async with connected(server.port) as one:
        one.writer.write(request_bytes("POST", "/predict", {"Content-Length": str(20 * len(BLOCK))}, b""))
        for _ in range(20):
            one.writer.write(BLOCK)
            await one.writer.drain()
        await one.read_head()
        assert (one.status, one.headers["connection"]) == (413, "close")
        assert json.loads(await one.read_all())["code"] == "body_too_large"


@pytest.mark.parametrize("framing", [{"Content-Length": "9999"}, {"Transfer-Encoding": "chunked"}])
async def test_a_client_that_stops_sending_is_not_waited_for(server: RunningServer, framing: dict[str, str]) -> None:
    async with connected(server.port) as one:
        one.writer.write(request_bytes("POST", "/nowhere", framing, b""))
        await one.read_head()
        assert (one.status, one.headers["connection"]) == (404, "close")
        assert json.loads(await one.read_all())["code"] == "not_found"
        assert await one.reader.read() == b""


async def test_a_request_that_is_read_keeps_its_connection(server: RunningServer) -> None:
    async with connected(server.port) as one:
        for _ in range(2):
            one.writer.write(request_bytes("POST", "/predict", {"Content-Type": "application/json"}, b'{"text": ""}'))
            await one.read_head()
            await one.read_all()
            assert (one.status, one.headers.get("connection")) == (422, None)
