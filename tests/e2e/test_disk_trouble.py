"""A disk that is full, broken or out of files: a typed answer, the room given back, and everybody else unharmed."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.process import free_port, serving, wait_until
from tests.e2e.test_durability import TRIES, calls_of, check, counts, storing, sweep_with_faults
from tests.e2e.tracing import Call, fault, strace
from tests.e2e.uploading import TUS, WAYS, Sent, go_on, send

MIB = 1024 * 1024
ROOM_MIB = 8
STATUSES = {
    "ENOSPC": (507, "store_full"),
    "EDQUOT": (507, "store_full"),
    "EIO": (500, "store_failed"),
    "EMFILE": (503, "store_unavailable"),
}
WAVES = {"prompt": "[[echo tps=20]]" + "wave " * 60}


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own where that is allowed; else a disk that the service believes to be as small."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM_MIB}m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount; what happens then is also injected below")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def test_a_full_disk_is_told_and_its_room_comes_back(tmp_path: Path) -> None:
    settings = {"HEADWATER_UPLOADS__FREE_DISK_RESERVE_BYTES": "0"}
    with (
        small_disk(tmp_path / "disk") as disk,
        serving(tmp_path / "log", free_port(), "--engine", "echo", HEADWATER_DATA_DIR=str(disk), **settings) as server,
    ):
        before = free_bytes(disk)
        with httpx.stream("GET", f"{server.url}/chat/stream", params=WAVES) as stream:
            events = stream.iter_lines()
            next(events)
            for _ in range(3):
                for answer in (
                    httpx.put(f"{server.url}/uploads/a", content=bytes(ROOM_MIB * MIB)),
                    httpx.put(f"{server.url}/uploads/a", content=(bytes(MIB) for _ in range(ROOM_MIB))),
                    httpx.post(f"{server.url}/uploads", files={"file": bytes(ROOM_MIB * MIB)}),
                ):
                    assert (answer.status_code, answer.json()["code"]) == (507, "store_full")
                assert before - free_bytes(disk) < MIB // 2
            words = [line for line in events if line.startswith('data: {"text"')]
        assert sum(line.count("wave") for line in words) == 60
        assert httpx.put(f"{server.url}/uploads/a", content=bytes(MIB)).status_code == 201


def test_a_full_disk_stops_a_resumable_upload_and_room_lets_it_go_on(tmp_path: Path) -> None:
    settings = {"HEADWATER_UPLOADS__FREE_DISK_RESERVE_BYTES": "0"}
    with (
        small_disk(tmp_path / "disk") as disk,
        serving(tmp_path / "log", free_port(), "--engine", "echo", HEADWATER_DATA_DIR=str(disk), **settings) as server,
    ):
        blocker = disk / "blocker"
        blocker.write_bytes(bytes(free_bytes(disk) - 2 * MIB))
        sent = Sent(1)
        sent.part_content = sent.content(0, 3 * MIB)
        created = httpx.post(f"{server.url}/files", headers={**TUS, "Upload-Length": str(3 * MIB)})
        sent.part = created.headers["location"]
        go_on(server, sent, MIB)
        headers = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": str(MIB)}
        refused = httpx.patch(server.url + sent.part, content=(sent.part_content[MIB:] for _ in "1"), headers=headers)
        assert refused.status_code == 507
        blocker.unlink()
        go_on(server, sent, 3 * MIB)
        assert sent.acknowledged


def test_the_reserve_is_left_to_others(tmp_path: Path) -> None:
    settings = {"HEADWATER_UPLOADS__FREE_DISK_RESERVE_BYTES": str(10**18)}
    with serving(tmp_path / "log", free_port(), "--engine", "echo", **settings) as server:
        answer = httpx.put(f"{server.url}/uploads/a", content=b"x")
        assert (answer.status_code, answer.json()["code"]) == (507, "store_full")


def first(calls: list[Call], name: str, part: str) -> Call:
    return next(call for call in calls if call.name == name and part in call.line)


@pytest.mark.parametrize(
    ("name", "part", "errors"),
    [
        ("openat", "/drafts/", ("EMFILE", "EIO")),
        ("fsync", "/drafts/", ("ENOSPC", "EIO")),
        ("close", "/drafts/", ("EIO",)),
        ("rename", "/blobs/", ("ENOSPC", "EIO")),
        ("fsync", "/data/blobs>", ("EIO",)),
    ],
)
def test_what_the_disk_refuses_has_a_status_and_leaves_nothing(
    name: str, part: str, errors: tuple[str, ...], tmp_path: Path
) -> None:
    call = first(calls_of("raw", tmp_path), name, part)
    for seed, error in enumerate(errors, start=2):
        with storing(tmp_path) as server:
            with fault(server.process.pid, call, f"error={error}", tmp_path / "strace"):
                answer = httpx.put(f"{server.url}/uploads/a", content=Sent(seed).content(0))
            assert (answer.status_code, answer.json()["code"]) == STATUSES[error], call
            assert "No space" not in answer.text
            assert counts(tmp_path) == (0, 0, 0, 0)
            check(server, tmp_path, send("raw", server, seed))


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EIO"])
def test_a_write_that_fails_has_a_status_and_leaves_nothing(error: str, tmp_path: Path) -> None:
    """The threads for files also write to wake the event loop, so the fault goes to this one file."""
    with storing(tmp_path) as server, ExitStack() as tracing:

        def content() -> Iterator[bytes]:
            drafts = tmp_path / "data" / "drafts"
            yield bytes(MIB)
            wait_until(lambda: any(drafts.iterdir()), 5, "the file is being received")
            (path,) = drafts.iterdir()
            only = ("-f", "-o", "/dev/null", "-P", str(path), "-e", "trace=write", "-e", f"inject=write:error={error}")
            tracing.enter_context(strace(server.process.pid, *only))
            yield bytes(MIB)

        answer = httpx.put(f"{server.url}/uploads/a", content=content(), timeout=60)
        assert (answer.status_code, answer.json()["code"]) == STATUSES[error]
        assert counts(tmp_path) == (0, 0, 0, 0)


@pytest.mark.soak
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("way", WAYS)
def test_an_error_anywhere_loses_nothing(way: str, error: str, tmp_path: Path) -> None:
    """At every call to the data folder. A thread's writes are counted with those that wake the event loop."""
    calls = [call for call in calls_of(way, tmp_path) if "HTTP/1.1" not in call.line]
    swept = sweep_with_faults(way, tmp_path, calls, f"error={error}")
    hit = f"{error} at {len(swept.hit)} of {len(calls)} file calls"
    print(f"\n{way}: {hit}, {swept.refused} refused, nothing lost, nothing left over")  # noqa: T201
    assert not swept.missed
    assert swept.died <= TRIES * sum(call.name == "write" for call in calls), "libuv ends when it cannot wake itself"
    assert swept.refused > len(calls) // 4
