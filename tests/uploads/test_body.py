"""A body as an ASGI server hands it over: in pieces, cut, stalled, interrupted."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from uploads.body import Body
from uploads.errors import BodyIncomplete, BodyStalled, PartLocked

Message = MutableMapping[str, Any]


class Messages:
    """The messages, then silence."""

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)
        self.is_silent = asyncio.Event()

    async def __call__(self) -> Message:
        if self._messages:
            return self._messages.pop(0)
        self.is_silent.set()
        await asyncio.Event().wait()
        raise AssertionError


def piece(body: bytes, *, more_body: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more_body}


async def read(messages: Messages) -> list[bytes]:
    return [one async for one in Body(messages, 0.05)]


async def test_pieces_come_in_order_and_empty_ones_not_at_all() -> None:
    assert await read(Messages(piece(b"a"), piece(b""), piece(b"b"), piece(b"", more_body=False))) == [b"a", b"b"]
    assert await read(Messages({"type": "http.request"})) == []


async def test_a_body_that_is_cut_or_stalls_says_so() -> None:
    with pytest.raises(BodyIncomplete):
        await read(Messages(piece(b"a"), {"type": "http.disconnect"}))
    with pytest.raises(BodyStalled):
        await read(Messages(piece(b"a")))


async def test_an_interrupted_reader_stops_at_once() -> None:
    messages = Messages(piece(b"a"))
    body = Body(messages, 60)
    assert await anext(body) == b"a"
    reading = asyncio.ensure_future(anext(body))
    await messages.is_silent.wait()
    body.interrupt()
    async with asyncio.timeout(60):
        with pytest.raises(PartLocked):
            await reading
        with pytest.raises(PartLocked):
            await anext(body)
