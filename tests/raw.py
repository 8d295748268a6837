"""An HTTP client on bare sockets: it sees each byte when it comes and can go away in every way there is."""

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

Cut = Literal["rst", "fin", "half"]
DEADLINE_S = 60.0


class Dechunker:
    """Takes the raw body as it comes and gives its content; also of a body that was cut anywhere."""

    def __init__(self) -> None:
        self._raw = b""
        self._in_chunk = 0
        self.is_complete = False

    def feed(self, data: bytes) -> bytes:
        self._raw += data
        content = b""
        while not self.is_complete:
            if self._in_chunk > 2:
                taken = self._raw[: self._in_chunk - 2]
                content += taken
                self._raw = self._raw[len(taken) :]
                self._in_chunk -= len(taken)
                if self._in_chunk > 2:
                    break
            if self._in_chunk:  # the line end after a chunk
                if len(self._raw) < self._in_chunk:
                    break
                self._raw, self._in_chunk = self._raw[self._in_chunk :], 0
            size, found, rest = self._raw.partition(b"\r\n")
            if not found:
                break
            self._raw, length = rest, int(size, 16)
            self.is_complete = length == 0
            self._in_chunk = length + 2 if length else 0
        return content


@dataclass
class Exchange:
    """One request and as much of its answer as was read."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    dechunker: Dechunker = field(default_factory=Dechunker)
    raw_bytes: int = 0

    async def read_head(self) -> "Exchange":
        async with asyncio.timeout(DEADLINE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return self

    async def read_some(self, at_most: int = 65536) -> bytes | None:
        """The next content that arrives; None at the end of the connection or of the body."""
        if self.dechunker.is_complete:
            return None
        async with asyncio.timeout(DEADLINE_S):
            raw = await self.reader.read(at_most)
        self.raw_bytes += len(raw)
        return self.dechunker.feed(raw) if raw else None

    async def read_all(self) -> bytes:
        if self.status == 204:
            return b""
        if "content-length" in self.headers:
            return await self.reader.readexactly(int(self.headers["content-length"]))
        content = b""
        while (more := await self.read_some()) is not None:
            content += more
        return content

    async def read_until(self, wanted: bytes | re.Pattern[bytes]) -> bytes:
        """A late reader gets several deltas as one: look for a pattern when a position or a word's start matters."""
        pattern = wanted if isinstance(wanted, re.Pattern) else re.compile(re.escape(wanted))
        content = b""
        async with asyncio.timeout(DEADLINE_S):  # heartbeats come for ever
            while not pattern.search(content):
                more = await self.read_some()
                assert more is not None, f"the answer ended before {wanted!r}: {content[-300:]!r}"
                content += more
        return content

    def cut(self, how: Cut) -> None:
        if how == "half":
            self.writer.write_eof()
            return
        if how == "rst":
            connected: socket.socket = self.writer.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def request_bytes(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += [f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@asynccontextmanager
async def connected(port: int, receive_buffer: int | None = None) -> AsyncIterator[Exchange]:
    raw = socket.socket()
    if receive_buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=2**16 if receive_buffer is None else 4096)
    try:
        yield Exchange(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)  # the socket is closed in the loop's next round


@asynccontextmanager
async def exchange(
    port: int, method: str, path: str, headers: Mapping[str, str] | None = None, payload: Any = None, **options: Any
) -> AsyncIterator[Exchange]:
    """A request whose answer's head has been read."""
    body = b"" if payload is None else json.dumps(payload).encode()
    given = {**({"Content-Type": "application/json"} if body else {}), **(headers or {})}
    async with connected(port, **options) as one:
        one.writer.write(request_bytes(method, path, given, body))
        yield await one.read_head()


def stream_path(prompt: str, **options: object) -> str:
    return "/chat/stream?prompt=" + quote(prompt) + "".join(f"&{name}={value}" for name, value in options.items())


async def fetch(
    port: int, method: str, path: str, headers: Mapping[str, str] | None = None, payload: Any = None
) -> tuple[Exchange, bytes]:
    async with exchange(port, method, path, headers, payload) as one:
        return one, await one.read_all()
