"""The type comes from the bytes: made with the libraries that write these files, and called by false names."""

import io
import zipfile

import docx
import pytest
from PIL import Image

from uploads.media_types import UNKNOWN, media_type_of

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (9, 9)).save(out, kind)
    return out.getvalue()


def word() -> bytes:
    out = io.BytesIO()
    docx.Document().save(out)
    return out.getvalue()


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("a.txt", "a")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (picture("PNG"), "image/png"),
        (picture("JPEG"), "image/jpeg"),
        (picture("GIF"), "image/gif"),
        (picture("WEBP"), "image/webp"),
        (picture("TIFF"), "image/tiff"),
        (picture("BMP"), "image/x-ms-bmp"),
        (b"%PDF-1.7\n%\xe2\xe3\n", "application/pdf"),
        (word(), DOCX),
        (archive(), "application/zip"),
        (b"<!DOCTYPE html><html></html>", "text/html"),
        (b"", UNKNOWN),
        (b"\xff" * 400, UNKNOWN),
        (b"text with a \x00 in it", UNKNOWN),
    ],
)
def test_bytes_tell_the_type_whatever_the_name_says(content: bytes, expected: str) -> None:
    assert media_type_of(content, content, "harmless.txt") == expected


@pytest.mark.parametrize(
    ("content", "label", "expected"),
    [
        (b"a,b\n1,2\n", "table.CSV", "text/csv"),
        (b"# Title\n", "notes.md", "text/markdown"),
        (b'{"a": 1}\n', "rows.jsonl", "application/x-ndjson"),
        (b'{"a": 1}\n', "one.json", "application/json"),
        (b"plain words", "words", "text/plain"),
        (b"plain words", "words.exe", "text/plain"),
        ("Привет, 世界".encode(), "x", "text/plain"),
        ("Привет, 世界".encode("utf-16"), "x", "text/plain"),
        ("a,b".encode("utf-8-sig"), "x.csv", "text/csv"),
        (("ä" * 40_000).encode()[: 64 * 1024 - 1], "x", "text/plain"),
        (b"BM is how this text begins", "x.txt", "text/plain"),
        (b"MZ is how this text begins", "x.md", "text/markdown"),
    ],
)
def test_of_text_the_label_says_which_kind(content: bytes, label: str, expected: str) -> None:
    assert media_type_of(content, content, label) == expected
