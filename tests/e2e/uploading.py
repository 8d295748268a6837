"""Clients that put files into a server which may die under them, and remember what it acknowledged."""

import hashlib
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.e2e.process import Headwater

TUS = {"Tus-Resumable": "1.0.0"}
TIMEOUT_S = 60.0
SIZE = 1_400_000  # some blocks


@dataclass
class Sent:
    """What one client did: contents by their sha256, the uploads and parts that were acknowledged."""

    seed: int
    contents: dict[str, bytes] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    part: str = ""
    part_content: bytes = b""
    part_offset: int = 0

    def content(self, number: int, size: int = SIZE) -> bytes:
        made = random.Random(self.seed * 10 + number).randbytes(size)
        self.contents[hashlib.sha256(made).hexdigest()] = made
        return made

    def acknowledge(self, uploads: list[dict[str, Any]]) -> None:
        self.acknowledged |= {upload["upload_id"]: upload["sha256"] for upload in uploads}


def raw(server: Headwater, sent: Sent) -> None:
    answer = httpx.put(f"{server.url}/uploads/a.bin", content=sent.content(0), timeout=TIMEOUT_S)
    if answer.is_success:
        sent.acknowledge([answer.json()])


def multipart(server: Headwater, sent: Sent) -> None:
    files = [("file", (f"{number}.bin", sent.content(number))) for number in range(2)]
    answer = httpx.post(f"{server.url}/uploads", files=files, timeout=TIMEOUT_S)
    if answer.is_success:
        sent.acknowledge(answer.json())


def tus(server: Headwater, sent: Sent) -> None:
    sent.part_content = sent.content(0)
    created = httpx.post(f"{server.url}/files", headers={**TUS, "Upload-Length": str(SIZE)}, timeout=TIMEOUT_S)
    if created.is_success:
        sent.part = created.headers["location"]
        for stop in (SIZE // 3, SIZE):
            go_on(server, sent, stop)


def go_on(server: Headwater, sent: Sent, stop: int = SIZE) -> None:
    """As a client does: ask where it stands, send from there."""
    url = server.url + sent.part
    state = httpx.head(url, headers=TUS, timeout=TIMEOUT_S)
    assert state.status_code == 200, f"the part is {state.status_code}"
    offset = int(state.headers["upload-offset"])
    assert offset >= sent.part_offset, f"{sent.part_offset} bytes were acknowledged, {offset} are left"
    answer = state
    if offset < stop:
        headers = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
        answer = httpx.patch(url, content=sent.part_content[offset:stop], headers=headers, timeout=TIMEOUT_S)
        if not answer.is_success:
            return
    sent.part_offset = max(stop, offset)
    if upload_id := answer.headers.get("x-upload-id"):
        sent.acknowledged[upload_id] = hashlib.sha256(sent.part_content).hexdigest()


WAYS: dict[str, Callable[[Headwater, Sent], None]] = {"raw": raw, "multipart": multipart, "tus": tus}


def send(way: str, server: Headwater, seed: int) -> Sent:
    """The server may die meanwhile."""
    sent = Sent(seed)
    with suppress(httpx.TransportError):
        WAYS[way](server, sent)
    return sent
