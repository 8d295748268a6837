"""Resume, tickets and leaving while a file is still being read, on a real server.

The reading is held by a lock on the index, which it takes last: it is under way for as long as a test wants.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.parsers import SseEvent, parse
from tests.server import RunningServer, echo_settings, serving, wait_until

pytestmark = pytest.mark.model
WITHIN_S = 60.0
TEXT = b"The key lies under the blue stone."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reading")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[RunningServer]:
    with serving(echo_settings(data_dir=folder, echo={"tokens_per_second": 0})) as server:
        read(server, "/chat/stream", {"prompt": "x", "upload_id": keep(server)})  # makes the index
        yield server


def keep(running: RunningServer) -> str:
    """Another file each time, of which nothing is known yet."""
    upload_id: str = httpx.put(f"{running.url}/uploads/key.txt", content=TEXT).json()["upload_id"]
    return upload_id


@contextmanager
def held_reading(folder: Path) -> Iterator[sqlite3.Connection]:
    (index,) = (folder / "index").glob("*.sqlite3")
    with closing(sqlite3.connect(index, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def read(running: RunningServer, url: str, query: dict[str, str], **headers: str) -> list[SseEvent]:
    answer = httpx.get(f"{running.url}{url}", params=query, headers=headers, timeout=WITHIN_S)
    assert answer.status_code == 200, answer.text
    return parse(answer.content)


def read_until_it_reads(response: httpx.Response) -> list[SseEvent]:
    """As far as the step that is held."""
    content = b""
    for chunk in response.iter_bytes():
        content += chunk
        if b'"step":"index"' in content and content.endswith(b"\n\n"):
            return parse(content)
    raise AssertionError(content)


def positions(events: list[SseEvent]) -> list[int]:
    return [int(event.last_event_id.rpartition(".")[2]) for event in events]


def names(events: list[SseEvent]) -> list[str]:
    return list(dict.fromkeys(event.name for event in events))


def state(running: RunningServer, stream_id: str) -> Any:
    return httpx.get(f"{running.url}/chat/streams/{stream_id}").json()["state"]


def test_a_stream_that_breaks_while_its_file_is_read_goes_on_where_it_was(running: RunningServer, folder: Path) -> None:
    query = {"prompt": "Where is the key?", "upload_id": keep(running)}
    with held_reading(folder) as lock:
        with httpx.stream("GET", f"{running.url}/chat/stream", params=query, timeout=WITHIN_S) as response:
            first = read_until_it_reads(response)
        assert state(running, first[0].last_event_id.rpartition(".")[0]) == "queued"
        lock.execute("ROLLBACK")
        rest = read(running, "/chat/stream", query, **{"Last-Event-ID": first[-1].last_event_id})
    assert names(first) == ["progress"]
    assert names(rest)[-4:] == ["start", "message", "citation", "end"]
    assert positions(first + rest) == sorted(set(positions(first + rest)))
    assert "Where is the key?" in "".join(event.json["text"] for event in rest if event.name == "message")


def test_a_ticket_opens_a_stream_whose_file_is_still_read(running: RunningServer, folder: Path) -> None:
    with held_reading(folder) as lock:
        body = {"prompt": "Where is the key?", "upload_id": keep(running), "grace_s": 30}
        made = httpx.post(f"{running.url}/chat/streams", json=body)
        assert made.status_code == 201
        events_url = f"{running.url}{made.json()['url']}"
        assert httpx.get(f"{events_url}x").json()["code"] == "invalid_ticket"
        with httpx.stream("GET", events_url, timeout=WITHIN_S) as response:
            first = read_until_it_reads(response)
            lock.execute("ROLLBACK")
        again = {"Last-Event-ID": first[-1].last_event_id}
        rest = parse(httpx.get(events_url, headers=again, timeout=WITHIN_S).content)
    assert {event.last_event_id.rpartition(".")[0] for event in first + rest} == {made.json()["stream_id"]}
    assert names(rest)[-3:] == ["message", "citation", "end"]


def test_who_leaves_while_the_file_is_read_gives_the_place_back(running: RunningServer, folder: Path) -> None:
    body = {"prompt": "Where is the key?", "upload_id": keep(running)}
    with held_reading(folder) as lock:
        with httpx.stream("POST", f"{running.url}/chat/stream", json=body, timeout=WITHIN_S) as response:
            first = read_until_it_reads(response)
        stream_id = first[0].last_event_id.rpartition(".")[0]
        wait_until(lambda: state(running, stream_id) == "cancelled", WITHIN_S, "the reading has ended")
        readings = running.state["backend"].readings
        assert (readings.reading, running.is_idle()) == (0, True)
        lock.execute("ROLLBACK")
    assert names(read(running, "/chat/stream", {**body}))[-1] == "end"


def test_a_stream_is_cancelled_while_its_file_is_read(running: RunningServer, folder: Path) -> None:
    query = {"prompt": "Where is the key?", "upload_id": keep(running)}
    with (
        held_reading(folder),
        httpx.stream("GET", f"{running.url}/chat/stream", params=query, timeout=WITHIN_S) as response,
    ):
        chunks, content = response.iter_bytes(), b""
        while b'"step":"index"' not in content:
            content += next(chunks)
        stream_id = parse(content)[0].last_event_id.rpartition(".")[0]
        assert httpx.delete(f"{running.url}/chat/streams/{stream_id}").status_code == 204
        events = parse(content + b"".join(chunks))
    assert (events[-1].name, events[-1].json["finish_reason"]) == ("end", "cancelled")
