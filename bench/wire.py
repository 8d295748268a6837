"""HTTP/1.1 and server-sent events over bare asyncio sockets, so that the load client is never the bottleneck.

It reads what our server and its peers send: a head, and a body that is chunked, sized or ends with the connection.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Event:
    """`data` is the bare text of the data lines: what it means is the dialect's business."""

    id: str
    name: str
    data: str


class Exchange:
    """One request and its answer on a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}

    async def read_head(self) -> None:
        self.status = int((await self._reader.readuntil(b"\r\n")).split(b" ")[1])
        while (line := await self._reader.readuntil(b"\r\n")) != b"\r\n":
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.lower()] = value.strip()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises `asyncio.IncompleteReadError` when the body breaks off."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                yield await self._reader.readexactly(size)
                await self._reader.readexactly(2)
            await self._reader.readuntil(b"\r\n")
        elif "content-length" in self.headers:
            yield await self._reader.readexactly(int(self.headers["content-length"]))
        else:
            while chunk := await self._reader.read(LINE_BYTES):
                yield chunk

    async def json(self) -> Any:
        return json.loads(b"".join([chunk async for chunk in self.chunks()]))

    async def events(self, cut_after: int | None = None) -> AsyncIterator[Event]:
        """The events up to the end, or those that are whole within the first `cut_after` bytes of the body."""
        rest, received = b"", 0
        async for chunk in self.chunks():
            kept = chunk if cut_after is None else chunk[: cut_after - received]
            received += len(kept)
            *blocks, rest = (rest + kept).split(b"\n\n")
            for block in blocks:
                if event := parse(block.decode()):
                    yield event
            if received == cut_after:
                return

    def close(self) -> None:
        """Resets the connection at once, as a client that disappears does."""
        self._writer.transport.abort()


def parse(block: str) -> Event | None:
    """An event of a block that ends with a blank line; None for a block of comments."""
    fields: dict[str, list[str]] = {}
    for line in block.replace("\r", "").split("\n"):
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.removeprefix(" "))
    if "data" not in fields:
        return None
    return Event(fields.get("id", [""])[-1], fields.get("event", ["message"])[-1], "\n".join(fields["data"]))


async def send(
    address: Address, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> Exchange:
    """Connects, sends the request and reads the answer's head."""
    payload = b"" if body is None else json.dumps(body).encode()
    lines = {
        "Host": f"{address.host}:{address.port}",
        "Connection": "close",
        "Content-Type": "application/json",
        "Content-Length": str(len(payload)),
        **(headers or {}),
    }
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=LINE_BYTES)
    exchange = Exchange(reader, writer)
    try:
        writer.write(head.encode() + payload)
        await exchange.read_head()
    except BaseException:
        exchange.close()
        raise
    return exchange
