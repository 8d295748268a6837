"""Files that are damaged, locked or made to hurt: a typed error in clear words, never a library's own."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.uploads.documents.files import csv_text, picture_of, write_docx, write_pdf, write_scan
from uploads.documents.document import Document
from uploads.documents.errors import (
    BrokenDocument,
    DocumentError,
    DocumentTooLarge,
    EncryptedDocument,
    UnsupportedDocument,
)
from uploads.documents.limits import DocumentLimits
from uploads.documents.parse import parse

LIMITS = DocumentLimits()


def read(path: Path, limits: DocumentLimits = LIMITS) -> Document:
    return parse(str(path), "", path.name, limits)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read_or_refused(path: Path) -> Document | None:
    """Readers of PDF repair a lot, so that a damaged file may well be read."""
    try:
        return read(path)
    except DocumentError:
        return None


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A picture that claims a size and holds no pixel."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunks + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def png(folder: Path) -> bytes:
    picture_of(["Text"]).save(folder / "whole.png")
    return (folder / "whole.png").read_bytes()


def pdf(folder: Path) -> bytes:
    return write_pdf(folder / "whole.pdf", [["Heading", "Some text."]]).read_bytes()


def word(folder: Path) -> bytes:
    return write_docx(folder / "whole.docx", "# Heading\n\nSome text.\n\n| a | b |").read_bytes()


WHOLE: dict[str, Callable[[Path], bytes]] = {"png": png, "pdf": pdf, "docx": word}


@pytest.mark.parametrize(
    ("name", "content", "kind", "words"),
    [
        ("a.pdf", b"%PDF-1.7\n" + b"x" * 2000, BrokenDocument, "PDF is damaged"),
        ("a.docx", b"PK\x03\x04" + b"x" * 2000, BrokenDocument, "damaged archive"),
        ("a.docx", zipped({"word/document.xml": b"<w:document", "[Content_Types].xml": b"<"}), BrokenDocument, "Word"),
        ("a.docx", zipped({"word/document.xml": b"<a/>"}), BrokenDocument, "Word"),
        ("a.zip", zipped({"a.txt": b"hello"}), UnsupportedDocument, "Archives"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, UnsupportedDocument, "docx"),
        (
            "a.docx",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"),
            EncryptedDocument,
            "password",
        ),
        ("a.png", b"\x89PNG\r\n\x1a\n" + b"x" * 100, BrokenDocument, "picture"),
        ("a.png", png_header(64, 64), BrokenDocument, "damaged"),
        ("a.jpg", b"\xff\xd8\xff\xe0" + b"\0" * 100, BrokenDocument, "picture"),
        ("a.json", '{"a": ', BrokenDocument, "near line 1"),
        ("a.json", '{"a": 1}\nnonsense', BrokenDocument, "Line 2"),
        ("a.jsonl", '{"a": 1}\n{"a"', BrokenDocument, "Line 2"),
        ("a.csv", '"' + "x" * 200_000, BrokenDocument, "CSV"),
    ],
)
def test_a_damaged_file_is_refused_in_words(
    tmp_path: Path, name: str, content: bytes | str, kind: type[DocumentError], words: str
) -> None:
    with pytest.raises(DocumentError) as refused:
        read(written(tmp_path, name, content))
    assert type(refused.value) is kind
    assert words in refused.value.message


def test_a_pdf_with_a_password_says_so(tmp_path: Path) -> None:
    with pytest.raises(EncryptedDocument):
        read(write_pdf(tmp_path / "a.pdf", [["Secret"]], password="sesame"))


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_anywhere_never_fails_in_a_library(tmp_path: Path, kind: str) -> None:
    whole = WHOLE[kind](tmp_path)
    for length in range(1, len(whole), max(1, len(whole) // 40)):
        read_or_refused(written(tmp_path, f"a.{kind}", whole[:length]))


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_with_flipped_bytes_never_fails_in_a_library(tmp_path: Path, kind: str) -> None:
    whole, dice = WHOLE[kind](tmp_path), random.Random(7)
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(dice.randint(1, 20)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        read_or_refused(written(tmp_path, f"a.{kind}", bytes(content)))


@pytest.mark.parametrize(
    ("name", "content", "limits"),
    [
        ("a.txt", "x" * 101, replace(LIMITS, max_characters=100)),
        ("a.txt", "x" * 401, replace(LIMITS, max_characters=100)),
        ("a.html", "<html><p>" + "x" * 101, replace(LIMITS, max_characters=100)),
        ("a.csv", csv_text([["a long name", "b"], *[["1", "2"]] * 9]), replace(LIMITS, max_characters=100)),
        ("a.csv", csv_text([["a", "b"]] * 9), replace(LIMITS, max_rows=8)),
        ("a.jsonl", "{}\n" * 9, replace(LIMITS, max_rows=8)),
        ("a.json", "[" * 9 + "1" + "]" * 9, replace(LIMITS, max_depth=5)),
        ("a.json", "[" * 100_000 + "]" * 100_000, LIMITS),
        ("a.json", '{"k":' * 100_000 + "1" + "}" * 100_000, LIMITS),
        ("a.png", png_header(100_000, 100_000), LIMITS),
        ("a.png", png_header(10_000, 10_000), LIMITS),
    ],
)
def test_more_than_a_limit_allows_is_refused(
    tmp_path: Path, name: str, content: str | bytes, limits: DocumentLimits
) -> None:
    with pytest.raises(DocumentTooLarge):
        read(written(tmp_path, name, content), limits)


def test_pages_are_counted_before_they_are_read(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [["One"], ["Two"], ["Three"]])
    assert read(path, replace(LIMITS, max_pages=3)).pages == 3
    with pytest.raises(DocumentTooLarge):
        read(path, replace(LIMITS, max_pages=2))


def test_pictures_of_pages_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DocumentTooLarge):
        read(write_scan(tmp_path / "a.pdf", ["Text"]), replace(LIMITS, max_recognised_pages=0))
    picture_of(["a"]).save(tmp_path / "a.tiff", save_all=True, append_images=[picture_of(["b"])])
    with pytest.raises(DocumentTooLarge):
        read(tmp_path / "a.tiff", replace(LIMITS, max_recognised_pages=1))


def test_a_word_document_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    members = {"word/document.xml": b"<a/>", "word/media/bomb.bin": b"\0" * 3_000_000}
    with pytest.raises(DocumentTooLarge):
        read(written(tmp_path, "a.docx", zipped(members)), replace(LIMITS, max_unpacked_bytes=2_000_000))


def test_a_directory_that_lies_about_a_size_gains_nothing(tmp_path: Path) -> None:
    """The bomb declares 10 bytes; what is read of it is bounded by that, and its checksum is then wrong."""
    content = zipped({"word/document.xml": b"\0" * 3_000_000, "[Content_Types].xml": b"<a/>"})
    lie = content.replace(struct.pack("<I", 3_000_000), struct.pack("<I", 10))
    with pytest.raises(BrokenDocument):
        read(written(tmp_path, "a.docx", lie), replace(LIMITS, max_unpacked_bytes=2_000_000))


def test_an_entity_bomb_stays_small(tmp_path: Path) -> None:
    bomb = b'<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12)
    )
    content = zipfile.ZipFile(io.BytesIO(word(tmp_path)))
    members = {name: content.read(name) for name in content.namelist()}
    body = members["word/document.xml"].partition(b"?>")[2].replace(b"Some text.", b"&m;")
    members["word/document.xml"] = bomb + b"]>" + body
    document = read_or_refused(written(tmp_path, "a.docx", zipped(members)))
    assert document is None or len(document.text) < 1000


def test_ten_thousand_nested_elements_are_read(tmp_path: Path) -> None:
    page = "<html><body>" + "<div>" * 10_000 + "deep" + "</div>" * 10_000
    assert read(written(tmp_path, "a.html", page)).text == "deep"
