"""What was acknowledged is whole after the process was killed, wherever in its talk with the disk that was."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.process import Headwater, free_port, serving, wait_until
from tests.e2e.tracing import Call, fault, recorded
from tests.e2e.uploading import WAYS, Sent, go_on, send

DIE_WITHIN_S = 60.0
CLEAN_WITHIN_S = 60.0
DECISIVE = ("fsync", "fdatasync", "rename", "link", "linkat", "unlink")


@contextmanager
def storing(folder: Path, sent: Sent | None = None) -> Iterator[Headwater]:
    """Has what was `sent` to its predecessor, and is warm: all threads are there, in the same order at every start."""
    options = {"HEADWATER_UPLOADS__FILE_THREADS": "1", "HEADWATER_LOG_LEVEL": "warning"}
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
    return [call for call in calls if str(folder / "data") in call.line or "HTTP/1.1 2" in call.line]


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


def sweep_with_faults(way: str, folder: Path, calls: list[Call], what: str) -> tuple[int, int]:
    """One start for each fault: it shows what the fault before left. Says how many died, and how many got no answer."""
    died = refused = 0
    sent = Sent(0)
    for seed, call in enumerate([*calls, None], start=2):
        with storing(folder, sent) as server:
            if call is None:
                break
            with fault(server.process.pid, call, what):
                sent = send(way, server, seed)
            died += has_died(server)
            refused += not sent.acknowledged
    return died, refused


def has_died(server: Headwater) -> bool:
    try:
        httpx.get(f"{server.url}/livez", timeout=DIE_WITHIN_S)
    except httpx.TransportError:
        server.process.wait(DIE_WITHIN_S)
        return True
    return False


@pytest.mark.parametrize("way", WAYS)
def test_a_kill_where_it_matters_loses_nothing(way: str, tmp_path: Path) -> None:
    calls = [call for call in calls_of(way, tmp_path) if call.name in DECISIVE or "HTTP/1.1 2" in call.line]
    assert {"fsync", "fdatasync", "rename"} <= {call.name for call in calls}
    died, _ = sweep_with_faults(way, tmp_path, calls, "signal=KILL")
    assert died >= len(calls) * 3 // 4


@pytest.mark.soak
@pytest.mark.parametrize("way", WAYS)
def test_a_kill_anywhere_loses_nothing(way: str, tmp_path: Path) -> None:
    """At every call to the data folder, and at every answer that is sent."""
    calls = calls_of(way, tmp_path)
    assert len(calls) > 25
    died, _ = sweep_with_faults(way, tmp_path, calls, "signal=KILL")
    print(f"\n{way}: killed at {died} of {len(calls)} file calls, nothing lost, nothing left over")  # noqa: T201
    assert died >= len(calls) * 3 // 4


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
