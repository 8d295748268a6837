"""What a download does with readers that go or stop reading, by hand-written ASGI calls."""

import asyncio
from collections.abc import MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers

from tests.uploads.support import OWNER, opened, pieces
from uploads.responses import CONNECTION_EXTENSION, ContentResponse, attachment

CONTENT = bytes(3_000_000)
SCOPE = {"type": "http", "method": "GET"}
Message = MutableMapping[str, Any]


class Connection:
    is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_reader_that_takes_nothing_is_cut(tmp_path: Path) -> None:
    connection = Connection()

    async def stuck(message: Message) -> None:
        if message["type"] == "http.response.body":
            await never()

    async with opened(tmp_path) as uploads:
        upload = await uploads.keep(pieces(CONTENT), filename="a", owner=OWNER)
        response = ContentResponse(partial(uploads.read, upload), upload, Headers(), send_timeout_s=0.05)
        async with asyncio.timeout(60):
            await response({**SCOPE, "extensions": {CONNECTION_EXTENSION: connection}}, never, stuck)
    assert connection.is_aborted


async def test_nothing_is_read_for_a_reader_that_has_gone(tmp_path: Path) -> None:
    """A server's `send` returns silently after a disconnect, so only the disconnect itself tells."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        await asyncio.sleep(0)

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async with opened(tmp_path) as uploads:
        upload = await uploads.keep(pieces(CONTENT), filename="a", owner=OWNER)
        response = ContentResponse(partial(uploads.read, upload), upload, Headers(), send_timeout_s=5)
        await response(SCOPE, gone, send)
    assert sum(len(message.get("body", b"")) for message in sent) < len(CONTENT) / 2


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("a.txt", "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt"),
        ('a"b;c\\.txt', "attachment; filename=\"a_b_c_.txt\"; filename*=UTF-8''a%22b%3Bc%5C.txt"),
        ("Käse.txt", "attachment; filename=\"K_se.txt\"; filename*=UTF-8''K%C3%A4se.txt"),
        ("100%.txt", "attachment; filename=\"100_.txt\"; filename*=UTF-8''100%25.txt"),
    ],
)
def test_a_name_is_written_as_rfc_6266_has_it(filename: str, header: str) -> None:
    assert attachment(filename) == header
