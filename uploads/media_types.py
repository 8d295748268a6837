"""What a file is, told from its bytes. Only where these are plain text does the label say which kind of text."""

import codecs
import unicodedata

UNKNOWN = "application/octet-stream"
HEAD_BYTES = 64 * 1024
TAIL_BYTES = 64 * 1024
SURE = 0.3  # puremagic's confidence in three matching bytes; fewer stand in texts by chance
TEXTS = {
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "markdown": "text/markdown",
    "md": "text/markdown",
    "ndjson": "application/x-ndjson",
    "tsv": "text/tab-separated-values",
    "xml": "application/xml",
}
ZIP_START = b"PK\x03\x04"
OFFICE = {  # every one of these begins as any zip does; its table of contents, at the end, tells
    b"word/document.xml": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    b"xl/workbook.xml": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    b"ppt/presentation.xml": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    b"application/vnd.oasis.opendocument.text": "application/vnd.oasis.opendocument.text",
}


def media_type_of(head: bytes, tail: bytes, label: str) -> str:
    """`head` and `tail` are the first and the last bytes of the file; they overlap when it is short."""
    if head.startswith(ZIP_START):
        return next((kind for mark, kind in OFFICE.items() if mark in tail or mark in head), "application/zip")
    found, confidence = by_magic(head, tail)
    if found and confidence >= SURE:
        return found
    if is_text(head):
        return TEXTS.get(label.rpartition(".")[2].lower(), "text/plain")
    return found or UNKNOWN


def by_magic(head: bytes, tail: bytes) -> tuple[str, float]:
    import puremagic  # noqa: PLC0415  reads its table of 500 kinds when it is imported

    try:
        matches = puremagic.magic_string(head + tail if len(head) == HEAD_BYTES else head)
    except (puremagic.PureError, ValueError):
        return "", 0.0
    named = [match for match in matches if match.mime_type and match.mime_type != "text/plain"]
    return (named[0].mime_type, named[0].confidence) if named else ("", 0.0)


def is_text(head: bytes) -> bool:
    """UTF-8, or UTF-16 that says so, without control characters. The head may end in the middle of a character."""
    if not head:
        return False
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        words = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return False
    return not any(unicodedata.category(char) == "Cc" for char in set(words) - set("\t\n\r\f\x1b"))
