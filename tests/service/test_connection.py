"""Raw bytes on real connections: malformed requests (H2), slow ones (H4), and too many at once."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.raw import DEADLINE_S, Exchange, connected, exchange, fetch, request_bytes, stream_path
from tests.server import RunningServer, echo_settings, serving, wait_until

OK = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GENEROUS_S = 60.0

MALFORMED: dict[str, bytes] = {
    "no method": b" / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method nobody knows": b"STEAL / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a control character in the method": b"GE\x01T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
    "CONNECT with a path": b"CONNECT / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "HTTP/9": b"GET / HTTP/9\r\nHost: localhost\r\n\r\n",
    "another protocol": b"GET / FTP/1.0\r\nHost: localhost\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "a bare line feed after a header": b"GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
    "a bare carriage return in a header": b"GET / HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: y\r\n z\r\n\r\n",
    "a space before the first header": b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "a space before a colon": b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
    "NUL in a name": b"GET / HTTP/1.1\r\nHost: localhost\r\nX\0: a\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a control character in a value": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x01b\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "raw UTF-8 in the target": "GET /é HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    "a fragment in the target": b"GET /livez#x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a target that is no path": b"GET livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a star for GET": b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "another host in the target": b"GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    "an empty host": b"GET /livez HTTP/1.1\r\nHost: \r\n\r\n",
    "a host with a path": b"GET /livez HTTP/1.1\r\nHost: localhost/x\r\n\r\n",
    "a host with a user": b"GET /livez HTTP/1.1\r\nHost: a@localhost\r\n\r\n",
    "length and chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two different lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 20\r\n\r\n{}",
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "a length below zero": HEAD + b"Content-Length: -2\r\n\r\n{}",
    "a length in hexadecimal": HEAD + b"Content-Length: 0x2\r\n\r\n{}",
    "a length without an end": HEAD + b"Content-Length: " + b"9" * 100 + b"\r\n\r\n{}",
    "an empty length": HEAD + b"Content-Length: \r\n\r\n{}",
    "chunks that are not the last coding": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "another coding before chunks": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding that looks like chunks": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks behind a vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks with a space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk below zero": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "a chunk size with a prefix": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk size without an end": CHUNKED + b"f" * 30 + b"\r\n{}\r\n0\r\n\r\n",
    "a chunk size with a space": CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n",
    "an empty chunk size": CHUNKED + b"\r\n{}\r\n0\r\n\r\n",
    "a chunk size with a bare line feed": CHUNKED + b"2\n{}\r\n0\r\n\r\n",
    "a chunk that is longer than it says": CHUNKED + b"2\r\n{}}\r\n0\r\n\r\n",
    "a chunk extension with a line feed": CHUNKED + b"2;a\n{}\r\n0\r\n\r\n",
    "a chunk extension with a control character": CHUNKED + b"2;\x01\r\n{}\r\n0\r\n\r\n",
    "101 headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100 + b"\r\n",
    "headers of 40 KB": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
    "headers of 1 MB without an end": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 1_000_000,
    "a name of 1 MB without an end": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X" * 1_000_000,
    "a target of 40 KB": b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a target of 1 MB without an end": b"GET /" + b"y" * 1_000_000,
    "nothing but noise": bytes(range(256)) * 20,
}
STATUSES = {
    "101 headers": 431,
    "headers of 40 KB": 431,
    "headers of 1 MB without an end": 431,
    "a name of 1 MB without an end": 431,
    "a target of 40 KB": 414,
    "a target of 1 MB without an end": 414,
}


def statuses(whole: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", whole)]


async def everything(one: Exchange) -> bytes:
    """To the end of the connection, which has to come; a reset is an end, too."""
    async with asyncio.timeout(GENEROUS_S):
        try:
            return await one.reader.read()
        except ConnectionError:
            return b""


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_request_is_refused_and_the_connection_closed(server: RunningServer, name: str) -> None:
    async with connected(server.port) as one:
        one.writer.write(MALFORMED[name])
        await one.read_head()
        body = json.loads(await one.reader.readexactly(int(one.headers["content-length"])))
        assert (one.status, one.headers["connection"]) == (STATUSES.get(name, 400), "close")
        assert (one.headers["content-type"], body["status"]) == ("application/problem+json", one.status)
        assert body["request_id"] == one.headers["x-request-id"]
        assert await everything(one) == b""
    assert (await fetch(server.port, "GET", "/livez"))[0].status == 200


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_malformed_after_a_good_request_waits_for_its_answer(server: RunningServer, name: str) -> None:
    async with connected(server.port) as one:
        one.writer.write(OK + MALFORMED[name])
        whole = await everything(one)
    assert whole.startswith(b"HTTP/1.1 200 OK\r\n")
    assert statuses(whole) == [200, STATUSES.get(name, 400)]


@pytest.mark.parametrize("name", ["length and chunks", "chunks and length", "another coding before chunks"])
async def test_a_smuggled_request_is_never_answered(server: RunningServer, name: str) -> None:
    async with connected(server.port) as one:
        one.writer.write(MALFORMED[name] + OK + OK)
        whole = await everything(one)
    assert statuses(whole) == [400]


async def test_who_goes_away_with_two_requests_open_frees_both() -> None:
    with serving(echo_settings()) as running:
        stream = request_bytes("GET", stream_path("word [[echo repeat=100000 tps=20]]", grace_s=0), {}, b"")
        async with connected(running.port) as one:
            one.writer.write(stream + stream)
            await one.read_head()
            await one.read_until(b"word")
            one.cut("rst")
        wait_until(running.is_idle, GENEROUS_S, "no answer is made any more")


async def test_garbage_in_the_body_of_a_running_stream_breaks_only_its_own_connection(server: RunningServer) -> None:
    async with exchange(server.port, "GET", stream_path("one two three [[echo repeat=20 tps=50]]")) as other:
        async with connected(server.port) as one:
            one.writer.write(OK + CHUNKED + b"zzz\r\n")
            await everything(one)
        assert b"event: end" in await other.read_until(b"event: end")


async def test_what_follows_the_body_is_no_header(server: RunningServer) -> None:
    body = b'2;name=value\r\n{"\r\nc\r\ntext":"one"}\r\n0\r\nX-Request-ID: smuggled\r\nHost: evil.example\r\n\r\n'
    async with connected(server.port) as one:
        one.writer.write(CHUNKED + body)
        await one.read_head()
    assert one.status == 200
    assert one.headers["x-request-id"] != "smuggled"


async def test_white_space_behind_a_value_is_no_part_of_it(server: RunningServer) -> None:
    async with connected(server.port) as one:
        one.writer.write(b"GET /chat/stream HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: gap.0 \t\r\n")
        one.writer.write(b"X-Request-ID: \t mine  \r\n\r\n")
        await one.read_head()
    assert (one.status, one.headers["x-request-id"]) == (204, "mine")


async def test_requests_that_come_at_once_are_answered_in_order(server: RunningServer) -> None:
    count = 20
    heads = [request_bytes("GET", "/livez", {"X-Request-ID": f"n{number}"}, b"") for number in range(count)]
    last = request_bytes("GET", "/livez", {"X-Request-ID": "last", "Connection": "close"}, b"")
    async with connected(server.port) as one:
        one.writer.write(b"".join([*heads, last]))
        whole = await everything(one)
    told = [line.split(b": ")[1] for line in whole.split(b"\r\n") if line.startswith(b"x-request-id")]
    assert told == [*(b"n%d" % number for number in range(count)), b"last"]


async def test_more_requests_at_once_than_are_kept_end_the_connection(server: RunningServer) -> None:
    async with connected(server.port) as one:
        one.writer.write(OK * 5000)
        whole = await everything(one)
    *answered, last = statuses(whole)
    assert set(answered) == {200}
    assert len(answered) < 200
    assert last == 400


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
async def test_an_upgrade_is_answered_as_it_stands_and_ends_the_connection(
    server: RunningServer, protocol: str
) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": protocol}
    async with connected(server.port) as one:
        one.writer.write(request_bytes("GET", "/livez", headers, b"") + OK)
        whole = await everything(one)
    assert statuses(whole) == [200]


@pytest.fixture(scope="module")
def hasty() -> Iterator[RunningServer]:
    edge = {"head_timeout_s": 1.0, "body_timeout_s": 1.0, "keep_alive_s": 1, "body_min_bytes": 1000}
    with serving(echo_settings(edge=edge)) as running:
        yield running


HALF_OPEN: dict[str, bytes] = {
    "nothing": b"",
    "a line end": b"\r\n",
    "half a line": b"GET /liv",
    "half a head": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: y\r\n",
    "half a body": HEAD + b"Content-Length: 100\r\n\r\n{",
    "half a chunk": CHUNKED + b"64\r\n{",
    "half an upload": b"PUT /uploads/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc",
    "half a form": b"POST /uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n",
    "half a second head": OK + b"GET /liv",
}


@pytest.mark.parametrize("name", HALF_OPEN)
async def test_what_comes_a_byte_at_a_time_is_cut(hasty: RunningServer, name: str) -> None:
    """Each byte comes in time, and the whole does not."""
    async with connected(hasty.port) as one:
        one.writer.write(HALF_OPEN[name])
        reading = asyncio.create_task(everything(one))
        drip = b"\r\n" if name in ("nothing", "a line end") else b"y"
        while not reading.done():
            if name != "nothing" and not one.writer.is_closing():
                one.writer.write(drip)
            await asyncio.wait([reading], timeout=0.1)
        whole = await reading
    if "half" in name:
        assert b"HTTP/1.1 408 " in whole
        assert b"_stalled" in whole


async def test_an_idle_connection_is_closed(hasty: RunningServer) -> None:
    async with connected(hasty.port) as one:
        one.writer.write(OK)
        assert (await everything(one)).startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_is_slow_but_moves_is_taken(hasty: RunningServer) -> None:
    """Three spans long; the least that has to come in each comes in a quarter of it."""
    size, pieces = 20_000, 20
    async with connected(hasty.port) as one:
        one.writer.write(request_bytes("PUT", "/uploads/slow", {"Content-Length": str(size)}, b""))
        for _ in range(pieces):
            one.writer.write(b"x" * (size // pieces))
            await asyncio.wait([asyncio.create_task(one.writer.drain())], timeout=1)
            await asyncio.sleep(0.15)  # the client's own pace: what is tested
        assert (await one.read_head()).status == 201


async def test_a_client_that_waits_for_100_continue_is_not_slow(hasty: RunningServer) -> None:
    headers = {"Content-Length": "3", "Expect": "100-continue"}
    async with connected(hasty.port) as one:
        one.writer.write(request_bytes("PUT", "/uploads/a", headers, b""))
        async with asyncio.timeout(DEADLINE_S):
            assert (await one.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        one.writer.write(b"abc")
        assert (await one.read_head()).status == 201


async def test_a_stream_outlives_every_limit_on_heads(hasty: RunningServer) -> None:
    async with exchange(hasty.port, "GET", stream_path("one two three four five [[echo tps=2]]")) as one:
        assert b"event: end" in await one.read_until(b"event: end")


async def test_200_half_open_connections_and_slow_bodies_are_closed_and_harm_nobody() -> None:
    """H4: everything is closed within its time and a linger; meanwhile others are answered."""
    kinds = ("half a head", "half a body", "half a chunk", "half an upload", "nothing")
    await closed_and_harmless([HALF_OPEN[kinds[number % len(kinds)]] for number in range(200)])


@pytest.mark.soak
async def test_1000_half_open_connections_and_200_slow_bodies_are_closed_and_harm_nobody() -> None:
    heads, rest = ("half a head", "half a line", "a line end", "nothing"), ("half a body", "half a chunk")
    half = [HALF_OPEN[heads[number % len(heads)]] for number in range(1000)]
    await closed_and_harmless(half + [HALF_OPEN[rest[number % len(rest)]] for number in range(200)])


async def closed_and_harmless(starts: list[bytes]) -> None:
    with serving(echo_settings(edge={"head_timeout_s": 2.0, "body_timeout_s": 2.0})) as running:
        sockets = [await asyncio.open_connection("127.0.0.1", running.port) for _ in starts]
        try:
            for start, (_, writer) in zip(starts, sockets, strict=True):
                writer.write(start)
            wait = asyncio.gather(*(read_to_end(reader) for reader, _ in sockets))
            answered = 0
            while not wait.done():
                status = (await fetch(running.port, "POST", "/predict", payload={"text": "one"}))[0].status
                answered += status == 200
            await wait
        finally:
            for _, writer in sockets:
                writer.transport.abort()
            await asyncio.sleep(0)
        assert answered >= 3
        connections = running.uvicorn.server_state.connections
        wait_until(lambda: not connections, GENEROUS_S, "all connections are closed")


async def read_to_end(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(GENEROUS_S):
        with suppress(ConnectionError):
            await reader.read()


async def test_a_connection_too_many_is_told_503() -> None:
    with serving(echo_settings(edge={"max_connections": 3})) as running:
        kept = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(3)]
        connections = running.uvicorn.server_state.connections
        wait_until(lambda: len(connections) == 3, GENEROUS_S, "three connections are open")
        async with connected(running.port) as one:
            await one.read_head()
            assert (one.status, one.headers["retry-after"]) == (503, "5")
            body = json.loads(await one.reader.readexactly(int(one.headers["content-length"])))
            assert body["code"] == "too_many_connections"
        for _, writer in kept:
            writer.transport.abort()
        deadline = time.monotonic() + GENEROUS_S
        while (await fetch_or_none(running.port)) != 200:
            assert time.monotonic() < deadline


async def fetch_or_none(port: int) -> int:
    try:
        return (await fetch(port, "GET", "/livez"))[0].status
    except (OSError, asyncio.IncompleteReadError):
        return 0
