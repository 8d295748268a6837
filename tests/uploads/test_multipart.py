"""Multipart bodies, cut into pieces everywhere, good and broken ones."""

from collections.abc import AsyncIterator

import pytest

from uploads.errors import BrokenMultipart, TooLarge
from uploads.multipart import MAX_HEADER_BYTES, MAX_HEADERS, Multipart, is_multipart

TYPE = "multipart/form-data; boundary=xyz"


def part(head: str, content: bytes) -> bytes:
    return b"--xyz\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"


def file_part(content: bytes, filename: str = "a.txt", name: str = "file") -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"; filename="{filename}"', content)


END = b"--xyz--\r\n"


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(body: bytes, size: int = 7, content_type: str = TYPE) -> list[tuple[str, str | None, bytes]]:
    parts = Multipart(pieces(body, size), content_type)
    return [(one.name, one.filename, b"".join([piece async for piece in one])) async for one in parts]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
async def test_parts_come_whole_however_the_body_is_cut(size: int) -> None:
    tricky = b"\r\n--xy\r\n--xyzz\r\n\r\n--\r--xyz" + bytes(range(256))
    body = (
        file_part(tricky) + part('Content-Disposition: form-data; name="prompt"', b"why?") + file_part(b"", "b") + END
    )
    assert await read(body, size) == [("file", "a.txt", tricky), ("prompt", None, b"why?"), ("file", "b", b"")]


async def test_a_part_that_is_not_read_is_skipped() -> None:
    parts = Multipart(pieces(file_part(b"x" * 1000) + file_part(b"y", "b") + END, 10), TYPE)
    assert [one.filename async for one in parts] == ["a.txt", "b"]


async def test_text_is_bounded_and_utf8() -> None:
    async def only(content: bytes, max_bytes: int) -> str:
        part_of_body = await anext(Multipart(pieces(file_part(content) + END, 5), TYPE))
        return await part_of_body.text(max_bytes)

    assert await only("Käse".encode(), 5) == "Käse"
    with pytest.raises(TooLarge):
        await only("Käse".encode(), 4)
    with pytest.raises(BrokenMultipart):
        await only(b"\xff", 4)


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("Käse.txt", "Käse.txt"),
        ("a%22b%0D%0A.txt", 'a"b\r\n.txt'),
        ('a\\"b.txt', 'a"b.txt'),
        ("100%.txt", "100%.txt"),
        ("", ""),
    ],
)
async def test_names_are_what_browsers_and_curl_mean(sent: str, name: str) -> None:
    assert (await read(file_part(b"", sent) + END))[0][1] == name


async def test_a_name_in_an_old_encoding_is_not_lost() -> None:
    body = file_part(b"", "K?se").replace(b"?", b"\xe4") + END
    assert (await read(body))[0][1] == "Käse"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--xyz",
        file_part(b"x"),
        file_part(b"x")[:-2],
        b"--xyz\r\nno colon\r\n\r\nx\r\n" + END,
        part("X: " + "y" * (MAX_HEADER_BYTES + 1), b"") + END,
        part("\r\n".join(f"X{n}: y" for n in range(MAX_HEADERS + 1)), b"") + END,
    ],
)
async def test_a_broken_body_is_refused(body: bytes) -> None:
    with pytest.raises(BrokenMultipart):
        await read(body)


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 300],
)
async def test_a_boundary_that_cannot_be_is_refused(content_type: str) -> None:
    with pytest.raises(BrokenMultipart):
        await read(END, content_type=content_type)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [(TYPE, True), ("Multipart/Form-Data;boundary=x", True), ("text/plain", False), ("", False)],
)
def test_a_form_is_told_by_its_type(content_type: str, expected: bool) -> None:
    assert is_multipart(content_type) == expected
