"""The tus protocol against a real server, verb by verb."""

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from tests.raw import connected, fetch, request_bytes
from tests.server import RunningServer, echo_settings, serving, wait_until
from tests.uploads.support import files_in

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
CONTENT = bytes(range(256)) * 4000
MAX = 2_000_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def tus(data: Path) -> Iterator[RunningServer]:
    with serving(echo_settings(data_dir=data, uploads={"max_file_bytes": MAX})) as running:
        yield running


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def create(server: RunningServer, length: int | None = len(CONTENT), **headers: str) -> httpx.Response:
    said = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{server.url}/files", headers={**TUS, **said, **given})


def begun(server: RunningServer, length: int | None = len(CONTENT), **headers: str) -> str:
    return server.url + create(server, length, **headers).headers["location"]


def patch(url: str, offset: int, content: bytes, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return httpx.patch(url, content=content, headers={**BYTES, "Upload-Offset": str(offset), **(headers or {})})


def offset_of(url: str) -> int:
    return int(httpx.head(url, headers=TUS).headers["upload-offset"])


def test_options_say_what_is_spoken(tus: RunningServer) -> None:
    answer = httpx.options(f"{tus.url}/files")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
    assert answer.headers["tus-max-size"] == str(MAX)
    assert set(answer.headers["tus-checksum-algorithm"].split(",")) >= {"sha1", "sha256", "md5"}
    assert "creation-with-upload" in answer.headers["tus-extension"].split(",")


def test_an_upload_in_pieces_becomes_an_upload(tus: RunningServer) -> None:
    created = create(tus, Upload_Metadata=f"filename {b64('Käse.md'.encode())},x")
    assert created.status_code == 201
    assert created.headers["upload-offset"] == "0"
    url = tus.url + created.headers["location"]
    for start, stop in ((0, 1), (1, 300_000), (300_000, len(CONTENT))):
        state = httpx.head(url, headers=TUS)
        assert state.headers["upload-offset"] == str(start)
        assert state.headers["upload-length"] == str(len(CONTENT))
        assert state.headers["cache-control"] == "no-store"
        assert state.headers["upload-metadata"].startswith("filename ")
        assert "x-upload-id" not in state.headers
        done = patch(url, start, CONTENT[start:stop])
        assert (done.status_code, done.headers["upload-offset"]) == (204, str(stop))
        assert "upload-expires" in done.headers
    upload_id = done.headers["x-upload-id"]
    upload = httpx.get(f"{tus.url}/uploads/{upload_id}").json()
    assert (upload["filename"], upload["size"]) == ("Käse.md", len(CONTENT))
    assert upload["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert httpx.get(f"{tus.url}/uploads/{upload_id}/content").content == CONTENT
    state = httpx.head(url, headers=TUS)
    assert (state.headers["upload-offset"], state.headers["x-upload-id"]) == (str(len(CONTENT)), upload_id)


def test_the_first_bytes_may_come_with_the_creation(tus: RunningServer) -> None:
    headers = {**BYTES, "Upload-Length": "10"}
    created = httpx.post(f"{tus.url}/files", headers=headers, content=b"01234")
    assert (created.status_code, created.headers["upload-offset"]) == (201, "5")
    done = patch(tus.url + created.headers["location"], 5, b"56789")
    assert httpx.get(f"{tus.url}/uploads/{done.headers['x-upload-id']}/content").content == b"0123456789"


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"more than was announced" * 9, {}, 413),
        (b"x" * 60, {"Upload-Checksum": f"sha1 {b64(hashlib.sha1(b'other').digest())}"}, 460),
        (b"x" * 60, {"Upload-Checksum": "crc32 AAAA"}, 400),
    ],
)
def test_a_creation_whose_first_bytes_are_refused_leaves_nothing(
    tmp_path: Path, content: bytes, headers: dict[str, str], status: int
) -> None:
    with serving(echo_settings(data_dir=tmp_path, uploads={"max_owner_bytes": 100})) as server:
        said = {**BYTES, "Upload-Length": "60", **headers}
        assert httpx.post(f"{server.url}/files", content=content, headers=said).status_code == status
        assert [*(tmp_path / "parts").iterdir()] == []
        assert create(server, 60).status_code == 201  # nothing was left that counts against the quota


def test_an_empty_upload_is_whole_at_once(tus: RunningServer) -> None:
    created = create(tus, 0)
    assert created.status_code == 201
    assert httpx.get(f"{tus.url}/uploads/{created.headers['x-upload-id']}").json()["size"] == 0


def test_the_length_may_come_later_and_once(tus: RunningServer) -> None:
    url = begun(tus, None)
    assert httpx.head(url, headers=TUS).headers["upload-defer-length"] == "1"
    assert patch(url, 0, b"01234").status_code == 204
    assert patch(url, 5, b"56", {"Upload-Length": "10"}).status_code == 204
    assert httpx.head(url, headers=TUS).headers["upload-length"] == "10"
    assert patch(url, 7, b"7", {"Upload-Length": "11"}).status_code == 400
    assert "x-upload-id" in patch(url, 7, b"789", {"Upload-Length": "10"}).headers


def test_bytes_belong_where_the_upload_stands(tus: RunningServer) -> None:
    url = begun(tus, 10)
    assert patch(url, 1, b"x").status_code == 409
    assert patch(url, 0, b"01234").status_code == 204
    for wrong in (0, 4, 6, 10):
        refused = patch(url, wrong, b"x")
        assert (refused.status_code, refused.json()["code"]) == (409, "offset_mismatch")
        assert refused.headers["tus-resumable"] == "1.0.0"
    assert offset_of(url) == 5


def test_more_than_was_announced_is_refused(tus: RunningServer) -> None:
    url = begun(tus, 10)
    assert patch(url, 0, b"x" * 11).status_code == 413

    def chunked() -> Iterator[bytes]:
        yield b"x" * 6
        yield b"x" * 6

    sent = httpx.patch(url, content=chunked(), headers={**BYTES, "Upload-Offset": "0"})
    assert sent.status_code == 413
    assert offset_of(url) == 0


@pytest.mark.parametrize(("length", "status"), [(MAX, 201), (MAX + 1, 413)])
def test_the_largest_file_is_the_largest(tus: RunningServer, length: int, status: int) -> None:
    assert create(tus, length).status_code == status


def test_a_deferred_length_is_bounded_too(tus: RunningServer) -> None:
    url = begun(tus, None)
    assert patch(url, 0, b"x" * (MAX + 1)).status_code == 413
    assert patch(url, 0, b"x", {"Upload-Length": str(MAX + 1)}).status_code == 413
    assert offset_of(url) == 0


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_bytes_that_are_not_those_summed_up_are_dropped(tus: RunningServer, data: Path, algorithm: str) -> None:
    url = begun(tus, 10)
    right = {"Upload-Checksum": f"{algorithm} {b64(hashlib.new(algorithm, b'01234').digest())}"}
    refused = patch(url, 0, b"0123x", right)
    assert (refused.status_code, refused.json()["code"]) == (460, "checksum_mismatch")
    assert offset_of(url) == 0
    assert (data / "parts" / url.rpartition("/")[2]).stat().st_size == 0
    assert patch(url, 0, b"01234", right).status_code == 204
    assert offset_of(url) == 5
    assert patch(url, 5, b"5", {"Upload-Checksum": "crc32 YQ=="}).status_code == 400


def test_a_part_can_be_given_up(tus: RunningServer) -> None:
    url = begun(tus, 10)
    patch(url, 0, b"01234")
    assert httpx.delete(url, headers=TUS).status_code == 204
    for answer in (httpx.head(url, headers=TUS), patch(url, 5, b"x"), httpx.delete(url, headers=TUS)):
        assert answer.status_code == 404
        assert answer.headers["tus-resumable"] == "1.0.0"


def test_giving_up_a_whole_one_deletes_its_upload(tus: RunningServer) -> None:
    url = begun(tus, 3)
    upload_id = patch(url, 0, b"abc").headers["x-upload-id"]
    assert httpx.delete(url, headers=TUS).status_code == 204
    assert httpx.get(f"{tus.url}/uploads/{upload_id}").status_code == 404


def test_methods_may_be_overridden(tus: RunningServer) -> None:
    url = begun(tus, 3)

    def override(method: str, content: bytes = b"", **more: str) -> httpx.Response:
        return httpx.post(url, headers={**TUS, **more, "X-HTTP-Method-Override": method}, content=content)

    sent = override("PATCH", b"abc", **BYTES, **{"Upload-Offset": "0"})
    assert (sent.status_code, sent.headers["upload-offset"]) == (204, "3")
    assert override("HEAD").headers["upload-offset"] == "3"
    assert override("DELETE").status_code == 204
    assert override("GET").status_code == 405


def test_what_is_not_the_protocol_is_refused_with_its_own_status(tus: RunningServer) -> None:
    url = begun(tus, 3)
    for answer in (
        httpx.head(url),
        httpx.post(f"{tus.url}/files", headers={"Upload-Length": "3"}),
        httpx.patch(url, headers={**BYTES, "Tus-Resumable": "0.2.2"}, content=b"x"),
    ):
        assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0")
    assert httpx.patch(url, headers={**TUS, "Upload-Offset": "0"}, content=b"x").status_code == 415
    assert httpx.patch(url, headers=BYTES, content=b"x").status_code == 400
    assert create(tus, None, Upload_Length="3").status_code == 400
    assert httpx.head(f"{tus.url}/files/p{'0' * 32}", headers=TUS).status_code == 404
    assert httpx.head(f"{tus.url}/files/..%2fblobs", headers=TUS).status_code == 404


@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_what_came_before_a_cut_is_kept(tus: RunningServer, how: str) -> None:
    url = begun(tus)
    path = url.removeprefix(tus.url)
    head = request_bytes("PATCH", path, {**BYTES, "Upload-Offset": "0", "Content-Length": str(len(CONTENT))}, b"")
    async with connected(tus.port) as one:
        one.writer.write(head + CONTENT[:700_000])
        await one.writer.drain()
        one.cut("rst" if how == "rst" else "fin")
        kept = await asyncio.to_thread(offset_of, url)
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(offset_of, url):  # noqa: ASYNC110  the server learns of it when it does
            await asyncio.sleep(0.01)
    kept = await asyncio.to_thread(offset_of, url)
    assert 0 < kept <= 700_000
    done = await asyncio.to_thread(patch, url, kept, CONTENT[kept:])
    content = await asyncio.to_thread(httpx.get, f"{tus.url}/uploads/{done.headers['x-upload-id']}/content")
    assert content.content == CONTENT


async def test_a_newer_request_ends_an_older_one(tus: RunningServer) -> None:
    """The connection of a client that moved to another network looks alive for minutes."""
    url = begun(tus)
    path = url.removeprefix(tus.url)
    head = request_bytes("PATCH", path, {**BYTES, "Upload-Offset": "0", "Content-Length": str(len(CONTENT))}, b"")
    async with connected(tus.port) as old:
        old.writer.write(head + CONTENT[:600_000])
        await old.writer.drain()
        answered = asyncio.create_task(old.read_head())
        while not answered.done():  # the first of them may come before the older one has begun
            state, _ = await fetch(tus.port, "HEAD", path, TUS)
        kept = int(state.headers["upload-offset"])
        assert answered.result().status == 423
        assert (await asyncio.to_thread(patch, url, kept, CONTENT[kept:])).status_code == 204


async def test_two_at_once_never_mix_their_bytes(tus: RunningServer) -> None:
    """Twenty clients send the same upload from where they believe it stands: it is whole, and as one sent it."""
    url = begun(tus)

    async def send() -> int:
        async with httpx.AsyncClient() as client:
            offset = int((await client.head(url, headers=TUS)).headers["upload-offset"])
            headers = {**BYTES, "Upload-Offset": str(offset)}
            return (await client.patch(url, content=in_pieces(CONTENT[offset:]), headers=headers)).status_code

    statuses = await asyncio.gather(*(send() for _ in range(20)), return_exceptions=True)
    assert {status for status in statuses if isinstance(status, int)} <= {204, 409, 413, 423}
    kept = await asyncio.to_thread(offset_of, url)
    done = await asyncio.to_thread(patch, url, kept, CONTENT[kept:])
    upload = await asyncio.to_thread(httpx.get, f"{tus.url}/uploads/{done.headers['x-upload-id']}")
    assert upload.json()["sha256"] == hashlib.sha256(CONTENT).hexdigest()


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 50_000):
        yield content[start : start + 50_000]
        await asyncio.sleep(0)


def test_a_part_outlives_the_service(tmp_path: Path) -> None:
    settings = echo_settings(data_dir=tmp_path)
    with serving(settings) as server:
        path = create(server).headers["location"]
        patch(server.url + path, 0, CONTENT[:500_000])
    with serving(settings) as server:
        assert offset_of(server.url + path) == 500_000
        done = patch(server.url + path, 500_000, CONTENT[500_000:])
        assert httpx.get(f"{server.url}/uploads/{done.headers['x-upload-id']}/content").content == CONTENT
    assert not files_in(tmp_path, "parts", "drafts")


def test_what_is_not_finished_in_time_goes(tmp_path: Path) -> None:
    with serving(echo_settings(data_dir=tmp_path, uploads={"part_ttl_s": 0.2, "sweep_interval_s": 0.5})) as server:
        created = create(server)
        url = server.url + created.headers["location"]
        assert patch(url, 0, b"x").status_code in (204, 410)
        wait_until(lambda: httpx.head(url, headers=TUS).status_code in (404, 410), 5, "the part has expired")
        assert patch(url, 1, b"x").status_code in (404, 410)
        wait_until(lambda: not files_in(tmp_path, "parts"), 5, "the sweep took its bytes")
        assert httpx.head(url, headers=TUS).status_code == 404


def test_an_expired_part_says_so(tmp_path: Path) -> None:
    with serving(echo_settings(data_dir=tmp_path, uploads={"part_ttl_s": 0.05, "sweep_interval_s": 600})) as server:
        url = begun(server)
        time.sleep(0.06)
        answer = patch(url, 0, b"x")
        assert (answer.status_code, answer.json()["code"]) == (410, "part_expired")


def test_a_length_is_counted_before_its_bytes_come(tmp_path: Path) -> None:
    with serving(echo_settings(data_dir=tmp_path, uploads={"max_owner_bytes": 100})) as server:
        url = begun(server, 60)
        refused = create(server, 41)
        assert (refused.status_code, refused.json()["code"]) == (507, "quota_exceeded")
        assert httpx.post(f"{server.url}/uploads", content=b"x" * 41).status_code == 507
        assert httpx.delete(url, headers=TUS).status_code == 204
        url = begun(server, None)
        assert patch(url, 0, b"x" * 101).status_code == 507
        assert patch(url, 0, b"x" * 100, {"Upload-Length": "100"}).status_code == 204
