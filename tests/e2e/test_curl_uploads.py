"""curl's ways to send a file, its own words about limits, and what it leaves when it is stopped."""

import hashlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.process import Headwater, free_port, serving, wait_until

MIB = 1 << 20
LIMIT = 3 * MIB
WITHIN_S = 60
LARGE_BYTES = 1 << 30
GROWTH_MIB = 8


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Headwater]:
    folder = tmp_path_factory.mktemp("limited")
    limits = {"HEADWATER_UPLOADS__MAX_FILE_BYTES": str(LIMIT), "HEADWATER_UPLOADS__IDLE_TIMEOUT_S": "5"}
    with serving(folder / "log", free_port(), "--engine", "echo", **limits) as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(random.Random(1).randbytes(LIMIT))
    return path


def curl(*arguments: str, stdin: Path | None = None) -> "subprocess.CompletedProcess[bytes]":
    with (stdin or Path("/dev/null")).open("rb") as content:
        command = ["curl", "-sS", *arguments]
        return subprocess.run(command, stdin=content, capture_output=True, timeout=WITHIN_S, check=False)


def uploads(server: Headwater) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{server.url}/uploads").json()["uploads"]
    return found


def drafts(server: Headwater) -> list[Path]:
    return list((server.log.parent / "data" / "drafts").iterdir())


CHUNKED = ("-H", "Transfer-Encoding: chunked")
WAYS = {
    "-F": ("-F", "file=@{file}", "{url}/uploads"),
    "-T": ("-T", "{file}", "{url}/uploads/"),
    "-T - chunked": ("-T", "-", "{url}/uploads/file.bin"),
    "--data-binary": ("--data-binary", "@{file}", "{url}/uploads?filename=file.bin"),
    "--data-binary @- chunked": (*CHUNKED, "--data-binary", "@-", "{url}/uploads?filename=file.bin"),
    "no 100-continue": ("-H", "Expect:", "-T", "{file}", "{url}/uploads/"),
    "--limit-rate": ("--limit-rate", "2M", "-T", "{file}", "{url}/uploads/"),
    "HTTP/1.0": ("--http1.0", "-T", "{file}", "{url}/uploads/"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_arrives_whole_up_to_the_limit(limited: Headwater, file: Path, way: str) -> None:
    done = curl("--fail-with-body", *(part.format(file=file, url=limited.url) for part in WAYS[way]), stdin=file)
    assert done.returncode == 0, done.stderr
    upload = json.loads(done.stdout)
    assert (upload["filename"], upload["size"]) == ("file.bin", LIMIT)
    assert upload["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    back = curl(f"{limited.url}/uploads/{upload['upload_id']}/content")
    assert back.stdout == file.read_bytes()


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_told_of_one_byte_too_much(limited: Headwater, file: Path, way: str) -> None:
    with file.open("ab") as longer:
        longer.write(b"x")
    before = len(uploads(limited))
    done = curl("-w", "\n%{http_code}", *(part.format(file=file, url=limited.url) for part in WAYS[way]), stdin=file)
    body, _, status = done.stdout.rpartition(b"\n")
    assert (status, json.loads(body)["code"]) == (b"413", "file_too_large")
    assert len(uploads(limited)) == before
    assert not drafts(limited)


@pytest.mark.parametrize("send", ["-T {file}", "-X PUT --data-binary @{file}"])
def test_a_length_that_is_too_much_is_told_before_a_byte_is_sent(limited: Headwater, file: Path, send: str) -> None:
    """curl asks first, and takes the 413 for the answer: it sends nothing of the file."""
    with file.open("ab") as longer:
        longer.write(b"x")
    done = curl("-w", "\n%{http_code} %{size_upload}", *send.format(file=file).split(), f"{limited.url}/uploads/a")
    assert done.stdout.rpartition(b"\n")[2] == b"413 0"


def test_curl_that_is_stopped_midway_leaves_nothing(limited: Headwater, file: Path) -> None:
    before = len(uploads(limited))
    for stop in (signal.SIGTERM, signal.SIGKILL):
        command = ["curl", "-sS", "--limit-rate", "500k", "-T", str(file), f"{limited.url}/uploads/"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sending:
            wait_until(lambda: any(path.stat().st_size for path in drafts(limited)), 10, "a part has come")
            sending.send_signal(stop)
        wait_until(lambda: not drafts(limited), 10, "what came was removed")
    assert len(uploads(limited)) == before


def test_curl_that_stalls_is_told_so(limited: Headwater, tmp_path: Path) -> None:
    """SIGSTOP: the connection stays, and nothing comes."""
    path = tmp_path / "slow.bin"
    path.write_bytes(bytes(2 * MIB))
    command = ["curl", "-sS", "-w", "%{http_code}", "-o", "/dev/null", "--limit-rate", "300k", "-T", str(path)]
    with subprocess.Popen([*command, f"{limited.url}/uploads/"], stdout=subprocess.PIPE) as sending:
        wait_until(lambda: bool(drafts(limited)), 10, "it is being received")
        sending.send_signal(signal.SIGSTOP)
        wait_until(lambda: not drafts(limited), 20, "it was given up")
        sending.send_signal(signal.SIGCONT)
        assert sending.stdout is not None
        assert sending.stdout.read() == b"408"


def test_a_download_goes_on_where_it_stopped(limited: Headwater, file: Path, tmp_path: Path) -> None:
    upload = json.loads(curl("-T", str(file), f"{limited.url}/uploads/").stdout)
    url, half = f"{limited.url}/uploads/{upload['upload_id']}/content", tmp_path / "half"
    half.write_bytes(file.read_bytes()[: LIMIT // 2])
    assert curl("-C", "-", "-o", str(half), url).returncode == 0
    assert half.read_bytes() == file.read_bytes()


def peak_mib(server: Headwater) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


@pytest.mark.soak
@pytest.mark.parametrize("way", ["-F", "-T", "-T - chunked"])
def test_a_gibibyte_arrives_whole_and_takes_no_memory(echo_server: Headwater, tmp_path: Path, way: str) -> None:
    path = tmp_path / "file.bin"
    dice, digest = random.Random(1), hashlib.sha256()
    with path.open("wb") as large:
        for _ in range(LARGE_BYTES // MIB):
            block = dice.randbytes(MIB)
            digest.update(block)
            large.write(block)
    curl("-T", str(Path(__file__)), f"{echo_server.url}/uploads/")
    before, begun = peak_mib(echo_server), time.monotonic()
    done = curl("--fail-with-body", *(part.format(file=path, url=echo_server.url) for part in WAYS[way]), stdin=path)
    took_s, grown = time.monotonic() - begun, peak_mib(echo_server) - before
    upload = json.loads(done.stdout)
    print(f"\n{way}: {LARGE_BYTES / took_s / 1e6:.0f} MB/s, grown by {grown:.1f} MiB")  # noqa: T201
    assert (upload["size"], upload["sha256"]) == (LARGE_BYTES, digest.hexdigest())
    assert grown <= GROWTH_MIB
    httpx.delete(f"{echo_server.url}/uploads/{upload['upload_id']}").raise_for_status()
