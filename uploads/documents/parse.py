"""`parse`: one file in, one document out. A plain function over plain data, to run in a process that can be killed.

The kind is told from the bytes. Only among texts, which all look alike, the name and the declared type decide.
"""

import importlib
import re
import zipfile
from mmap import ACCESS_READ, mmap
from pathlib import Path, PurePath

from uploads.documents.document import Document
from uploads.documents.errors import BrokenDocument, DocumentError, EncryptedDocument, UnsupportedDocument
from uploads.documents.limits import DocumentLimits

HEAD_BYTES = 4096
PDF_WITHIN_BYTES = 1024  # what readers of PDF tolerate before the mark
OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENCRYPTED_OFFICE = "EncryptedPackage".encode("utf-16-le")
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")
HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
HTML_LEAD = b"\xef\xbb\xbf \t\r\n"
BY_SUFFIX = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
BY_MEDIA_TYPE = {
    "text/markdown": "markdown",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/json": "json",
    "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl",
}
# Where each kind is read. Modules are imported when their kind comes: some bring large libraries.
READERS = {
    "text": ("plain_text", "read"),
    "markdown": ("markdown", "read"),
    "html": ("html", "read"),
    "csv": ("csv_table", "read"),
    "json": ("json_tree", "read"),
    "jsonl": ("json_tree", "read_lines"),
    "pdf": ("pdf", "read"),
    "docx": ("docx", "read"),
    "picture": ("picture", "read"),
}


def parse(path: str, media_type: str, filename: str, limits: DocumentLimits) -> Document:
    """Raises `DocumentError`."""
    file = Path(path)
    module, function = READERS[kind_of(file, media_type, filename)]
    read = getattr(importlib.import_module(f"uploads.documents.{module}"), function)
    document: Document = read(file, limits)
    return document


def kind_of(path: Path, media_type: str, filename: str) -> str:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if b"%PDF-" in head[:PDF_WITHIN_BYTES]:
        return "pdf"
    if head.startswith(ZIP):
        return _kind_of_zip(path)
    if head.startswith(OLD_OFFICE):
        raise _old_office(path)
    if head.startswith(PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "picture"
    return _kind_of_text(head, media_type, filename)


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError):
        raise BrokenDocument("The file is a damaged archive.") from None
    if "word/document.xml" in names:
        return "docx"
    raise UnsupportedDocument("Archives and this kind of office file are not read.")


def _old_office(path: Path) -> DocumentError:
    """A Word document with a password is one of these around the encrypted one."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        encrypted = content.find(ENCRYPTED_OFFICE) >= 0
    if encrypted:
        return EncryptedDocument("The document is protected by a password.")
    return UnsupportedDocument("Office files of before 2007 are not read; save it as .docx.")


def _kind_of_text(head: bytes, media_type: str, filename: str) -> str:
    if head.lstrip(HTML_LEAD).startswith(b"<") and HTML.search(head):
        return "html"
    suffix = PurePath(filename).suffix.lower()
    declared = media_type.partition(";")[0].strip().lower()
    return BY_SUFFIX.get(suffix) or BY_MEDIA_TYPE.get(declared) or "text"
