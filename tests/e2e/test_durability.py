"""What was acknowledged is whole after the process was killed, wherever in its talk with the disk that was."""

import hashlib
import itertools
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from tests.e2e.process import Headwater, free_port, serving, wait_until
from tests.e2e.tracing import ANSWER, Call, Target, fault, recorded
from tests.e2e.uploading import WAYS, Sent, go_on, send

DIE_WITHIN_S = 60.0
CLEAN_WITHIN_S = 60.0
TRIES = 6
DECISIVE = ("fsync", "fdatasync", "rename", "link", "linkat", "unlink")


@contextmanager
def storing(folder: Path, sent: Sent | None = None) -> Iterator[Headwater]:
    """Has what was `sent` to its predecessor, and is warm: all threads are there, in the same order at every start."""
    options = {
        "HEADWATER_UPLOADS__FILE_THREADS": "1",
        "HEADWATER_JOBS__RUN_HERE": "false",  # its worker looks at the database when it likes
        "HEADWATER_LOG_LEVEL": "warning",
    }
    data = str(folder / "data")
    with serving(folder / "log", free_port(), "--engine", "echo", HEADWATER_DATA_DIR=data, **options) as server:
        check(server, folder, sent or Sent(0))
        for way in WAYS:
            check(server, folder, send(way, server, seed=0))
        yield server


def calls_of(way: str, folder: Path) -> list[Call]:
    """Those that an upload makes to the data folder, and the sending of answers."""
    with storing(folder) as server:
        with recorded(server.process.pid, folder / "strace") as calls:
            sent = send(way, server, seed=1)
        assert sent.acknowledged
        check(server, folder, sent)
    return [call for call in calls if call.target is not None]


def check(server: Headwater, folder: Path, sent: Sent) -> None:
    """What was acknowledged is there, what is there is whole, and nothing else is; then all of it is deleted."""
    if sent.part:
        go_on(server, sent)
    listed = {one["upload_id"]: one for one in httpx.get(f"{server.url}/uploads").json()["uploads"]}
    for upload_id, sha256 in sent.acknowledged.items():
        assert listed[upload_id]["sha256"] == sha256
    for upload_id, upload in listed.items():
        content = httpx.get(f"{server.url}/uploads/{upload_id}/content").content
        assert hashlib.sha256(content).hexdigest() == upload["sha256"]
        assert content == sent.contents[upload["sha256"]]
    stored = {one["sha256"] for one in listed.values()}
    wait_until(lambda: counts(folder) == (0, len(stored), 0, 0), CLEAN_WITHIN_S, f"no leftovers: {counts(folder)}")
    for upload_id in listed:
        assert httpx.delete(f"{server.url}/uploads/{upload_id}").status_code == 204
    assert counts(folder) == (0, 0, 0, 0)


def counts(folder: Path) -> tuple[int, ...]:
    return tuple(len(list((folder / "data" / name).iterdir())) for name in ("drafts", "blobs", "parts", "lent"))


@dataclass
class Swept:
    """The calls that the fault hit, how often the process died and the client got no answer; the calls never hit."""

    hit: list[Call] = field(default_factory=list)
    missed: list[Call] = field(default_factory=list)
    died: int = 0
    refused: int = 0


def sweep_with_faults(way: str, folder: Path, calls: Sequence[Call], what: str) -> Swept:
    """One start for each fault: it shows what the fault before left. A fault that hit another call is tried again."""
    swept, sent = Swept(), Sent(0)
    waiting, tries = deque(calls), Counter[Target | None]()
    for seed in itertools.count(2):
        with storing(folder, sent) as server:
            if not waiting:
                return swept
            call = waiting.popleft()
            tries[call.target] += 1
            with fault(server.process.pid, call, what, folder / "strace") as seen:
                sent = send(way, server, seed)
            swept.died += has_died(server)
        swept.refused += not sent.acknowledged
        if seen.has_hit(call):
            swept.hit.append(call)
        elif tries[call.target] < TRIES:
            waiting.appendleft(replace(call, n=seen.better_n(call)))
        else:
            swept.missed.append(call)
    raise AssertionError("not reached")


def has_died(server: Headwater) -> bool:
    try:
        httpx.get(f"{server.url}/livez", timeout=DIE_WITHIN_S)
    except httpx.TransportError:
        server.process.wait(DIE_WITHIN_S)
        return True
    return False


@pytest.mark.parametrize("way", WAYS)
def test_a_kill_where_it_matters_loses_nothing(way: str, tmp_path: Path) -> None:
    """The first call of each kind to each place, for the longer ways every second; `make soak` has them all."""
    calls = [call for call in calls_of(way, tmp_path) if call.name in DECISIVE or ANSWER in call.line]
    assert {"fsync", "fdatasync", "rename"} <= {call.name for call in calls}
    first = [call for call in calls if call.target and call.target[2] == 1][:: 1 if way == "raw" else 2]
    swept = sweep_with_faults(way, tmp_path, first, "signal=KILL")
    assert (swept.missed, swept.died >= len(first)) == ([], True)


@pytest.mark.soak
@pytest.mark.parametrize("third", range(3))
@pytest.mark.parametrize("way", WAYS)
def test_a_kill_anywhere_loses_nothing(way: str, third: int, tmp_path: Path) -> None:
    """At every call to the data folder, and at every answer that is sent. In thirds: each call needs a start."""
    calls = calls_of(way, tmp_path)
    assert len(calls) > 25
    swept = sweep_with_faults(way, tmp_path, calls[third::3], "signal=KILL")
    hit, meant = len(swept.hit), len(calls[third::3])
    print(f"\n{way}: killed at {hit} of {meant} of {len(calls)} file calls, nothing lost, nothing left over")  # noqa: T201
    assert (swept.missed, swept.died >= meant) == ([], True)


def position(calls: list[Call], name: str, part: str, after: int = -1) -> int:
    return next(place for place, call in enumerate(calls) if place > after and call.name == name and part in call.line)


@pytest.mark.parametrize("way", ["raw", "multipart"])
def test_an_answer_goes_out_after_everything_is_on_the_disk(way: str, tmp_path: Path) -> None:
    calls = calls_of(way, tmp_path)
    written = max(place for place, call in enumerate(calls) if call.name == "write" and "/drafts/" in call.line)
    synced = position(calls, "fsync", "/drafts/", written)
    renamed = position(calls, "rename", "/blobs/", synced)
    folder_synced = position(calls, "fsync", "/data/blobs>", renamed)
    recorded_row = position(calls, "pwrite64", "headwater.db-wal", folder_synced)
    row_synced = position(calls, "fdatasync", "headwater.db-wal", recorded_row)
    answered = next(place for place, call in enumerate(calls) if "HTTP/1.1 201" in call.line)
    assert written < synced < renamed < folder_synced < recorded_row < row_synced < answered
    assert not [call for call in calls[row_synced:answered] if call.name in ("pwrite64", "rename", "fsync")]


def test_an_offset_goes_out_after_its_bytes_are_on_the_disk(tmp_path: Path) -> None:
    calls = calls_of("tus", tmp_path)
    place = -1
    for _ in range(2):
        written = position(calls, "write", "/parts/", place)
        synced = position(calls, "fsync", "/parts/", written)
        row_synced = position(calls, "fdatasync", "headwater.db-wal", synced)
        place = next(n for n, call in enumerate(calls) if n > written and "HTTP/1.1 204" in call.line)
        assert written < synced < row_synced < place
