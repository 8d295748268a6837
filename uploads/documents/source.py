"""Reads the bytes of a text file, and no more of them than the document may have."""

from pathlib import Path

from uploads.documents.document import clean
from uploads.documents.encoding import decode
from uploads.documents.errors import DocumentTooLarge
from uploads.documents.limits import DocumentLimits

BYTES_A_CHARACTER = 4  # the most that UTF-8 and UTF-16 use


def read_bytes(path: Path, limits: DocumentLimits) -> bytes:
    most = limits.max_characters * BYTES_A_CHARACTER
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise too_long(limits)
    return content


def read_text(path: Path, limits: DocumentLimits) -> str:
    text = clean(decode(read_bytes(path, limits)))
    if len(text) > limits.max_characters:
        raise too_long(limits)
    return text


def too_long(limits: DocumentLimits) -> DocumentTooLarge:
    return DocumentTooLarge(f"The file holds more than {limits.max_characters:,} characters of text.")
