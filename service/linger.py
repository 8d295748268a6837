"""A refusal that comes before the end of the body, sent so that clients get to read it.

Closing a connection while the client still sends resets it, and a reset overtakes the answer: browsers and many
programs then report a broken connection instead of the status. So the answer goes out whole, the rest of the body is
read and dropped for a while, and only then is the connection closed.
"""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_S = 5.0
QUIET_S = 1.0  # a client that sends nothing for so long has stopped, or waits for us


class Linger:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        is_read = False

        async def watched_receive() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = is_read or not message.get("more_body", False)
            return message

        async def lingering_send(message: Message) -> None:
            if not is_read and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            if is_read or message.get("more_body", False) or message["type"] != "http.response.body":
                await send(message)
                return
            await send({**message, "more_body": True})
            await drop_rest(watched_receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def drop_rest(receive: Receive) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    while not is_read:
                        await asyncio.wait_for(receive(), QUIET_S)

        await self._app(scope, watched_receive, lingering_send)
