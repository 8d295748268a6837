"""The body of a request, piece by piece, as a server hands it over; it knows ASGI's messages and no framework."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from uploads.errors import BodyIncomplete, BodyStalled, PartLocked

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Body:
    """To be iterated once. Raises `BodyStalled` and `BodyIncomplete`, and `PartLocked` after `interrupt`."""

    def __init__(self, receive: Receive, idle_timeout_s: float) -> None:
        self._receive = receive
        self._idle_timeout_s = idle_timeout_s
        self._waiting: asyncio.Timeout | None = None
        self._is_interrupted = False
        self._has_ended = False

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        while not self._has_ended:
            message = await self._next_message()
            if message["type"] == "http.disconnect":
                raise BodyIncomplete("The connection ended before the body did.")
            self._has_ended = not message.get("more_body", False)
            if piece := message.get("body", b""):
                return bytes(piece)
        raise StopAsyncIteration

    async def _next_message(self) -> MutableMapping[str, Any]:
        try:
            if self._is_interrupted:
                raise TimeoutError
            async with asyncio.timeout(self._idle_timeout_s) as self._waiting:
                return await self._receive()
        except TimeoutError:
            if self._is_interrupted:
                raise PartLocked("Another request goes on with this upload.") from None
            raise BodyStalled(f"Nothing of the body came for {self._idle_timeout_s:g} s.") from None
        finally:
            self._waiting = None

    def interrupt(self) -> None:
        """Whoever reads it stops at once."""
        self._is_interrupted = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())
