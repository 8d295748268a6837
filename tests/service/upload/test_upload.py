"""`headwater upload` against a real server: over cuts, without tus, interrupted and gone on with, with jobs."""

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from starlette.middleware.base import RequestResponseEndpoint

from service.commands.chat import API_KEY_VARIABLE
from service.settings_load import load_settings
from service.upload.client import Transfer, UploadClient, UploadError, blocks, transfer_of
from tests.e2e.cutter import cutting
from tests.server import RunningServer, echo_settings, server_process, serving, wait_until
from tests.service.metrics.scrape import scrape

WITHIN_S = 60
MIB = 1024 * 1024


def headwater(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service", "upload", *map(str, arguments)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=WITHIN_S, check=False, env={**clean, **environment}
    )


def sent(url: str, transfer: Transfer) -> tuple[str, list[int]]:
    """The upload's id, and what was shown."""
    shown: list[int] = []
    client = UploadClient(url, None)
    try:
        return client.upload(transfer, shown.append), shown
    finally:
        client.close()


def assert_kept(server: RunningServer, upload_id: str, path: Path) -> None:
    state = httpx.get(f"{server.url}/uploads/{upload_id}").json()
    assert (state["filename"], state["size"]) == (path.name, path.stat().st_size)
    assert state["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Käse (1).bin"
    path.write_bytes(random.Random(1).randbytes(5 * MIB + 17))
    return path


def without_tus(app: Any) -> None:
    app.router.routes[:] = [route for route in app.router.routes if not serves_tus(route)]
    app.state.policies = {line: policy for line, policy in app.state.policies.items() if " /files" not in line}


def serves_tus(route: Any) -> bool:
    return any(path.startswith("/files") for path in paths_of(route))


def paths_of(route: Any) -> list[str]:
    inner = getattr(getattr(route, "original_router", None), "routes", [route])
    return [getattr(one, "path", "") for one in inner]


@pytest.fixture
def plain() -> Iterator[RunningServer]:
    with serving(prepare=without_tus) as running:
        yield running


def test_a_file_arrives_whole_over_a_network_that_cuts(server: RunningServer, file: Path) -> None:
    with cutting(server.port, [300_000, 2 * MIB, MIB]) as cutter:
        upload_id, shown = sent(cutter.url, transfer_of(file))
        assert cutter.made == 3
    assert_kept(server, upload_id, file)
    assert shown[-1] == file.stat().st_size


def test_an_empty_file_arrives(server: RunningServer, tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    upload_id, _ = sent(server.url, transfer_of(path))
    assert_kept(server, upload_id, path)


def test_a_server_without_tus_gets_the_file_in_one_piece(plain: RunningServer, file: Path) -> None:
    assert httpx.post(f"{plain.url}/files").status_code == 404
    upload_id, shown = sent(plain.url, transfer_of(file))
    assert_kept(plain, upload_id, file)
    assert shown[-1] == file.stat().st_size


def test_what_is_too_large_is_said_in_the_servers_words(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 2000)
    with serving(echo_settings(uploads={"max_file_bytes": 1000})) as small:
        done = headwater(path, "--url", small.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "1000 bytes" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_shrinks_is_not_sent_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "shrunk"
    path.write_bytes(b"short")
    with path.open("rb") as opened, pytest.raises(UploadError, match="shorter"):
        list(blocks(opened, 0, 100, lambda _: None))


def test_each_file_has_a_line_with_its_id(server: RunningServer, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("text")
    done = headwater(file, other, "--url", server.url)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [path for _, path in lines] == [str(file), str(other)]
    for upload_id, path in lines:
        assert_kept(server, upload_id, Path(path))


def test_what_cannot_be_read_is_asked_wrongly(tmp_path: Path) -> None:
    done = headwater(tmp_path / "nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert headwater(tmp_path).returncode == 2


def test_an_address_that_is_none_is_asked_wrongly(file: Path) -> None:
    assert headwater(file, "--url", "http://127.0.0.1:many").returncode == 2


def test_two_files_cannot_go_on_with_one_upload(file: Path) -> None:
    assert headwater(file, file, "--resume", "f1").returncode == 2


def test_a_server_that_is_not_there_is_one_line_and_1(file: Path) -> None:
    done = headwater(file, "--url", "http://127.0.0.1:9")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "--url" in done.stderr


def test_an_interrupted_upload_says_how_to_go_on(tmp_path: Path) -> None:
    """A gigabyte of nothing: long enough to be stopped in the middle."""
    path = tmp_path / "large.bin"
    with path.open("wb") as opened:
        opened.truncate(1024 * MIB)
    with server_process(tmp_path, data_dir=tmp_path / "data") as running:
        url = f"http://127.0.0.1:{running.port}"
        command = [sys.executable, "-m", "service", "upload", str(path), "--url", url]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asked:
            wait_until(lambda: scrape(url).value("upload_bytes_total") > MIB, WITHIN_S, "bytes have come")
            asked.send_signal(signal.SIGINT)
            out, said = asked.communicate(timeout=WITHIN_S)
        assert (asked.returncode, out) == (130, "")
        part = re.search(r"--resume (\w+) --url", said)
        assert part, said
        head = httpx.head(f"{url}/files/{part[1]}", headers={"Tus-Resumable": "1.0.0"})
        assert 0 < int(head.headers["upload-offset"]) < 1024 * MIB


def test_an_upload_is_gone_on_with(server: RunningServer, file: Path, tmp_path: Path) -> None:
    tus = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
    name = "S8Okc2UgKDEpLmJpbg=="
    begun = {**tus, "Upload-Length": str(file.stat().st_size), "Upload-Metadata": f"filename {name}"}
    content = file.read_bytes()
    made = httpx.post(f"{server.url}/files", headers=begun, content=content[:MIB])
    part = made.headers["location"].rpartition("/")[2]
    before = scrape(server.url).value("upload_bytes_total")
    other = tmp_path / "other"
    other.write_bytes(b"x")
    assert "another size" in headwater(other, "--resume", part, "--url", server.url).stderr
    done = headwater(file, "--resume", part, "--url", server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert_kept(server, done.stdout.split("\t")[0], file)
    assert scrape(server.url).value("upload_bytes_total") - before == len(content) - MIB
    gone = headwater(file, "--resume", "f" + "0" * 32, "--url", server.url)
    assert (gone.returncode, "begin it again" in gone.stderr, "Go on" in gone.stderr) == (1, True, False)


def test_a_file_is_made_searchable(server: RunningServer, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("The large pump costs twelve euro.")
    done = headwater(path, "--process", "--url", server.url)
    assert (done.returncode, done.stderr) == (0, "")
    (upload_id, _), (job_id, shown) = (line.split("\t") for line in done.stdout.splitlines())
    assert shown == str(path)
    assert httpx.get(f"{server.url}/jobs/{job_id}").json()["upload_id"] == upload_id
    found = httpx.post(f"{server.url}/search", json={"query": "pump", "upload_ids": [upload_id]}, timeout=WITHIN_S)
    assert found.json()["results"][0]["upload_id"] == upload_id


def test_a_file_that_cannot_be_read_is_said_and_1(server: RunningServer, tmp_path: Path) -> None:
    path = tmp_path / "broken.pdf"
    path.write_bytes(b"%PDF-1.7\nnot one")
    done = headwater(path, "--process", "--url", server.url)
    assert done.returncode == 1
    job = httpx.get(f"{server.url}/jobs/{done.stdout.splitlines()[1].split()[0]}").json()
    assert job["error"]["message"] in done.stderr


def test_the_key_is_sent_and_is_no_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[str | None] = []

    async def keep(request: Request, call_next: RequestResponseEndpoint) -> Response:
        seen.append(request.headers.get("x-api-key"))
        return await call_next(request)

    def look(app: FastAPI) -> None:
        app.middleware("http")(keep)

    path = tmp_path / "a"
    path.write_bytes(b"1")
    with serving(prepare=look) as running:
        assert headwater(path, "--url", running.url, **{API_KEY_VARIABLE: "a-key"}).returncode == 0
    assert set(seen) == {"a-key"}
    monkeypatch.setenv(API_KEY_VARIABLE, "a-key")
    load_settings()


def test_processing_asks_for_an_upload_of_ones_own(server: RunningServer) -> None:
    assert httpx.post(f"{server.url}/uploads/u{'0' * 32}/process").json()["code"] == "unknown_upload"
