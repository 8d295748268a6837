"""The bytes of an upload as an answer: whole, one range or several, always to be saved and never to be shown."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol, TypeAlias
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from uploads.ranges import Range, Unsatisfiable, parse_ranges
from uploads.records import Upload

# The server may put an object with `abort` (drop the connection) there.
CONNECTION_EXTENSION = "headwater.connection"
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-cache",
    "Accept-Ranges": "bytes",
}
Read: TypeAlias = Callable[[int, int], AsyncGenerator[bytes, None]]
"""The bytes from a place to before another one."""


class Connection(Protocol):
    def abort(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """The body is made of bytes as they are and of ranges of the file."""

    status: int
    headers: dict[str, str]
    pieces: Sequence[bytes | Range] = ()


class ContentResponse(Response):
    """Reads block by block while it sends, and stops when the reader has gone or takes nothing any more."""

    def __init__(self, read: Read, upload: Upload, asked: Headers, send_timeout_s: float) -> None:
        plan = plan_of(upload, asked)
        super().__init__(status_code=plan.status, headers=plan.headers)
        self._read = read
        self._pieces = plan.pieces
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD" or not self._pieces:
            await super().__call__(scope, receive, send)
            return
        gone = asyncio.ensure_future(disconnect_of(receive))
        try:
            async with aclosing(self._body()) as body:
                first = await anext(body, b"")  # what cannot be read still gets a status of its own
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await self._send(send, first)
                async for piece in body:
                    if gone.done():
                        return
                    await self._send(send, piece)
                await self._send(send, b"", more_body=False)
        except TimeoutError:
            abort(scope)
        finally:
            gone.cancel()

    async def _send(self, send: Send, piece: bytes, *, more_body: bool = True) -> None:
        async with asyncio.timeout(self._send_timeout_s):
            await send({"type": "http.response.body", "body": piece, "more_body": more_body})

    async def _body(self) -> AsyncGenerator[bytes, None]:
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            async with aclosing(self._read(*piece)) as blocks:
                async for block in blocks:
                    yield block


def plan_of(upload: Upload, asked: Headers) -> Plan:
    etag = f'"{upload.sha256}"'
    headers = {**SAFE_HEADERS, "ETag": etag, "Content-Disposition": attachment(upload.filename)}
    if has_tag(asked.get("if-none-match", ""), etag):
        return Plan(304, headers)
    try:
        ranges = parse_ranges(asked["range"], upload.size) if is_partial(asked, etag) else None
    except Unsatisfiable:
        nothing = {"Content-Range": f"bytes */{upload.size}"}
        raise HTTPException(416, "The file has none of these bytes.", nothing) from None
    headers["Content-Type"] = upload.media_type
    if ranges is None:
        return sized(200, headers, [(0, upload.size)])
    if len(ranges) == 1:
        return sized(206, {**headers, "Content-Range": content_range(ranges[0], upload.size)}, [*ranges])
    boundary = secrets.token_hex(16)
    headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    return sized(206, headers, multipart_pieces(ranges, boundary, upload))


def sized(status: int, headers: dict[str, str], pieces: Sequence[bytes | Range]) -> Plan:
    length = sum(len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces)
    return Plan(status, {**headers, "Content-Length": str(length)}, pieces)


def multipart_pieces(ranges: list[Range], boundary: str, upload: Upload) -> list[bytes | Range]:
    pieces: list[bytes | Range] = []
    for one in ranges:
        head = f"Content-Type: {upload.media_type}\r\nContent-Range: {content_range(one, upload.size)}"
        pieces += [f"\r\n--{boundary}\r\n{head}\r\n\r\n".encode("latin-1"), one]
    return [*pieces, f"\r\n--{boundary}--\r\n".encode("latin-1")]


def content_range(one: Range, size: int) -> str:
    return f"bytes {one[0]}-{one[1] - 1}/{size}"


def is_partial(asked: Headers, etag: str) -> bool:
    """`If-Range` with another tag, a weak one or a date asks for the whole: the file may not be the same."""
    return "range" in asked and asked.get("if-range", etag) == etag


def has_tag(header: str, etag: str) -> bool:
    return etag in [tag.strip().removeprefix("W/") for tag in header.split(",")] or header.strip() == "*"


def attachment(filename: str) -> str:
    """RFC 6266: the name for today's clients, and one in ASCII without quotes for old ones."""
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%;' else "_" for char in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


async def disconnect_of(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def abort(scope: Scope) -> None:
    connection: Connection | None = scope.get("extensions", {}).get(CONNECTION_EXTENSION)
    if connection is not None:
        connection.abort()
