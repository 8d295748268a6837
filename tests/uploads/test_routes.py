"""Files over the wire: in by every way, out again, and never out of their place."""

import asyncio
import hashlib
import json
import re
import urllib.parse
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.objects import ObjectServer
from tests.raw import connected, request_bytes
from tests.server import RunningServer, echo_settings, server_process, serving, wait_until
from tests.uploads.support import files_in

CONTENT = bytes(range(256)) * 4000
SIZE = len(CONTENT)
LIMIT = 1_500_000
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def files(data: Path) -> Iterator[RunningServer]:
    limits = {
        "max_file_bytes": LIMIT,
        "max_request_bytes": 3 * LIMIT,
        "max_files_per_request": 3,
        "idle_timeout_s": 0.5,
    }
    with serving(echo_settings(data_dir=data, uploads=limits, max_body_bytes=100_000)) as running:
        yield running


def put(server: RunningServer, content: bytes = CONTENT, name: str = "a.bin") -> dict[str, Any]:
    answer = httpx.put(f"{server.url}/uploads/{name}", content=content)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def content_url(server: RunningServer, upload: dict[str, Any]) -> str:
    return f"{server.url}/uploads/{upload['upload_id']}/content"


def everything(server: RunningServer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{server.url}/uploads", params={"limit": 1000}).json()["uploads"]
    return found


def test_every_way_in_gives_the_same_upload(files: RunningServer) -> None:
    answers = [
        httpx.put(f"{files.url}/uploads/a.bin", content=CONTENT),
        httpx.post(f"{files.url}/uploads", params={"filename": "a.bin"}, content=CONTENT),
        httpx.post(f"{files.url}/uploads", params={"filename": "a.bin"}, content=iter([CONTENT[:9], CONTENT[9:]])),
        httpx.post(f"{files.url}/uploads", files={"file": ("a.bin", CONTENT)}),
    ]
    for answer in answers:
        assert answer.status_code == 201
        upload = answer.json()
        assert answer.headers["location"] == f"/uploads/{upload['upload_id']}"
        assert (upload["filename"], upload["size"]) == ("a.bin", SIZE)
        assert upload["sha256"] == hashlib.sha256(CONTENT).hexdigest()
        assert httpx.get(files.url + answer.headers["location"]).json() == upload
        assert httpx.get(content_url(files, upload)).content == CONTENT


def test_several_files_come_as_a_list(files: RunningServer) -> None:
    sent = [("file", (f"{number}.txt", str(number).encode())) for number in range(3)]
    answer = httpx.post(f"{files.url}/uploads", files=sent)
    assert answer.status_code == 201
    assert [upload["filename"] for upload in answer.json()] == ["0.txt", "1.txt", "2.txt"]
    assert {upload["media_type"] for upload in answer.json()} == {"text/plain"}


def test_the_list_has_pages(files: RunningServer) -> None:
    for number in range(5):
        put(files, str(number).encode())
    seen: list[str] = []
    after: str | None = None
    while True:
        page = httpx.get(f"{files.url}/uploads", params={"limit": 2, **({"after": after} if after else {})}).json()
        seen += [upload["upload_id"] for upload in page["uploads"]]
        after = page["next"]
        if after is None:
            break
        assert len(page["uploads"]) == 2
    assert seen == [upload["upload_id"] for upload in everything(files)]
    for query in ("limit=0", "limit=1001", "after=x", "after=", "other=1"):
        assert httpx.get(f"{files.url}/uploads?{query}").status_code == 422


def test_a_deleted_upload_is_gone(files: RunningServer) -> None:
    upload = put(files, b"only here")
    url = f"{files.url}/uploads/{upload['upload_id']}"
    assert httpx.delete(url).status_code == 204
    for answer in (httpx.delete(url), httpx.get(url), httpx.get(f"{url}/content"), httpx.head(f"{url}/content")):
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    assert httpx.get(url).json()["code"] == "unknown_upload"


@pytest.mark.parametrize("upload_id", ["x", "u" + "0" * 32, "U" + "0" * 32, "u%00", "%2e%2e", "u" + "f" * 31 + "%ff"])
def test_an_id_that_is_none_is_not_found(files: RunningServer, upload_id: str) -> None:
    assert httpx.get(f"{files.url}/uploads/{upload_id}").status_code == 404


def test_a_download_is_saved_and_never_shown(files: RunningServer) -> None:
    upload = put(files, b"<html><script>alert(1)</script>", 'Käse; "x".html')
    answer = httpx.get(content_url(files, upload))
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith("attachment; ")
    assert urllib.parse.unquote(disposition.rpartition("UTF-8''")[2]) == 'Käse; "x".html'
    assert re.search(r'filename="([^"]*)"', disposition)


def test_head_says_what_get_would_send(files: RunningServer) -> None:
    upload = put(files)
    url = content_url(files, upload)
    head, got = httpx.head(url), httpx.get(url)
    assert head.status_code == 200
    assert head.content == b""
    for name in ("content-length", "etag", "content-type", "accept-ranges", "content-disposition"):
        assert head.headers[name] == got.headers[name]
    assert head.headers["content-length"] == str(SIZE)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=100-299", 100, 300), ("bytes=-5", SIZE - 5, SIZE), ("bytes=9-", 9, SIZE)],
)
def test_a_range_is_part_of_the_file(files: RunningServer, asked: str, start: int, stop: int) -> None:
    answer = httpx.get(content_url(files, put(files)), headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == CONTENT[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"


def test_several_ranges_come_in_parts(files: RunningServer) -> None:
    answer = httpx.get(content_url(files, put(files)), headers={"Range": "bytes=0-9,500-599,-3"})
    assert answer.status_code == 206
    assert len(answer.content) == int(answer.headers["content-length"])
    whole = message_from_bytes(
        b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n" + answer.content
    )
    parts: list[Any] = whole.get_payload()  # type: ignore[assignment]  # of a multipart message it is the parts
    assert [part["Content-Range"] for part in parts] == [
        f"bytes {start}-{stop - 1}/{SIZE}" for start, stop in ((0, 10), (500, 600), (SIZE - 3, SIZE))
    ]
    for content in (CONTENT[:10], CONTENT[500:600], CONTENT[-3:]):
        assert b"\r\n\r\n" + content + b"\r\n--" in answer.content


def test_a_range_that_has_no_byte_is_416(files: RunningServer) -> None:
    answer = httpx.get(content_url(files, put(files)), headers={"Range": f"bytes={SIZE}-"})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize("asked", ["bytes=5-2", "lines=1-2", "bytes=a", "bytes=" + ",".join(["0-1"] * 1000)])
def test_a_range_that_is_none_gives_the_whole(files: RunningServer, asked: str) -> None:
    answer = httpx.get(content_url(files, put(files, b"0123456789")), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, b"0123456789")


def test_if_range_gives_a_part_only_of_the_same_file(files: RunningServer) -> None:
    url = content_url(files, put(files, b"0123456789"))
    etag = httpx.head(url).headers["etag"]
    for tag, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200), ("Sat, 21 Nov 2026 10:00:00 GMT", 200)):
        assert httpx.get(url, headers={"Range": "bytes=1-2", "If-Range": tag}).status_code == status
    for tag, status in ((etag, 304), (f'"x", W/{etag}', 304), ("*", 304), ('"x"', 200)):
        answer = httpx.get(url, headers={"If-None-Match": tag})
        assert (answer.status_code, bool(answer.content)) == (status, status == 200)


def test_an_empty_file_is_a_file(files: RunningServer) -> None:
    upload = put(files, b"", "empty.txt")
    assert upload["size"] == 0
    answer = httpx.get(content_url(files, upload))
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")
    assert httpx.get(content_url(files, upload), headers={"Range": "bytes=0-"}).status_code == 416


UPS = (
    *("../", "..\\", "..%2f", "..%5c", "%2e%2e/", "%2e%2e%2f", "..;/", "....//", "..././", "%252e%252e%252f"),
    *("..%c0%af", "..%ef%bc%8f", "\u2025/", "\uff0e\uff0e/", ".%00./"),
)
STARTS = (
    *("/", "//", "C:\\", "\\\\host\\share\\", "file:///", "~/", "~root/", "/proc/self/root/", "\\\\?\\C:\\"),
    *("./", "a/../"),
)
TARGETS = ("etc/passwd", "headwater.db", "blobs/x", "proc/self/environ", "boot.ini")
ODD = (
    *(
        "..",
        ".",
        "...",
        " ..",
        ".. ",
        "..\t",
        "CON",
        "NUL.txt",
        "a.txt::$DATA",
        "-rf",
        "--help",
        "$(id)",
        "`id`",
        "|id",
    ),
    *(";id", "%s%n", "*", "?", "x" * 5000, "a\r\nb", "\x1b[2J", "\u202etxt.exe", "{{7*7}}", "<script>"),
)


def traversals() -> list[str]:
    """300 names that have got others out of their folder."""
    names = [up * times + target for up in UPS for times in (1, 3, 12) for target in TARGETS]
    return [*names, *(start + target for start in STARTS for target in TARGETS), *ODD][:300]


def test_300_names_that_lead_elsewhere_are_only_labels(files: RunningServer, data: Path) -> None:
    """By form, by query and by path: every file lands under a name of our own, and nothing else changes."""
    names = traversals()
    assert len(names) == len(set(names)) == 300
    before = {path for path in data.parent.rglob("*") if path.is_file()} - set(files_in(data))
    ways = (by_form, by_query, by_path)
    with httpx.Client(base_url=files.url) as client:
        for number, name in enumerate(names):
            for way in (ways[number % 3], ways[(number + 1) % 3]):
                assert_label(way(client, name, str(number).encode()))
    assert all(re.fullmatch(r"[0-9a-f]{32}", path.name) for path in files_in(data))
    after = {path for path in data.parent.rglob("*") if path.is_file()} - set(files_in(data))
    assert after == before
    assert len(files_in(data, "blobs")) == len({upload["sha256"] for upload in everything(files)})


def assert_label(answer: httpx.Response) -> None:
    """Refused, or taken under a name that is one line and no path."""
    assert answer.status_code in (201, 400, 404, 405, 422), answer.text
    if answer.status_code == 201:
        label = answer.json()["filename"]
        assert label
        assert label not in (".", "..")
        assert not set(label) & set("/\\\0\r\n")


def by_form(client: httpx.Client, name: str, content: bytes) -> httpx.Response:
    return client.post("/uploads", files={"file": (name, content)})


def by_query(client: httpx.Client, name: str, content: bytes) -> httpx.Response:
    return client.post("/uploads", params={"filename": name[:4000]}, content=content)


def by_path(client: httpx.Client, name: str, content: bytes) -> httpx.Response:
    """As it stands: clients tidy paths up."""

    async def send() -> httpx.Response:
        async with connected(client.base_url.port or 0) as one:
            one.writer.write(request_bytes("PUT", "/uploads/" + urllib.parse.quote(name, safe="%/;"), {}, content))
            await one.read_head()
            return httpx.Response(one.status, content=await one.read_all())

    return asyncio.run(send())


@pytest.mark.parametrize(
    ("send", "code"),
    [
        ({"files": {"other": b"x"}}, "invalid_request"),
        ({"files": {"file": b"x"}, "data": {"prompt": "x"}}, "invalid_request"),
        ({"files": {"file": b"x"}, "params": {"filename": "x"}}, "invalid_request"),
        ({"content": b"x", "params": {"name": "x"}}, "invalid_request"),
        ({"content": b"x", "params": {"filename": "a\0b"}}, "invalid_filename"),
        ({"content": b"--x--\r\n", "headers": FORM}, "no_file"),
        ({"files": {"file": (None, "report.pdf")}}, "no_file"),
        ({"content": b"--x\r\nbroken", "headers": FORM}, "broken_multipart"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, "broken_multipart"),
        ({"content": b"x", "headers": {"Content-Encoding": "gzip"}}, "unsupported_media_type"),
        ({"content": b"x" * (LIMIT + 1)}, "file_too_large"),
        ({"content": iter([b"x" * LIMIT, b"x"])}, "file_too_large"),
        ({"files": {"file": b"x" * (LIMIT + 1)}}, "file_too_large"),
        ({"files": [("file", str(n).encode()) for n in range(4)]}, "too_many_files"),
        ({"files": [("file", b"x" * LIMIT)] * 3}, "body_too_large"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_leaves_nothing(
    files: RunningServer, data: Path, send: dict[str, Any], code: str
) -> None:
    before = (len(files_in(data)), len(everything(files)))
    answer = httpx.post(f"{files.url}/uploads", **send)
    assert answer.json()["code"] == code
    assert 400 <= answer.status_code < 500
    assert (len(files_in(data)), len(everything(files))) == before


def test_the_limit_is_exact(files: RunningServer) -> None:
    assert put(files, bytes(LIMIT))["size"] == LIMIT
    chunked = httpx.put(f"{files.url}/uploads/x", content=iter([bytes(LIMIT)]))
    assert chunked.json()["size"] == LIMIT
    form = httpx.post(f"{files.url}/uploads", files={"file": bytes(LIMIT)})
    assert form.json()["size"] == LIMIT


def test_larger_bodies_are_only_for_files(files: RunningServer) -> None:
    assert httpx.post(f"{files.url}/predict", content=json.dumps({"text": "x" * 100_000})).status_code == 413
    assert httpx.post(f"{files.url}/uploadsx", content=bytes(100_001)).status_code == 413


async def test_a_body_that_stalls_is_given_up(files: RunningServer, data: Path) -> None:
    before = len(files_in(data))
    async with connected(files.port) as one:
        one.writer.write(request_bytes("PUT", "/uploads/x", {"Content-Length": "1000"}, b"") + b"x" * 10)
        await one.read_head()
        assert (one.status, json.loads(await one.read_all())["code"]) == (408, "body_stalled")
    assert len(files_in(data)) == before


@pytest.mark.parametrize("how", ["rst", "fin", "half"])
async def test_a_body_that_is_cut_leaves_nothing(files: RunningServer, data: Path, how: Any) -> None:
    before = (len(files_in(data)), len(everything(files)))
    async with connected(files.port) as one:
        one.writer.write(request_bytes("PUT", "/uploads/x", {"Content-Length": str(LIMIT)}, b"") + CONTENT)
        await one.writer.drain()
        await asyncio.to_thread(wait_until, lambda: files_in(data, "drafts"), 5, "it is being received")
        one.cut(how)
        await asyncio.to_thread(wait_until, lambda: not files_in(data, "drafts"), 5, "it was removed")
    assert (len(files_in(data)), len(everything(files))) == before


def test_a_leaving_service_takes_no_new_files_and_finishes_those_that_come(tmp_path: Path) -> None:
    """The first half is sent, SIGTERM comes, the second half is still taken."""
    with server_process(tmp_path, shutdown_grace_s=10) as server:
        url = f"http://127.0.0.1:{server.port}"

        def slowly() -> Iterator[bytes]:
            yield CONTENT
            wait_until(lambda: files_in(tmp_path / "data", "drafts"), 5, "it is being received")
            server.process.terminate()
            wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 503, 5, "it is leaving")
            refused = httpx.put(f"{url}/uploads/b", content=b"x")
            assert (refused.status_code, refused.json()["code"]) == (503, "uploads_closing")
            assert "retry-after" in refused.headers
            for path in ("process-file", "process-batch", "upload-image"):
                refused = httpx.post(f"{url}/{path}", files={"file": b"x"})
                assert (refused.status_code, refused.json()["code"]) in [
                    (503, "uploads_closing"),
                    (503, "shutting_down"),
                ]
            yield CONTENT

        answer = httpx.put(f"{url}/uploads/a", content=slowly())
        assert (answer.status_code, answer.json()["size"]) == (201, 2 * SIZE)
        assert server.process.wait(10) == 0


def test_files_are_kept_in_an_object_store(tmp_path: Path, objects: ObjectServer) -> None:
    kept = {"s3_url": objects.new_bucket(), "s3_endpoint": objects.endpoint}
    with serving(echo_settings(data_dir=tmp_path, uploads=kept)) as server:
        first, second = put(server), put(server, name="b.bin")
        url = content_url(server, first)
        assert httpx.get(url).content == CONTENT
        assert httpx.get(url, headers={"Range": "bytes=5-9"}).content == CONTENT[5:10]
        bucket = f"{objects.endpoint}/{kept['s3_url'].removeprefix('s3://')}"
        assert httpx.get(bucket).text.count("<Key>") == 1
        for upload in (first, second):
            assert httpx.delete(f"{server.url}/uploads/{upload['upload_id']}").status_code == 204
        assert "<Key>" not in httpx.get(bucket).text
    assert not files_in(tmp_path, "drafts", "parts")
