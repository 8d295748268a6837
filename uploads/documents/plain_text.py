"""Plain text: the document's text is the file's, so that a range in one is a range in the other."""

from pathlib import Path

from uploads.documents.document import Document, Span
from uploads.documents.limits import DocumentLimits
from uploads.documents.source import read_text


def read(path: Path, limits: DocumentLimits) -> Document:
    text = read_text(path, limits)
    return Document(text, (Span(0, len(text), None, ""),))
