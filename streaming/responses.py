"""The answer to a reader: a log from a position on, in one of the formats. The response owns the reader.

From its first byte on nothing raises into the server: an answer that cannot go on hangs up.
"""

from collections.abc import AsyncGenerator
from typing import Literal, Protocol

import anyio
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from streaming.accept import Format
from streaming.cursor import batches
from streaming.encode import Encoder, NdjsonEncoder, TextEncoder, chunks
from streaming.errors import UnknownStream
from streaming.limits import Pace
from streaming.resume import MESSAGES, AllSent, Gap, GoOn, Resumption
from streaming.sse import SseEncoder
from streaming.streams import Streams

# The server may put an object with `close` (flush, then end) and `abort` (drop all) there.
CONNECTION_EXTENSION = "headwater.connection"
FLUSH_TIMEOUT_S = 5.0
HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
ENCODERS: dict[Format, type[Encoder]] = {"sse": SseEncoder, "ndjson": NdjsonEncoder, "text": TextEncoder}


class Connection(Protocol):
    def close(self) -> None: ...

    def abort(self) -> None: ...


class AnswerCut(Exception):
    """The body must end without its last chunk: how a format without words says that it failed."""


class LogResponse(EventSourceResponse):
    """Reads from `place` to the end. However it ends, the reader is gone afterwards."""

    def __init__(self, streams: Streams, place: GoOn, encoder: Encoder, pace: Pace) -> None:
        self._streams = streams
        self._place = place
        self._encoder = encoder
        self._silence_s = pace.heartbeat_s
        self._chunks = self._body()
        super().__init__(
            self._chunks,
            headers=HEADERS,
            media_type=encoder.media_type,
            ping=0,  # the heartbeat comes from the body, between events and never inside one
            sep="\n",
            send_timeout=pace.send_timeout_s,
        )
        del self.headers["connection"]  # the server's own business

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._streams.reading(self._place.stream):
                await super().__call__(scope, receive, send)
        except AnswerCut:
            await hang_up(scope, receive, "close")
        except SendTimeoutError:
            await hang_up(scope, receive, "abort")
        finally:
            await self._chunks.aclose()

    async def _body(self) -> AsyncGenerator[bytes, None]:
        stream, encoder = self._place.stream, self._encoder
        async for entries in batches(stream.log, self._place.after, self._silence_s):
            if not entries and encoder.heartbeat:
                yield encoder.heartbeat
            for chunk in chunks(encoder, stream.id, entries):
                yield chunk
            if entries and encoder.is_cut(entries[-1].event):
                raise AnswerCut


def answer(streams: Streams, resumption: Resumption, wanted: Format, pace: Pace) -> Response:
    """Raises `UnknownStream` where the format has no word for a gap."""
    encoder = ENCODERS[wanted]()
    match resumption:
        case GoOn():
            return LogResponse(streams, resumption, encoder, pace)
        case AllSent():
            return Response(status_code=204)
        case Gap(reason) if wanted == "text":
            raise UnknownStream(MESSAGES[reason])
        case Gap(reason):
            return Response(encoder.gap(reason), headers=HEADERS, media_type=encoder.media_type)


async def hang_up(scope: Scope, receive: Receive, how: Literal["close", "abort"]) -> None:
    """Ends the connection and waits until it has ended; a server without the extension closes by itself."""
    connection: Connection | None = scope.get("extensions", {}).get(CONNECTION_EXTENSION)
    if connection is None:
        return
    connection.close() if how == "close" else connection.abort()
    with anyio.move_on_after(FLUSH_TIMEOUT_S) as waiting:
        while (await receive())["type"] != "http.disconnect":
            pass
    if waiting.cancelled_caught:
        connection.abort()
